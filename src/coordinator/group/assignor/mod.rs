//! How a group's partitions are shared out: server-side assignors (KIP-848). Pure functions of who
//! subscribes to what and what everybody had before.
//!
//! - [`Partitions`]: a set of partitions
//! - `uniform`: all members subscribe to the same; `mixed`: they do not
//! - `range`: consecutive partitions of each topic
//! - [`moved`]: what lies between two assignments

mod mixed;
mod moved;
mod partitions;
mod range;
#[cfg(test)]
mod tests;
mod uniform;

use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) use moved::moved;
pub(super) use partitions::Partitions;

use crate::coordinator::group::ids::MemberId;
use crate::types::TopicId;

/// A topic that somebody subscribes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Topic {
    /// How many partitions it has.
    pub partitions: i32,
    /// The racks of each partition's replicas, if brokers have racks at all.
    pub racks: Vec<Vec<Arc<str>>>,
}

impl Topic {
    /// Whether a replica of `partition` is in `rack`.
    fn is_in_rack(&self, partition: i32, rack: Option<&str>) -> bool {
        let racks = usize::try_from(partition).ok().and_then(|index| self.racks.get(index));
        matches!((racks, rack), (Some(racks), Some(rack)) if racks.iter().any(|one| **one == *rack))
    }
}

/// A member among which partitions are shared out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subscriber {
    /// Which.
    pub id: MemberId,
    /// Where it runs.
    pub rack: Option<Arc<str>>,
    /// The topics that it subscribes to and that exist; sorted.
    pub topics: Arc<[TopicId]>,
    /// What it was assigned before.
    pub before: Arc<Partitions>,
}

/// What an assignor works on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Subscriptions {
    /// The members, in an order that does not change while they live.
    pub members: Vec<Subscriber>,
    /// The topics.
    pub topics: BTreeMap<TopicId, Topic>,
}

impl Subscriptions {
    /// Whether all members subscribe to the same topics.
    fn are_alike(&self) -> bool {
        self.members.windows(2).all(|pair| {
            Arc::ptr_eq(&pair[0].topics, &pair[1].topics) || pair[0].topics == pair[1].topics
        })
    }

    /// What member `index` keeps at most: what it had, subscribes to and still exists.
    fn kept(&self, index: usize) -> Partitions {
        let member = &self.members[index];
        member.before.filter(|topic, partition| {
            let exists = self
                .topics
                .get(&topic)
                .is_some_and(|known| (0..known.partitions).contains(&partition));
            exists && member.topics.binary_search(&topic).is_ok()
        })
    }
}

/// A server-side assignor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Assignor {
    /// Everybody gets as many as everybody else, and keeps as many as possible.
    Uniform,
    /// Everybody gets consecutive partitions of each topic, the same ones of topics alike.
    Range,
}

impl Assignor {
    /// The assignor of that name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "uniform" => Some(Self::Uniform),
            "range" => Some(Self::Range),
            _ => None,
        }
    }

    /// The new assignment of each member, in the members' order. Every partition of every topic goes
    /// to exactly one of its subscribers.
    pub fn assign(self, subscriptions: &Subscriptions) -> Vec<Partitions> {
        match self {
            Self::Uniform if subscriptions.are_alike() => uniform::assign(subscriptions),
            Self::Uniform => mixed::assign(subscriptions),
            Self::Range => range::assign(subscriptions),
        }
    }
}
