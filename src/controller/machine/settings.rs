//! The two topic settings that elections depend on, as the controller resolves them: the topic's
//! own, then the cluster's dynamic default, then this node's file, then Kafka's default.

use crate::controller::machine::Situation;
use crate::metadata::{ConfigResource, Topic};

/// The settings of one topic.
pub(super) struct Settings<'a> {
    situation: &'a Situation<'a>,
    topic: &'a Topic,
}

impl<'a> Settings<'a> {
    pub(super) fn of(situation: &'a Situation<'a>, topic: &'a Topic) -> Self {
        Self { situation, topic }
    }

    /// `min.insync.replicas`
    pub(super) fn min_insync_replicas(&self) -> usize {
        self.value("min.insync.replicas").and_then(|value| value.trim().parse().ok()).unwrap_or(1)
    }

    /// `unclean.leader.election.enable`
    pub(super) fn unclean_leader_election(&self) -> bool {
        self.value("unclean.leader.election.enable")
            .is_some_and(|value| value.trim().eq_ignore_ascii_case("true"))
    }

    /// Both settings have the same name on all levels.
    fn value(&self, key: &str) -> Option<&'a str> {
        let dynamic = || self.situation.image.config(&ConfigResource::DefaultBroker)?.get(key);
        let file = || self.situation.options.broker_defaults.get(key);
        self.topic.configs.get(key).or_else(dynamic).or_else(file).map(String::as_str)
    }
}
