//! Members that follow the protocol, at random: nobody ever owns what another owns, the log alone
//! gives the same groups, and left alone they come to rest.

use std::collections::BTreeMap;
use std::time::Duration;

use super::classic::{classic_beat, config, has, rejoined, syncs};
use super::world::*;
use crate::coordinator::group::MigrationPolicy;
use crate::coordinator::group::assignor::Partitions;
use crate::coordinator::group::machine::Group;
use crate::protocol::Str;
use crate::protocol::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
};
use crate::types::random::next_mixed;
use crate::types::{ErrorCode, TopicIdPartition};

const TOPICS: [&str; 3] = ["t", "u", "v"];

/// A consumer as KIP-848 has it.
#[derive(Debug, Default)]
struct Consumer {
    id: String,
    instance: Option<String>,
    topics: Vec<&'static str>,
    regex: Option<&'static str>,
    epoch: i32,
    /// What it works on.
    owned: Partitions,
    /// What it was last told to own.
    told: Partitions,
    /// It says with its next heartbeat what it owns.
    says: bool,
}

/// A cooperative consumer of the classic protocol.
#[derive(Debug, Default)]
struct Classic {
    /// Empty until it has been told.
    id: String,
    generation: i32,
    owned: Partitions,
    /// It joins with its next request, and syncs with the one after that.
    rejoins: bool,
    syncs: bool,
}

struct Play {
    world: World,
    consumers: Vec<Consumer>,
    classics: Vec<Classic>,
    with_classics: bool,
    state: u64,
    made: u32,
}

impl Play {
    fn draw(&mut self, bound: u64) -> u64 {
        next_mixed(&mut self.state) % bound
    }

