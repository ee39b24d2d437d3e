//! Members that follow the protocol, at random: nobody ever owns what another owns, the log alone
//! gives the same groups, and left alone they come to rest.

use std::collections::BTreeMap;
use std::time::Duration;

use super::world::*;
use crate::coordinator::group::assignor::Partitions;
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

struct Play {
    world: World,
    consumers: Vec<Consumer>,
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

    fn step(&mut self) {
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
        let crate::coordinator::group::machine::Group::Consumer(group) = &**group else { return };
        let mut owners: BTreeMap<TopicIdPartition, &str> = BTreeMap::new();
        for (id, member) in &group.members {
            let held = member.current.assigned.iter().chain(member.current.revoking.iter());
            for partition in held {
                let other = owners.insert(partition, id);
                assert_eq!(other, None, "seed {seed} step {step}: {partition:?} is {id}'s too");
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
        let owned: usize = self.consumers.iter().map(|consumer| consumer.owned.len()).sum();
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

#[test]
fn whatever_happens_nobody_owns_what_another_owns() {
    for seed in 0..60 {
        let world = World::new(&[("t", 3), ("u", 2)]);
        let mut play = Play { world, consumers: Vec::new(), state: seed, made: 0 };
        for step in 0..400 {
            play.step();
            play.check(seed, step);
        }
        assert_eq!(play.world.durable(), play.world.replayed(), "seed {seed}");
        play.settle(seed);
        assert_eq!(play.world.durable(), play.world.replayed(), "seed {seed}");
    }
}
