//! What a ConsumerGroupHeartbeat request must look like, in Kafka's order and words.

use crate::coordinator::group::GroupConfig;
use crate::coordinator::group::consumer::member::{JOIN_EPOCH, LEAVE_EPOCH, STATIC_LEAVE_EPOCH};
use crate::coordinator::group::consumer::refusal::Refusal;
use crate::protocol::Str;
use crate::protocol::messages::consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;
use crate::types::ErrorCode;

/// From this version on members make their ids themselves.
const OWN_MEMBER_ID_VERSION: i16 = 1;

/// Whether the request can be decided at all.
pub(super) fn validate(
    request: &ConsumerGroupHeartbeatRequest,
    version: i16,
    config: &GroupConfig,
) -> Result<(), Refusal> {
    let epoch = request.member_epoch;
    if version >= OWN_MEMBER_ID_VERSION || epoch > JOIN_EPOCH || epoch == LEAVE_EPOCH {
        not_blank(Some(&request.member_id), "MemberId can't be empty.")?;
    }
    not_blank(Some(&request.group_id), "GroupId can't be empty.")?;
    not_blank(request.instance_id.as_ref(), "InstanceId can't be empty.")?;
    not_blank(request.rack_id.as_ref(), "RackId can't be empty.")?;
    // Both are in keys of records: cut, they would be others after a failover.
    fits_a_key(Some(&request.member_id), "MemberId is too long.")?;
    fits_a_key(request.subscribed_topic_regex.as_ref(), "SubscribedTopicRegex is too long.")?;
    match epoch {
        JOIN_EPOCH => validate_join(request)?,
        STATIC_LEAVE_EPOCH if request.instance_id.is_none() => {
            return Err(invalid("InstanceId can't be null."));
        }
        ..STATIC_LEAVE_EPOCH => return Err(invalid("MemberEpoch is invalid.")),
        _ => {}
    }
    validate_assignor(request.server_assignor.as_ref(), config)
}

fn validate_join(request: &ConsumerGroupHeartbeatRequest) -> Result<(), Refusal> {
    if request.rebalance_timeout_ms == -1 {
        return Err(invalid("RebalanceTimeoutMs must be provided in first request."));
    }
    if request.topic_partitions.as_ref().is_none_or(|owned| !owned.is_empty()) {
        return Err(invalid("TopicPartitions must be empty when (re-)joining."));
    }
    // An empty list or an empty expression is a subscription too: to nothing.
    if request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none() {
        return Err(invalid(
            "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
        ));
    }
    Ok(())
}

fn validate_assignor(assignor: Option<&Str>, config: &GroupConfig) -> Result<(), Refusal> {
    let supported = &config.consumer_assignors;
    match assignor {
        Some(name) if !supported.iter().any(|known| *known == **name) => {
            let supported = supported.join(", ");
            Err(Refusal::new(
                ErrorCode::UnsupportedAssignor,
                format!(
                    "ServerAssignor {} is not supported. Supported assignors: {supported}.",
                    name.as_str()
                ),
            ))
        }
        _ => Ok(()),
    }
}

fn not_blank(text: Option<&Str>, fault: &str) -> Result<(), Refusal> {
    match text {
        Some(text) if text.trim().is_empty() => Err(invalid(fault)),
        _ => Ok(()),
    }
}

fn fits_a_key(text: Option<&Str>, fault: &str) -> Result<(), Refusal> {
    match text {
        Some(text) if text.len() > i16::MAX as usize => Err(invalid(fault)),
        _ => Ok(()),
    }
}

fn invalid(fault: &str) -> Refusal {
    Refusal::new(ErrorCode::InvalidRequest, fault)
}
