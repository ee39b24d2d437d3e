//! What a group says of itself.

use crate::coordinator::group::assignor::Partitions;
use crate::coordinator::group::command::{Answer, Asked};
use crate::coordinator::group::consumer::edit::member_tombstones;
use crate::coordinator::group::consumer::epochs::AssignmentEpochs;
use crate::coordinator::group::consumer::member::Member;
use crate::coordinator::group::consumer::state::ConsumerGroup;
use crate::coordinator::group::consumer::target::assignor_name;
use crate::coordinator::group::draft::Draft;
use crate::coordinator::group::ids::{GroupId, MemberId};
use crate::coordinator::group::machine::Group;
use crate::coordinator::group::record::GroupRecord;
use crate::metadata::Image;
use crate::protocol::Str;
use crate::protocol::messages::consumer_group_describe::{
    ConsumerGroupDescribedAssignment, ConsumerGroupDescribedGroup, ConsumerGroupDescribedMember,
    ConsumerGroupDescribedTopicPartitions,
};
use crate::types::{ErrorCode, TopicId};

/// From this version on OffsetCommit knows member epochs.
const COMMIT_WITH_EPOCH_VERSION: i16 = 9;

/// For which partitions a member may commit offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::coordinator::group) enum CommitCheck {
    /// For all that it names.
    All,
    /// For those that it has had since `epoch` or longer.
    Since {
        /// The epoch that it gave, which is not its epoch any more.
        epoch: i32,
        /// What it has.
        epochs: AssignmentEpochs,
    },
}

impl CommitCheck {
    /// What is wrong with a commit for one partition.
    pub fn of(&self, topic: TopicId, partition: i32) -> Result<(), ErrorCode> {
        match self {
            Self::All => Ok(()),
            Self::Since { epoch, epochs } => match epochs.since(topic, partition) {
                Some(since) if since <= *epoch => Ok(()),
                Some(_) | None => Err(ErrorCode::StaleMemberEpoch),
            },
        }
    }
}

impl ConsumerGroup {
    /// The state, under Kafka's name.
    pub fn state_name(&self) -> &'static str {
        let is_reconciled = |member: &Member| member.current.is_reconciled_to(self.target_epoch);
        if self.members.is_empty() {
            "Empty"
        } else if self.epoch > self.target_epoch {
            "Assigning"
        } else if self.members.values().all(|member| is_reconciled(member)) {
            "Stable"
        } else {
            "Reconciling"
        }
    }

    /// Whether a member may commit offsets now, in Kafka's order of checks. `epoch`: the member's,
    /// or the generation of a classic member; below 0 from a client that is no member. An epoch that
    /// the member has left is good for what it has had since then (KIP-1251).
    ///
    /// # Errors
    /// The error that every partition is answered with.
    pub fn check_commit(
        &self,
        member: &str,
        _: Option<&str>,
        epoch: i32,
        version: i16,
    ) -> Result<CommitCheck, ErrorCode> {
        if epoch < 0 && self.members.is_empty() {
            return Ok(CommitCheck::All);
        }
        let member = self.members.get(member).ok_or(ErrorCode::UnknownMemberId)?;
        if !member.is_classic() && version < COMMIT_WITH_EPOCH_VERSION {
            return Err(ErrorCode::UnsupportedVersion);
        }
        if !member.is_classic() && (0..member.current.epoch).contains(&epoch) {
            return Ok(CommitCheck::Since { epoch, epochs: member.current.epochs.clone() });
        }
        check_epoch(member, epoch).map(|()| CommitCheck::All)
    }

    /// Whether a member may fetch offsets now. Who is no member may.
    ///
    /// # Errors
    /// The error that the group is answered with.
    pub fn check_fetch(&self, member: Option<&str>, epoch: i32) -> Result<(), ErrorCode> {
        let Some(id) = member else {
            return if epoch < 0 { Ok(()) } else { Err(ErrorCode::UnknownMemberId) };
        };
        let member = self.members.get(id).ok_or(ErrorCode::UnknownMemberId)?;
        check_epoch(member, epoch)
    }

    /// What takes the group back, in Kafka's order.
    pub fn tombstones(&self, id: &GroupId) -> Vec<GroupRecord> {
        let mut records: [Vec<GroupRecord>; 3] = Default::default();
        for member in self.members.keys() {
            for (of_kind, record) in records.iter_mut().zip(member_tombstones(id, member)) {
                of_kind.push(record);
            }
        }
        let [mut all, targets, members] = records;
        all.extend(targets);
        all.push(GroupRecord::TargetEpoch { group: id.clone(), value: None });
        all.extend(members);
        all.extend(self.regexes.keys().map(|regex| GroupRecord::Regex {
            group: id.clone(),
            regex: regex.to_string(),
            value: None,
        }));
        all.push(GroupRecord::Consumer { group: id.clone(), value: None });
        all
    }
}

