//! When a group's epoch rises and what target assignment follows.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::coordinator::group::GroupConfig;
use crate::coordinator::group::assignor::{
    Assignor, Partitions, Subscriber, Subscriptions, Topic, moved,
};
use crate::coordinator::group::command::Effect;
use crate::coordinator::group::consumer::edit::Edit;
use crate::coordinator::group::consumer::history::Pending;
use crate::coordinator::group::consumer::member::Metadata;
use crate::coordinator::group::consumer::state::ConsumerGroup;
use crate::coordinator::group::ids::MemberId;
use crate::coordinator::group::rebalance::{Rebalance, RebalanceCause};
use crate::metadata::{Image, Topic as TopicImage};
use crate::types::TopicId;

/// Raises the group's epoch if its subscriptions have changed, if it is new, or if the metadata of
/// the topics that it subscribes to are not what they were. That is compared once per version of
/// the cluster's metadata.
pub(super) fn raise_epoch(edit: &mut Edit<'_>, resubscribed: bool) {
    let version = Some(edit.image.version());
    let raises = resubscribed || edit.group.epoch == 0;
    if !raises && edit.group.soft.compared == version {
        return;
    }
    edit.group.soft.compared = version;
    let hash = metadata_hash(&edit.group, edit.image);
    if raises || hash != edit.group.metadata_hash {
        edit.because(RebalanceCause::PartitionsChanged, None, "");
        edit.set_epoch(edit.group.epoch + 1, hash);
    }
}

/// A number that differs when a topic that the group subscribes to comes, goes, is another, grows,
/// or has replicas in other racks. 0 if there is none.
pub(super) fn metadata_hash(group: &ConsumerGroup, image: &Image) -> i64 {
    let has_racks = image.brokers.values().any(|broker| broker.rack.is_some());
    let names = group.subscribed_topics();
    let topics: Vec<&Arc<TopicImage>> = names.iter().filter_map(|name| image.topic(name)).collect();
    if topics.is_empty() {
        return 0;
    }
    let mut hash = Fnv::new();
    for topic in topics {
        hash.add(topic.name.as_bytes());
        hash.add(topic.id.0.as_bytes());
        hash.add(&topic.partitions.len().to_be_bytes());
        if has_racks {
            for rack in racks(topic, image).iter().flatten() {
                hash.add(rack.as_bytes());
            }
        }
    }
    hash.finish()
}

/// Fowler, Noll and Vo's hash (1a) of 64 bits: the same in every process.
struct Fnv(u64);

impl Fnv {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        let length = (bytes.len() as u64).to_be_bytes();
        for byte in length.iter().chain(bytes) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> i64 {
        self.0.cast_signed()
    }
}

/// The racks of each partition's replicas, sorted.
fn racks(topic: &TopicImage, image: &Image) -> Vec<Vec<Arc<str>>> {
    let partitions = topic.partitions.values().map(|partition| {
        let brokers = partition.replicas.iter().filter_map(|node| image.broker(*node));
        let mut racks: Vec<Arc<str>> =
            brokers.filter_map(|broker| broker.rack.as_deref().map(Arc::from)).collect();
        racks.sort_unstable();
        racks.dedup();
        racks
    });
    partitions.collect()
}

/// Computes the target assignment anew if the group's epoch has risen above it.
pub(super) fn update(edit: &mut Edit<'_>) {
    if edit.group.epoch <= edit.group.target_epoch {
        return;
    }
    let subscriptions = subscriptions(&edit.group, edit.image);
    let assigned = assignor(&edit.group, edit.config).assign(&subscriptions);
    let before = targets(&edit.group);
    for (member, target) in subscriptions.members.iter().zip(&assigned) {
        let known = edit.member(&member.id).and_then(|member| member.target.as_deref());
        if known != Some(target) {
            edit.set_target(&member.id, target);
        }
    }
    edit.set_target_epoch(edit.group.epoch);
    edit.because(RebalanceCause::CoordinatorMoved, None, "");
    if let Some(pending) = edit.group.soft.pending.take() {
        report(edit, &pending, &before);
    }
}

