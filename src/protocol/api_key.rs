//! Kafka's API keys, and those of Ottla's own, from 10000 on, which are served without being
//! advertised: no client of Kafka's shall meet a key that it does not know.

macro_rules! api_keys {
    ($($key:literal $name:ident;)*) => {
        /// An API of the Kafka protocol. Which of them are served is the dispatch table's matter.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        #[allow(missing_docs)]
        pub enum ApiKey {
            $($name = $key,)*
        }

        impl ApiKey {
            /// Every API, in the order of the keys.
            pub const ALL: &[ApiKey] = &[$(ApiKey::$name),*];

            /// The API of that key.
            pub fn from_i16(key: i16) -> Option<ApiKey> {
                match key {
                    $($key => Some(ApiKey::$name),)*
                    _ => None,
                }
            }

            /// Its name as Kafka writes it, e.g. `Produce`.
            pub fn name(self) -> &'static str {
                match self {
                    $(ApiKey::$name => stringify!($name),)*
                }
            }
        }
    };
}

api_keys! {
    0 Produce;
    1 Fetch;
    2 ListOffsets;
    3 Metadata;
    8 OffsetCommit;
    9 OffsetFetch;
    10 FindCoordinator;
    11 JoinGroup;
    12 Heartbeat;
    13 LeaveGroup;
    14 SyncGroup;
    15 DescribeGroups;
    16 ListGroups;
    17 SaslHandshake;
    18 ApiVersions;
    19 CreateTopics;
    20 DeleteTopics;
    21 DeleteRecords;
    22 InitProducerId;
    23 OffsetForLeaderEpoch;
    24 AddPartitionsToTxn;
    25 AddOffsetsToTxn;
    26 EndTxn;
    27 WriteTxnMarkers;
    28 TxnOffsetCommit;
    29 DescribeAcls;
    30 CreateAcls;
    31 DeleteAcls;
    32 DescribeConfigs;
    33 AlterConfigs;
    34 AlterReplicaLogDirs;
    35 DescribeLogDirs;
    36 SaslAuthenticate;
    37 CreatePartitions;
    38 CreateDelegationToken;
    39 RenewDelegationToken;
    40 ExpireDelegationToken;
    41 DescribeDelegationToken;
    42 DeleteGroups;
    43 ElectLeaders;
    44 IncrementalAlterConfigs;
    45 AlterPartitionReassignments;
    46 ListPartitionReassignments;
    47 OffsetDelete;
    48 DescribeClientQuotas;
    49 AlterClientQuotas;
    50 DescribeUserScramCredentials;
    51 AlterUserScramCredentials;
    52 Vote;
    53 BeginQuorumEpoch;
    54 EndQuorumEpoch;
    55 DescribeQuorum;
    56 AlterPartition;
    57 UpdateFeatures;
    58 Envelope;
    59 FetchSnapshot;
    60 DescribeCluster;
    61 DescribeProducers;
    62 BrokerRegistration;
    63 BrokerHeartbeat;
    64 UnregisterBroker;
    65 DescribeTransactions;
    66 ListTransactions;
    67 AllocateProducerIds;
    68 ConsumerGroupHeartbeat;
    69 ConsumerGroupDescribe;
    70 ControllerRegistration;
    71 GetTelemetrySubscriptions;
    72 PushTelemetry;
    73 AssignReplicasToDirs;
    74 ListConfigResources;
    75 DescribeTopicPartitions;
    76 ShareGroupHeartbeat;
    77 ShareGroupDescribe;
    78 ShareFetch;
    79 ShareAcknowledge;
    80 AddRaftVoter;
    81 RemoveRaftVoter;
    82 UpdateRaftVoter;
    83 InitializeShareGroupState;
    84 ReadShareGroupState;
    85 WriteShareGroupState;
    86 DeleteShareGroupState;
    87 ReadShareGroupStateSummary;
    88 StreamsGroupHeartbeat;
    89 StreamsGroupDescribe;
    90 DescribeShareGroupOffsets;
    91 AlterShareGroupOffsets;
    92 DeleteShareGroupOffsets;
    10001 VerifyLogs;
}

impl ApiKey {
    /// Whether it is not Kafka's.
    pub fn is_ottlas_own(self) -> bool {
        self.code() >= 10_000
    }

    /// The number on the wire.
    pub fn code(self) -> i16 {
        self as i16
    }

    /// The first version whose messages are flexible (KIP-482); `i16::MAX` if none is. Known for
    /// all APIs, as the header's form depends on it even where the body is not read.
    pub fn first_flexible(self) -> i16 {
        use ApiKey::*;
        match self {
            SaslHandshake => i16::MAX,
            DescribeConfigs | JoinGroup | OffsetFetch => match self {
                DescribeConfigs => 4,
                _ => 6,
            },
            Produce | Metadata => 9,
            Fetch => 12,
            ListOffsets => 6,
            OffsetCommit => 8,
            FindCoordinator | ApiVersions | TxnOffsetCommit | AddPartitionsToTxn
            | AddOffsetsToTxn | EndTxn | ListGroups => 3,
            Heartbeat | LeaveGroup | SyncGroup | OffsetForLeaderEpoch | DeleteTopics => 4,
            DescribeGroups | CreateTopics => 5,
            DeleteRecords
            | InitProducerId
            | DescribeAcls
            | CreateAcls
            | DeleteAcls
            | AlterConfigs
            | AlterReplicaLogDirs
            | DescribeLogDirs
            | SaslAuthenticate
            | CreatePartitions
            | CreateDelegationToken
            | RenewDelegationToken
            | ExpireDelegationToken
            | DescribeDelegationToken
            | DeleteGroups
            | ElectLeaders => 2,
            IncrementalAlterConfigs
            | WriteTxnMarkers
            | DescribeClientQuotas
            | AlterClientQuotas
            | BeginQuorumEpoch
            | EndQuorumEpoch => 1,
            OffsetDelete => i16::MAX,
            _ => 0,
        }
    }
}
