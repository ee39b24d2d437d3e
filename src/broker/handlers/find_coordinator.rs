//! FindCoordinator (key 10), versions 0-6: who coordinates a group; many at once from version 4.
//!
//! The coordinator is whoever leads the group's partition of `__consumer_offsets`, at the listener
//! that was asked. The topic is created with the first question; unlike Kafka the answer then waits
//! (at most a second) for it, so that a first group needs no second look.
//!
//! Deviation: transactions and share groups are not served yet: INVALID_REQUEST, which no client
//! takes for a reason to ask again.

use std::sync::Arc;
use std::time::Duration;

use crate::broker::auto_create::AutoCreate;
use crate::broker::handlers::dispatch::{Call, Handler, Outcome};
use crate::broker::handlers::leaders::endpoint;
use crate::coordinator::groups::Groups;
use crate::metadata::{Image, MetadataSource, topic_name};
use crate::net::server::RequestContext;
use crate::protocol::Str;
use crate::protocol::messages::find_coordinator::{
    Coordinator, FindCoordinatorRequest, FindCoordinatorResponse,
};
use crate::replication::Replicas;
use crate::types::{ErrorCode, TopicName};

/// See the module's documentation.
pub(crate) struct FindCoordinator {
    /// The committed image.
    pub metadata: Arc<dyn MetadataSource>,
    /// They know first when a leader dies.
    pub replicas: Arc<Replicas>,
    /// Which partition a group belongs to.
    pub groups: Arc<Groups>,
    /// Creates the topic of the groups.
    pub auto_create: AutoCreate,
}

/// Kafka's number of a group among the kinds of keys.
const GROUP: i8 = 0;
/// The first version with many keys.
const BATCHED: i16 = 4;
/// How long an answer waits for the topic that the request has created.
const CREATION_WAIT: Duration = Duration::from_secs(1);

impl Handler for FindCoordinator {
    type Request = FindCoordinatorRequest;

    async fn handle(
        self: Arc<Self>,
        call: Call<FindCoordinatorRequest>,
    ) -> Outcome<FindCoordinatorResponse> {
        let offsets = topic_name::CONSUMER_OFFSETS;
        let exists = self.metadata.image().topic(offsets).is_some();
        if exists || call.request.key_type != GROUP {
            return Outcome::Now(self.answer(&call));
        }
        Outcome::later(async move {
            let topic = [TopicName::new(offsets)];
            self.auto_create.create(&topic, &call.context, CREATION_WAIT).await;
            self.answer(&call)
        })
    }
}

impl FindCoordinator {
    fn answer(&self, call: &Call<FindCoordinatorRequest>) -> FindCoordinatorResponse {
        let Call { context, version, request } = call;
        let image = self.metadata.image();
        let find = |key: &Str| match request.key_type {
            GROUP => self.find(&image, key, context).unwrap_or_else(|error| none(key, error)),
            _ => none(key, ErrorCode::InvalidRequest),
        };
        if *version >= BATCHED {
            let coordinators = request.coordinator_keys.iter().map(find).collect();
            return FindCoordinatorResponse { coordinators, ..Default::default() };
        }
        let found = find(&request.key);
        FindCoordinatorResponse {
            error_code: found.error_code,
            error_message: found.error_message,
            node_id: found.node_id,
            host: found.host,
            port: found.port,
            ..Default::default()
        }
    }

    fn find(
        &self,
        image: &Image,
        group: &Str,
        context: &RequestContext,
    ) -> Result<Coordinator, ErrorCode> {
        let missing = ErrorCode::CoordinatorNotAvailable;
        let partition = self.groups.partition_for(group).ok_or(missing)?;
        let topic = image.topic(topic_name::CONSUMER_OFFSETS).ok_or(missing)?;
        let leader = topic.partition(partition).and_then(|it| it.leader).ok_or(missing)?;
        if image.broker(leader).is_some_and(|broker| self.replicas.is_suspect(broker)) {
            return Err(missing);
        }
        let endpoint = endpoint(image, leader, &context.listener).ok_or(missing)?;
        Ok(Coordinator {
            key: group.clone(),
            node_id: leader.0,
            host: endpoint.host.as_str().into(),
            port: endpoint.port.into(),
            error_code: ErrorCode::None.code(),
            error_message: None,
        })
    }
}

fn none(key: &Str, error: ErrorCode) -> Coordinator {
    Coordinator {
        key: key.clone(),
        node_id: -1,
        host: Str::default(),
        port: -1,
        error_code: error.code(),
        error_message: Some(error.message().into()),
    }
}
