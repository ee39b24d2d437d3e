//! Elections that somebody asks for.

use std::sync::Arc;

use crate::controller::machine::draft::{Draft, cause_of, min_isr};
use crate::controller::machine::{
    Decision, ElectedLeader, ElectionType, Refusal, Reply, Situation,
};
use crate::metadata::election::{self, Change, Outcome, Search};
use crate::metadata::{Cause, Partition, Topic};
use crate::types::{ErrorCode, PartitionId, TopicPartition};

/// Elects leaders; of partitions that nobody named only those that need it are answered.
pub(super) fn elect(
    situation: &Situation<'_>,
    election: ElectionType,
    partitions: Option<Vec<TopicPartition>>,
) -> Decision {
    let mut draft = Draft::default();
    let mut results = Vec::new();
    let mut elect = |topic_partition: TopicPartition| {
        let result = elect_one(situation, &mut draft, election, &topic_partition);
        ElectedLeader { topic_partition, result }
    };
    match partitions {
        Some(mut named) => {
            named.sort();
            named.dedup();
            results.extend(named.into_iter().map(elect));
        }
        None => {
            for (topic, index, _) in situation.image.partitions() {
                let elected = elect(TopicPartition { topic: topic.name.clone(), partition: index });
                let needless = matches!(&elected.result,
                    Err(refusal) if refusal.code == ErrorCode::ElectionNotNeeded);
                if !needless {
                    results.push(elected);
                }
            }
        }
    }
    draft.reply(Reply::ElectedLeaders(results))
}

fn elect_one(
    situation: &Situation<'_>,
    draft: &mut Draft,
    election: ElectionType,
    wanted: &TopicPartition,
) -> Result<(), Refusal> {
    let unknown = |message| Refusal::new(ErrorCode::UnknownTopicOrPartition, message);
    let topic = situation
        .image
        .topic(&wanted.topic)
        .ok_or_else(|| unknown(format!("No such topic as {}", wanted.topic)))?;
    let partition = topic
        .partition(wanted.partition)
        .ok_or_else(|| unknown(format!("No such partition as {wanted}")))?;
    let needless = match election {
        ElectionType::Preferred => partition.leader == partition.preferred_leader(),
        ElectionType::Unclean => partition.leader.is_some(),
    };
    if needless {
        return Err(Refusal::from(ErrorCode::ElectionNotNeeded));
    }
    let (search, code) = match election {
        ElectionType::Preferred => (Search::Preferred, ErrorCode::PreferredLeaderNotAvailable),
        ElectionType::Unclean => (Search::Unclean, ErrorCode::EligibleLeadersNotAvailable),
    };
    let outcome = search_leader(situation, topic, partition, search).filter(|outcome| {
        let leader = outcome.partition.leader;
        match election {
            ElectionType::Preferred => leader == partition.preferred_leader(),
            ElectionType::Unclean => leader.is_some(),
        }
    });
    let Some(outcome) = outcome else {
        return Err(Refusal::from(code));
    };
    let cause = cause_of(&outcome, Cause::ElectionRequested);
    draft.push_partition(topic, wanted.partition, outcome.partition, cause);
    Ok(())
}

/// What an election of that kind would bring.
fn search_leader(
    situation: &Situation<'_>,
    topic: &Topic,
    partition: &Partition,
    search: Search,
) -> Option<Outcome> {
    let change = Change {
        isr: partition.isr.clone(),
        unclean: &[],
        min_isr: min_isr(situation, topic, partition),
        search,
        may_lead: &|node| election::is_active_replica(situation.image, partition, node),
    };
    election::change(partition, &change)
}

/// Gives leadership back to preferred leaders that have been stable for long enough. At most
/// `limit` partitions at once: every move costs their clients a metadata refresh.
pub(super) fn balance(situation: &Situation<'_>, draft: &mut Draft, limit: usize) {
    let delay = situation.options.preferred_leader_delay;
    let is_stable = |node| {
        let since = situation
            .image
            .broker(node)
            .and_then(|broker| situation.liveness.unfenced_since(node, broker.broker_epoch));
        since.is_some_and(|since| situation.now.monotonic.since(since) >= delay)
    };
    let due = |(topic, index, partition): (&Arc<Topic>, PartitionId, &Arc<Partition>)| {
        let preferred = partition.preferred_leader()?;
        if partition.leader.is_none()
            || partition.leader == Some(preferred)
            || !partition.in_isr(preferred)
            || !is_stable(preferred)
        {
            return None;
        }
        let next = search_leader(situation, topic, partition, Search::Preferred)?.partition;
        (next.leader == Some(preferred)).then(|| (topic.clone(), index, next, preferred))
    };
    for (topic, index, next, leader) in situation.image.partitions().filter_map(due).take(limit) {
        draft.push_partition(&topic, index, next, Cause::PreferredLeader(leader));
    }
}
