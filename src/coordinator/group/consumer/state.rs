//! A group of the consumer protocol, and how records fold into it.

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::OrdMap;

use crate::coordinator::group::assignor::Partitions;
use crate::coordinator::group::consumer::history::Pending;
use crate::coordinator::group::consumer::member::{Current, Member, Metadata};
use crate::coordinator::group::ids::{GroupId, InstanceId, MemberId};
use crate::coordinator::group::machine::Group;
use crate::coordinator::group::record::GroupRecord;
use crate::coordinator::group::stored::ConsumerGroupRegularExpressionValue;
use crate::types::clock::Monotonic;

/// The topics that a regular expression matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resolved {
    /// Sorted.
    pub topics: Arc<[Arc<str>]>,
    /// The metadata version that it was resolved on.
    pub version: i64,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
}

/// A group whose partitions the broker assigns. A clone is cheap.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::coordinator::group) struct ConsumerGroup {
    /// Rises when something changes by which the assignment may have to change.
    pub(super) epoch: i32,
    /// Of the metadata of the subscribed topics when the epoch last rose.
    pub(super) metadata_hash: i64,
    /// The group epoch that the target assignment was computed in.
    pub(super) target_epoch: i32,
    pub(super) members: OrdMap<MemberId, Arc<Member>>,
    pub(super) regexes: OrdMap<Arc<str>, Arc<Resolved>>,
    /// Static members by their lasting names. Follows from the members.
    pub(super) instances: OrdMap<InstanceId, MemberId>,
    /// What is soft.
    pub(super) soft: Soft,
}

/// What of a group a failover loses.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Soft {
    /// No member's deadline is earlier.
    pub next_deadline: Option<Monotonic>,
    /// The metadata version on which the subscribed topics were last compared.
    pub compared: Option<u64>,
    /// When the regular expressions were last resolved, and on which version of the topics' names.
    pub regexes_refreshed: Option<(Monotonic, u64)>,
    /// Why the epoch rose above the target's.
    pub pending: Option<Arc<Pending>>,
}

