//! Kafka's error codes, as one closed enum: mappings onto it are exhaustive matches.

use serde::{Deserialize, Serialize};

macro_rules! error_codes {
    ($($code:literal $variant:ident $name:literal retriable $retriable:literal: $message:literal;)*) => {
        /// An error as the Kafka protocol names it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[repr(i16)]
        pub enum ErrorCode {
            $(#[doc = $message] $variant = $code,)*
        }

        impl ErrorCode {
            /// Every code, in the order of their numbers.
            pub const ALL: &[ErrorCode] = &[$(ErrorCode::$variant),*];

            /// The error of that number on the wire, if it is known.
            pub fn from_code(code: i16) -> Option<ErrorCode> {
                match code {
                    $($code => Some(ErrorCode::$variant),)*
                    _ => None,
                }
            }

            /// Kafka's name of the error, e.g. `NOT_LEADER_OR_FOLLOWER`.
            pub fn name(self) -> &'static str {
                match self {
                    $(ErrorCode::$variant => $name,)*
                }
            }

            /// One sentence for people.
            pub fn message(self) -> &'static str {
                match self {
                    $(ErrorCode::$variant => $message,)*
                }
            }

            /// Whether clients try again by themselves.
            pub fn is_retriable(self) -> bool {
                match self {
                    $(ErrorCode::$variant => $retriable,)*
                }
            }
        }
    };
}

