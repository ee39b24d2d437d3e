//! The machine asked as the shell asks it; every record goes through its stored bytes.
#![allow(clippy::unwrap_used, clippy::panic)]

mod expiry;
mod groups;
mod replay;
mod requests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use crate::coordinator::group::command::{Answer, Asked, Client, Command, RequireStable};
use crate::coordinator::group::{GroupConfig, GroupMachine};
use crate::coordinator::shard::{RequestId, ShardMachine};
use crate::metadata::{Image, MetadataRecord};
use crate::protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    OffsetCommitResponse,
};
use crate::protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
    OffsetDeleteResponse,
};
use crate::protocol::messages::offset_fetch::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponseGroup,
};
use crate::types::machine::{Machine, Now};
use crate::types::{Monotonic, TimestampMs, TopicId, TopicName};

pub const START: TimestampMs = TimestampMs(1_700_000_000_000);

pub struct Bench {
    pub machine: GroupMachine,
    pub now: Now,
    pub log: Vec<(Bytes, Option<Bytes>)>,
}

impl Bench {
    pub fn new(config: GroupConfig) -> Self {
        let now = Now { monotonic: Monotonic(Duration::from_secs(100)), wall: START };
        let machine = GroupMachine::new(Arc::new(config));
        let mut bench = Self { machine, now, log: Vec::new() };
        bench.run(Command::Loaded);
        bench
    }

    /// What is replied; how many records were written stands at the end of the log.
    pub fn run(&mut self, command: Command) -> Vec<(RequestId, Answer)> {
        let decision = self.machine.decide(self.now, command);
        for record in &decision.records {
            let (key, value) = GroupMachine::encode(record);
            self.log.push((key.clone(), value.clone()));
            let stored = GroupMachine::decode(key, value).unwrap().unwrap();
            assert_eq!(&stored, record);
            self.machine.apply(&stored);
        }
        decision.notes.into_iter().for_each(|note| self.machine.note(note));
        decision.replies
    }

    /// Ticks while one is due; how many records each tick wrote.
    pub fn tick(&mut self) -> Vec<usize> {
        let mut written = Vec::new();
        while self.machine.next_deadline().is_some_and(|due| due <= self.now.monotonic) {
            let before = self.log.len();
            self.run(Command::Tick);
            written.push(self.log.len() - before);
            assert!(written.len() < 1_000, "the ticks do not end");
        }
        written
    }

    pub fn pass(&mut self, time: Duration) {
        self.now.monotonic = self.now.monotonic.plus(time);
        self.now.wall.0 += i64::try_from(time.as_millis()).unwrap();
    }

    fn ask<R>(&mut self, version: i16, body: R, command: impl Fn(Asked<R>) -> Command) -> Answer {
        let client = Client { id: Arc::from("client"), host: Arc::from("/127.0.0.1") };
        let request = RequestId(7);
        let asked = Asked { request, client, version, fresh: Uuid::nil(), body };
        let mut replies = self.run(command(asked));
        assert_eq!(replies.len(), 1);
        let (answered, answer) = replies.remove(0);
        assert_eq!(answered, request);
        answer
    }

    pub fn commit(&mut self, version: i16, body: OffsetCommitRequest) -> OffsetCommitResponse {
        match self.ask(version, body, Command::CommitOffsets) {
            Answer::OffsetsCommitted(response) => response,
            other => panic!("{other:?}"),
        }
    }

    pub fn fetch(
        &mut self,
        version: i16,
        body: OffsetFetchRequestGroup,
    ) -> OffsetFetchResponseGroup {
        let command = |asked| Command::FetchOffsets(asked, RequireStable(true));
        match self.ask(version, body, command) {
            Answer::OffsetsFetched(response) => response,
            other => panic!("{other:?}"),
        }
    }

    pub fn delete(&mut self, body: OffsetDeleteRequest) -> OffsetDeleteResponse {
        match self.ask(0, body, Command::DeleteOffsets) {
            Answer::OffsetsDeleted(response) => response,
            other => panic!("{other:?}"),
        }
    }

    /// The machine that the log alone makes.
    pub fn replayed(&self) -> GroupMachine {
        let mut machine = GroupMachine::new(Arc::new(GroupConfig::default()));
        for (key, value) in self.log.clone() {
            machine.apply(&GroupMachine::decode(key, value).unwrap().unwrap());
        }
        machine
    }

    pub fn offsets(&self) -> Vec<(String, String, i64)> {
        let all = self.machine.committed_offsets();
        all.map(|(group, partition, offset)| (group.to_string(), partition.to_string(), offset.0))
            .collect()
    }
}

pub fn topic_id(topic: &str) -> Uuid {
    Uuid::from_u128(topic.bytes().fold(1, |id, byte| id << 8 | u128::from(byte)))
}

/// A commit of a consumer without membership: `offset` for each of `partitions`.
pub fn commit(group: &str, topic: &str, partitions: &[i32], offset: i64) -> OffsetCommitRequest {
    let partitions = partitions.iter().map(|index| OffsetCommitRequestPartition {
        partition_index: *index,
        committed_offset: offset,
        committed_leader_epoch: 3,
        committed_metadata: Some("m".into()),
    });
    OffsetCommitRequest {
        group_id: group.into(),
        topics: vec![OffsetCommitRequestTopic {
            name: topic.into(),
            topic_id: topic_id(topic),
            partitions: partitions.collect(),
        }],
        ..OffsetCommitRequest::default()
    }
}

pub fn fetch(group: &str, topics: Option<&[(&str, &[i32])]>) -> OffsetFetchRequestGroup {
    let topics = topics.map(|topics| {
        let topics = topics.iter().map(|(topic, partitions)| OffsetFetchRequestTopics {
            name: (*topic).into(),
            topic_id: topic_id(topic),
            partition_indexes: partitions.to_vec(),
        });
        topics.collect()
    });
    OffsetFetchRequestGroup { group_id: group.into(), topics, ..Default::default() }
}

pub fn delete(group: &str, topic: &str, partitions: &[i32]) -> OffsetDeleteRequest {
    let partitions =
        partitions.iter().map(|index| OffsetDeleteRequestPartition { partition_index: *index });
    OffsetDeleteRequest {
        group_id: group.into(),
        topics: vec![OffsetDeleteRequestTopic {
            name: topic.into(),
            partitions: partitions.collect(),
        }],
    }
}

/// The cluster's metadata with these topics and ids.
pub fn image(topics: &[(&str, Uuid)]) -> Command {
    let mut image = Image::default();
    for (name, id) in topics {
        let record = MetadataRecord::Topic { name: TopicName::new(name), topic_id: TopicId(*id) };
        image.apply(&record).unwrap();
    }
    Command::MetadataChanged(Arc::new(image))
}