impl ConsumerGroup {
    /// When time will change something about it, or earlier.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        self.soft.next_deadline
    }

    /// Whether it has no members.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// A static member by its lasting name.
    pub(super) fn static_member(&self, instance: &str) -> Option<(&MemberId, &Arc<Member>)> {
        let id = self.instances.get(instance)?;
        self.members.get_key_value(id)
    }

    /// Puts what is soft of a member: its timers.
    pub(super) fn touch(&mut self, id: &MemberId, change: impl FnOnce(&mut Member)) {
        let Some(member) = self.members.get_mut(id) else { return };
        let member = Arc::make_mut(member);
        change(member);
        let next = member.timers.next();
        self.soft.next_deadline = self.soft.next_deadline.into_iter().chain(next).min();
    }

    /// Looks for the next deadline of all members anew.
    pub(super) fn look_ahead(&mut self) {
        let deadlines = self.members.values().filter_map(|member| member.timers.next());
        self.soft.next_deadline = deadlines.min();
    }

    /// Folds a record of this group in. `false`: the group is gone.
    pub(super) fn fold(&mut self, record: &GroupRecord) -> bool {
        match record {
            GroupRecord::Consumer { value: Some(value), .. } => {
                self.epoch = value.epoch;
                self.metadata_hash = value.metadata_hash;
            }
            GroupRecord::Consumer { value: None, .. } => return false,
            GroupRecord::TargetEpoch { value, .. } => {
                self.target_epoch = value.as_ref().map_or(0, |value| value.assignment_epoch);
            }
            GroupRecord::Member { member, value: Some(value), .. } => {
                self.set_metadata(member, Metadata::from_stored(value));
            }
            GroupRecord::Member { member, value: None, .. } => self.remove(member),
            GroupRecord::Target { member, value: Some(value), .. } => {
                let target = Partitions::from_stored(&value.topic_partitions);
                self.member_mut(member).target = Some(Arc::new(target));
            }
            GroupRecord::Target { member, value: None, .. } => {
                if let Some(member) = self.members.get_mut(member) {
                    Arc::make_mut(member).target = None;
                }
            }
            GroupRecord::Current { member, value: Some(value), .. } => {
                self.member_mut(member).current = Current::from_stored(value);
            }
            GroupRecord::Current { member, value: None, .. } => {
                if let Some(member) = self.members.get_mut(member) {
                    Arc::make_mut(member).current = Current::default();
                }
            }
            GroupRecord::Regex { regex, value, .. } => self.set_regex(regex, value.as_ref()),
            GroupRecord::Offset { .. } | GroupRecord::Classic { .. } => {}
        }
        true
    }

    /// The member, made if it is not there: compaction may have taken an earlier record of it.
    fn member_mut(&mut self, id: &MemberId) -> &mut Member {
        Arc::make_mut(self.members.entry(id.clone()).or_default())
    }

    fn set_metadata(&mut self, id: &MemberId, mut metadata: Metadata) {
        // Mostly all members subscribe to the same topics: they share one list.
        let first = self.members.get_min().map(|(_, first)| &first.metadata.topics);
        if let Some(first) = first.filter(|first| ***first == *metadata.topics) {
            metadata.topics = first.clone();
        }
        let new = metadata.instance_id.clone();
        let member = self.member_mut(id);
        let old = member.metadata.instance_id.clone();
        member.metadata = Arc::new(metadata);
        if old != new {
            self.forget_instance(id, old.as_ref());
        }
        if let Some(instance) = new {
            self.instances.insert(instance, id.clone());
        }
    }

    fn remove(&mut self, id: &MemberId) {
        if let Some(member) = self.members.remove(id) {
            self.forget_instance(id, member.metadata.instance_id.as_ref());
        }
    }

    fn forget_instance(&mut self, id: &MemberId, instance: Option<&InstanceId>) {
        if let Some(instance) = instance.filter(|one| self.instances.get(*one) == Some(id)) {
            self.instances.remove(instance);
        }
    }

    fn set_regex(&mut self, regex: &str, value: Option<&ConsumerGroupRegularExpressionValue>) {
        match value {
            Some(value) => {
                let resolved = Resolved {
                    topics: super::member::topic_names(&value.topics),
                    version: value.version,
                    at_ms: value.timestamp,
                };
                self.regexes.insert(Arc::from(regex), Arc::new(resolved));
            }
            None => {
                self.regexes.remove(regex);
            }
        }
    }
}

/// Folds a record into the groups. A tombstone of a group or member that is not there is none of
/// this room's business any more.
pub(in crate::coordinator::group) fn apply(
    groups: &mut BTreeMap<GroupId, Arc<Group>>,
    record: &GroupRecord,
) {
    let Some((id, is_tombstone)) = subject(record) else { return };
    let mut group = match groups.get(id).map(|group| &**group) {
        Some(Group::Consumer(group)) => group.clone(),
        _ if is_tombstone => return,
        Some(Group::Classic(_)) | None => ConsumerGroup::default(),
    };
    if group.fold(record) {
        groups.insert(id.clone(), Arc::new(Group::Consumer(group)));
    } else {
        groups.remove(id);
    }
}

fn subject(record: &GroupRecord) -> Option<(&GroupId, bool)> {
    match record {
        GroupRecord::Offset { .. } | GroupRecord::Classic { .. } => None,
        GroupRecord::Consumer { group, value } => Some((group, value.is_none())),
        GroupRecord::Member { group, value, .. } => Some((group, value.is_none())),
        GroupRecord::TargetEpoch { group, value } => Some((group, value.is_none())),
        GroupRecord::Target { group, value, .. } => Some((group, value.is_none())),
        GroupRecord::Current { group, value, .. } => Some((group, value.is_none())),
        GroupRecord::Regex { group, value, .. } => Some((group, value.is_none())),
    }
}
