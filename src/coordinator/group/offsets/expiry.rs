//! When an offset is too old (KIP-211), and the walk through all groups that finds out.
//!
//! Every `offsets.retention.check.interval.ms` all groups are looked through, a bounded part in each
//! decision, the next part at once. A group that is Empty and has no offsets (any more) goes, too.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use crate::coordinator::group::draft::Draft;
use crate::coordinator::group::ids::GroupId;
use crate::coordinator::group::machine::{Group, Note};
use crate::coordinator::group::offsets::store::Committed;
use crate::coordinator::group::offsets::tombstone;
use crate::coordinator::group::offsets::topics::{self, DeletedTopic};
use crate::coordinator::group::{classic, consumer};
use crate::types::{Monotonic, TimestampMs, TopicPartition};

/// How many groups one decision looks at.
const GROUPS_PER_DECISION: usize = 500;
/// How many offsets one decision takes away.
const OFFSETS_PER_DECISION: usize = 1_000;
/// How many bytes their names take at most: a decision is one batch.
const BYTES_PER_DECISION: usize = 256 * 1024;

/// From when on the retention of a group's offsets counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::coordinator::group) enum RetentionFrom {
    /// From the commit of each.
    Commit,
    /// From this time, for all.
    Time(TimestampMs),
    /// They do not expire now.
    Never,
}

/// How far the walk has come: soft, a new coordinator begins anew.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sweep {
    /// When the walk begins, or began.
    check_due: Monotonic,
    /// The last group that has been looked at; none: the walk has not begun.
    after: Option<GroupId>,
    /// Topics whose offsets are still to be forgotten.
    pub(super) deleted: Vec<DeletedTopic>,
}

/// What one decision may still take away.
#[derive(Debug)]
pub(super) struct Budget {
    offsets: usize,
    bytes: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { offsets: OFFSETS_PER_DECISION, bytes: BYTES_PER_DECISION }
    }
}

impl Budget {
    /// Whether the offset may be taken away in this decision: the first one always may.
    pub fn take(&mut self, group: &GroupId, partition: &TopicPartition) -> bool {
        let bytes = group.len() + partition.topic.len();
        if self.offsets == 0 || (self.bytes < bytes && self.offsets < OFFSETS_PER_DECISION) {
            return false;
        }
        self.offsets -= 1;
        self.bytes = self.bytes.saturating_sub(bytes);
        true
    }
}

/// The log has been read: the first walk is due in one interval.
pub(in crate::coordinator::group) fn loaded(draft: &mut Draft<'_>) {
    let check_due = draft.now.monotonic.plus(draft.config().offsets_retention_check_interval);
    settle(draft, Sweep { check_due, ..Sweep::default() });
}

/// Goes on with what is due: forgets offsets of deleted topics, then looks for expired ones.
pub(in crate::coordinator::group) fn expire(draft: &mut Draft<'_>) {
    let mut sweep = draft.machine.sweep.clone();
    let mut budget = Budget::default();
    topics::forget(draft, &mut sweep.deleted, &mut budget);
    if sweep.deleted.is_empty() && sweep.check_due <= draft.now.monotonic {
        walk(draft, &mut sweep, &mut budget);
    }
    settle(draft, sweep);
}

/// Keeps how far the walk has come, and when it goes on.
pub(super) fn settle(draft: &mut Draft<'_>, sweep: Sweep) {
    let due = match sweep.deleted.is_empty() {
        true => sweep.check_due,
        false => draft.now.monotonic,
    };
    draft.note(Note::Sweep(sweep));
    draft.note(Note::ExpiryDue(due));
}

fn walk(draft: &mut Draft<'_>, sweep: &mut Sweep, budget: &mut Budget) {
    let from = match &sweep.after {
        Some(after) => Bound::Excluded(after.clone()),
        None => Bound::Unbounded,
    };
    let machine = draft.machine;
    let mut groups = machine.groups.range::<GroupId, _>((from, Bound::Unbounded));
    for (id, _) in groups.by_ref().take(GROUPS_PER_DECISION) {
        if draft.room() == 0 || !look_at(draft, id, budget) {
            return;
        }
        sweep.after = Some(id.clone());
    }
    if groups.next().is_none() {
        sweep.after = None;
        let interval = draft.config().offsets_retention_check_interval;
        sweep.check_due = draft.now.monotonic.plus(interval);
    }
}

/// Takes away what has expired of a group; `false`: there is more than this decision may.
fn look_at(draft: &mut Draft<'_>, id: &GroupId, budget: &mut Budget) -> bool {
    let Some(group) = draft.group(id).cloned() else { return true };
    let (now, retention) = (draft.now.wall, draft.config().offsets_retention);
    let from = group.retention_from();
    let machine = draft.machine;
    let mut topic = None;
    let mut is_left = false;
    for (partition, committed) in machine.offsets.of(id) {
        let subscribed = match topic {
            Some((name, subscribed)) if name == &partition.topic => subscribed,
            _ => group.is_subscribed_to(&partition.topic),
        };
        topic = Some((&partition.topic, subscribed));
        if subscribed || !is_expired(committed, from, now, retention) {
            is_left = true;
        } else if budget.take(id, partition) {
            draft.record(tombstone(id, partition));
        } else {
            return false;
        }
    }
    if !is_left && group.is_empty() {
        remove(draft, id, &group);
    }
    true
}

/// What an old request said about its offset's end comes before the broker's retention, but not
/// before the group's state.
pub(super) fn is_expired(
    committed: &Committed,
    from: RetentionFrom,
    now: TimestampMs,
    retention: Duration,
) -> bool {
    let from = match from {
        RetentionFrom::Never => return false,
        _ if committed.expires_at != TimestampMs::NONE => return now >= committed.expires_at,
        RetentionFrom::Commit => committed.committed_at,
        RetentionFrom::Time(time) => time,
    };
    let age_ms = i128::from(now.0) - i128::from(from.0);
    age_ms >= i128::try_from(retention.as_millis()).unwrap_or(i128::MAX)
}

fn remove(draft: &mut Draft<'_>, id: &GroupId, group: &Arc<Group>) {
    match &**group {
        Group::Classic(_) => classic::remove(draft, id),
        Group::Consumer(group) => consumer::remove(draft, id, group),
    }
}

impl Group {
    /// From when on the retention of its offsets counts. The consumer protocol has no time since
    /// which a group is Empty: Kafka counts from the commit, whatever the group's state.
    fn retention_from(&self) -> RetentionFrom {
        match self {
            Group::Classic(group) => group.retention_from(),
            Group::Consumer(_) => RetentionFrom::Commit,
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Group::Classic(group) => group.is_empty(),
            Group::Consumer(group) => group.is_empty(),
        }
    }

    /// Whether a member subscribes to `topic`.
    pub(super) fn is_subscribed_to(&self, topic: &str) -> bool {
        match self {
            Group::Classic(group) => group.is_subscribed_to(topic),
            Group::Consumer(group) => group.is_subscribed_to(topic),
        }
    }
}
