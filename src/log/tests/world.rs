//! One machine: a disk, a catalog, a clock. It can crash, be killed, and be started again.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::log::{Log, LogConfig, LogDirectory, LogDirectoryOptions, LogEnvironment, OpenError};
use crate::record::{BatchBuilder, Record, batches};
use crate::storage::{Catalog, CatalogError, InlineOffload, MemoryCatalog, MemoryDisk};
use crate::types::clock::ManualClock;
use crate::types::random::SeededRandom;
use crate::types::{
    LeaderEpoch, NodeId, Offset, ProducerEpoch, ProducerId, TimestampMs, TopicId, TopicPartition,
};

pub const START: TimestampMs = TimestampMs(1_700_000_000_000);
pub const TOPIC_ID: TopicId = TopicId(uuid::Uuid::from_u128(7));
pub const EPOCH: LeaderEpoch = LeaderEpoch(0);

pub struct World {
    pub disk: Arc<MemoryDisk>,
    pub catalog: Arc<MemoryCatalog>,
    pub clock: Arc<ManualClock>,
    pub boot_id: String,
}

impl World {
    pub fn new() -> World {
        World {
            disk: Arc::new(MemoryDisk::new()),
            catalog: Arc::new(MemoryCatalog::new()),
            clock: Arc::new(ManualClock::at(START)),
            boot_id: "boot-1".to_owned(),
        }
    }

    /// The machine after its power failed: what was not synced is gone, or torn, as `seed` says.
    pub fn crash(&self, seed: u64) -> World {
        World {
            disk: Arc::new(self.disk.crash(seed)),
            catalog: Arc::new(self.catalog.crash(seed)),
            clock: Arc::clone(&self.clock),
            boot_id: format!("{}, then {seed}", self.boot_id),
        }
    }

    /// The machine after the process was killed: all that was written is there.
    pub fn kill(&self) -> World {
        World {
            disk: Arc::new(self.disk.kill()),
            catalog: Arc::new(self.catalog.kill()),
            clock: Arc::clone(&self.clock),
            boot_id: self.boot_id.clone(),
        }
    }

    pub fn environment(&self) -> LogEnvironment {
        let catalog = Arc::clone(&self.catalog);
        LogEnvironment {
            disk: Arc::clone(&self.disk) as _,
            catalog_opener: Arc::new(move |_| Ok(Arc::clone(&catalog) as Arc<dyn Catalog>)),
            clock: Arc::clone(&self.clock) as _,
            offload: Arc::new(InlineOffload),
            recovery_threads: 1,
            random: Arc::new(SeededRandom::new(1)),
            boot_id: self.boot_id.clone(),
        }
    }

    /// As [`Self::environment`], with a catalog that is damaged at first and empty when it is
    /// opened again.
    pub fn environment_with_damaged_catalog(&self) -> LogEnvironment {
        let attempts = Mutex::new(0);
        let fresh = Arc::new(MemoryCatalog::new());
        let opener = move |_: &std::path::Path| {
            let mut attempts = attempts.lock();
            *attempts += 1;
            if *attempts == 1 {
                return Err(CatalogError::Failed("it is damaged".to_owned()));
            }
            Ok(Arc::clone(&fresh) as Arc<dyn Catalog>)
        };
        LogEnvironment { catalog_opener: Arc::new(opener), ..self.environment() }
    }

    pub fn options() -> LogDirectoryOptions {
        LogDirectoryOptions { path: PathBuf::from("/data"), cluster_id: None, node_id: NodeId(1) }
    }

    pub fn try_open(&self) -> Result<Arc<LogDirectory>, OpenError> {
        LogDirectory::open(Self::options(), self.environment())
    }

    pub fn open(&self) -> Arc<LogDirectory> {
        self.try_open().unwrap()
    }
}

pub fn orders() -> TopicPartition {
    TopicPartition::new("orders", 0)
}

pub fn small_segments() -> LogConfig {
    LogConfig { segment_bytes: 2_000, ..LogConfig::default() }
}

/// A directory with one log.
pub fn one_log(world: &World) -> (Arc<LogDirectory>, Arc<Log>) {
    let directory = world.open();
    let log = directory.create(&orders(), TOPIC_ID, LogConfig::default()).unwrap();
    (directory, log)
}

/// A producer's batch of `count` records with values of some bytes.
pub fn batch(count: usize) -> Bytes {
    batch_at(Offset::ZERO, LeaderEpoch(-1), count)
}

/// A batch as a leader of `epoch` sends it.
pub fn batch_at(base_offset: Offset, epoch: LeaderEpoch, count: usize) -> Bytes {
    fill(BatchBuilder::new(base_offset).leader_epoch(epoch), count)
}

/// An idempotent producer's batch.
pub fn idempotent(id: i64, epoch: i16, base_sequence: i32, count: usize) -> Bytes {
    let builder = BatchBuilder::new(Offset::ZERO);
    fill(builder.producer(ProducerId(id), ProducerEpoch(epoch), base_sequence), count)
}

pub fn fill(mut builder: BatchBuilder, count: usize) -> Bytes {
    for index in 0..count {
        let value = format!("value {index} {}", "x".repeat(50));
        builder.push(START, Some(b"key"), Some(value.as_bytes()), &[]).unwrap();
    }
    builder.build().unwrap()
}

/// All records of a log that can be read, from its start to its end, with `step` bytes a read.
pub fn read_all(log: &Log, step: usize) -> Vec<Record> {
    let mut records = Vec::new();
    let mut next = log.log_start_offset();
    while next < log.log_end_offset() {
        let slice = log.read(next, log.log_end_offset(), step, true).unwrap();
        assert!(slice.next_offset > next, "reading stands still at {next}");
        for batch in batches(&slice.records) {
            let batch = batch.unwrap();
            batch.verify_crc().unwrap();
            records.extend(batch.records().unwrap());
        }
        next = slice.next_offset;
    }
    records
}

pub fn offsets(records: &[Record]) -> Vec<i64> {
    records.iter().map(|record| record.offset.0).collect()
}
