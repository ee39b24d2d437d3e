//! A controller without a quorum: decisions are applied as if they were committed at once, group
//! by group, and every image in between is checked.
//!
//! - `rules`: REPLICATION-RULES.md 10 and 13 to 17, by number
//! - `recovery`: partitions that lost everybody; preferred leaders; elections on request
//! - `topics`: topics come, grow and go
//! - `configs`: configurations change
//! - `directories`: data directories fail and come back; where replicas lie
//! - `random`: seeded histories

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod configs;
mod directories;
mod random;
mod recovery;
mod rules;
mod topics;

use std::time::Duration;

use uuid::Uuid;

use super::*;
use crate::metadata::{Endpoint, Image, Partition, SecurityProtocol};
use crate::types::machine::Now;
use crate::types::{
    DirectoryId, IncarnationId, Monotonic, Offset, PartitionId, TimestampMs, TopicId,
    TopicPartition,
};

#[derive(Debug, Default)]
struct World {
    image: Image,
    liveness: Liveness,
    options: Options,
    elapsed: Duration,
    records: Vec<MetadataRecord>,
    /// How many decisions were made: what seeds come from.
    decisions: u64,
}

impl World {
    /// A cluster of that many brokers, all unfenced; `min.insync.replicas` is 2.
    fn of(brokers: i32) -> Self {
        let mut world = World::default();
        world.options.broker_defaults.insert("min.insync.replicas".into(), "2".into());
        world.run(Command::FormCluster { cluster_id: "test".into() });
        for node in 1..=brokers {
            world.start(node, PreviousRun::Fresh);
        }
        world
    }

    fn decide(&mut self, command: Command) -> Decision {
        self.decisions += 1;
        let mixed = crate::types::random::mix(self.decisions);
        let now = Now { monotonic: Monotonic(self.elapsed), wall: TimestampMs(0) };
        let (image, liveness, options) = (&self.image, &self.liveness, &self.options);
        let seed = u128::from(mixed) << 64 | u128::from(!mixed);
        decide(&Situation { image, liveness, options, now, seed }, command)
    }

    fn run(&mut self, command: Command) -> Reply {
        let text = format!("{command:?}");
        let decision = self.decide(command);
        for group in &decision.groups {
            assert!(!group.is_empty(), "an empty group after {text}");
            let changes = group.iter().filter(|record| record.is_partition_change()).count();
            assert!(changes <= MAX_PARTITION_CHANGES);
            let offset = self.image.offset().plus(1);
            self.image.apply_entry(group, offset).unwrap_or_else(|e| panic!("{e} after {text}"));
            self.image.check().unwrap_or_else(|fault| panic!("{fault} after {text}"));
            self.records.extend(group.iter().cloned());
        }
        decision.notes.into_iter().for_each(|note| self.liveness.note(note));
        decision.reply
    }

    fn epoch(&self, node: i32) -> BrokerEpoch {
        self.image.broker(NodeId(node)).unwrap().broker_epoch
    }

    fn register(&mut self, node: i32, incarnation: u128, run: PreviousRun) -> Reply {
        self.register_on(node, incarnation, &[(directory(node), run)])
    }

    fn register_on(
        &mut self,
        node: i32,
        incarnation: u128,
        directories: &[(DirectoryId, PreviousRun)],
    ) -> Reply {
        self.register_without(node, incarnation, directories, false)
    }

    /// As [`Self::register_on`], perhaps without directories that the broker has and cannot use.
    fn register_without(
        &mut self,
        node: i32,
        incarnation: u128,
        directories: &[(DirectoryId, PreviousRun)],
        has_offline_directories: bool,
    ) -> Reply {
        self.run(Command::RegisterBroker(RegisterBroker {
            node_id: NodeId(node),
            cluster_id: Some("test".into()),
            incarnation: IncarnationId(Uuid::from_u128(incarnation)),
            endpoints: vec![Endpoint {
                listener: "PLAINTEXT".into(),
                host: "127.0.0.1".into(),
                port: 9092,
                security_protocol: SecurityProtocol::Plaintext,
            }],
            rack: None,
            directories: directories
                .iter()
                .map(|&(id, previous_run)| RegisteredDirectory { id, previous_run })
                .collect(),
            has_offline_directories,
            features: crate::metadata::features::supported(),
        }))
    }

    /// Another process of the broker registers and is unfenced.
    fn start(&mut self, node: i32, run: PreviousRun) {
        self.liveness.live.remove(&NodeId(node));
        let incarnation = u128::from(self.decisions) + 1;
        let reply = self.register(node, incarnation, run);
        assert!(matches!(reply, Reply::Registered { .. }), "{reply:?}");
        self.unfence(node);
    }

    fn unfence(&mut self, node: i32) {
        let (node_id, broker_epoch) = (NodeId(node), self.epoch(node));
        self.liveness.live.insert(node_id, broker_epoch);
        assert_eq!(self.run(Command::UnfenceBroker { node_id, broker_epoch }), Reply::Done);
    }

