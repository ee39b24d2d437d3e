//! The records of `__consumer_offsets` as Kafka's tools print them: JSON with the number of the
//! kind, or the version, and the fields.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::coordinator::group::decode_record;
use crate::coordinator::group::record::GroupRecord;
use crate::coordinator::group::stored::{
    ConsumerGroupMemberMetadataValue, GroupMetadataValue, OffsetCommitValue, StoredMember,
    StoredTopicPartitions,
};
use crate::protocol::Message;
use crate::protocol::consumer_protocol::{
    CONSUMER, ConsumerProtocolAssignment, ConsumerProtocolSubscription,
    ConsumerProtocolTopicPartitions, decode_versioned,
};
use crate::record::Record;

/// The key and, where there is one, the value.
pub(super) fn text(record: &Record) -> (String, Option<String>) {
    let Some(key) = record.key.clone() else {
        return (format!("Error at offset {}, skipping. It has no key", record.offset), None);
    };
    let number = |bytes: &Bytes| bytes.first_chunk().map_or(-1, |head| i16::from_be_bytes(*head));
    let kind = number(&key);
    let version = record.value.as_ref().map(number);
    match decode_record(key, record.value.clone()) {
        Ok(Some(decoded)) => {
            let (key, data) = fields(&decoded, version.unwrap_or(0));
            let key = json!({ "type": kind.to_string(), "data": key });
            let value = match version {
                Some(version) => {
                    json!({ "version": version.to_string(), "data": data }).to_string()
                }
                None => "<DELETE>".to_owned(),
            };
            (key.to_string(), Some(value))
        }
        Ok(None) => {
            (format!("Unknown record type {kind} at offset {}, skipping.", record.offset), None)
        }
        Err(error) => (format!("Error at offset {}, skipping. {error}", record.offset), None),
    }
}

/// The fields of key and value. Those that a version does not have are left out.
fn fields(record: &GroupRecord, version: i16) -> (Value, Value) {
    match record {
        GroupRecord::Offset { group, partition, value } => (
            json!({
                "group": &**group, "topic": &*partition.topic, "partition": partition.partition.0
            }),
            value.as_ref().map_or(Value::Null, |value| offset(value, version)),
        ),
        GroupRecord::Classic { group, value } => (
            json!({ "group": &**group }),
            value.as_ref().map_or(Value::Null, |value| classic(value, version)),
        ),
        GroupRecord::Consumer { group, value } => (
            json!({ "groupId": &**group }),
            json!(value.as_ref().map(|value| json!({
                "epoch": value.epoch, "metadataHash": value.metadata_hash
            }))),
        ),
        GroupRecord::Member { group, member, value } => (
            json!({ "groupId": &**group, "memberId": &**member }),
            json!(value.as_ref().map(member_metadata)),
        ),
        GroupRecord::TargetEpoch { group, value } => (
            json!({ "groupId": &**group }),
            json!(value.as_ref().map(|value| json!({
                "assignmentEpoch": value.assignment_epoch,
                "assignmentTimestamp": value.assignment_timestamp
            }))),
        ),
        GroupRecord::Target { group, member, value } => (
            json!({ "groupId": &**group, "memberId": &**member }),
            json!(value.as_ref().map(|value| json!({
                "topicPartitions": topic_partitions(&value.topic_partitions)
            }))),
        ),
        GroupRecord::Current { group, member, value } => (
            json!({ "groupId": &**group, "memberId": &**member }),
            json!(value.as_ref().map(|value| json!({
                "memberEpoch": value.member_epoch,
                "previousMemberEpoch": value.previous_member_epoch,
                "state": value.state,
                "assignedPartitions": topic_partitions(&value.assigned_partitions),
                "partitionsPendingRevocation":
                    topic_partitions(&value.partitions_pending_revocation)
            }))),
        ),
        GroupRecord::Regex { group, regex, value } => (
            json!({ "groupId": &**group, "regularExpression": regex }),
            json!(value.as_ref().map(|value| json!({
                "topics": texts(&value.topics),
                "version": value.version,
                "timestamp": value.timestamp
            }))),
        ),
    }
}

fn texts<T: AsRef<str>>(all: &[T]) -> Vec<&str> {
    all.iter().map(AsRef::as_ref).collect()
}