/// What every member was to own.
pub(super) fn targets(group: &ConsumerGroup) -> Vec<(MemberId, Arc<Partitions>)> {
    let members = group.members.iter();
    members.filter_map(|(id, member)| Some((id.clone(), member.target.clone()?))).collect()
}

/// Tells the shell what the rebalance was.
pub(super) fn report(
    edit: &mut Edit<'_>,
    pending: &Pending,
    before: &[(MemberId, Arc<Partitions>)],
) {
    let old = before.iter().chain(&pending.departed).map(|(id, target)| (id, &**target));
    let after = targets(&edit.group);
    let new = after.iter().map(|(id, target)| (id, &**target));
    let moved = moved(old, new, |topic| edit.image.topic_name(topic).cloned());
    edit.effects.push(Effect::Rebalanced(Rebalance {
        group: edit.id.clone(),
        at: pending.at,
        took_ms: edit.now.wall.0.saturating_sub(pending.at.0).max(0),
        generation: edit.group.epoch,
        cause: pending.cause,
        member: pending.member.clone(),
        client_id: pending.client_id.to_string(),
        client_host: pending.client_host.to_string(),
        reason: pending.reason.to_string(),
        members: edit.group.members.len(),
        moved,
    }));
}

/// The assignor that most members ask for; the broker's first one if nobody asks.
fn assignor(group: &ConsumerGroup, config: &GroupConfig) -> Assignor {
    let name = assignor_name(group, config);
    Assignor::named(&name).unwrap_or(Assignor::Uniform)
}

/// The name of the assignor that is used next.
pub(super) fn assignor_name(group: &ConsumerGroup, config: &GroupConfig) -> Arc<str> {
    let mut votes: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
    for member in group.members.values() {
        if let Some(name) = &member.metadata.server_assignor {
            *votes.entry(name).or_default() += 1;
        }
    }
    let most = votes.into_iter().max_by_key(|(_, votes)| *votes).map(|(name, _)| name.clone());
    let default = || config.consumer_assignors.first().map_or("uniform", String::as_str);
    most.unwrap_or_else(|| Arc::from(default()))
}

/// What the assignor works on. Members with the same subscription share the list of topics.
fn subscriptions(group: &ConsumerGroup, image: &Image) -> Subscriptions {
    let has_racks = image.brokers.values().any(|broker| broker.rack.is_some());
    let mut all = Subscriptions::default();
    let mut last: Option<(Arc<Metadata>, Arc<[TopicId]>)> = None;
    for (id, member) in &group.members {
        let metadata = &member.metadata;
        let same = last.as_ref().filter(|(other, _)| {
            Arc::ptr_eq(&other.topics, &metadata.topics) && other.regex == metadata.regex
        });
        let topics = match same {
            Some((_, topics)) => topics.clone(),
            None => subscribed_ids(group, metadata, image),
        };
        last = Some((metadata.clone(), topics.clone()));
        all.members.push(Subscriber {
            id: id.clone(),
            rack: metadata.rack_id.clone(),
            topics,
            before: member.target.clone().unwrap_or_default(),
        });
    }
    let subscribed: Vec<TopicId> =
        all.members.iter().flat_map(|member| member.topics.iter().copied()).collect();
    for id in subscribed {
        if let Some(topic) = image.topic_by_id(id).filter(|_| !all.topics.contains_key(&id)) {
            let racks = if has_racks { racks(topic, image) } else { Vec::new() };
            let partitions = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
            all.topics.insert(id, Topic { partitions, racks });
        }
    }
    all
}

fn subscribed_ids(group: &ConsumerGroup, metadata: &Metadata, image: &Image) -> Arc<[TopicId]> {
    let names = group.topics_of(metadata);
    let mut ids: Vec<TopicId> =
        names.iter().filter_map(|name| image.topic(name)).map(|topic| topic.id).collect();
    ids.sort_unstable();
    ids.into()
}