error_codes! {
    -1 UnknownServerError "UNKNOWN_SERVER_ERROR" retriable false: "The server experienced an unexpected error when processing the request.";
    0 None "NONE" retriable false: "Success.";
    1 OffsetOutOfRange "OFFSET_OUT_OF_RANGE" retriable false: "The requested offset is not within the range of offsets that the log keeps.";
    2 CorruptMessage "CORRUPT_MESSAGE" retriable true: "The message failed its CRC, exceeds the valid size, has a null key for a compacted topic, or is otherwise corrupt.";
    3 UnknownTopicOrPartition "UNKNOWN_TOPIC_OR_PARTITION" retriable true: "This server does not host this topic-partition.";
    4 InvalidFetchSize "INVALID_FETCH_SIZE" retriable false: "The requested fetch size is invalid.";
    5 LeaderNotAvailable "LEADER_NOT_AVAILABLE" retriable true: "There is no leader for this topic-partition: a leadership election is under way.";
    6 NotLeaderOrFollower "NOT_LEADER_OR_FOLLOWER" retriable true: "This broker is neither the leader nor, for this request, a follower of the topic-partition.";
    7 RequestTimedOut "REQUEST_TIMED_OUT" retriable true: "The request timed out.";
    8 BrokerNotAvailable "BROKER_NOT_AVAILABLE" retriable false: "The broker is not available.";
    9 ReplicaNotAvailable "REPLICA_NOT_AVAILABLE" retriable true: "The replica is not available for the requested topic-partition.";
    10 MessageTooLarge "MESSAGE_TOO_LARGE" retriable false: "The request included a message larger than the server accepts.";
    11 StaleControllerEpoch "STALE_CONTROLLER_EPOCH" retriable false: "The controller moved to another node.";
    12 OffsetMetadataTooLarge "OFFSET_METADATA_TOO_LARGE" retriable false: "The metadata field of the offset request was too large.";
    13 NetworkException "NETWORK_EXCEPTION" retriable true: "The server disconnected before a response was received.";
    14 CoordinatorLoadInProgress "COORDINATOR_LOAD_IN_PROGRESS" retriable true: "The coordinator is loading and cannot serve requests yet.";
    15 CoordinatorNotAvailable "COORDINATOR_NOT_AVAILABLE" retriable true: "The coordinator is not available.";
    16 NotCoordinator "NOT_COORDINATOR" retriable true: "This is not the right coordinator.";
    17 InvalidTopicException "INVALID_TOPIC_EXCEPTION" retriable false: "The request tried an operation on an invalid topic.";
    18 RecordListTooLarge "RECORD_LIST_TOO_LARGE" retriable false: "The request included a batch larger than the configured segment size.";
    19 NotEnoughReplicas "NOT_ENOUGH_REPLICAS" retriable true: "Messages are rejected because there are fewer in-sync replicas than required.";
    20 NotEnoughReplicasAfterAppend "NOT_ENOUGH_REPLICAS_AFTER_APPEND" retriable true: "Messages were written to the log, but to fewer in-sync replicas than required.";
    21 InvalidRequiredAcks "INVALID_REQUIRED_ACKS" retriable false: "Produce request specified an invalid value for required acks.";
    22 IllegalGeneration "ILLEGAL_GENERATION" retriable false: "The group generation id is not valid.";
    23 InconsistentGroupProtocol "INCONSISTENT_GROUP_PROTOCOL" retriable false: "The member's protocol type or protocols do not match the group's.";
    24 InvalidGroupId "INVALID_GROUP_ID" retriable false: "The group id is invalid.";
    25 UnknownMemberId "UNKNOWN_MEMBER_ID" retriable false: "The coordinator is not aware of this member.";
    26 InvalidSessionTimeout "INVALID_SESSION_TIMEOUT" retriable false: "The session timeout is outside the range that the broker allows.";
    27 RebalanceInProgress "REBALANCE_IN_PROGRESS" retriable false: "The group is rebalancing, so a rejoin is needed.";
    28 InvalidCommitOffsetSize "INVALID_COMMIT_OFFSET_SIZE" retriable false: "The committed offset data is too large.";
    29 TopicAuthorizationFailed "TOPIC_AUTHORIZATION_FAILED" retriable false: "Topic authorization failed.";
    30 GroupAuthorizationFailed "GROUP_AUTHORIZATION_FAILED" retriable false: "Group authorization failed.";
    31 ClusterAuthorizationFailed "CLUSTER_AUTHORIZATION_FAILED" retriable false: "Cluster authorization failed.";
    32 InvalidTimestamp "INVALID_TIMESTAMP" retriable false: "The timestamp of the message is out of the acceptable range.";
    33 UnsupportedSaslMechanism "UNSUPPORTED_SASL_MECHANISM" retriable false: "The broker does not support the requested SASL mechanism.";
    34 IllegalSaslState "ILLEGAL_SASL_STATE" retriable false: "The request is not valid in the current SASL state.";
    35 UnsupportedVersion "UNSUPPORTED_VERSION" retriable false: "The version of this API is not supported.";
    36 TopicAlreadyExists "TOPIC_ALREADY_EXISTS" retriable false: "A topic with this name already exists.";
    37 InvalidPartitions "INVALID_PARTITIONS" retriable false: "The number of partitions is below 1, or otherwise invalid.";
    38 InvalidReplicationFactor "INVALID_REPLICATION_FACTOR" retriable false: "The replication factor is below 1 or larger than the number of available brokers.";
    39 InvalidReplicaAssignment "INVALID_REPLICA_ASSIGNMENT" retriable false: "The replica assignment is invalid.";
    40 InvalidConfig "INVALID_CONFIG" retriable false: "The configuration is invalid.";
    41 NotController "NOT_CONTROLLER" retriable true: "This is not the active controller of this cluster.";
    42 InvalidRequest "INVALID_REQUEST" retriable false: "The request is malformed or asks for what cannot be.";
    43 UnsupportedForMessageFormat "UNSUPPORTED_FOR_MESSAGE_FORMAT" retriable false: "The message format does not support this operation.";
    44 PolicyViolation "POLICY_VIOLATION" retriable false: "The request violates the configured policy.";
    45 OutOfOrderSequenceNumber "OUT_OF_ORDER_SEQUENCE_NUMBER" retriable false: "The broker received an out of order sequence number.";
    46 DuplicateSequenceNumber "DUPLICATE_SEQUENCE_NUMBER" retriable false: "The broker received a duplicate sequence number.";
    47 InvalidProducerEpoch "INVALID_PRODUCER_EPOCH" retriable false: "The producer tried to produce with an old epoch.";
    48 InvalidTxnState "INVALID_TXN_STATE" retriable false: "The producer attempted a transactional operation in an invalid state.";
    49 InvalidProducerIdMapping "INVALID_PRODUCER_ID_MAPPING" retriable false: "The producer id does not belong to this transactional id.";
    50 InvalidTransactionTimeout "INVALID_TRANSACTION_TIMEOUT" retriable false: "The transaction timeout is larger than the maximum that the broker allows.";
    51 ConcurrentTransactions "CONCURRENT_TRANSACTIONS" retriable true: "The producer tried to change a transaction while another operation on it is under way.";
    52 TransactionCoordinatorFenced "TRANSACTION_COORDINATOR_FENCED" retriable false: "The transaction coordinator is no longer the current one.";
    53 TransactionalIdAuthorizationFailed "TRANSACTIONAL_ID_AUTHORIZATION_FAILED" retriable false: "Transactional id authorization failed.";
    54 SecurityDisabled "SECURITY_DISABLED" retriable false: "Security features are disabled.";
    55 OperationNotAttempted "OPERATION_NOT_ATTEMPTED" retriable false: "The broker did not attempt this operation.";
    56 KafkaStorageError "KAFKA_STORAGE_ERROR" retriable true: "The log directory could not be read or written.";
    57 LogDirNotFound "LOG_DIR_NOT_FOUND" retriable false: "The named log directory is not configured.";
    58 SaslAuthenticationFailed "SASL_AUTHENTICATION_FAILED" retriable false: "SASL authentication failed.";
    59 UnknownProducerId "UNKNOWN_PRODUCER_ID" retriable false: "The broker has no metadata of this producer id.";
    60 ReassignmentInProgress "REASSIGNMENT_IN_PROGRESS" retriable false: "A partition reassignment is in progress.";
    61 DelegationTokenAuthDisabled "DELEGATION_TOKEN_AUTH_DISABLED" retriable false: "Delegation tokens are not enabled.";
    62 DelegationTokenNotFound "DELEGATION_TOKEN_NOT_FOUND" retriable false: "The delegation token is not known.";
    63 DelegationTokenOwnerMismatch "DELEGATION_TOKEN_OWNER_MISMATCH" retriable false: "The principal is not the token's owner or renewer.";
    64 DelegationTokenRequestNotAllowed "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED" retriable false: "Delegation token requests are not allowed on this connection.";
    65 DelegationTokenAuthorizationFailed "DELEGATION_TOKEN_AUTHORIZATION_FAILED" retriable false: "Delegation token authorization failed.";
    66 DelegationTokenExpired "DELEGATION_TOKEN_EXPIRED" retriable false: "The delegation token has expired.";
    67 InvalidPrincipalType "INVALID_PRINCIPAL_TYPE" retriable false: "The principal type is not supported.";
    68 NonEmptyGroup "NON_EMPTY_GROUP" retriable false: "The group is not empty.";
    69 GroupIdNotFound "GROUP_ID_NOT_FOUND" retriable false: "The group id does not exist.";
    70 FetchSessionIdNotFound "FETCH_SESSION_ID_NOT_FOUND" retriable true: "The fetch session id was not found.";
    71 InvalidFetchSessionEpoch "INVALID_FETCH_SESSION_EPOCH" retriable true: "The fetch session epoch is invalid.";
    72 ListenerNotFound "LISTENER_NOT_FOUND" retriable true: "The leader has no listener that matches the one on which the request came.";
    73 TopicDeletionDisabled "TOPIC_DELETION_DISABLED" retriable false: "Topic deletion is disabled.";
    74 FencedLeaderEpoch "FENCED_LEADER_EPOCH" retriable true: "The leader epoch in the request is older than the broker's.";
    75 UnknownLeaderEpoch "UNKNOWN_LEADER_EPOCH" retriable true: "The leader epoch in the request is newer than the broker's.";
    76 UnsupportedCompressionType "UNSUPPORTED_COMPRESSION_TYPE" retriable false: "The compression type is not supported here.";
    77 StaleBrokerEpoch "STALE_BROKER_EPOCH" retriable false: "The broker epoch has changed.";
    78 OffsetNotAvailable "OFFSET_NOT_AVAILABLE" retriable true: "The leader's high watermark has not caught up after an election.";
    79 MemberIdRequired "MEMBER_ID_REQUIRED" retriable false: "The member must join again with the member id that it was given.";
    80 PreferredLeaderNotAvailable "PREFERRED_LEADER_NOT_AVAILABLE" retriable true: "The preferred leader was not available.";
    81 GroupMaxSizeReached "GROUP_MAX_SIZE_REACHED" retriable false: "The group has reached its maximum size.";
    82 FencedInstanceId "FENCED_INSTANCE_ID" retriable false: "Another member with the same group.instance.id has taken over.";
    83 EligibleLeadersNotAvailable "ELIGIBLE_LEADERS_NOT_AVAILABLE" retriable true: "No eligible leader is available.";
    84 ElectionNotNeeded "ELECTION_NOT_NEEDED" retriable true: "The partition's leader needs no election.";
    85 NoReassignmentInProgress "NO_REASSIGNMENT_IN_PROGRESS" retriable false: "No partition reassignment is in progress.";
    86 GroupSubscribedToTopic "GROUP_SUBSCRIBED_TO_TOPIC" retriable false: "The group is subscribed to this topic.";
    87 InvalidRecord "INVALID_RECORD" retriable false: "The broker rejected this record: it failed validation.";
    88 UnstableOffsetCommit "UNSTABLE_OFFSET_COMMIT" retriable true: "There are offsets of open transactions that must be settled first.";
    89 ThrottlingQuotaExceeded "THROTTLING_QUOTA_EXCEEDED" retriable true: "The throttling quota has been exceeded.";
    90 ProducerFenced "PRODUCER_FENCED" retriable false: "A newer producer with the same transactional id has fenced this one.";
    91 ResourceNotFound "RESOURCE_NOT_FOUND" retriable false: "The resource was not found.";
    92 DuplicateResource "DUPLICATE_RESOURCE" retriable false: "The same resource appears twice.";
    93 UnacceptableCredential "UNACCEPTABLE_CREDENTIAL" retriable false: "The credential does not meet the requirements.";
    94 InconsistentVoterSet "INCONSISTENT_VOTER_SET" retriable false: "The voters of the request and of the receiver differ.";
    95 InvalidUpdateVersion "INVALID_UPDATE_VERSION" retriable false: "The given update version was invalid.";
    96 FeatureUpdateFailed "FEATURE_UPDATE_FAILED" retriable false: "The feature could not be updated.";
    97 PrincipalDeserializationFailure "PRINCIPAL_DESERIALIZATION_FAILURE" retriable false: "The forwarded principal could not be read.";
    98 SnapshotNotFound "SNAPSHOT_NOT_FOUND" retriable false: "The snapshot was not found.";
    99 PositionOutOfRange "POSITION_OUT_OF_RANGE" retriable false: "The position is outside the snapshot.";
    100 UnknownTopicId "UNKNOWN_TOPIC_ID" retriable true: "This server does not know this topic id.";
    101 DuplicateBrokerRegistration "DUPLICATE_BROKER_REGISTRATION" retriable false: "This broker id is already in use.";
    102 BrokerIdNotRegistered "BROKER_ID_NOT_REGISTERED" retriable false: "This broker id is not registered.";
    103 InconsistentTopicId "INCONSISTENT_TOPIC_ID" retriable true: "The topic id of the log does not match that of the request.";
    104 InconsistentClusterId "INCONSISTENT_CLUSTER_ID" retriable false: "The cluster id of the request is not that of the receiver.";
    105 TransactionalIdNotFound "TRANSACTIONAL_ID_NOT_FOUND" retriable false: "The transactional id was not found.";
    106 FetchSessionTopicIdError "FETCH_SESSION_TOPIC_ID_ERROR" retriable true: "The fetch session met inconsistent use of topic ids.";
    107 IneligibleReplica "INELIGIBLE_REPLICA" retriable false: "The new ISR contains at least one ineligible replica.";
    108 NewLeaderElected "NEW_LEADER_ELECTED" retriable false: "The AlterPartition request moved the leader away.";
    109 OffsetMovedToTieredStorage "OFFSET_MOVED_TO_TIERED_STORAGE" retriable false: "The offset has moved to tiered storage.";
    110 FencedMemberEpoch "FENCED_MEMBER_EPOCH" retriable false: "The member epoch is fenced: the member must rejoin.";
    111 UnreleasedInstanceId "UNRELEASED_INSTANCE_ID" retriable false: "The instance id is still used by another member.";
    112 UnsupportedAssignor "UNSUPPORTED_ASSIGNOR" retriable false: "The assignor or its version is not supported.";
    113 StaleMemberEpoch "STALE_MEMBER_EPOCH" retriable false: "The member epoch is stale.";
    114 MismatchedEndpointType "MISMATCHED_ENDPOINT_TYPE" retriable false: "The request was sent to an endpoint of the wrong type.";
    115 UnsupportedEndpointType "UNSUPPORTED_ENDPOINT_TYPE" retriable false: "This endpoint type is not supported.";
    116 UnknownControllerId "UNKNOWN_CONTROLLER_ID" retriable false: "This controller id is not known.";
    117 UnknownSubscriptionId "UNKNOWN_SUBSCRIPTION_ID" retriable false: "The client pushed metrics with a stale subscription id.";
    118 TelemetryTooLarge "TELEMETRY_TOO_LARGE" retriable false: "The telemetry push was too large.";
    119 InvalidRegistration "INVALID_REGISTRATION" retriable false: "The controller found the broker's registration invalid.";
    120 TransactionAbortable "TRANSACTION_ABORTABLE" retriable false: "The transaction must be aborted; the producer may go on.";
    121 InvalidRecordState "INVALID_RECORD_STATE" retriable false: "The record's state does not allow the acknowledgement.";
    122 ShareSessionNotFound "SHARE_SESSION_NOT_FOUND" retriable true: "The share session was not found.";
    123 InvalidShareSessionEpoch "INVALID_SHARE_SESSION_EPOCH" retriable true: "The share session epoch is invalid.";
    124 FencedStateEpoch "FENCED_STATE_EPOCH" retriable false: "The share state epoch is fenced.";
    125 InvalidVoterKey "INVALID_VOTER_KEY" retriable false: "The voter key does not match the receiver's.";
    126 DuplicateVoter "DUPLICATE_VOTER" retriable false: "The voter is already part of the set of voters.";
    127 VoterNotFound "VOTER_NOT_FOUND" retriable false: "The voter is not part of the set of voters.";
    128 InvalidRegularExpression "INVALID_REGULAR_EXPRESSION" retriable false: "The regular expression is not valid.";
    129 RebootstrapRequired "REBOOTSTRAP_REQUIRED" retriable false: "Client metadata is stale: the client should bootstrap again.";
    130 StreamsInvalidTopology "STREAMS_INVALID_TOPOLOGY" retriable false: "The topology is invalid.";
    131 StreamsInvalidTopologyEpoch "STREAMS_INVALID_TOPOLOGY_EPOCH" retriable false: "The topology epoch is invalid.";
    132 StreamsTopologyFenced "STREAMS_TOPOLOGY_FENCED" retriable false: "The topology epoch is outdated.";
    133 ShareSessionLimitReached "SHARE_SESSION_LIMIT_REACHED" retriable true: "The limit of share sessions has been reached.";
}

impl ErrorCode {
    /// The number on the wire.
    pub fn code(self) -> i16 {
        self as i16
    }

    /// Whether this is [`ErrorCode::None`].
    pub fn is_none(self) -> bool {
        self == ErrorCode::None
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.name(), self.message())
    }
}

impl std::error::Error for ErrorCode {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_comes_back_from_its_number() {
        for &error in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_code(error.code()), Some(error));
        }
        assert_eq!(ErrorCode::from_code(-2), None);
        assert_eq!(ErrorCode::from_code(134), None);
    }
}
