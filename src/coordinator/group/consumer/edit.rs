//! A change of one group in the making. What is durable of it goes through records and nothing
//! else, so that a replay of them gives the same group.

use std::sync::Arc;
use std::time::Duration;

use crate::coordinator::group::assignor::Partitions;
use crate::coordinator::group::classic::ClassicGroup;
use crate::coordinator::group::command::Effect;
use crate::coordinator::group::consumer::history::Pending;
use crate::coordinator::group::consumer::member::{Current, Member, MemberState, Metadata};
use crate::coordinator::group::consumer::state::ConsumerGroup;
use crate::coordinator::group::draft::Draft;
use crate::coordinator::group::ids::{GroupId, MemberId};
use crate::coordinator::group::machine::Group;
use crate::coordinator::group::rebalance::RebalanceCause;
use crate::coordinator::group::record::GroupRecord;
use crate::coordinator::group::stored::{
    ConsumerGroupMetadataValue, ConsumerGroupTargetAssignmentMemberValue,
    ConsumerGroupTargetAssignmentMetadataValue,
};
use crate::coordinator::group::{GroupConfig, MemberTimes};
use crate::metadata::Image;
use crate::types::ErrorCode;
use crate::types::machine::Now;

/// A change of one group in the making.
pub(super) struct Edit<'a> {
    pub id: GroupId,
    pub group: ConsumerGroup,
    pub image: &'a Image,
    pub config: &'a GroupConfig,
    pub times: MemberTimes,
    pub now: Now,
    /// The version of the metadata at which a topic last came or went.
    pub names_version: u64,
    pub records: Vec<GroupRecord>,
    pub effects: Vec<Effect>,
    /// The classic group that it was; whoever waits for something of that joins again.
    pub upgraded_from: Option<ClassicGroup>,
}

impl<'a> Edit<'a> {
    /// A change of `group`.
    pub fn new(draft: &Draft<'a>, id: GroupId, group: ConsumerGroup) -> Self {
        Self {
            times: draft.member_times(&id),
            id,
            group,
            image: draft.image(),
            config: draft.config(),
            now: draft.now,
            names_version: draft.machine.names_version,
            records: Vec::new(),
            effects: Vec::new(),
            upgraded_from: None,
        }
    }

    /// Makes the change part of the decision.
    pub fn finish(self, draft: &mut Draft<'_>) {
        for record in self.records {
            draft.record(record);
        }
        for effect in self.effects {
            draft.effect(effect);
        }
        if let Some(classic) = self.upgraded_from {
            classic.refuse_all_parked(draft, ErrorCode::RebalanceInProgress);
        }
        draft.put(&self.id, Some(Group::Consumer(self.group)));
    }

    /// Records a durable fact.
    pub fn record(&mut self, record: GroupRecord) {
        self.group.fold(&record);
        self.records.push(record);
    }

    /// A member as it is by now.
    pub fn member(&self, id: &str) -> Option<&Arc<Member>> {
        self.group.members.get(id)
    }

    /// Records what a member says about itself.
    pub fn set_metadata(&mut self, member: &MemberId, metadata: &Metadata) {
        let (group, value) = (self.id.clone(), Some(metadata.to_stored()));
        self.record(GroupRecord::Member { group, member: member.clone(), value });
    }

    /// Records what a member shall own.
    pub fn set_target(&mut self, member: &MemberId, target: &Partitions) {
        let topic_partitions = target.to_stored();
        let value = Some(ConsumerGroupTargetAssignmentMemberValue { topic_partitions });
        let (group, member) = (self.id.clone(), member.clone());
        self.record(GroupRecord::Target { group, member, value });
    }

    /// Records the epoch of the target assignment.
    pub fn set_target_epoch(&mut self, assignment_epoch: i32) {
        let value = Some(ConsumerGroupTargetAssignmentMetadataValue {
            assignment_epoch,
            assignment_timestamp: self.now.wall.0,
        });
        self.record(GroupRecord::TargetEpoch { group: self.id.clone(), value });
    }

    /// Records what a member owns.
    pub fn set_current(&mut self, member: &MemberId, current: &Current) {
        let before = self.member(member).map(|member| member.current.clone()).unwrap_or_default();
        let (group, value) = (self.id.clone(), Some(current.after(&before).to_stored()));
        self.record(GroupRecord::Current { group, member: member.clone(), value });
    }

    /// Records the group's epoch.
    pub fn set_epoch(&mut self, epoch: i32, metadata_hash: i64) {
        let value = Some(ConsumerGroupMetadataValue { epoch, metadata_hash });
        self.record(GroupRecord::Consumer { group: self.id.clone(), value });
    }

    /// Takes a member's records back, in Kafka's order.
    pub fn remove(&mut self, member: &MemberId) {
        for record in member_tombstones(&self.id, member) {
            self.record(record);
        }
    }

    /// Remembers why the epoch rises, unless it has risen for another reason already.
    pub fn because(&mut self, cause: RebalanceCause, member: Option<&MemberId>, reason: &str) {
        if self.group.soft.pending.is_some() {
            return;
        }
        let metadata = member.and_then(|id| self.member(id)).map(|member| member.metadata.clone());
        let metadata = metadata.unwrap_or_default();
        self.group.soft.pending = Some(Arc::new(Pending {
            at: self.now.wall,
            cause,
            member: member.cloned(),
            client_id: metadata.client_id.clone(),
            client_host: metadata.client_host.clone(),
            reason: Arc::from(reason),
            departed: Vec::new(),
        }));
    }

    /// Remembers that a member goes, and what it was to own.
    pub fn departs(&mut self, id: &MemberId) {
        let target = self.member(id).and_then(|member| member.target.clone());
        if let (Some(pending), Some(target)) = (&mut self.group.soft.pending, target) {
            Arc::make_mut(pending).departed.push((id.clone(), target));
        }
    }

    /// A member was heard of: its session begins anew.
    pub fn heard(&mut self, id: &MemberId, session_timeout: Duration) {
        let session = Some(self.now.monotonic.plus(session_timeout));
        self.group.touch(id, |member| member.timers.session = session);
    }

    /// Records what a member owns, if that changed, and watches over what it has to give up.
    pub fn reconciled(&mut self, id: &MemberId, next: &Current) {
        let unchanged = |member: &Member| {
            member.current == *next || member.current == next.after(&member.current)
        };
        if self.member(id).is_none_or(|member| unchanged(member)) {
            return;
        }
        self.set_current(id, next);
        let now = self.now.monotonic;
        self.group.touch(id, |member| {
            let watched = next.state == MemberState::UnrevokedPartitions && !member.is_classic();
            let deadline = || now.plus(member.metadata.rebalance_timeout());
            member.timers.rebalance = watched.then(deadline);
        });
    }
}

/// What takes a member back, in Kafka's order.
pub(super) fn member_tombstones(group: &GroupId, member: &MemberId) -> [GroupRecord; 3] {
    let (group, member) = (|| group.clone(), || member.clone());
    [
        GroupRecord::Current { group: group(), member: member(), value: None },
        GroupRecord::Target { group: group(), member: member(), value: None },
        GroupRecord::Member { group: group(), member: member(), value: None },
    ]
}