    fn subscription(&mut self) -> Vec<&'static str> {
        match self.draw(4) {
            0 => vec!["t"],
            1 => vec!["u", "v"],
            _ => vec!["t", "u"],
        }
    }

    fn start(&mut self) {
        self.made += 1;
        let mut consumer = Consumer { id: format!("m{}", self.made), ..Consumer::default() };
        if self.draw(4) == 0 {
            consumer.instance = Some(format!("i{}", self.draw(2)));
        }
        consumer.topics = self.subscription();
        consumer.regex = (self.draw(4) == 0).then_some("[uv]");
        self.consumers.push(consumer);
    }

    /// One heartbeat; its answer may be lost on the way.
    fn beat(&mut self, at: usize, lost: bool) {
        let consumer = &self.consumers[at];
        let request = request(consumer);
        let response = self.world.beat(request);
        if !lost {
            let gone = !self.consumers[at].hears(&response);
            if gone {
                self.consumers.remove(at);
            }
        }
    }

    fn stop(&mut self, at: usize) {
        let consumer = self.consumers.remove(at);
        if consumer.epoch == 0 || self.draw(2) == 0 {
            return; // It dies.
        }
        let epoch = if consumer.instance.is_some() && self.draw(2) == 0 { -2 } else { -1 };
        let leave = ConsumerGroupHeartbeatRequest {
            instance_id: consumer.instance.as_deref().map(Str::from),
            ..plain(&consumer.id, epoch)
        };
        self.world.beat(leave);
    }

    /// Whether there is a group that a classic member can be in.
    fn has_members(&self) -> bool {
        match self.world.machine.groups.get(GROUP).map(|group| &**group) {
            Some(Group::Consumer(group)) => !group.is_empty(),
            Some(Group::Classic(_)) => panic!("nobody may go back"),
            None => false,
        }
    }

    /// What a classic consumer does next.
    fn classic_beat(&mut self, at: usize) {
        let mut one = std::mem::take(&mut self.classics[at]);
        let world = &mut self.world;
        if !world.group().members.contains_key(&*one.id) {
            // Its session has ended, which it knows itself: what it had is lost.
            one.owned = Partitions::default();
        }
        if one.rejoins {
            let answer = rejoined(world, &one.id, &one.owned);
            match ErrorCode::from_code(answer.error_code) {
                Some(ErrorCode::None) => {
                    (one.id, one.generation) = (answer.member_id.to_string(), answer.generation_id);
                    (one.rejoins, one.syncs) = (false, true);
                }
                Some(ErrorCode::UnknownMemberId) => one = Classic::lost(),
                other => panic!("{other:?}"),
            }
        } else if one.syncs {
            let answer = syncs(world, &one.id, one.generation);
            match ErrorCode::from_code(answer.error_code) {
                Some(ErrorCode::None) => {
                    let told = has(world, &answer);
                    // KIP-429: what it has to give up it gives up at once, and joins again.
                    one.rejoins = !one.owned.is_subset(&told);
                    (one.syncs, one.owned) = (false, told);
                }
                Some(ErrorCode::RebalanceInProgress) => one.rejoins = true,
                Some(_) => one = Classic::lost(),
                None => panic!("{answer:?}"),
            }
        } else {
            match classic_beat(world, &one.id, one.generation) {
                ErrorCode::None => {}
                ErrorCode::RebalanceInProgress => one.rejoins = true,
                _ => one = Classic::lost(),
            }
        }
        self.classics[at] = one;
    }

    fn step_classic(&mut self) {
        let count = self.classics.len() as u64;
        if !self.has_members() {
            return self.classics.clear();
        }
        match self.draw(12) {
            0 if count < 4 => self.classics.push(Classic::lost()),
            1 if count > 0 => {
                let at = self.draw(count) as usize;
                self.classics.remove(at);
            }
            _ if count > 0 => {
                let at = self.draw(count) as usize;
                self.classic_beat(at);
            }
            _ => {}
        }
    }

    fn step(&mut self) {
        if self.with_classics && self.draw(3) == 0 {
            return self.step_classic();
        }
        let count = self.consumers.len() as u64;
        match self.draw(20) {
            0 if count < 8 => self.start(),
            1 if count > 0 => {
                let at = self.draw(count) as usize;
                self.stop(at);
            }
            2 => {
                let topic = TOPICS[self.draw(3) as usize];
                let known = self.world.image.topic(topic).map_or(0, |topic| topic.partitions.len());
                if known < 8 {
                    self.world.topic(topic, known as i32 + 1);
                    self.world.publish();
                }
            }
            3 if count > 0 => {
                let at = self.draw(count) as usize;
                let topics = self.subscription();
                let consumer = &mut self.consumers[at];
                (consumer.topics, consumer.says) = (topics, true);
            }
            4 => {
                let time = Duration::from_millis(self.draw(15_000));
                self.world.pass(time);
            }
            5 if self.draw(8) == 0 => self.world.failover(),
            6 if self.draw(8) == 0 && self.world.image.topic("v").is_some() => {
                self.world.delete_topic("v");
            }
            _ if count > 0 => {
                let (at, lost) = (self.draw(count) as usize, self.draw(10) == 0);
                self.beat(at, lost);
            }
            _ => self.start(),
        }
    }

    fn check(&self, seed: u64, step: u32) {
        let Some(group) = self.world.machine.groups.get(GROUP) else { return };
        let Group::Consumer(group) = &**group else { return };
        let mut owners: BTreeMap<TopicIdPartition, &str> = BTreeMap::new();
        for (id, member) in &group.members {
            let held = member.current.assigned.iter().chain(member.current.revoking.iter());
            for partition in held {
                let other = owners.insert(partition, id);
                assert_eq!(other, None, "seed {seed} step {step}: {partition:?} is {id}'s too");
            }
        }
        for one in &self.classics {
            let member = group.members.get(&*one.id);
            if let Some(member) = member.filter(|member| member.current.epoch == one.generation) {
                let held = member.current.assigned.union(&member.current.revoking);
                let owned =
                    one.owned.filter(|topic, _| self.world.image.topic_name(topic).is_some());
                assert!(owned.is_subset(&held), "seed {seed} step {step}: {} has too much", one.id);
            }
        }
        // A consumer that is still a member works on nothing that the coordinator thinks another's.
        for consumer in &self.consumers {
            if let Some(member) = group.members.get(&*consumer.id).filter(|_| consumer.epoch > 0) {
                let held = member.current.assigned.union(&member.current.revoking);
                assert!(
                    consumer.owned.is_subset(&held),
                    "seed {seed} step {step}: {} works on what is not its own",
                    consumer.id
                );
            }
        }
    }

    fn settle(&mut self, seed: u64) {
        self.world.pass(Duration::from_secs(46));
        for _ in 0..30 {
            let mut at = 0;
            while at < self.consumers.len() {
                let before = self.consumers.len();
                self.beat(at, false);
                at += usize::from(self.consumers.len() == before);
            }
            if !self.has_members() {
                self.classics.clear();
            }
            for at in 0..self.classics.len() {
                self.classic_beat(at);
            }
            // Less than a rebalance timeout; in the end more than what the expressions wait.
            self.world.pass(Duration::from_millis(700));
        }
        let Some(_) = self.world.machine.groups.get(GROUP) else { return };
        let group = self.world.group();
        let state = group.state_name();
        assert!(matches!(state, "Stable" | "Empty"), "seed {seed}: {state}");
        for consumer in &self.consumers {
            let member = self.world.member(&consumer.id);
            assert_eq!(consumer.owned, *member.current.assigned, "seed {seed}: {}", consumer.id);
            assert_eq!(Some(&consumer.owned), member.target.as_deref(), "seed {seed}");
        }
        for one in &self.classics {
            let member = self.world.member(&one.id);
            assert_eq!(one.owned, *member.current.assigned, "seed {seed}: {}", one.id);
        }
        let of_classics: usize = self.classics.iter().map(|one| one.owned.len()).sum();
        let owned: usize = self.consumers.iter().map(|consumer| consumer.owned.len()).sum();
        let owned = owned + of_classics;
        let subscribed = group.subscribed_topics();
        let topics = subscribed.iter().filter_map(|name| self.world.image.topic(name));
        let wanted: usize = topics.map(|topic| topic.partitions.len()).sum();
        assert_eq!(owned, wanted, "seed {seed}: somebody has each partition");
    }
}

