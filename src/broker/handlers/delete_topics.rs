//! DeleteTopics (key 20), versions 1-6: by name, and from version 6 by id too.

use std::sync::Arc;

use crate::broker::controller_link::{ControllerLink, timeout};
use crate::broker::handlers::dispatch::{Call, Handler, Outcome};
use crate::broker::handlers::refusals::code_and_message;
use crate::controller::machine::{Command, DeletedTopic, Refusal, Reply, TopicRef};
use crate::metadata::Image;
use crate::protocol::messages::delete_topics::{
    DeletableTopicResult, DeleteTopicsRequest, DeleteTopicsResponse,
};
use crate::types::{ErrorCode, TopicId};

/// See the module's documentation.
pub(crate) struct DeleteTopics {
    /// The way to the active controller.
    pub link: Arc<ControllerLink>,
    /// `delete.topic.enable`
    pub enabled: bool,
}

impl Handler for DeleteTopics {
    type Request = DeleteTopicsRequest;

    async fn handle(
        self: Arc<Self>,
        call: Call<DeleteTopicsRequest>,
    ) -> Outcome<DeleteTopicsResponse> {
        let Call { context, version, request } = call;
        let topics = asked(&request, version);
        let wait = timeout(request.timeout_ms);
        if !self.enabled {
            let error = match version {
                0..3 => ErrorCode::InvalidRequest,
                _ => ErrorCode::TopicDeletionDisabled,
            };
            return Outcome::Now(response(all(topics, &error.into())));
        }
        Outcome::later(async move {
            let command = Command::DeleteTopics { topics: topics.clone() };
            let results = match self.link.submit(command, &context, wait).await {
                Ok(Reply::DeletedTopics(results)) => {
                    self.link.await_image(wait, |image| none_there(&results, image)).await;
                    results
                }
                Ok(Reply::Refused(refusal)) => all(topics, &refusal),
                Ok(_) => all(topics, &ErrorCode::UnknownServerError.into()),
                Err(error) => all(topics, &error.into()),
            };
            response(results)
        })
    }
}

fn asked(request: &DeleteTopicsRequest, version: i16) -> Vec<TopicRef> {
    if version < 6 {
        return request.topic_names.iter().map(|name| TopicRef::Name(name.to_string())).collect();
    }
    let topics = request.topics.iter();
    topics
        .map(|topic| match &topic.name {
            Some(name) => TopicRef::Name(name.to_string()),
            None => TopicRef::Id(TopicId(topic.topic_id)),
        })
        .collect()
}

/// Whether no topic that was deleted is known any more.
fn none_there(results: &[DeletedTopic], image: &Image) -> bool {
    let mut deleted = results.iter().filter(|deleted| deleted.result.is_ok());
    deleted.all(|deleted| image.topic_by_id(deleted.topic_id).is_none())
}

fn all(topics: Vec<TopicRef>, refusal: &Refusal) -> Vec<DeletedTopic> {
    let topics = topics.into_iter();
    topics
        .map(|topic| {
            let (name, topic_id) = match topic {
                TopicRef::Name(name) => (Some(name), TopicId::ZERO),
                TopicRef::Id(id) => (None, id),
            };
            DeletedTopic { name, topic_id, result: Err(refusal.clone()) }
        })
        .collect()
}

fn response(results: Vec<DeletedTopic>) -> DeleteTopicsResponse {
    let responses = results.into_iter().map(|deleted| {
        let (error_code, error_message) = code_and_message(deleted.result);
        DeletableTopicResult {
            name: deleted.name.map(Into::into),
            topic_id: deleted.topic_id.0,
            error_code,
            error_message,
        }
    });
    DeleteTopicsResponse { throttle_time_ms: 0, responses: responses.collect() }
}
