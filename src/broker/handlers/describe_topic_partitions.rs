//! DescribeTopicPartitions (key 75), version 0 (KIP-966): topics page by page, with the eligible
//! leader replicas.

use std::sync::Arc;

use crate::broker::handlers::dispatch::{Call, Handler, Outcome};
use crate::broker::handlers::leaders::endpoint;
use crate::broker::handlers::metadata::{numbers, offline};
use crate::broker::handlers::operations::TOPIC_OPERATIONS;
use crate::metadata::{Image, MetadataSource, Partition, Topic};
use crate::protocol::messages::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use crate::types::{ErrorCode, NodeId, PartitionId, TopicName};

/// No answer holds more partitions (`max.request.partition.size.limit`).
const PARTITION_LIMIT: usize = 2000;

/// See the module's documentation.
pub(crate) struct DescribeTopicPartitions {
    /// The committed image.
    pub metadata: Arc<dyn MetadataSource>,
}

impl Handler for DescribeTopicPartitions {
    type Request = DescribeTopicPartitionsRequest;

    async fn handle(
        self: Arc<Self>,
        call: Call<DescribeTopicPartitionsRequest>,
    ) -> Outcome<DescribeTopicPartitionsResponse> {
        let request = call.request;
        let image = self.metadata.image();
        let from = request.cursor.as_ref().map(|cursor| TopicName::new(&cursor.topic_name));
        let mut names: Vec<TopicName> = match request.topics.is_empty() {
            true => image.topics.values().map(|topic| topic.name.clone()).collect(),
            false => request.topics.iter().map(|asked| TopicName::new(&asked.name)).collect(),
        };
        names.sort();
        names.dedup();
        names.retain(|name| from.as_ref().is_none_or(|from| name >= from));

        let limit = usize::try_from(request.response_partition_limit).unwrap_or(1);
        let mut page = Page {
            image: &image,
            listener: &call.context.listener,
            room: limit.clamp(1, PARTITION_LIMIT),
            response: DescribeTopicPartitionsResponse::default(),
        };
        for (place, name) in names.iter().enumerate() {
            let first = match &request.cursor {
                Some(cursor) if *cursor.topic_name == **name => cursor.partition_index.max(0),
                _ => 0,
            };
            if !page.add(name, PartitionId(first), names.get(place + 1)) {
                break;
            }
        }
        Outcome::Now(page.response)
    }
}

struct Page<'a> {
    image: &'a Image,
    listener: &'a str,
    room: usize,
    response: DescribeTopicPartitionsResponse,
}

impl Page<'_> {
    /// Adds a topic from its partition `first` on; false once the page is full. `after` is the
    /// topic that comes next.
    fn add(&mut self, name: &TopicName, first: PartitionId, after: Option<&TopicName>) -> bool {
        let Some(topic) = self.image.topic(name) else {
            self.response.topics.push(DescribeTopicPartitionsResponseTopic {
                error_code: ErrorCode::UnknownTopicOrPartition.code(),
                name: Some(name.as_str().into()),
                ..Default::default()
            });
            return true;
        };
        let mut rest = topic.partitions.range(first..);
        let described: Vec<_> = rest
            .by_ref()
            .take(self.room)
            .map(|(id, partition)| self.partition(*id, partition))
            .collect();
        self.room -= described.len();
        let next = rest.next().map(|(id, _)| *id);
        self.response.topics.push(self.topic(topic, described));
        if let Some(next) = next {
            self.response.next_cursor =
                Some(Cursor { topic_name: name.as_str().into(), partition_index: next.0 });
            return false;
        }
        if self.room > 0 {
            return true;
        }
        self.response.next_cursor =
            after.map(|name| Cursor { topic_name: name.as_str().into(), partition_index: 0 });
        false
    }

    fn topic(
        &self,
        topic: &Topic,
        partitions: Vec<DescribeTopicPartitionsResponsePartition>,
    ) -> DescribeTopicPartitionsResponseTopic {
        DescribeTopicPartitionsResponseTopic {
            error_code: ErrorCode::None.code(),
            name: Some(topic.name.as_str().into()),
            topic_id: topic.id.0,
            is_internal: crate::metadata::topic_name::is_internal(&topic.name),
            partitions,
            topic_authorized_operations: TOPIC_OPERATIONS,
        }
    }

    fn partition(
        &self,
        id: PartitionId,
        found: &Partition,
    ) -> DescribeTopicPartitionsResponsePartition {
        let reachable = |node: &NodeId| endpoint(self.image, *node, self.listener).is_some();
        let leader = found.leader.filter(reachable);
        DescribeTopicPartitionsResponsePartition {
            error_code: match leader {
                Some(_) => ErrorCode::None.code(),
                None => ErrorCode::LeaderNotAvailable.code(),
            },
            partition_index: id.0,
            leader_id: leader.unwrap_or(NodeId::NONE).0,
            leader_epoch: found.leader_epoch.0,
            replica_nodes: numbers(&found.replicas),
            isr_nodes: numbers(&found.isr),
            eligible_leader_replicas: Some(numbers(&found.elr)),
            last_known_elr: Some(numbers(&found.last_known_elr)),
            offline_replicas: offline(self.image, found, reachable),
        }
    }
}