fn request(consumer: &Consumer) -> ConsumerGroupHeartbeatRequest {
    let instance_id = consumer.instance.as_deref().map(Str::from);
    let mut request = plain(&consumer.id, consumer.epoch);
    if consumer.epoch == 0 || consumer.says {
        request = ConsumerGroupHeartbeatRequest {
            subscribed_topic_regex: Some(Str::from(consumer.regex.unwrap_or_default())),
            member_epoch: consumer.epoch,
            topic_partitions: owning("", 0, &consumer.owned).topic_partitions,
            ..join(&consumer.id, &consumer.topics)
        };
    }
    ConsumerGroupHeartbeatRequest { instance_id, ..request }
}

impl Consumer {
    /// Whether it goes on.
    fn hears(&mut self, response: &ConsumerGroupHeartbeatResponse) -> bool {
        match ErrorCode::from_code(response.error_code) {
            None => {}
            Some(ErrorCode::UnknownMemberId | ErrorCode::FencedMemberEpoch) => {
                (self.epoch, self.owned, self.told) =
                    (0, Partitions::default(), Partitions::default());
                return true;
            }
            Some(ErrorCode::UnreleasedInstanceId | ErrorCode::FencedInstanceId) => return false,
            Some(ErrorCode::None) => {}
            Some(other) => panic!("{other:?} {:?}", response.error_message),
        }
        (self.epoch, self.says) = (response.member_epoch, false);
        if let Some(told) = assignment(response) {
            // It gives up at once what it shall not have, and says so; then it takes what is new.
            self.says = told != self.owned;
            (self.owned, self.told) = (told.clone(), told);
        }
        true
    }
}

impl Classic {
    /// One that is no member and has nothing.
    fn lost() -> Self {
        Self { rejoins: true, ..Self::default() }
    }
}

fn plays(seeds: std::ops::Range<u64>, with_classics: bool) {
    for seed in seeds {
        let config = config(MigrationPolicy::Upgrade);
        let world = World::with(config, &[("t", 3), ("u", 2)]);
        let (consumers, classics) = (Vec::new(), Vec::new());
        let mut play = Play { world, consumers, classics, with_classics, state: seed, made: 0 };
        for step in 0..400 {
            play.step();
            play.check(seed, step);
        }
        assert_eq!(play.world.durable(), play.world.replayed(), "seed {seed}");
        play.settle(seed);
        assert_eq!(play.world.durable(), play.world.replayed(), "seed {seed}");
    }
}

#[test]
fn whatever_happens_nobody_owns_what_another_owns() {
    plays(0..60, false);
}

#[test]
fn with_classic_members_among_them_too() {
    plays(0..60, true);
}
