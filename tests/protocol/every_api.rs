//! The list of all APIs, for whatever is done with each of them.

/// Gives `$then!` every API, with its versions at the level of Kafka 4.3.
macro_rules! every_api {
    ($then:ident) => {
        $then! {
            alter_configs: AlterConfigsRequest => AlterConfigsResponse, 0..=2;
            alter_replica_log_dirs:
                AlterReplicaLogDirsRequest => AlterReplicaLogDirsResponse, 1..=2;
            api_versions: ApiVersionsRequest => ApiVersionsResponse, 0..=4;
            consumer_group_describe:
                ConsumerGroupDescribeRequest => ConsumerGroupDescribeResponse, 0..=1;
            consumer_group_heartbeat:
                ConsumerGroupHeartbeatRequest => ConsumerGroupHeartbeatResponse, 0..=1;
            create_partitions: CreatePartitionsRequest => CreatePartitionsResponse, 0..=3;
            create_topics: CreateTopicsRequest => CreateTopicsResponse, 2..=7;
            delete_groups: DeleteGroupsRequest => DeleteGroupsResponse, 0..=2;
            delete_records: DeleteRecordsRequest => DeleteRecordsResponse, 0..=2;
            delete_topics: DeleteTopicsRequest => DeleteTopicsResponse, 1..=6;
            describe_cluster: DescribeClusterRequest => DescribeClusterResponse, 0..=2;
            describe_configs: DescribeConfigsRequest => DescribeConfigsResponse, 1..=4;
            describe_groups: DescribeGroupsRequest => DescribeGroupsResponse, 0..=6;
            describe_log_dirs: DescribeLogDirsRequest => DescribeLogDirsResponse, 1..=4;
            describe_quorum: DescribeQuorumRequest => DescribeQuorumResponse, 0..=2;
            describe_topic_partitions:
                DescribeTopicPartitionsRequest => DescribeTopicPartitionsResponse, 0..=0;
            elect_leaders: ElectLeadersRequest => ElectLeadersResponse, 0..=2;
            fetch: FetchRequest => FetchResponse, 4..=18;
            find_coordinator: FindCoordinatorRequest => FindCoordinatorResponse, 0..=6;
            heartbeat: HeartbeatRequest => HeartbeatResponse, 0..=4;
            incremental_alter_configs:
                IncrementalAlterConfigsRequest => IncrementalAlterConfigsResponse, 0..=1;
            init_producer_id: InitProducerIdRequest => InitProducerIdResponse, 0..=5;
            join_group: JoinGroupRequest => JoinGroupResponse, 0..=9;
            leave_group: LeaveGroupRequest => LeaveGroupResponse, 0..=5;
            list_config_resources:
                ListConfigResourcesRequest => ListConfigResourcesResponse, 0..=1;
            list_groups: ListGroupsRequest => ListGroupsResponse, 0..=5;
            list_offsets: ListOffsetsRequest => ListOffsetsResponse, 1..=11;
            metadata: MetadataRequest => MetadataResponse, 0..=13;
            offset_commit: OffsetCommitRequest => OffsetCommitResponse, 2..=10;
            offset_delete: OffsetDeleteRequest => OffsetDeleteResponse, 0..=0;
            offset_fetch: OffsetFetchRequest => OffsetFetchResponse, 1..=10;
            offset_for_leader_epoch:
                OffsetForLeaderEpochRequest => OffsetForLeaderEpochResponse, 2..=4;
            produce: ProduceRequest => ProduceResponse, 3..=13;
            sync_group: SyncGroupRequest => SyncGroupResponse, 0..=5;
        }
    };
}
