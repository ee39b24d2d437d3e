//! CreateTopics (key 19), versions 2-7. Decided by the active controller; answered once this broker
//! has seen the topics too, so that a client's next request here finds them.

use std::sync::Arc;

use crate::broker::controller_link::{ControllerLink, timeout};
use crate::broker::handlers::describe_configs::ConfigView;
use crate::broker::handlers::dispatch::{Call, Handler, Outcome};
use crate::controller::machine::{
    Command, CreatedTopic, NewTopic, Refusal, Reply, TopicAssignment, TopicSummary,
};
use crate::metadata::Image;
use crate::protocol::messages::create_topics::{
    CreatableTopic, CreatableTopicConfigs, CreatableTopicResult, CreateTopicsRequest,
    CreateTopicsResponse,
};
use crate::types::{ErrorCode, NodeId, PartitionId};

/// See the module's documentation.
pub(crate) struct CreateTopics {
    /// The way to the active controller.
    pub link: Arc<ControllerLink>,
    /// What the created topic's configuration is, for the answer.
    pub configs: ConfigView,
}

impl Handler for CreateTopics {
    type Request = CreateTopicsRequest;

    async fn handle(
        self: Arc<Self>,
        call: Call<CreateTopicsRequest>,
    ) -> Outcome<CreateTopicsResponse> {
        let Call { context, version, request } = call;
        let wait = timeout(request.timeout_ms);
        let names: Vec<String> =
            request.topics.iter().map(|topic| topic.name.to_string()).collect();
        let command = Command::CreateTopics {
            topics: request.topics.iter().map(new_topic).collect(),
            validate_only: request.validate_only,
        };
        Outcome::later(async move {
            let results = match self.link.submit(command, &context, wait).await {
                Ok(Reply::CreatedTopics(results)) => {
                    if !request.validate_only {
                        self.link.await_image(wait, |image| all_there(&results, image)).await;
                    }
                    results
                }
                Ok(Reply::Refused(refusal)) => all(names, &refusal),
                Ok(_) => all(names, &ErrorCode::UnknownServerError.into()),
                Err(error) => all(names, &error.into()),
            };
            let topics = results.into_iter().map(|result| self.result(result, version)).collect();
            CreateTopicsResponse { throttle_time_ms: 0, topics }
        })
    }
}

/// Whether every topic that was created is known.
fn all_there(results: &[CreatedTopic], image: &Image) -> bool {
    let mut created = results.iter().filter(|created| created.result.is_ok());
    created.all(|created| image.topic(&created.name).is_some())
}

fn all(names: Vec<String>, refusal: &Refusal) -> Vec<CreatedTopic> {
    let results = names.into_iter();
    results.map(|name| CreatedTopic { name, result: Err(refusal.clone()) }).collect()
}

fn new_topic(asked: &CreatableTopic) -> NewTopic {
    NewTopic {
        name: asked.name.to_string(),
        num_partitions: asked.num_partitions,
        replication_factor: asked.replication_factor,
        assignments: asked
            .assignments
            .iter()
            .map(|assignment| TopicAssignment {
                partition: PartitionId(assignment.partition_index),
                replicas: assignment.broker_ids.iter().copied().map(NodeId).collect(),
            })
            .collect(),
        configs: asked
            .configs
            .iter()
            .map(|config| (config.name.to_string(), config.value.as_deref().map(str::to_owned)))
            .collect(),
    }
}

impl CreateTopics {
    fn result(&self, created: CreatedTopic, version: i16) -> CreatableTopicResult {
        let mut result = CreatableTopicResult {
            name: created.name.as_str().into(),
            num_partitions: -1,
            replication_factor: -1,
            ..Default::default()
        };
        match created.result {
            Ok(TopicSummary { topic_id, num_partitions, replication_factor }) => {
                result.topic_id = topic_id.0;
                result.num_partitions = num_partitions;
                result.replication_factor = replication_factor;
                if version >= 5 {
                    result.configs = Some(self.configs(&created.name));
                }
            }
            Err(refusal) => {
                result.error_code = refusal.code.code();
                result.error_message = Some(refusal.message.into());
            }
        }
        result
    }

    fn configs(&self, topic: &str) -> Vec<CreatableTopicConfigs> {
        let described = self.configs.topic(topic).unwrap_or_default().into_iter();
        described
            .map(|config| CreatableTopicConfigs {
                config_source: config.source().number(),
                name: config.name.into(),
                value: config.value.map(Into::into),
                read_only: config.read_only,
                is_sensitive: false,
            })
            .collect()
    }
}
