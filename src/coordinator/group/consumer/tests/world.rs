//! A machine, a clock and the log of what it recorded.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::coordinator::group::assignor::Partitions;
use crate::coordinator::group::command::{Answer, Asked, Client, Command, Effect};
use crate::coordinator::group::consumer::member::{Current, Member, Metadata};
use crate::coordinator::group::consumer::state::{ConsumerGroup, Resolved};
use crate::coordinator::group::ids::{GroupId, MemberId};
use crate::coordinator::group::machine::Group;
use crate::coordinator::group::rebalance::Rebalance;
use crate::coordinator::group::record::GroupRecord;
use crate::coordinator::group::{GroupConfig, GroupMachine};
use crate::coordinator::shard::RequestId;
use crate::metadata::{
    Cause, ConfigResource, Image, LeaderRecoveryState, MetadataRecord, Partition,
};
use crate::protocol::Str;
use crate::protocol::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, HeartbeatRequestTopicPartitions,
};
use crate::types::clock::{Monotonic, TimestampMs};
use crate::types::machine::{Machine, Now};
use crate::types::{
    DirectoryId, ErrorCode, LeaderEpoch, NodeId, Offset, PartitionEpoch, PartitionId, TopicId,
    TopicName,
};

pub const GROUP: &str = "g";

pub struct World {
    pub machine: GroupMachine,
    pub log: Vec<GroupRecord>,
    pub rebalances: Vec<Rebalance>,
    pub image: Image,
    pub now: Duration,
    requests: u64,
}

impl World {
    pub fn new(topics: &[(&str, i32)]) -> Self {
        Self::with(GroupConfig::default(), topics)
    }

    pub fn with(config: GroupConfig, topics: &[(&str, i32)]) -> Self {
        let mut world = Self {
            machine: GroupMachine::new(Arc::new(config)),
            log: Vec::new(),
            rebalances: Vec::new(),
            image: Image::default(),
            now: Duration::from_secs(1),
            requests: 0,
        };
        for (topic, count) in topics {
            world.topic(topic, *count);
        }
        world.publish();
        world
    }

    /// A topic with that many partitions; one that is there grows.
    pub fn topic(&mut self, name: &str, count: i32) {
        let known = self.image.topic(name).map(|topic| (topic.id, topic.partitions.len() as i32));
        let mut records = Vec::new();
        let (topic_id, from) = known.unwrap_or_else(|| {
            let topic_id = TopicId(Uuid::from_u128(100 + u128::from(self.image.version())));
            records.push(MetadataRecord::Topic { name: TopicName::new(name), topic_id });
            (topic_id, 0)
        });
        records.extend((from..count).map(|partition| MetadataRecord::Partition {
            topic_id,
            partition: PartitionId(partition),
            state: Arc::new(partition_on(&[NodeId(partition % 3)])),
            cause: Cause::Created,
        }));
        self.image.apply_entry(&records, Offset(0)).unwrap();
    }

    pub fn delete_topic(&mut self, name: &str) {
        let topic_id = self.id(name);
        let records = [MetadataRecord::TopicRemoved { topic_id }];
        self.image.apply_entry(&records, Offset(0)).unwrap();
        self.publish();
    }

    /// Sets a key of the group.
    pub fn configure(&mut self, key: &str, value: &str) {
        let record = MetadataRecord::Config {
            resource: ConfigResource::Group(GROUP.to_owned()),
            key: key.to_owned(),
            value: Some(value.to_owned()),
        };
        self.image.apply_entry(&[record], Offset(0)).unwrap();
        self.publish();
    }

    pub fn publish(&mut self) {
        self.run(Command::MetadataChanged(Arc::new(self.image.clone())));
    }

    pub fn id(&self, topic: &str) -> TopicId {
        self.image.topic(topic).unwrap().id
    }

    pub fn run(&mut self, command: Command) -> Vec<(RequestId, Answer)> {
        let now = Now {
            monotonic: Monotonic(self.now),
            wall: TimestampMs(self.now.as_millis() as i64 + 1_000_000),
        };
        let decision = self.machine.decide(now, command);
        for record in &decision.records {
            self.machine.apply(record);
        }
        self.log.extend(decision.records);
        for note in decision.notes {
            self.machine.note(note);
        }
        for effect in decision.effects {
            let Effect::Rebalanced(rebalance) = effect;
            self.rebalances.push(rebalance);
        }
        decision.replies
    }

    pub fn asked<R>(&mut self, version: i16, body: R) -> Asked<R> {
        self.requests += 1;
        Asked {
            request: RequestId(self.requests),
            client: Client { id: Arc::from("client"), host: Arc::from("/127.0.0.1") },
            version,
            fresh: Uuid::from_u128(u128::from(self.requests)),
            body,
        }
    }

    /// The one answer to a request.
    pub fn ask(&mut self, command: Command) -> Answer {
        let mut replies = self.run(command);
        assert_eq!(replies.len(), 1, "{replies:?}");
        replies.remove(0).1
    }

    pub fn beat(
        &mut self,
        request: ConsumerGroupHeartbeatRequest,
    ) -> ConsumerGroupHeartbeatResponse {
        self.beat_in(1, request)
    }

