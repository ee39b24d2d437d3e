//! What is answered: one file per API, and one table of them all.
//!
//! - [`dispatch`]: the trait of a handler, a row of the table, decoding and encoding
//! - `asking`: who asks a group's coordinator
//! - `config_changes`: what both ways of changing configurations share
//! - [`leaders`], [`operations`], `refusals`: what several answers tell alike

mod alter_configs;
mod alter_replica_log_dirs;
pub(crate) mod api_versions;
mod asking;
mod config_changes;
mod consumer_group_describe;
mod consumer_group_heartbeat;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_cluster;
pub(crate) mod describe_configs;
mod describe_groups;
mod describe_log_dirs;
mod describe_quorum;
pub(crate) mod describe_topic_partitions;
pub(crate) mod dispatch;
mod elect_leaders;
mod fetch;
mod find_coordinator;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
pub(crate) mod leaders;
mod leave_group;
pub(crate) mod list_config_resources;
mod list_groups;
mod list_offsets;
pub(crate) mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod operations;
mod produce;
mod refusals;
mod sync_group;
mod verify_logs;

use std::sync::Arc;

use parking_lot::Mutex;

use crate::broker::auto_create::AutoCreate;
use crate::broker::config::{BrokerConfig, LiveConfig};
use crate::broker::controller_link::ControllerLink;
use crate::broker::loggers::Loggers;
use crate::broker::producer_ids::ProducerIds;
use crate::broker::service::KafkaService;
use crate::broker::verification::Verifications;
use crate::controller::Controller;
use crate::coordinator::groups::Groups;
use crate::metadata::MetadataSource;
use crate::protocol::ApiKey;
use crate::replication::Replicas;
use crate::types::{Clock, Random};

use alter_configs::AlterConfigs;
use alter_replica_log_dirs::AlterReplicaLogDirs;
use api_versions::ApiVersions;
use config_changes::ConfigChanges;
use consumer_group_describe::ConsumerGroupDescribe;
use consumer_group_heartbeat::ConsumerGroupHeartbeat;
use create_partitions::CreatePartitions;
use create_topics::CreateTopics;
use delete_groups::DeleteGroups;
use delete_records::DeleteRecords;
use delete_topics::DeleteTopics;
use describe_cluster::{DescribeCluster, EndpointType};
use describe_configs::{ConfigView, DescribeConfigs};
use describe_groups::DescribeGroups;
use describe_log_dirs::DescribeLogDirs;
use describe_quorum::DescribeQuorum;
use describe_topic_partitions::DescribeTopicPartitions;
use dispatch::Entry;
use elect_leaders::ElectLeaders;
use fetch::Fetch;
use fetch::session::Sessions;
use find_coordinator::FindCoordinator;
use heartbeat::Heartbeat;
use incremental_alter_configs::IncrementalAlterConfigs;
use init_producer_id::InitProducerId;
use join_group::JoinGroup;
use leaders::Leaders;
use leave_group::LeaveGroup;
use list_config_resources::ListConfigResources;
use list_groups::ListGroups;
use list_offsets::ListOffsets;
use metadata::Metadata;
use offset_commit::OffsetCommit;
use offset_delete::OffsetDelete;
use offset_fetch::OffsetFetch;
use offset_for_leader_epoch::OffsetForLeaderEpoch;
use produce::Produce;
use sync_group::SyncGroup;
use verify_logs::VerifyLogs;

/// What handlers are made from.
pub(crate) struct Parts {
    /// The configuration that this node was started with.
    pub config: Arc<BrokerConfig>,
    /// The same, as it changes.
    pub live: LiveConfig,
    /// The way to the active controller, and the quorum.
    pub controller: Arc<Controller>,
    /// The same, for commands.
    pub link: Arc<ControllerLink>,
    /// The committed image.
    pub metadata: Arc<dyn MetadataSource>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub random: Arc<dyn Random>,
    /// What is logged.
    pub loggers: Arc<Loggers>,
}

impl Parts {
    fn administration(&self, endpoint_type: EndpointType) -> Vec<Entry> {
        let configs = ConfigView::new(Arc::clone(&self.metadata), self.live.clone());
        let changes = Arc::new(ConfigChanges {
            link: Arc::clone(&self.link),
            live: self.live.clone(),
            metadata: Arc::clone(&self.metadata),
            loggers: Arc::clone(&self.loggers),
        });
        let link = || Arc::clone(&self.link);
        vec![
            Entry::new(CreateTopics { link: link(), configs: configs.clone() }),
            Entry::new(DeleteTopics { link: link(), enabled: self.config.delete_topics }),
            Entry::new(CreatePartitions { link: link() }),
            Entry::new(ElectLeaders { link: link() }),
            Entry::new(DescribeConfigs { configs, loggers: Arc::clone(&self.loggers) }),
            Entry::new(AlterConfigs { changes: Arc::clone(&changes) }),
            Entry::new(IncrementalAlterConfigs { changes }),
            Entry::new(ListConfigResources { metadata: Arc::clone(&self.metadata) }),
            Entry::new(DescribeCluster {
                metadata: Arc::clone(&self.metadata),
                controller: Arc::clone(&self.controller),
                endpoint_type,
            }),
            Entry::new(DescribeQuorum {
                controller: Arc::clone(&self.controller),
                clock: Arc::clone(&self.clock),
                controller_listener: self.config.listeners.controller.clone(),
            }),
        ]
    }

