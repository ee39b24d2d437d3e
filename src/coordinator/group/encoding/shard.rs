//! The group machine's log.

use std::sync::Arc;

use bytes::Bytes;

use crate::coordinator::group::GroupMachine;
use crate::coordinator::group::command::{Answer, Command};
use crate::coordinator::group::encoding;
use crate::coordinator::group::record::GroupRecord;
use crate::coordinator::shard::ShardMachine;
use crate::metadata::Image;
use crate::protocol::DecodeError;
use crate::types::Monotonic;

impl ShardMachine for GroupMachine {
    type Answer = Answer;

    fn encode(record: &GroupRecord) -> (Bytes, Option<Bytes>) {
        encoding::encode(record)
    }

    fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<GroupRecord>, DecodeError> {
        encoding::decode(key, value)
    }

    fn next_deadline(&self) -> Option<Monotonic> {
        GroupMachine::next_deadline(self)
    }

    fn tick() -> Command {
        Command::Tick
    }

    fn loaded() -> Command {
        Command::Loaded
    }

    fn metadata_changed(image: Arc<Image>) -> Command {
        Command::MetadataChanged(image)
    }
}
