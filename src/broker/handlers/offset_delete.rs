//! OffsetDelete (key 47), version 0 (KIP-496).

use std::sync::Arc;

use crate::broker::handlers::asking::asker;
use crate::broker::handlers::dispatch::{Call, Handler, Outcome};
use crate::coordinator::groups::Groups;
use crate::metadata::{Image, MetadataSource};
use crate::protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestTopic, OffsetDeleteResponse,
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use crate::types::{ErrorCode, TopicPartition};

/// See the module's documentation.
pub(crate) struct OffsetDelete {
    /// The groups that this broker coordinates.
    pub groups: Arc<Groups>,
    /// Which topics there are.
    pub metadata: Arc<dyn MetadataSource>,
}

impl Handler for OffsetDelete {
    type Request = OffsetDeleteRequest;

    async fn handle(
        self: Arc<Self>,
        call: Call<OffsetDeleteRequest>,
    ) -> Outcome<OffsetDeleteResponse> {
        let Call { context, version, mut request } = call;
        if request.group_id.is_empty() {
            return Outcome::Now(refused(ErrorCode::InvalidGroupId));
        }
        let (known, unknown) = sort_out(&self.metadata.image(), request.topics);
        if known.is_empty() && !unknown.is_empty() {
            return Outcome::Now(OffsetDeleteResponse { topics: unknown, ..Default::default() });
        }
        request.topics = known;
        let deleted = self.groups.delete_offsets(asker(&context, version), request);
        Outcome::later(async move {
            let mut response = deleted.await.unwrap_or_else(refused);
            // The group's own error stands alone.
            if response.error_code == 0 {
                response.topics = merged(unknown, response.topics);
            }
            response
        })
    }
}

fn refused(error: ErrorCode) -> OffsetDeleteResponse {
    OffsetDeleteResponse { error_code: error.code(), ..Default::default() }
}

/// What exists, and the answers for what does not.
fn sort_out(
    image: &Image,
    topics: Vec<OffsetDeleteRequestTopic>,
) -> (Vec<OffsetDeleteRequestTopic>, Vec<OffsetDeleteResponseTopic>) {
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for topic in topics {
        let exists =
            |index: i32| image.partition(&TopicPartition::new(&*topic.name, index)).is_some();
        let (here, gone): (Vec<_>, Vec<_>) =
            topic.partitions.into_iter().partition(|it| exists(it.partition_index));
        if !gone.is_empty() {
            let gone = gone.into_iter().map(|it| OffsetDeleteResponsePartition {
                partition_index: it.partition_index,
                error_code: ErrorCode::UnknownTopicOrPartition.code(),
            });
            let (name, partitions) = (topic.name.clone(), gone.collect());
            unknown.push(OffsetDeleteResponseTopic { name, partitions });
        }
        if !here.is_empty() {
            known.push(OffsetDeleteRequestTopic { name: topic.name, partitions: here });
        }
    }
    (known, unknown)
}

/// Both answers, each topic once.
fn merged(
    mut one: Vec<OffsetDeleteResponseTopic>,
    other: Vec<OffsetDeleteResponseTopic>,
) -> Vec<OffsetDeleteResponseTopic> {
    for topic in other {
        match one.iter_mut().find(|it| it.name == topic.name) {
            Some(found) => found.partitions.extend(topic.partitions),
            None => one.push(topic),
        }
    }
    one
}
