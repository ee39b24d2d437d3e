//! ElectLeaders (key 43), versions 0-2: preferred (0) or unclean (1) elections.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::broker::controller_link::{ControllerLink, timeout};
use crate::broker::handlers::dispatch::{Call, Handler, Outcome};
use crate::broker::handlers::refusals::code_and_message;
use crate::controller::machine::{Command, ElectedLeader, ElectionType, Reply};
use crate::protocol::messages::elect_leaders::{
    ElectLeadersRequest, ElectLeadersResponse, PartitionResult, ReplicaElectionResult,
};
use crate::types::{ErrorCode, TopicPartition};

/// See the module's documentation.
pub(crate) struct ElectLeaders {
    /// The way to the active controller.
    pub link: Arc<ControllerLink>,
}

impl Handler for ElectLeaders {
    type Request = ElectLeadersRequest;

    async fn handle(
        self: Arc<Self>,
        call: Call<ElectLeadersRequest>,
    ) -> Outcome<ElectLeadersResponse> {
        let Call { context, request, .. } = call;
        let election = match request.election_type {
            0 => ElectionType::Preferred,
            1 => ElectionType::Unclean,
            _ => return Outcome::Now(refused(ErrorCode::InvalidRequest)),
        };
        let partitions = request.topic_partitions.as_ref().map(|topics| {
            let named = topics.iter().flat_map(|topic| {
                topic.partitions.iter().map(|&index| TopicPartition::new(&*topic.topic, index))
            });
            named.collect()
        });
        let wait = timeout(request.timeout_ms);
        Outcome::later(async move {
            let command = Command::ElectLeaders { election, partitions };
            match self.link.submit(command, &context, wait).await {
                Ok(Reply::ElectedLeaders(results)) => response(results),
                Ok(Reply::Refused(refusal)) => refused(refusal.code),
                Ok(_) => refused(ErrorCode::UnknownServerError),
                Err(error) => refused(error),
            }
        })
    }
}

fn refused(error: ErrorCode) -> ElectLeadersResponse {
    ElectLeadersResponse { error_code: error.code(), ..Default::default() }
}

fn response(results: Vec<ElectedLeader>) -> ElectLeadersResponse {
    let mut topics: BTreeMap<_, Vec<PartitionResult>> = BTreeMap::new();
    for ElectedLeader { topic_partition, result } in results {
        let (error_code, error_message) = code_and_message(result);
        topics.entry(topic_partition.topic).or_default().push(PartitionResult {
            partition_id: topic_partition.partition.0,
            error_code,
            error_message,
        });
    }
    let results = topics.into_iter().map(|(topic, partition_result)| ReplicaElectionResult {
        topic: topic.as_str().into(),
        partition_result,
    });
    ElectLeadersResponse { replica_election_results: results.collect(), ..Default::default() }
}
