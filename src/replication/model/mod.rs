//! A small model check of the pure cores: three replicas, a controller, mail that is delayed, lost
//! and doubled, crashes, lost page caches, false fencing, elections, other minima of
//! replicas in sync; by seed. After every step:
//! nothing committed is lost, the high watermark never goes back within a reign, and all logs are
//! the same up to their high watermarks. At the end everything heals and must converge.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod controller;
mod log;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use self::controller::{Controller, View};
use self::log::{Entry, ModelLog};
use super::epochs::{check_leader_epoch, divergence};
use super::follower::{Cut, FetchAnswer, FetchAsk, FollowerState, Step};
use super::leader::{
    FollowerFetch, IsrConfirmed, IsrProposal, LeaderState, ProposalId, Reign, Surroundings,
};
use crate::types::{BrokerEpoch, ErrorCode, LeaderEpoch, Monotonic, NodeId, Offset};

const MIN_ISR: usize = 2;

enum Role {
    Idle,
    Leader(LeaderState),
    Follower(FollowerState),
}

struct Replica {
    up: bool,
    lost_its_cache: bool,
    broker_epoch: BrokerEpoch,
    /// How much of the controller's history it has seen.
    seen: usize,
    role: Role,
    log: ModelLog,
}

#[derive(Clone)]
enum Mail {
    Fetch {
        from: NodeId,
        broker_epoch: BrokerEpoch,
        to: NodeId,
        ask: FetchAsk,
    },
    Fetched {
        to: NodeId,
        broker_epoch: BrokerEpoch,
        ask: FetchAsk,
        answer: FetchAnswer,
        records: Vec<Entry>,
    },
    Alter {
        from: NodeId,
        broker_epoch: BrokerEpoch,
        proposal: IsrProposal,
    },
    Altered {
        to: NodeId,
        broker_epoch: BrokerEpoch,
        proposal: IsrProposal,
        answer: Result<IsrConfirmed, ErrorCode>,
    },
}

