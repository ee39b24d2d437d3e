//! Who asks a group's coordinator, and what topics are to those who ask.

use crate::coordinator::group::command::Client;
use crate::coordinator::groups::Asker;
use crate::metadata::{Image, Topic};
use crate::net::server::RequestContext;
use crate::types::{ErrorCode, TopicId};

/// The client behind a request of that version, with its host as Kafka writes it.
pub(crate) fn asker(context: &RequestContext, version: i16) -> Asker {
    let id = context.client_id.as_deref().unwrap_or_default();
    let host = format!("/{}", context.peer.ip());
    Asker { client: Client { id: id.into(), host: host.into() }, version }
}

/// The topic with that id or, where none is said, of that name.
pub(crate) fn topic<'a>(image: &'a Image, name: &str, id: TopicId) -> Result<&'a Topic, ErrorCode> {
    if id == TopicId::ZERO {
        let found = image.topic(name);
        return found.map(|topic| &**topic).ok_or(ErrorCode::UnknownTopicOrPartition);
    }
    image.topic_by_id(id).map(|topic| &**topic).ok_or(ErrorCode::UnknownTopicId)
}