    /// The service of a controller's listener.
    pub fn controller_service(&self) -> KafkaService {
        self.service(self.administration(EndpointType::Controller))
    }

    /// What creates topics that somebody asked for.
    pub fn auto_create(&self) -> AutoCreate {
        AutoCreate::new(
            Arc::clone(&self.link),
            self.config.auto_create_topics,
            self.config.groups.clone(),
        )
    }

    /// The service of a broker's listeners.
    pub fn broker_service(
        &self,
        replicas: &Arc<Replicas>,
        groups: &Arc<Groups>,
        verifications: &Arc<Verifications>,
    ) -> KafkaService {
        let auto_create = self.auto_create();
        let leaders = Leaders { metadata: Arc::clone(&self.metadata) };
        let metadata = || Arc::clone(&self.metadata);
        let replicas = || Arc::clone(replicas);
        // A restarted broker must not take up the sessions of its former self.
        let first_session = i32::try_from(self.random.below(1 << 30)).unwrap_or(1);
        let sessions = Sessions::new(self.config.fetch_session_slots, first_session);
        let mut entries = self.administration(EndpointType::Broker);
        entries.extend([
            Entry::new(Produce {
                replicas: replicas(),
                leaders: leaders.clone(),
                metadata: metadata(),
            })
            .advertised_from(0),
            Entry::new(Fetch {
                replicas: replicas(),
                metadata: metadata(),
                leaders,
                sessions: Arc::new(Mutex::new(sessions)),
                clock: Arc::clone(&self.clock),
                max_bytes: self.config.fetch_max_bytes,
            }),
            Entry::new(ListOffsets { replicas: replicas() }),
            Entry::new(OffsetForLeaderEpoch { replicas: replicas() }),
            Entry::new(DeleteRecords { replicas: replicas() }),
            Entry::new(Metadata {
                node_id: self.config.node_id,
                metadata: metadata(),
                replicas: replicas(),
                controller: Arc::clone(&self.controller),
                auto_create: auto_create.clone(),
            }),
            Entry::new(InitProducerId {
                producer_ids: Arc::new(ProducerIds::new(Arc::clone(&self.link))),
            }),
            Entry::new(DescribeTopicPartitions { metadata: metadata() }),
            Entry::new(DescribeLogDirs { replicas: replicas() }),
            Entry::new(AlterReplicaLogDirs { replicas: replicas() }),
            Entry::new(FindCoordinator {
                metadata: metadata(),
                replicas: replicas(),
                groups: Arc::clone(groups),
                auto_create,
            }),
        ]);
        entries.push(Entry::new(VerifyLogs { verifications: Arc::clone(verifications) }));
        entries.extend(self.group_entries(groups));
        self.service(entries)
    }

    fn group_entries(&self, groups: &Arc<Groups>) -> Vec<Entry> {
        let metadata = || Arc::clone(&self.metadata);
        let groups = || Arc::clone(groups);
        vec![
            Entry::new(JoinGroup { groups: groups() }),
            Entry::new(SyncGroup { groups: groups() }),
            Entry::new(Heartbeat { groups: groups() }),
            Entry::new(LeaveGroup { groups: groups() }),
            Entry::new(OffsetCommit { groups: groups(), metadata: metadata() }),
            Entry::new(OffsetFetch { groups: groups(), metadata: metadata() }),
            Entry::new(OffsetDelete { groups: groups(), metadata: metadata() }),
            Entry::new(ListGroups { groups: groups() }),
            Entry::new(DescribeGroups { groups: groups() }),
            Entry::new(DeleteGroups { groups: groups() }),
            Entry::new(ConsumerGroupHeartbeat { groups: groups() }),
            Entry::new(ConsumerGroupDescribe { groups: groups() }),
        ]
    }

    fn service(&self, mut entries: Vec<Entry>) -> KafkaService {
        let kafkas = entries.iter().filter(|entry| !entry.api.is_ottlas_own());
        let mut served: Vec<_> =
            kafkas.map(|entry| (entry.api, entry.advertised.clone())).collect();
        served.push((ApiKey::ApiVersions, 0..=4));
        served.sort_by_key(|(api, _)| *api);
        let api_versions = Arc::new(ApiVersions { served, metadata: Arc::clone(&self.metadata) });
        entries.push(Entry::shared(Arc::clone(&api_versions)));
        KafkaService::new(entries, api_versions)
    }
}
