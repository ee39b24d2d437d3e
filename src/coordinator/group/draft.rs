//! A decision in the making: what it read stays as it was, what it changed is seen by what follows.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::coordinator::group::command::{Answer, Effect};
use crate::coordinator::group::ids::GroupId;
use crate::coordinator::group::machine::{Group, GroupMachine, Note};
use crate::coordinator::group::record::GroupRecord;
use crate::coordinator::group::{GroupConfig, MemberTimes};
use crate::coordinator::shard::RequestId;
use crate::metadata::{ConfigResource, Image};
use crate::types::machine::{Decision, Now};

/// How many bytes the records take that a decision about many groups at once gives: they are one
/// batch, and one that a partition of `__consumer_offsets` refuses would be refused for ever.
const BYTES_PER_DECISION: usize = 256 * 1024;

/// A decision in the making. A group is changed by taking a clone (cheap: what is large in a group
/// is shared), changing that, recording what is durable of it and [`Draft::put`]ting it back.
pub(super) struct Draft<'a> {
    /// The machine as it is.
    pub machine: &'a GroupMachine,
    /// The time.
    pub now: Now,
    groups: BTreeMap<GroupId, Option<Arc<Group>>>,
    /// About how many bytes the records take, but for the values of consumer groups.
    bytes: usize,
    decision: Decision<GroupRecord, Note, (RequestId, Answer), Effect>,
}

impl<'a> Draft<'a> {
    /// A decision on `machine` at `now`.
    pub fn new(machine: &'a GroupMachine, now: Now) -> Self {
        let (groups, decision) = (BTreeMap::new(), Decision::default());
        Self { machine, now, groups, bytes: 0, decision }
    }

    /// The settings.
    pub fn config(&self) -> &'a GroupConfig {
        &self.machine.config
    }

    /// What holds for the members of one consumer group.
    pub fn member_times(&self, id: &GroupId) -> MemberTimes {
        let own = self.machine.image.config(&ConfigResource::Group(id.to_string()));
        self.config().member_times(own.map(|own| &**own))
    }

    /// The cluster's metadata.
    pub fn image(&self) -> &'a Image {
        &self.machine.image
    }

    /// A group as this decision leaves it so far.
    pub fn group(&self, id: &str) -> Option<&Arc<Group>> {
        match self.groups.get(id) {
            Some(changed) => changed.as_ref(),
            None => self.machine.groups.get(id),
        }
    }

    /// Puts a changed group back; `None` takes it away. What is durable of the change must have been
    /// recorded too.
    pub fn put(&mut self, id: &GroupId, group: Option<Group>) {
        self.groups.insert(id.clone(), group.map(Arc::new));
    }

    /// Adds a durable fact.
    pub fn record(&mut self, record: GroupRecord) {
        self.bytes += record.size_bytes();
        self.decision.records.push(record);
    }

    /// How many bytes a decision about many groups may still take; none: what is left to decide is for
    /// the next one.
    pub fn room(&self) -> usize {
        BYTES_PER_DECISION.saturating_sub(self.bytes)
    }

    /// Adds a soft fact that is not a group.
    pub fn note(&mut self, note: Note) {
        self.decision.notes.push(note);
    }

    /// Answers a request: this one's or a parked one's.
    pub fn reply(&mut self, request: RequestId, answer: Answer) {
        self.decision.replies.push((request, answer));
    }

    /// Asks the shell for something.
    pub fn effect(&mut self, effect: Effect) {
        self.decision.effects.push(effect);
    }

    /// The decision.
    pub fn finish(mut self) -> Decision<GroupRecord, Note, (RequestId, Answer), Effect> {
        let groups = self.groups.into_iter();
        self.decision.notes.extend(groups.map(|(id, group)| Note::Group(id, group)));
        self.decision
    }
}