fn check_epoch(member: &Member, epoch: i32) -> Result<(), ErrorCode> {
    match member.current.epoch == epoch {
        true => Ok(()),
        false if member.is_classic() => Err(ErrorCode::IllegalGeneration),
        false => Err(ErrorCode::StaleMemberEpoch),
    }
}

/// ConsumerGroupDescribe.
pub(in crate::coordinator::group) fn describe(draft: &mut Draft<'_>, asked: Asked<Vec<Str>>) {
    let groups = asked.body.iter().map(|id| match draft.group(id).map(|group| &**group) {
        Some(Group::Consumer(group)) => {
            let assignor_name = Str::from(&*assignor_name(group, draft.config()));
            ConsumerGroupDescribedGroup { assignor_name, ..described(id, group, draft.image()) }
        }
        Some(Group::Classic(_)) => not_found(id, "is not a consumer group."),
        None => not_found(id, "not found."),
    });
    let groups = groups.collect();
    draft.reply(asked.request, Answer::ConsumerDescribed(groups));
}

fn not_found(id: &Str, fault: &str) -> ConsumerGroupDescribedGroup {
    ConsumerGroupDescribedGroup {
        error_code: ErrorCode::GroupIdNotFound as i16,
        error_message: Some(Str::from(format!("Group {} {fault}", id.as_str()))),
        group_id: id.clone(),
        ..ConsumerGroupDescribedGroup::default()
    }
}

fn described(id: &Str, group: &ConsumerGroup, image: &Image) -> ConsumerGroupDescribedGroup {
    let members = group.members.iter();
    ConsumerGroupDescribedGroup {
        group_id: id.clone(),
        group_state: Str::from_static(group.state_name()),
        group_epoch: group.epoch,
        assignment_epoch: group.target_epoch,
        members: members.map(|(id, member)| described_member(id, member, image)).collect(),
        ..ConsumerGroupDescribedGroup::default()
    }
}

fn described_member(id: &MemberId, member: &Member, image: &Image) -> ConsumerGroupDescribedMember {
    let metadata = &member.metadata;
    let target = member.target.clone().unwrap_or_default();
    ConsumerGroupDescribedMember {
        member_id: Str::from(&**id),
        instance_id: metadata.instance_id.as_ref().map(|instance| Str::from(&**instance)),
        rack_id: metadata.rack_id.as_ref().map(|rack| Str::from(&**rack)),
        member_epoch: member.current.epoch,
        client_id: Str::from(&*metadata.client_id),
        client_host: Str::from(&*metadata.client_host),
        subscribed_topic_names: metadata.topics.iter().map(|name| Str::from(&**name)).collect(),
        subscribed_topic_regex: metadata.regex.as_ref().map(|regex| Str::from(&**regex)),
        assignment: described_assignment(&member.current.assigned, image),
        target_assignment: described_assignment(&target, image),
        member_type: if member.is_classic() { 0 } else { 1 },
    }
}

fn described_assignment(
    partitions: &Partitions,
    image: &Image,
) -> ConsumerGroupDescribedAssignment {
    let known = partitions.topics().filter_map(|(topic, partitions)| {
        Some(ConsumerGroupDescribedTopicPartitions {
            topic_id: topic.0,
            topic_name: Str::from(image.topic_name(topic)?.as_str()),
            partitions: partitions.to_vec(),
        })
    });
    ConsumerGroupDescribedAssignment { topic_partitions: known.collect() }
}
