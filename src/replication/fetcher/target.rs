//! One leader node: the partitions to fetch from it, and the task that does so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Way;
use super::lane::{FetchError, Lane, Returned};
use super::request::{Asked, Matched, match_answers};
use crate::replication::partition::{Followed, FollowedRecords, Partition};
use crate::types::{Clock, ErrorCode, Monotonic, NodeId, TopicPartition};

/// Partitions without new records share the long poll of this lane; a busy one is not slowed down
/// by their number.
const QUIET_LANE: usize = 0;
/// Those with new records use the others, whichever is free.
const BUSY_LANES: [usize; 2] = [1, 2];

/// A partition that had no new records for so long is quiet.
const QUIET_AFTER: Duration = Duration::from_secs(1);
/// A fetch that has waited for so long has found nothing: it may be given up for partitions that
/// have just come to this leader and find no lane free.
const PARKED_AFTER: Duration = Duration::from_millis(10);
/// The pause after the leader could not be reached, doubled each time.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(1_000);
/// After appending so much at once, others on this worker get their turn.
const YIELD_AFTER_BYTES: usize = 256 * 1024;

/// A leader node and who follows it here.
pub(super) struct Target {
    leader: NodeId,
    clock: Arc<dyn Clock>,
    members: Mutex<BTreeMap<TopicPartition, Member>>,
    changed: Notify,
    try_again: AtomicBool,
}

struct Member {
    partition: Arc<Partition>,
    /// When it last had new records, or came here.
    active_at: Monotonic,
}

impl Target {
    pub(super) fn new(leader: NodeId, clock: Arc<dyn Clock>) -> Self {
        Self {
            leader,
            clock,
            members: Mutex::default(),
            changed: Notify::new(),
            try_again: AtomicBool::new(false),
        }
    }

    pub(super) fn add(&self, partition: Arc<Partition>) {
        let name = partition.topic_partition().clone();
        let member = Member { partition, active_at: self.clock.monotonic() };
        self.members.lock().insert(name, member);
        self.changed.notify_one();
    }

    pub(super) fn try_again(&self) {
        self.try_again.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    /// The partitions that could fetch now, busy ones and quiet ones, and those that must be
    /// synced first; when the next pause ends. Those that follow somebody else are forgotten.
    fn due(&self) -> Due {
        let mut due = Due::default();
        let now = self.clock.monotonic();
        self.members.lock().retain(|_, member| {
            let partition = &member.partition;
            if partition.followed_leader() != Some(self.leader) {
                return false;
            }
            if !partition.may_ask() {
                let wait = partition.pause_left();
                due.next_pause_end = earlier(due.next_pause_end, wait.map(|wait| now.plus(wait)));
            } else if !partition.is_synced_to_report() {
                due.unsynced.push(Arc::clone(partition));
            } else if now.since(member.active_at) < QUIET_AFTER {
                due.busy.push(Arc::clone(partition));
            } else {
                due.quiet.push(Arc::clone(partition));
            }
            true
        });
        due
    }

    fn note_active(&self, name: &TopicPartition) {
        if let Some(member) = self.members.lock().get_mut(name) {
            member.active_at = self.clock.monotonic();
        }
    }
}

#[derive(Default)]
struct Due {
    busy: Vec<Arc<Partition>>,
    quiet: Vec<Arc<Partition>>,
    unsynced: Vec<Arc<Partition>>,
    next_pause_end: Option<Monotonic>,
}

fn earlier(one: Option<Monotonic>, other: Option<Monotonic>) -> Option<Monotonic> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Fetches from one leader node until it is dropped.
pub(super) async fn run(target: Arc<Target>, way: Arc<Way>) {
    let mut fetching = Fetching {
        target,
        way,
        // Those without traffic are the same ones time and again.
        lanes: [Lane::with_session(), Lane::default(), Lane::default()],
        syncing: BTreeSet::new(),
        syncs: FuturesUnordered::new(),
        failures: 0,
        not_before: None,
        rotation: 0,
    };
    loop {
        fetching.turn().await;
    }
}

struct Fetching {
    target: Arc<Target>,
    way: Arc<Way>,
    lanes: [Lane; 3],
    syncing: BTreeSet<TopicPartition>,
    syncs: FuturesUnordered<BoxFuture<'static, TopicPartition>>,
    failures: u32,
    not_before: Option<Monotonic>,
    rotation: usize,
}

impl Fetching {
    /// Sends off what can be sent, then waits for one thing to happen.
    async fn turn(&mut self) {
        let wake_at = self.send_off();
        let target = Arc::clone(&self.target);
        let pause = sleep(wake_at.map(|wake_at| wake_at.since(self.now())));
        let [quiet, first, second] = &mut self.lanes;
        let (lane, returned) = tokio::select! {
            biased;
            landed = first.landing() => (BUSY_LANES[0], landed),
            landed = second.landing() => (BUSY_LANES[1], landed),
            landed = quiet.landing() => (QUIET_LANE, landed),
            Some(synced) = self.syncs.next() => {
                self.syncing.remove(&synced);
                return;
            }
            () = target.changed.notified() => {
                if target.try_again.swap(false, Ordering::AcqRel) {
                    self.failures = 0;
                    self.not_before = None;
                }
                return;
            }
            () = pause => return,
        };
        match &returned.response {
            Ok(_) => self.take(lane, returned).await,
            Err(error) => self.unreachable(&returned.asked, error),
        }
    }

    fn now(&self) -> Monotonic {
        self.way.context.clock.monotonic()
    }

