//! Random clients: they join, sync, beat, leave, lose their connections and vanish, time passes and
//! the coordinator moves. After each step everything that must hold does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::coordinator::group::classic::{Phase, State};
use crate::coordinator::group::machine::GroupMachine;

const SEEDS: std::ops::Range<u64> = 0..60;
const STEPS: usize = 300;

/// A client as far as it knows itself.
#[derive(Default)]
struct Someone {
    member: String,
    instance: Option<String>,
    generation: i32,
    is_leader: bool,
    members: Vec<String>,
    join: Option<RequestId>,
    sync: Option<RequestId>,
}

impl Someone {
    fn join(&mut self, bench: &mut Bench, random: &mut StdRng) {
        let topics: &[&str] = if random.random_bool(0.8) { &["orders"] } else { &["more"] };
        let mut request = joining(&self.member);
        request.group_instance_id = self.instance.as_deref().map(Str::from);
        request.session_timeout_ms = 6_000 + 1_000 * random.random_range(0..10);
        request.rebalance_timeout_ms = 1_000 * random.random_range(0..20);
        let request = supporting(request, &[("range", topics), ("sticky", topics)]);
        let version = random.random_range(0..=LATEST_JOIN);
        let version = if self.instance.is_some() { version.max(5) } else { version };
        self.join = Some(bench.join_in(version, "c", request));
    }

    fn sync(&mut self, bench: &mut Bench) {
        let own: Vec<[i32; 1]> = (0..).take(self.members.len()).map(|i| [i]).collect();
        let parts: Vec<(&str, &[i32])> = self
            .members
            .iter()
            .zip(&own)
            .map(|(member, own)| (member.as_str(), &own[..]))
            .collect();
        let parts = if self.is_leader { parts } else { Vec::new() };
        self.sync = Some(bench.sync(assigning(&self.member, self.generation, &parts)));
    }

    /// Reads what has been answered meanwhile.
    fn listen(&mut self, bench: &mut Bench) {
        if let Some(joined) = self.join.and_then(|join| bench.try_joined(join)) {
            self.join = None;
            self.member = joined.member_id.to_string();
            self.generation = joined.generation_id;
            self.is_leader = joined.leader == joined.member_id && !joined.skip_assignment;
            self.members =
                joined.members.iter().map(|member| member.member_id.to_string()).collect();
        }
        if let Some(synced) = self.sync.and_then(|sync| bench.try_synced(sync)) {
            self.sync = None;
            if synced.error_code == ErrorCode::UnknownMemberId.code() {
                self.member.clear();
            }
        }
    }

    /// One thing that a client may do.
    fn act(&mut self, bench: &mut Bench, random: &mut StdRng) {
        match random.random_range(0..20) {
            0..6 => self.join(bench, random),
            6..12 => self.sync(bench),
            12..16 => {
                bench.beat_as(&self.member, self.instance.as_deref(), self.generation);
            }
            16 => {
                bench.leave(&[(&self.member, self.instance.as_deref(), "")]);
            }
            // Its connection is lost: it never hears of what it asked for.
            17 => (self.join, self.sync) = (None, None),
            // It starts anew.
            18 => {
                *self = Someone { instance: self.instance.take(), ..Someone::default() };
            }
            _ => {}
        }
    }
}

#[test]
fn whatever_clients_do_the_group_stays_sound() {
    let mut reached = BTreeSet::new();
    for seed in SEEDS {
        println!("seed {seed}");
        run(seed, &mut reached);
    }
    let live = State::ALL.len() - 1;
    assert_eq!(reached.len(), live, "only {reached:?} were reached: the test tests too little");
}

fn run(seed: u64, reached: &mut BTreeSet<&'static str>) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut bench = Bench::with(GroupConfig { max_size: 5, ..GroupConfig::default() });
    let someone = |i: usize| Someone {
        instance: i.is_multiple_of(3).then(|| format!("i{i}")),
        ..Someone::default()
    };
    let mut clients: Vec<Someone> = (0..7).map(someone).collect();
    for _ in 0..STEPS {
        let before = generation(&bench.machine);
        let client = random.random_range(0..clients.len());
        clients[client].act(&mut bench, &mut random);
        if random.random_bool(0.3) {
            bench.pass(Duration::from_millis(random.random_range(0..4_000)));
        }
        if random.random_bool(0.01) {
            bench.fail_over();
            clients.iter_mut().for_each(|client| (client.join, client.sync) = (None, None));
        } else if let (Some(before), Some(after)) = (before, generation(&bench.machine)) {
            assert!(before <= after, "the generation went back from {before} to {after}");
        }
        clients.iter_mut().for_each(|client| client.listen(&mut bench));
        check(&bench);
        reached.extend(classic(&bench.machine).map(|group| group.state().name()));
    }
    bench.pass(Duration::from_secs(3600));
    assert!(bench.parked.is_empty(), "never answered: {:?}", bench.parked);
    assert!(classic(&bench.machine).is_none(), "nobody is there any more");
    assert!(classic(&bench.replayed()).is_none());
}