fn offset(value: &OffsetCommitValue, version: i16) -> Value {
    let mut fields = Map::new();
    fields.insert("offset".to_owned(), json!(value.offset));
    if version >= 3 {
        fields.insert("leaderEpoch".to_owned(), json!(value.leader_epoch));
    }
    fields.insert("metadata".to_owned(), json!(&*value.metadata));
    fields.insert("commitTimestamp".to_owned(), json!(value.commit_timestamp));
    if version == 1 {
        fields.insert("expireTimestamp".to_owned(), json!(value.expire_timestamp));
    }
    if !value.topic_id.is_nil() {
        let id = crate::types::TopicId(value.topic_id).to_string();
        fields.insert("topicId".to_owned(), json!(id));
    }
    Value::Object(fields)
}

fn classic(value: &GroupMetadataValue, version: i16) -> Value {
    let is_consumer = &*value.protocol_type == CONSUMER;
    let members: Vec<Value> =
        value.members.iter().map(|member| classic_member(member, version, is_consumer)).collect();
    let mut fields = Map::new();
    fields.insert("protocolType".to_owned(), json!(&*value.protocol_type));
    fields.insert("generation".to_owned(), json!(value.generation));
    fields.insert("protocol".to_owned(), json!(value.protocol.as_deref()));
    fields.insert("leader".to_owned(), json!(value.leader.as_deref()));
    if version >= 2 {
        let timestamp = value.current_state_timestamp;
        fields.insert("currentStateTimestamp".to_owned(), json!(timestamp));
    }
    fields.insert("members".to_owned(), Value::Array(members));
    Value::Object(fields)
}

fn classic_member(member: &StoredMember, version: i16, is_consumer: bool) -> Value {
    let mut fields = Map::new();
    fields.insert("memberId".to_owned(), json!(&*member.member_id));
    if version >= 3 {
        let instance = member.group_instance_id.as_deref();
        fields.insert("groupInstanceId".to_owned(), json!(instance));
    }
    fields.insert("clientId".to_owned(), json!(&*member.client_id));
    fields.insert("clientHost".to_owned(), json!(&*member.client_host));
    if version >= 1 {
        fields.insert("rebalanceTimeout".to_owned(), json!(member.rebalance_timeout));
    }
    fields.insert("sessionTimeout".to_owned(), json!(member.session_timeout));
    // Where they are a consumer's they can be read; otherwise only the member knows what they mean.
    let subscription = opaque(&member.subscription, is_consumer, subscription);
    fields.insert("subscription".to_owned(), subscription);
    fields.insert("assignment".to_owned(), opaque(&member.assignment, is_consumer, assignment));
    Value::Object(fields)
}

fn opaque<M: Message>(bytes: &Bytes, is_consumer: bool, show: fn(&M) -> Value) -> Value {
    let decoded = is_consumer.then(|| decode_versioned::<M>(bytes.clone()).ok()).flatten();
    decoded.map_or_else(|| json!(STANDARD.encode(bytes)), |message| show(&message))
}

fn subscription(value: &ConsumerProtocolSubscription) -> Value {
    json!({
        "topics": texts(&value.topics),
        "userData": value.user_data.as_ref().map(|bytes| STANDARD.encode(bytes)),
        "ownedPartitions": named_partitions(&value.owned_partitions),
        "generationId": value.generation_id,
        "rackId": value.rack_id.as_deref()
    })
}

fn assignment(value: &ConsumerProtocolAssignment) -> Value {
    json!({
        "assignedPartitions": named_partitions(&value.assigned_partitions),
        "userData": value.user_data.as_ref().map(|bytes| STANDARD.encode(bytes))
    })
}

fn named_partitions(all: &[ConsumerProtocolTopicPartitions]) -> Vec<Value> {
    all.iter().map(|one| json!({ "topic": &*one.topic, "partitions": one.partitions })).collect()
}

fn topic_partitions(all: &[StoredTopicPartitions]) -> Vec<Value> {
    all.iter()
        .map(|one| {
            let id = crate::types::TopicId(one.topic_id).to_string();
            json!({ "topicId": id, "partitions": one.partitions })
        })
        .collect()
}

fn member_metadata(value: &ConsumerGroupMemberMetadataValue) -> Value {
    json!({
        "instanceId": value.instance_id.as_deref(),
        "rackId": value.rack_id.as_deref(),
        "clientId": &*value.client_id,
        "clientHost": &*value.client_host,
        "subscribedTopicNames": texts(&value.subscribed_topic_names),
        "subscribedTopicRegex": value.subscribed_topic_regex.as_deref(),
        "rebalanceTimeoutMs": value.rebalance_timeout_ms,
        "serverAssignor": value.server_assignor.as_deref(),
        "isClassic": value.classic_member_metadata.is_some()
    })
}