    /// Fills the free lanes; when to look again if nothing happens before.
    fn send_off(&mut self) -> Option<Monotonic> {
        let now = self.now();
        if self.not_before.is_some_and(|until| until > now) {
            return self.not_before;
        }
        let mut due = self.target.due();
        for partition in due.unsynced.drain(..) {
            self.sync(partition);
        }
        let free = BUSY_LANES.into_iter().find(|lane| self.lanes[*lane].is_free());
        let quiet_is_free = self.lanes[QUIET_LANE].is_free();
        if free.is_none() || !quiet_is_free {
            due.busy.append(&mut due.quiet);
        } else if !due.quiet.is_empty() {
            self.launch(QUIET_LANE, &due.quiet);
        }
        match free.or(quiet_is_free.then_some(QUIET_LANE)) {
            _ if due.busy.is_empty() => due.next_pause_end,
            Some(lane) => {
                self.launch(lane, &due.busy);
                due.next_pause_end
            }
            None => self.make_room(now, due.next_pause_end),
        }
    }

    /// Partitions have come to this leader while all lanes wait: they shall not wait as well.
    fn make_room(&mut self, now: Monotonic, wake_at: Option<Monotonic>) -> Option<Monotonic> {
        let [first, second] = BUSY_LANES.map(|lane| self.lanes[lane].busy_since());
        let lane = if first <= second { BUSY_LANES[0] } else { BUSY_LANES[1] };
        let parked_at = self.lanes[lane].busy_since().map(|since| since.plus(PARKED_AFTER));
        if parked_at.is_some_and(|parked_at| parked_at > now) {
            return earlier(parked_at, wake_at);
        }
        self.lanes[lane].abandon();
        self.send_off()
    }

    fn launch(&mut self, lane: usize, partitions: &[Arc<Partition>]) {
        let leader = self.target.leader;
        let mut asked: Vec<Asked> = partitions
            .iter()
            .filter_map(|partition| {
                let ask = partition.ask(leader)?;
                Some(Asked { partition: Arc::clone(partition), ask })
            })
            .collect();
        if asked.is_empty() {
            return;
        }
        let begin = self.rotation % asked.len();
        asked.rotate_left(begin);
        self.lanes[lane].launch(&self.way, leader, asked);
    }

    fn sync(&mut self, partition: Arc<Partition>) {
        let name = partition.topic_partition().clone();
        if self.syncing.insert(name.clone()) {
            self.syncs.push(Box::pin(async move {
                if partition.sync().await.is_err() {
                    tokio::time::sleep(PAUSE_MAX).await;
                }
                name
            }));
        }
    }

    fn unreachable(&mut self, asked: &[Asked], error: &FetchError) {
        for asked in asked {
            asked.partition.fetch_lost(&asked.ask, false);
        }
        if error.says_dead() {
            self.suspect();
        }
        let pause = PAUSE_MIN.saturating_mul(1 << self.failures.min(10)).min(PAUSE_MAX);
        if self.failures == 0 {
            tracing::warn!(leader = %self.target.leader, %error, "cannot fetch from the leader");
        }
        self.failures += 1;
        self.not_before = Some(self.now().plus(pause));
    }

    fn suspect(&self) {
        let (leader, image) = (self.target.leader, self.way.metadata.image());
        if let Some(broker) = image.broker(leader) {
            self.way.context.suspects.suspect(leader, broker.broker_epoch, self.now());
        }
    }

    async fn take(&mut self, lane: usize, returned: Returned) {
        let Returned { asked, is_incremental, response: Ok(response) } = returned else { return };
        self.failures = 0;
        self.way.context.suspects.clear(self.target.leader);
        if response.error_code != ErrorCode::None.code() {
            let error = ErrorCode::from_code(response.error_code);
            tracing::warn!(leader = %self.target.leader, ?error, "the leader refused the fetch");
        }
        // A session that has ended is begun anew at once; what an incremental answer does not
        // mention is as it was.
        let pauses = !is_incremental;
        let mut size_bytes = 0;
        let Matched { answers, has_strangers } = match_answers(&asked, response);
        if has_strangers {
            self.lanes[lane].begin_session_anew();
        }
        for (asked, answer) in asked.iter().zip(answers) {
            let Some(answer) = answer else {
                asked.partition.fetch_lost(&asked.ask, pauses);
                continue;
            };
            let length = answer.records.len();
            self.take_one(lane, asked, answer).await;
            size_bytes += length;
            if length >= YIELD_AFTER_BYTES {
                tokio::task::yield_now().await;
            }
        }
        if size_bytes >= self.way.context.options.fetch_response_max_bytes as usize / 2 {
            // The answer was full: those at its end come first next time.
            self.rotation = self.rotation.wrapping_add(1);
        }
    }

    async fn take_one(&mut self, lane: usize, asked: &Asked, answer: FollowedRecords) {
        let partition = &asked.partition;
        let mut next = partition.followed(&asked.ask, answer);
        loop {
            match next {
                Followed::Done { appended: true } => {
                    return self.target.note_active(partition.topic_partition());
                }
                Followed::Done { appended: false } => return,
                Followed::AdvanceStart { appended, log_start } => {
                    if !partition.follow_log_start(log_start).await {
                        // To be told again.
                        self.lanes[lane].begin_session_anew();
                    }
                    next = Followed::Done { appended };
                }
                Followed::BeginWith { records, leader_epoch } => {
                    next = partition.begin_with(records, leader_epoch).await;
                }
                Followed::Cut(cut) => {
                    partition.cut(cut).await;
                    self.target.note_active(partition.topic_partition());
                    return;
                }
                Followed::Locate => {
                    let node = self.way.context.node;
                    let bounds = self.lanes[lane].locate(node, asked).await;
                    next = partition.located(asked.ask.leader_epoch, bounds);
                }
            }
        }
    }
}

async fn sleep(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => futures::future::pending().await,
    }
}