    pub fn beat_in(
        &mut self,
        version: i16,
        request: ConsumerGroupHeartbeatRequest,
    ) -> ConsumerGroupHeartbeatResponse {
        let asked = self.asked(version, request);
        match self.ask(Command::ConsumerHeartbeat(asked)) {
            Answer::ConsumerHeartbeat(response) => response,
            other => panic!("{other:?}"),
        }
    }

    /// Time passes; what falls due is decided.
    pub fn pass(&mut self, time: Duration) {
        self.now += time;
        while self.machine.next_deadline().is_some_and(|due| due.0 <= self.now) {
            self.run(Command::Tick);
        }
    }

    pub fn group(&self) -> &ConsumerGroup {
        match self.machine.groups.get(GROUP).map(|group| &**group) {
            Some(Group::Consumer(group)) => group,
            other => panic!("{other:?}"),
        }
    }

    pub fn member(&self, id: &str) -> &Member {
        self.group().members.get(id).unwrap()
    }

    /// What is durable of all groups.
    pub fn durable(&self) -> Vec<(GroupId, DurableGroup)> {
        durable(&self.machine)
    }

    /// The same, from the log alone.
    pub fn replayed(&self) -> Vec<(GroupId, DurableGroup)> {
        let mut machine = GroupMachine::new(Arc::new(GroupConfig::default()));
        for record in &self.log {
            machine.apply(record);
        }
        durable(&machine)
    }

    /// Another broker leads the partition from now on.
    pub fn failover(&mut self) {
        let mut machine = GroupMachine::new(self.machine.config.clone());
        for record in &self.log {
            machine.apply(record);
        }
        self.machine = machine;
        self.run(Command::Loaded);
        self.publish();
    }
}

type DurableMember = (MemberId, Metadata, Option<Partitions>, Current);

#[derive(Debug, PartialEq)]
pub struct DurableGroup {
    epoch: i32,
    metadata_hash: i64,
    target_epoch: i32,
    members: Vec<DurableMember>,
    regexes: Vec<(Arc<str>, Resolved)>,
}

fn durable(machine: &GroupMachine) -> Vec<(GroupId, DurableGroup)> {
    let groups = machine.groups.iter().filter_map(|(id, group)| match &**group {
        Group::Consumer(group) => Some((id.clone(), group)),
        Group::Classic(_) => None,
    });
    let member = |(id, member): (&MemberId, &Arc<Member>)| {
        let target = member.target.as_deref().cloned();
        (id.clone(), (*member.metadata).clone(), target, member.current.clone())
    };
    groups
        .map(|(id, group)| {
            let durable = DurableGroup {
                epoch: group.epoch,
                metadata_hash: group.metadata_hash,
                target_epoch: group.target_epoch,
                members: group.members.iter().map(member).collect(),
                regexes: group
                    .regexes
                    .iter()
                    .map(|(at, one)| (at.clone(), (**one).clone()))
                    .collect(),
            };
            (id, durable)
        })
        .collect()
}

fn partition_on(replicas: &[NodeId]) -> Partition {
    Partition {
        replicas: replicas.to_vec(),
        directories: vec![DirectoryId::ZERO; replicas.len()],
        isr: replicas.to_vec(),
        elr: Vec::new(),
        last_known_elr: Vec::new(),
        leader: replicas.first().copied(),
        leader_epoch: LeaderEpoch(0),
        partition_epoch: PartitionEpoch(0),
        recovery: LeaderRecoveryState::Recovered,
        adding: Vec::new(),
        removing: Vec::new(),
    }
}

/// A heartbeat in which nothing has changed.
pub fn plain(member: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: Str::from(GROUP),
        member_id: Str::from(member),
        member_epoch: epoch,
        rebalance_timeout_ms: -1,
        ..ConsumerGroupHeartbeatRequest::default()
    }
}

/// A heartbeat that joins.
pub fn join(member: &str, topics: &[&str]) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        rebalance_timeout_ms: 10_000,
        subscribed_topic_names: Some(topics.iter().map(|name| Str::from(*name)).collect()),
        topic_partitions: Some(Vec::new()),
        ..plain(member, 0)
    }
}

/// A heartbeat that says what the member owns.
pub fn owning(member: &str, epoch: i32, owned: &Partitions) -> ConsumerGroupHeartbeatRequest {
    let owned = owned.topics().map(|(topic, partitions)| HeartbeatRequestTopicPartitions {
        topic_id: topic.0,
        partitions: partitions.to_vec(),
    });
    ConsumerGroupHeartbeatRequest {
        topic_partitions: Some(owned.collect()),
        ..plain(member, epoch)
    }
}

pub fn assignment(response: &ConsumerGroupHeartbeatResponse) -> Option<Partitions> {
    let assignment = response.assignment.as_ref()?;
    let topics = assignment.topic_partitions.iter();
    Some(Partitions::of(topics.map(|one| (TopicId(one.topic_id), one.partitions.clone()))))
}

#[track_caller]
pub fn refused(response: &ConsumerGroupHeartbeatResponse, code: ErrorCode, message: &str) {
    let got = ErrorCode::from_code(response.error_code).unwrap();
    let said = response.error_message.as_deref().unwrap_or_default();
    assert!(got == code && said.contains(message), "{got:?} {said}");
}
