//! Offsets of topics that were deleted.

use imbl::ordmap::DiffItem;

use crate::coordinator::group::draft::Draft;
use crate::coordinator::group::offsets::expiry::{self, Budget};
use crate::coordinator::group::offsets::tombstone;
use crate::metadata::Image;
use crate::types::{TopicId, TopicName};

/// A topic that is no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DeletedTopic {
    name: TopicName,
    id: TopicId,
}

/// The cluster's metadata will be `image`: forgets the offsets of topics that are not in it any more,
/// or that were made again. If they are too many for one decision, the next ones go on. Topics that
/// went while the partition had no coordinator are not noticed, as in Kafka: their offsets expire.
pub(in crate::coordinator::group) fn topics_deleted(draft: &mut Draft<'_>, image: &Image) {
    let mut deleted = Vec::new();
    for item in draft.image().topics.diff(&image.topics) {
        let gone = match item {
            DiffItem::Remove(_, topic) => topic,
            DiffItem::Update { old: (_, old), new: (_, new) } if old.id != new.id => old,
            DiffItem::Update { .. } | DiffItem::Add(..) => continue,
        };
        if draft.machine.offsets.groups_of(&gone.name).next().is_some() {
            deleted.push(DeletedTopic { name: gone.name.clone(), id: gone.id });
        }
    }
    if deleted.is_empty() {
        return;
    }
    let mut sweep = draft.machine.sweep.clone();
    sweep.deleted.extend(deleted);
    forget(draft, &mut sweep.deleted, &mut Budget::default());
    expiry::settle(draft, sweep);
}

/// Takes the offsets of `topics` away, and the topics from the list of which nothing is left. An
/// offset with another id is of a topic that was made again under the name.
pub(super) fn forget(draft: &mut Draft<'_>, topics: &mut Vec<DeletedTopic>, budget: &mut Budget) {
    let offsets = &draft.machine.offsets;
    while let Some(topic) = topics.first() {
        for group in offsets.groups_of(&topic.name) {
            for (partition, committed) in offsets.of_topic(group, &topic.name) {
                let known = committed.topic_id;
                if known != TopicId::ZERO && known != topic.id {
                    continue;
                }
                if !budget.take(group, partition) {
                    return;
                }
                draft.record(tombstone(group, partition));
            }
        }
        topics.remove(0);
    }
}
