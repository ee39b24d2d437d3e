//! Topics that come to be because somebody asked for them: ordinary ones where
//! `auto.create.topics.enable` allows it, `__consumer_offsets` with the first group.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::broker::config::GroupsConfig;
use crate::broker::controller_link::ControllerLink;
use crate::controller::machine::{Command, NewTopic, Reply};
use crate::metadata::{Image, topic_name};
use crate::net::server::RequestContext;
use crate::types::{ErrorCode, TopicName};

/// Creates topics with the defaults of partitions and replicas; internal ones with their own.
#[derive(Clone)]
pub(crate) struct AutoCreate {
    link: Arc<ControllerLink>,
    enabled: bool,
    groups: Arc<GroupsConfig>,
    /// What is being created, so that a crowd of clients asks the controller once.
    under_way: Arc<Mutex<BTreeSet<TopicName>>>,
}

impl AutoCreate {
    /// Through `link`, if `enabled`; the topic of `groups` in any case.
    pub fn new(link: Arc<ControllerLink>, enabled: bool, groups: GroupsConfig) -> AutoCreate {
        AutoCreate { link, enabled, groups: Arc::new(groups), under_way: Arc::default() }
    }

    /// Whether topics are created for whoever asks for their metadata.
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Has `topics` created and waits, at most `wait`, until this broker knows them. What became
    /// of it the metadata tells: a client that finds no topic asks again.
    pub async fn create(&self, topics: &[TopicName], context: &RequestContext, wait: Duration) {
        let claimed: Vec<TopicName> = {
            let mut under_way = self.under_way.lock();
            topics.iter().filter(|topic| under_way.insert((*topic).clone())).cloned().collect()
        };
        let claim = Claim { topics: claimed, under_way: &self.under_way };
        if !claim.topics.is_empty() {
            self.ask(&claim.topics, context, wait).await;
        }
        drop(claim);
        let all_there = |image: &Image| topics.iter().all(|topic| image.topic(topic).is_some());
        self.link.await_image(wait, all_there).await;
    }

    async fn ask(&self, topics: &[TopicName], context: &RequestContext, wait: Duration) {
        let new = topics.iter().map(|topic| new_topic(topic, &self.groups));
        let command = Command::CreateTopics { topics: new.collect(), validate_only: false };
        match self.link.submit(command, context, wait).await {
            Ok(Reply::CreatedTopics(results)) => {
                for created in results {
                    match created.result {
                        Ok(_) => {
                            tracing::info!(topic = created.name, "created, as it was asked for")
                        }
                        Err(refusal) if refusal.code == ErrorCode::TopicAlreadyExists => {}
                        Err(refusal) => {
                            tracing::warn!(topic = created.name, %refusal, "could not be created");
                        }
                    }
                }
            }
            Ok(other) => tracing::warn!(?other, ?topics, "could not be created"),
            Err(error) => tracing::warn!(%error, ?topics, "could not be created"),
        }
    }
}

/// How many partitions the history of groups has: few write into it, and seldom.
const HISTORY_PARTITIONS: i32 = 8;

/// What is asked of the controller for `topic`: Kafka's choices for `__consumer_offsets`, where the
/// newest record of a key is all that matters, and for the history of groups, which is like it; else
/// the cluster's defaults.
fn new_topic(topic: &TopicName, groups: &GroupsConfig) -> NewTopic {
    let partitions = match topic.as_str() {
        topic_name::CONSUMER_OFFSETS => Some(groups.topic_partitions),
        topic_name::GROUP_HISTORY => Some(HISTORY_PARTITIONS),
        _ => None,
    };
    let segment_bytes = groups.topic_segment_bytes.to_string();
    let configs = [
        ("cleanup.policy", "compact"),
        ("compression.type", "producer"),
        ("segment.bytes", &segment_bytes),
    ];
    let configs = configs.map(|(key, value)| (key.to_owned(), Some(value.to_owned())));
    NewTopic {
        name: topic.to_string(),
        num_partitions: partitions.unwrap_or(-1),
        replication_factor: partitions.map_or(-1, |_| groups.topic_replication_factor),
        assignments: Vec::new(),
        configs: if partitions.is_some() { configs.to_vec() } else { Vec::new() },
    }
}

/// Gives topics free again when the attempt ends, however it ends.
struct Claim<'a> {
    topics: Vec<TopicName>,
    under_way: &'a Mutex<BTreeSet<TopicName>>,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut under_way = self.under_way.lock();
        self.topics.iter().for_each(|topic| {
            under_way.remove(topic);
        });
    }
}
