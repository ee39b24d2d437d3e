//! What clients were told, as soon as they were.

use ottla::types::{Offset, PartitionId, TopicId};
use parking_lot::Mutex;
use uuid::Uuid;

use super::Place;

/// What a client was told of a record.
#[derive(Debug, Clone, Copy)]
pub enum Word {
    /// That all in-sync replicas have it, at this offset.
    Acknowledged(Place, Offset),
    /// Itself, by which it is committed.
    Read(Place, Offset),
}

impl Word {
    /// Of which partition.
    pub(super) fn place(&self) -> Place {
        match self {
            Word::Acknowledged(place, _) | Word::Read(place, _) => *place,
        }
    }
}

/// What clients were told since it was asked last.
#[derive(Debug, Default)]
pub struct Told(Mutex<Vec<Word>>);

impl Told {
    /// The record at that offset was acknowledged with acks=all.
    pub fn acknowledged(&self, topic: Uuid, partition: i32, offset: i64) {
        let place = (TopicId(topic), PartitionId(partition));
        self.0.lock().push(Word::Acknowledged(place, Offset(offset)));
    }

    /// A consumer was given the record at that offset.
    pub fn read(&self, topic: Uuid, partition: i32, offset: i64) {
        let place = (TopicId(topic), PartitionId(partition));
        self.0.lock().push(Word::Read(place, Offset(offset)));
    }

    pub(super) fn take(&self) -> Vec<Word> {
        std::mem::take(&mut *self.0.lock())
    }
}