struct World {
    random: StdRng,
    lag_max: Duration,
    now: Monotonic,
    controller: Controller,
    replicas: BTreeMap<NodeId, Replica>,
    mail: Vec<Mail>,
    committed: Vec<Entry>,
    high_watermarks: BTreeMap<LeaderEpoch, Offset>,
    next_value: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let controller = Controller::new(3, MIN_ISR);
        let replica = |id: &NodeId| Replica {
            up: true,
            lost_its_cache: false,
            broker_epoch: controller.current().standings[id].broker_epoch,
            seen: 0,
            role: Role::Idle,
            log: ModelLog::default(),
        };
        let ids: Vec<NodeId> = controller.current().assignment.replicas.iter().copied().collect();
        let replicas = ids.iter().map(|id| (*id, replica(id))).collect();
        let mut random = StdRng::seed_from_u64(seed);
        Self {
            lag_max: Duration::from_millis([15, 60, 400][random.random_range(0..3)]),
            random,
            now: Monotonic(Duration::from_secs(1_000)),
            controller,
            replicas,
            mail: Vec::new(),
            committed: Vec::new(),
            high_watermarks: BTreeMap::new(),
            next_value: 0,
        }
    }

    fn any(&mut self) -> NodeId {
        NodeId(self.random.random_range(1..=3))
    }

    fn post(&mut self, mail: Mail) {
        self.mail.push(mail);
    }

    fn step(&mut self) {
        self.now = self.now.plus(Duration::from_millis(1));
        let node = self.any();
        match self.random.random_range(0..1000) {
            0..200 => self.produce(node),
            200..450 => self.ask(node),
            450..850 => self.deliver(0.03),
            850..950 => self.see_metadata(node),
            950..953 => self.crash(node),
            953..963 => self.restart(node),
            963..968 => self.controller.fence_if(node, !self.replicas[&node].up),
            968..970 => self.controller.fence_if(node, true),
            970..984 => self.unfence(node),
            984..986 => self.tick(node, self.lag_max / 2),
            986..989 => self.controller.prefer(node),
            989..991 => {
                let min_isr = self.random.random_range(1..=3);
                if min_isr > 1 || self.all_have_their_caches() {
                    self.controller.configure(min_isr);
                }
            }
            _ => self.replicas.get_mut(&node).unwrap().log.flush(),
        }
        self.check();
    }

    fn view(&self, node: NodeId) -> View {
        self.controller.history[self.replicas[&node].seen].clone()
    }

    fn with_leader<T>(
        &mut self,
        node: NodeId,
        run: impl FnOnce(&mut LeaderState, &mut ModelLog, Surroundings<'_>) -> T,
    ) -> Option<T> {
        let view = self.view(node);
        let replica = self.replicas.get_mut(&node).unwrap();
        let Role::Leader(leader) = &mut replica.role else { return None };
        let around =
            Surroundings { log_end: replica.log.end(), now: self.now, standings: &view.standings };
        let result = run(leader, &mut replica.log, around);
        let (epoch, high_watermark) = (leader.leader_epoch(), leader.high_watermark());
        replica.log.high_watermark = high_watermark;
        let highest = self.high_watermarks.entry(epoch).or_insert(high_watermark);
        assert!(high_watermark >= *highest, "the high watermark went back in epoch {epoch}");
        *highest = high_watermark;
        let entries = replica.log.entries[..high_watermark.0 as usize].to_vec();
        self.note_committed(node, &entries);
        Some(result)
    }

    fn note_committed(&mut self, node: NodeId, entries: &[Entry]) {
        let common = entries.len().min(self.committed.len());
        assert_eq!(entries[..common], self.committed[..common], "{node} commits something else");
        self.committed.extend_from_slice(&entries[common..]);
    }

    fn produce(&mut self, node: NodeId) {
        self.next_value += 1;
        let value = self.next_value;
        let now = self.now;
        self.with_leader(node, |leader, log, around| {
            if leader.check_acks_all().is_ok() {
                log.append(Entry { epoch: leader.leader_epoch(), value });
                let log_end = log.end();
                leader.advance(Surroundings { log_end, now, ..around });
            }
        });
    }

    fn ask(&mut self, from: NodeId) {
        let now = self.now;
        let replica = self.replicas.get_mut(&from).unwrap();
        let Role::Follower(follower) = &mut replica.role else { return };
        let (Some(to), Some(ask)) = (follower.leader(), follower.ask(replica.log.view(), now))
        else {
            return;
        };
        let broker_epoch = replica.broker_epoch;
        self.post(Mail::Fetch { from, broker_epoch, to, ask });
    }

    fn deliver(&mut self, mishap: f64) {
        if self.mail.is_empty() {
            return;
        }
        let index = self.random.random_range(0..self.mail.len());
        let mail = if self.random.random_bool(mishap) {
            self.mail[index].clone() // it will come again
        } else {
            self.mail.swap_remove(index)
        };
        if self.random.random_bool(mishap) {
            self.drop_mail(mail);
            return;
        }
        match mail {
            Mail::Fetch { from, broker_epoch, to, ask } => self.serve(from, broker_epoch, to, &ask),
            Mail::Fetched { to, broker_epoch, ask, answer, records } => {
                if self.is_same_process(to, broker_epoch) {
                    self.take(to, &ask, answer, records);
                }
            }
            Mail::Alter { from, broker_epoch, proposal } => {
                let answer = if self.random.random_bool(mishap) {
                    Err(ErrorCode::OperationNotAttempted)
                } else {
                    self.controller.alter(from, &proposal)
                };
                self.post(Mail::Altered { to: from, broker_epoch, proposal, answer });
            }
            Mail::Altered { to, broker_epoch, proposal, answer } => {
                if self.is_same_process(to, broker_epoch) {
                    self.altered(to, proposal, answer);
                }
            }
        }
    }

    /// Whoever waits for what was lost runs into a timeout.
    fn drop_mail(&mut self, mail: Mail) {
        match mail {
            Mail::Fetch { from: to, ask, .. } | Mail::Fetched { to, ask, .. } => {
                self.lose(to, &ask)
            }
            Mail::Alter { from: to, broker_epoch, proposal }
            | Mail::Altered { to, broker_epoch, proposal, .. } => {
                if self.is_same_process(to, broker_epoch) {
                    self.altered(to, proposal, Err(ErrorCode::NetworkException));
                }
            }
        }
    }

    fn is_same_process(&self, node: NodeId, broker_epoch: BrokerEpoch) -> bool {
        self.replicas[&node].up && self.replicas[&node].broker_epoch == broker_epoch
    }

    fn lose(&mut self, node: NodeId, ask: &FetchAsk) {
        let now = self.now;
        if let Role::Follower(follower) = &mut self.replicas.get_mut(&node).unwrap().role {
            follower.lost(ask, now);
        }
    }

    /// The leader's side of a fetch, as the shell does it.
    fn serve(&mut self, from: NodeId, broker_epoch: BrokerEpoch, to: NodeId, ask: &FetchAsk) {
        let position = ask.position;
        let served = self.with_leader(to, |leader, log, around| {
            check_leader_epoch(ask.leader_epoch, leader.leader_epoch())?;
            let our_end = log.end_of(position.last_fetched_epoch);
            let diverging = divergence(position, our_end, Offset(0))?;
            let mut proposal = None;
            let mut records = Vec::new();
            if diverging.is_none() {
                if position.fetch_offset > log.end() {
                    return Err(ErrorCode::OffsetOutOfRange);
                }
                let fetch = FollowerFetch {
                    node: from,
                    broker_epoch,
                    fetch_offset: position.fetch_offset,
                    log_start: Offset(0),
                };
                proposal = leader.follower_fetched(fetch, around)?.proposal;
                records = log.entries[position.fetch_offset.0 as usize..]
                    .iter()
                    .take(3)
                    .copied()
                    .collect();
            }
            let high_watermark = leader.high_watermark();
            let error = ErrorCode::None;
            let answer = FetchAnswer { error, high_watermark, log_start: Offset(0), diverging };
            Ok((answer, records, proposal))
        });
        let (answer, records, proposal) =
            served.unwrap_or(Err(ErrorCode::NotLeaderOrFollower)).unwrap_or_else(|error| {
                let unknown = Offset::UNKNOWN;
                let answer = FetchAnswer {
                    error,
                    high_watermark: unknown,
                    log_start: unknown,
                    diverging: None,
                };
                (answer, Vec::new(), None)
            });
        if let Some(proposal) = proposal {
            self.propose(to, proposal);
        }
        self.post(Mail::Fetched { to: from, broker_epoch, ask: *ask, answer, records });
    }

    fn propose(&mut self, from: NodeId, proposal: IsrProposal) {
        let broker_epoch = self.replicas[&from].broker_epoch;
        self.post(Mail::Alter { from, broker_epoch, proposal });
    }

    /// The follower's side of an answer, as the shell does it.
    fn take(&mut self, node: NodeId, ask: &FetchAsk, answer: FetchAnswer, records: Vec<Entry>) {
        let now = self.now;
        let replica = self.replicas.get_mut(&node).unwrap();
        let Role::Follower(follower) = &mut replica.role else { return };
        let log = &mut replica.log;
        let mut step = follower.answered(ask, answer, log.view(), |epoch| log.end_of(epoch), now);
        if step == Step::Locate {
            let bounds = Err(ErrorCode::NetworkException);
            step = follower.located(ask.leader_epoch, bounds, log.view(), now);
        }
        match step {
            Step::Append { high_watermark, .. } => {
                records.into_iter().for_each(|entry| log.append(entry));
                log.high_watermark = FollowerState::next_high_watermark(
                    log.high_watermark,
                    high_watermark,
                    log.end(),
                );
            }
            Step::Truncate(cut) => {
                let Cut::To(offset) = cut else { panic!("the model has no retention") };
                log.truncate_to(offset);
                follower.truncated(cut);
            }
            Step::Pause | Step::Stale | Step::Locate => {}
        }
    }

    fn altered(
        &mut self,
        node: NodeId,
        proposal: IsrProposal,
        answer: Result<IsrConfirmed, ErrorCode>,
    ) {
        use super::leader::Answered;
        let id: ProposalId = proposal.id;
        let leader_epoch = proposal.leader_epoch;
        let answered = self.with_leader(node, |leader, _, around| {
            (leader.leader_epoch() == leader_epoch).then(|| leader.answered(id, answer, around))
        });
        if answered.flatten() == Some(Answered::Retry) {
            self.propose(node, proposal);
        }
    }

    /// Takes the next metadata in, as the shell does.
    fn see_metadata(&mut self, node: NodeId) {
        let replica = &self.replicas[&node];
        if !replica.up || replica.seen + 1 >= self.controller.history.len() {
            return;
        }
        let seen = replica.seen + 1;
        self.replicas.get_mut(&node).unwrap().seen = seen;
        self.apply_metadata(node);
    }

    fn apply_metadata(&mut self, node: NodeId) {
        let view = self.view(node);
        let now = self.now;
        let replica = self.replicas.get_mut(&node).unwrap();
        let epoch = view.assignment.leader_epoch;
        match &mut replica.role {
            Role::Leader(leader) if leader.leader_epoch() == epoch => {
                leader.set_min_isr(view.min_isr);
                leader.update(&view.assignment, now);
            }
            _ if view.leader == Some(node) => {
                replica.log.assign_epoch(epoch);
                let reign = Reign {
                    local: node,
                    assignment: &view.assignment,
                    epoch_start: replica.log.end(),
                    high_watermark: replica.log.high_watermark,
                    min_isr: view.min_isr,
                    lag_max: self.lag_max,
                };
                replica.role = Role::Leader(LeaderState::new(reign, now));
            }
            Role::Follower(follower) => {
                follower.follow(view.leader, epoch);
            }
            Role::Leader(_) | Role::Idle => {
                replica.role = Role::Follower(FollowerState::new(view.leader, epoch));
            }
        }
        self.with_leader(node, |leader, _, around| leader.advance(around));
    }

    fn tick(&mut self, node: NodeId, pause: Duration) {
        self.now = self.now.plus(pause);
        let proposal = self.with_leader(node, |leader, _, around| leader.shrink(around)).flatten();
        if let Some(proposal) = proposal {
            self.propose(node, proposal);
        }
    }

    fn crash(&mut self, node: NodeId) {
        let power = self.random.random_bool(0.5) && self.may_lose_power(node);
        let kept = self.random.random_range(0.0..=1.0);
        let replica = self.replicas.get_mut(&node).unwrap();
        if !replica.up {
            return;
        }
        replica.up = false;
        replica.role = Role::Idle;
        replica.log.crash(power.then_some(kept));
        replica.lost_its_cache |= power;
    }

    /// The guarantee covers the power loss of fewer machines than the minimum, here of one at a
    /// time; and another replica that holds everything committed must be left.
    fn may_lose_power(&self, node: NodeId) -> bool {
        let another_holds = self.controller.holders().iter().any(|other| *other != node);
        another_holds && self.controller.current().min_isr > 1 && self.all_have_their_caches()
    }

    fn all_have_their_caches(&self) -> bool {
        self.replicas.values().all(|replica| !replica.lost_its_cache)
    }

    fn restart(&mut self, node: NodeId) {
        let replica = self.replicas.get_mut(&node).unwrap();
        if replica.up {
            return;
        }
        let broker_epoch = self.controller.register(node, replica.lost_its_cache);
        replica.up = true;
        replica.lost_its_cache = false;
        replica.broker_epoch = broker_epoch;
        replica.seen = self.controller.history.len() - 1;
        self.apply_metadata(node);
    }

    fn unfence(&mut self, node: NodeId) {
        if self.replicas[&node].up {
            self.controller.unfence(node);
        }
    }

    fn check(&self) {
        for (node, replica) in &self.replicas {
            let upto = replica.log.high_watermark.min(replica.log.end()).0 as usize;
            assert!(upto <= self.committed.len(), "{node} believes too much to be committed");
            assert_eq!(replica.log.entries[..upto], self.committed[..upto], "{node} differs");
            if let Role::Leader(leader) = &replica.role {
                let current = self.controller.current();
                if current.assignment.leader_epoch == leader.leader_epoch() {
                    let held =
                        &replica.log.entries[..self.committed.len().min(replica.log.entries.len())];
                    assert_eq!(held, self.committed, "{node} leads without what was committed");
                }
            }
        }
    }

    /// No more faults: everything must come together.
    fn heal(&mut self) {
        let ids: Vec<NodeId> = self.replicas.keys().copied().collect();
        for _ in 0..5_000 {
            self.now = self.now.plus(Duration::from_millis(2));
            for node in &ids {
                self.restart(*node);
                self.unfence(*node);
                while self.replicas[node].seen + 1 < self.controller.history.len() {
                    self.see_metadata(*node);
                }
                self.ask(*node);
                self.tick(*node, Duration::ZERO);
                self.deliver(0.0);
            }
            self.check();
            if self.is_whole() {
                return;
            }
            if self.mail.is_empty() {
                self.give_up_lost_fetches();
            }
        }
        panic!("it does not come together:{}", self.describe());
    }

    fn describe(&self) -> String {
        let mut text =
            format!("\n{:?}\ncommitted {}", self.controller.current(), self.committed.len());
        for (node, replica) in &self.replicas {
            let role = match &replica.role {
                Role::Idle => "idle".to_owned(),
                Role::Leader(leader) => format!("{leader:?}"),
                Role::Follower(follower) => format!("{follower:?}"),
            };
            text += &format!("\n{node} {:?} {role}", replica.log.view());
        }
        text
    }

    /// Asks whose answers were lost with a crash run into their timeouts.
    fn give_up_lost_fetches(&mut self) {
        let now = self.now;
        for replica in self.replicas.values_mut() {
            if let Role::Follower(follower) = &mut replica.role {
                follower.time_out(now);
            }
        }
    }

    fn is_whole(&self) -> bool {
        let logs: BTreeSet<&[Entry]> =
            self.replicas.values().map(|replica| replica.log.entries.as_slice()).collect();
        let all_committed =
            self.replicas.values().all(|replica| replica.log.entries.len() == self.committed.len());
        logs.len() == 1 && all_committed && self.controller.current().assignment.isr.len() == 3
    }
}

fn run(seed: u64, steps: usize) -> usize {
    let mut world = World::new(seed);
    for node in [1, 2, 3] {
        world.apply_metadata(NodeId(node));
    }
    for _ in 0..steps {
        world.step();
    }
    world.heal();
    world.committed.len()
}

#[test]
fn nothing_committed_is_lost_whatever_happens() {
    let seeds =
        std::env::var("OTTLA_MODEL_SEEDS").ok().and_then(|it| it.parse().ok()).unwrap_or(300);
    let first: u64 =
        std::env::var("OTTLA_MODEL_SEED").ok().and_then(|it| it.parse().ok()).unwrap_or(0);
    let mut committed = 0;
    for seed in first..first + seeds {
        let ran = std::panic::catch_unwind(|| run(seed, 2_000));
        committed += ran
            .unwrap_or_else(|_| panic!("seed {seed}: OTTLA_MODEL_SEED={seed} OTTLA_MODEL_SEEDS=1"));
    }
    assert!(committed as u64 > seeds * 20, "hardly anything was committed: {committed}");
}