fn classic(machine: &GroupMachine) -> Option<&ClassicGroup> {
    match machine.groups.get(GROUP).map(|group| &**group) {
        Some(Group::Classic(group)) => Some(group),
        _ => None,
    }
}

/// The generation of a group that has members or had.
fn generation(machine: &GroupMachine) -> Option<i32> {
    classic(machine).filter(|group| group.kept).map(ClassicGroup::generation)
}

/// What holds after each step.
fn check(bench: &Bench) {
    let replayed = bench.replayed();
    let Some(group) = classic(&bench.machine) else {
        assert!(classic(&replayed).is_none(), "what is gone is gone from the log");
        return;
    };
    group.assert_sound();
    // Stable and Empty groups are as the log says; one that rebalances is not stored yet.
    let stored = classic(&replayed).map(ClassicGroup::to_stored);
    match group.phase {
        Phase::Stable { .. } => assert_eq!(stored, Some(group.to_stored())),
        Phase::Empty if group.kept => assert_eq!(stored, Some(group.to_stored())),
        Phase::Empty => assert_eq!(stored, None),
        Phase::Preparing { .. } | Phase::Completing { .. } => {
            let stored = stored.map(|stored| stored.generation);
            assert!(stored.is_none_or(|stored| stored <= group.generation()));
        }
    }
    let now = bench.now.monotonic;
    assert!(group.next_deadline().is_none_or(|due| due >= now), "a deadline was missed");
    assert!(bench.parked.is_empty() || group.next_deadline().is_some(), "who waits, for what?");
    // Each request that waits belongs to a member.
    let joins = group.members().filter_map(|member| member.join.map(|join| join.request));
    let waiting: Vec<RequestId> =
        joins.chain(group.members().filter_map(|member| member.sync)).collect();
    let waiting_once: BTreeSet<RequestId> = waiting.iter().copied().collect();
    assert_eq!(waiting.len(), waiting_once.len());
    assert_eq!(waiting_once, bench.parked);
}

impl ClassicGroup {
    /// Everything that is kept beside the members follows from them.
    fn assert_sound(&self) {
        let joined = self.members().filter(|member| member.join.is_some()).count();
        assert_eq!(self.joined(), joined);
        let mut supported: BTreeMap<&str, usize> = BTreeMap::new();
        let mut sessions = BTreeSet::new();
        for member in self.members() {
            for protocol in member.protocols.iter() {
                *supported.entry(&protocol.name).or_default() += 1;
            }
            if let Some(instance) = &member.instance {
                assert_eq!(self.static_member(instance), Some(&member.id));
            }
            let waits = member.join.is_some() || member.sync.is_some();
            assert!(member.session_ends.is_some() || waits, "no time ends its membership");
            sessions.extend(member.session_ends.map(|ends| (ends, member.id.clone())));
        }
        sessions.extend(self.pending.iter().map(|(id, ends)| (*ends, id.clone())));
        self.assert_indexed(&sessions, &supported);
        assert_eq!(self.size() == 0, self.leader.is_none(), "{:?}", self.leader);
        assert!(self.leader.as_ref().is_none_or(|leader| self.member(leader).is_some()));
        assert!(self.unsynced.iter().all(|member| self.member(member).is_some()));
        assert!(self.pending.keys().all(|member| self.member(member).is_none()));
        let waits_to_sync = self.members().any(|member| member.sync.is_some());
        match self.phase {
            Phase::Empty => assert_eq!(self.size(), 0),
            Phase::Preparing { .. } => assert!(self.unsynced.is_empty() && !waits_to_sync),
            Phase::Completing { .. } => assert!(joined == 0 && self.size() > 0),
            Phase::Stable { until } => {
                assert!(joined == 0 && !waits_to_sync && self.size() > 0);
                assert_eq!(until.is_some(), !self.unsynced.is_empty());
            }
        }
        assert_eq!(matches!(self.phase, Phase::Preparing { .. } | Phase::Completing { .. }), {
            self.begun.is_some()
        });
    }
}
