//! CreatePartitions (key 37), versions 0-3.

use std::sync::Arc;

use crate::broker::controller_link::{ControllerLink, timeout};
use crate::broker::handlers::dispatch::{Call, Handler, Outcome};
use crate::broker::handlers::refusals::code_and_message;
use crate::controller::machine::{Command, CreatedPartitions, NewPartitions, Refusal, Reply};
use crate::metadata::Image;
use crate::protocol::messages::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic,
    CreatePartitionsTopicResult,
};
use crate::types::{ErrorCode, NodeId};

/// See the module's documentation.
pub(crate) struct CreatePartitions {
    /// The way to the active controller.
    pub link: Arc<ControllerLink>,
}

impl Handler for CreatePartitions {
    type Request = CreatePartitionsRequest;

    async fn handle(
        self: Arc<Self>,
        call: Call<CreatePartitionsRequest>,
    ) -> Outcome<CreatePartitionsResponse> {
        let Call { context, request, .. } = call;
        let wait = timeout(request.timeout_ms);
        let topics: Vec<NewPartitions> = request.topics.iter().map(asked).collect();
        let counts: Vec<(String, usize)> = topics
            .iter()
            .map(|topic| (topic.topic.clone(), usize::try_from(topic.count).unwrap_or(0)))
            .collect();
        let names: Vec<String> = topics.iter().map(|topic| topic.topic.clone()).collect();
        let validate_only = request.validate_only;
        let command = Command::CreatePartitions { topics, validate_only };
        Outcome::later(async move {
            let results = match self.link.submit(command, &context, wait).await {
                Ok(Reply::CreatedPartitions(results)) => {
                    if !validate_only && results.iter().all(|created| created.result.is_ok()) {
                        self.link.await_image(wait, |image| have_grown(&counts, image)).await;
                    }
                    results
                }
                Ok(Reply::Refused(refusal)) => all(names, &refusal),
                Ok(_) => all(names, &ErrorCode::UnknownServerError.into()),
                Err(error) => all(names, &error.into()),
            };
            let results = results.into_iter().map(result).collect();
            CreatePartitionsResponse { throttle_time_ms: 0, results }
        })
    }
}

fn asked(topic: &CreatePartitionsTopic) -> NewPartitions {
    NewPartitions {
        topic: topic.name.to_string(),
        count: topic.count,
        assignments: topic.assignments.as_ref().map(|assignments| {
            let assignments = assignments.iter();
            assignments.map(|a| a.broker_ids.iter().copied().map(NodeId).collect()).collect()
        }),
    }
}

/// Whether every topic has as many partitions as were asked for.
fn have_grown(counts: &[(String, usize)], image: &Image) -> bool {
    let grown =
        |name: &str, count| image.topic(name).is_none_or(|topic| topic.partitions.len() >= count);
    counts.iter().all(|(name, count)| grown(name, *count))
}

fn all(topics: Vec<String>, refusal: &Refusal) -> Vec<CreatedPartitions> {
    let topics = topics.into_iter();
    topics.map(|topic| CreatedPartitions { topic, result: Err(refusal.clone()) }).collect()
}

fn result(created: CreatedPartitions) -> CreatePartitionsTopicResult {
    let (error_code, error_message) = code_and_message(created.result);
    CreatePartitionsTopicResult { name: created.topic.into(), error_code, error_message }
}
