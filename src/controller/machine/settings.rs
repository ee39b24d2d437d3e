//! The two topic settings that elections depend on, as the controller resolves them: the topic's
//! own, then what was set for this node while it runs, then the cluster's dynamic default, then this
//! node's file, then Kafka's default.

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
        number(self.value("min.insync.replicas"))
    }

    /// `min.insync.replicas`, if what is set for the topic or for all brokers were that.
    pub(super) fn min_insync_replicas_with(
        &self,
        topic: Option<Option<&str>>,
        cluster: Option<Option<&str>>,
    ) -> usize {
        let key = "min.insync.replicas";
        let topic = topic.unwrap_or_else(|| self.of_topic(key));
        let cluster =
            || cluster.unwrap_or_else(|| self.set_for(&ConfigResource::DefaultBroker, key));
        number(topic.or_else(cluster).or_else(|| self.of_file(key)))
    }

    /// `unclean.leader.election.enable`
    pub(super) fn unclean_leader_election(&self) -> bool {
        self.value("unclean.leader.election.enable")
            .is_some_and(|value| value.trim().eq_ignore_ascii_case("true"))
    }

    /// Both settings have the same name on all levels.
    fn value(&self, key: &str) -> Option<&'a str> {
        let node = || self.set_for(&ConfigResource::Broker(self.situation.options.node_id), key);
        let cluster = || self.set_for(&ConfigResource::DefaultBroker, key);
        self.of_topic(key).or_else(node).or_else(cluster).or_else(|| self.of_file(key))
    }

    fn of_topic(&self, key: &str) -> Option<&'a str> {
        self.topic.configs.get(key).map(String::as_str)
    }

    fn set_for(&self, resource: &ConfigResource, key: &str) -> Option<&'a str> {
        self.situation.image.config(resource)?.get(key).map(String::as_str)
    }

    fn of_file(&self, key: &str) -> Option<&'a str> {
        self.situation.options.broker_defaults.get(key).map(String::as_str)
    }
}

fn number(value: Option<&str>) -> usize {
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(1)
}