    fn fence(&mut self, node: i32) {
        let (node_id, broker_epoch) = (NodeId(node), self.epoch(node));
        self.liveness.live.remove(&node_id);
        let cause = FenceCause::ProcessDied;
        assert_eq!(self.run(Command::FenceBroker { node_id, broker_epoch, cause }), Reply::Done);
    }

    /// The broker's process was killed and has come back on the same boot.
    fn died(&self, node: i32) -> PreviousRun {
        PreviousRun::ProcessDied { broker_epoch: self.epoch(node) }
    }

    /// A topic `t` with one partition on brokers 1, 2 and 3, in this order.
    fn with_topic(mut self) -> Self {
        self.create(&[1, 2, 3], &[]);
        self
    }

    fn create(&mut self, replicas: &[i32], configs: &[(&str, &str)]) {
        let topic = NewTopic {
            name: "t".into(),
            num_partitions: -1,
            replication_factor: -1,
            assignments: vec![TopicAssignment {
                partition: PartitionId(0),
                replicas: nodes(replicas),
            }],
            configs: configs.iter().map(|(k, v)| ((*k).into(), Some((*v).into()))).collect(),
        };
        let reply = self.run(Command::CreateTopics { topics: vec![topic], validate_only: false });
        let Reply::CreatedTopics(created) = reply else { panic!("{reply:?}") };
        assert!(created[0].result.is_ok(), "{created:?}");
    }

    fn partition(&self) -> &Partition {
        self.image.partition(&TopicPartition::new("t", 0)).unwrap()
    }

    /// An AlterPartition of `t-0` by its leader, as it knows it.
    fn item(&self, isr: &[i32]) -> AlterPartitionItem {
        let partition = self.partition();
        AlterPartitionItem {
            topic_id: self.image.topic("t").unwrap().id,
            partition: PartitionId(0),
            leader_epoch: partition.leader_epoch,
            partition_epoch: partition.partition_epoch,
            new_isr: isr
                .iter()
                .map(|&node| IsrMember { node_id: NodeId(node), broker_epoch: self.epoch(node) })
                .collect(),
            recovery: partition.recovery,
        }
    }

    fn alter_as(&mut self, sender: i32, item: AlterPartitionItem) -> ErrorCode {
        let request = AlterPartition {
            node_id: NodeId(sender),
            broker_epoch: self.epoch(sender),
            partitions: vec![item],
        };
        match self.run(Command::AlterPartition(request)) {
            Reply::AlteredPartitions(altered) => altered[0].error,
            other => panic!("{other:?}"),
        }
    }

    /// The leader of `t-0` sets its ISR.
    fn set_isr(&mut self, isr: &[i32]) {
        let leader = self.partition().leader.unwrap().0;
        assert_eq!(self.alter_as(leader, self.item(isr)), ErrorCode::None);
    }

    /// `t-0` in short: leader, ISR, ELR, last known ELR.
    fn state(&self) -> (i32, Vec<i32>, Vec<i32>, Vec<i32>) {
        let partition = self.partition();
        let sorted = |nodes: &[NodeId]| {
            let mut numbers: Vec<i32> = nodes.iter().map(|node| node.0).collect();
            numbers.sort_unstable();
            numbers
        };
        (
            partition.leader.unwrap_or(NodeId::NONE).0,
            sorted(&partition.isr),
            sorted(&partition.elr),
            sorted(&partition.last_known_elr),
        )
    }

    fn pass(&mut self, time: Duration) {
        self.elapsed += time;
        assert_eq!(self.run(Command::Tick), Reply::Done);
    }
}

fn nodes(numbers: &[i32]) -> Vec<NodeId> {
    numbers.iter().copied().map(NodeId).collect()
}

/// The second data directory of a broker, where it has two.
fn second(node: i32) -> DirectoryId {
    DirectoryId(Uuid::from_u128(2_000 + u128::try_from(node).unwrap()))
}

/// The first data directory of a broker.
fn directory(node: i32) -> DirectoryId {
    DirectoryId(Uuid::from_u128(1_000 + u128::try_from(node).unwrap()))
}

#[test]
fn commands_and_replies_travel_between_nodes() {
    let mut world = World::of(3).with_topic();
    let alter = AlterPartition {
        node_id: NodeId(1),
        broker_epoch: world.epoch(1),
        partitions: vec![world.item(&[1, 2])],
    };
    let names = vec![TopicRef::Name("t".into()), TopicRef::Id(TopicId::ZERO)];
    let commands = [
        Command::AlterPartition(alter),
        Command::ElectLeaders { election: ElectionType::Preferred, partitions: None },
        Command::DeleteTopics { topics: names },
        Command::Tick,
    ];
    for command in commands {
        let bytes = bincode::serialize(&command).unwrap();
        assert_eq!(bincode::deserialize::<Command>(&bytes).unwrap(), command);
        let reply = world.run(command);
        let bytes = bincode::serialize(&reply).unwrap();
        assert_eq!(bincode::deserialize::<Reply>(&bytes).unwrap(), reply);
    }
}
