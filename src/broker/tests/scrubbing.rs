//! The pass over all segments, on a directory in memory and a clock that stands still while nothing
//! waits.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use super::world::CONFIG;
use crate::broker::BrokerConfig;
use crate::broker::config::LiveConfig;
use crate::broker::mending::Mender;
use crate::broker::scrubber::{Pass, Scrubber};
use crate::broker::verification::{Refusal, State, Verifications};
use crate::log::{AppendOrigin, Log, LogConfig, LogDirectory, LogDirectoryOptions, LogEnvironment};
use crate::metadata::{ConfigResource, Image, MetadataRecord};
use crate::protocol::ApiKey;
use crate::protocol::own::verify_logs::VerifyLogsRequest;
use crate::record::BatchBuilder;
use crate::replication::{MendOutcome, SegmentMend};
use crate::storage::{Catalog, Disk, InlineOffload, MemoryCatalog, MemoryDisk, OpenMode};
use crate::types::clock::ManualClock;
use crate::types::random::SeededRandom;
use crate::types::{
    ErrorCode, LeaderEpoch, NodeId, Offset, PartitionId, TimestampMs, TopicId, TopicName,
    TopicPartition,
};

const HOUR: Duration = Duration::from_secs(3600);
/// What one second of verifying may read in these tests.
const RATE: u64 = 256 << 10;
const LOGS: usize = 3;

struct World {
    disk: MemoryDisk,
    catalog: MemoryCatalog,
    clock: Arc<ManualClock>,
    live: LiveConfig,
}

/// Puts what was there before back, as a replica would give it.
#[derive(Default)]
struct Restorer {
    originals: Mutex<BTreeMap<PathBuf, Vec<u8>>>,
    disk: MemoryDisk,
    asked: Mutex<Vec<TopicPartition>>,
}

impl Mender for Restorer {
    fn mend(&self, log: Arc<Log>) -> BoxFuture<'_, Vec<SegmentMend>> {
        self.asked.lock().push(log.topic_partition().clone());
        let mend = |base: Offset| {
            let path = log.path().join(format!("{:020}.log", base.0));
            let outcome = match self.originals.lock().get(&path) {
                Some(original) => {
                    write(&self.disk, &path, 0, original);
                    let mut check = log.verify_segment(base).unwrap();
                    while check.step(1 << 20) > 0 {}
                    assert_eq!(check.conclude().unwrap(), []);
                    MendOutcome::Mended { fetched_bytes: 1 }
                }
                None => MendOutcome::Failed("nobody has it".to_owned()),
            };
            SegmentMend { segment: base, outcome }
        };
        let mends = log.segments_to_mend().into_iter().map(mend).collect();
        std::future::ready(mends).boxed()
    }
}

fn write(disk: &MemoryDisk, path: &Path, position: u64, bytes: &[u8]) {
    let file = disk.open(path, OpenMode::Write).unwrap();
    file.write_at(&[IoSlice::new(bytes)], position).unwrap();
}

fn config() -> Arc<BrokerConfig> {
    let text = format!("{CONFIG}ottla.scrub.bytes.per.second={RATE}\n");
    Arc::new(BrokerConfig::load(&text, &[], |_| None).unwrap())
}

impl World {
    fn new() -> World {
        World {
            disk: MemoryDisk::new(),
            catalog: MemoryCatalog::new(),
            clock: Arc::new(ManualClock::at(TimestampMs(1_700_000_000_000))),
            live: LiveConfig::new(config()),
        }
    }

    fn open(&self) -> Arc<LogDirectory> {
        let catalog = Arc::new(self.catalog.clone());
        let environment = LogEnvironment {
            disk: Arc::new(self.disk.clone()),
            catalog_opener: Arc::new(move |_| Ok(Arc::clone(&catalog) as Arc<dyn Catalog>)),
            clock: Arc::clone(&self.clock) as _,
            offload: Arc::new(InlineOffload),
            recovery_threads: 1,
            random: Arc::new(SeededRandom::new(1)),
            boot_id: "boot".to_owned(),
        };
        let path = PathBuf::from("/data");
        let options = LogDirectoryOptions { path, cluster_id: None, node_id: NodeId(1) };
        LogDirectory::open(options, environment).unwrap()
    }

    /// A directory with logs of three segments of about 100 KiB each.
    fn filled(&self) -> Arc<LogDirectory> {
        let directory = self.open();
        for index in 0..LOGS {
            let place = place(index);
            let config = LogConfig { segment_bytes: 100 << 10, ..LogConfig::default() };
            let id = TopicId(uuid::Uuid::from_u128(100 + index as u128));
            let log = directory.create(&place, id, config).unwrap();
            for _ in 0..24 {
                let mut builder = BatchBuilder::new(Offset::ZERO);
                builder.push(TimestampMs(1), None, Some(&[7; 12_000]), &[]).unwrap();
                let batch = builder.build().unwrap();
                log.append_as_leader(batch, LeaderEpoch(0), AppendOrigin::Client).unwrap();
            }
            log.set_high_watermark(log.log_end_offset());
            assert_eq!(log.segments_to_verify().len(), 3);
        }
        directory.checkpoint_blocking().unwrap();
        directory
    }

    fn scrubber(&self, directory: &Arc<LogDirectory>, mender: &Arc<Restorer>) -> Scrubber {
        Scrubber {
            directories: vec![Arc::clone(directory)],
            mender: Arc::clone(mender) as _,
            offload: Arc::new(InlineOffload),
            clock: Arc::clone(&self.clock) as _,
            live: self.live.clone(),
        }
    }

    /// Sets this, and nothing else, while the node runs.
    fn set(&self, settings: &[(&str, &str)]) {
        let mut image = Image::default();
        for (key, value) in settings {
            let resource = ConfigResource::DefaultBroker;
            let (key, value) = ((*key).to_owned(), Some((*value).to_owned()));
            image.apply(&MetadataRecord::Config { resource, key, value }).unwrap();
        }
        self.live.at(&image);
    }

    fn restorer(&self) -> Arc<Restorer> {
        Arc::new(Restorer { disk: self.disk.clone(), ..Restorer::default() })
    }

    /// Flips a byte of a log's second segment, and lets `mender` know what was there.
    fn rot(&self, log: &Log, mender: Option<&Restorer>) {
        let base = log.segments_to_verify()[1];
        let path = log.path().join(format!("{:020}.log", base.0));
        let original = self.disk.read(&path).unwrap();
        write(&self.disk, &path, 5_000, &[!original[5_000]]);
        if let Some(mender) = mender {
            mender.originals.lock().insert(path, original);
        }
    }
}

fn place(index: usize) -> TopicPartition {
    TopicPartition::new(&*format!("topic-{index}"), 0)
}

fn total_bytes(directory: &LogDirectory) -> u64 {
    directory.logs().iter().map(|log| log.size_bytes()).sum()
}

/// What `work` gives if it is done within `limit`.
async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(limit, work).await.ok()
}

#[tokio::test(start_paused = true)]
async fn a_pass_reads_everything_once_at_its_pace_and_has_damage_mended() {
    let world = World::new();
    let directory = world.filled();
    let mender = world.restorer();
    world.rot(&directory.log(&place(0)).unwrap(), Some(&mender));
    world.rot(&directory.log(&place(2)).unwrap(), None);
    let scrubber = world.scrubber(&directory, &mender);
    let bytes = total_bytes(&directory);
    let least = Duration::from_secs(bytes / RATE);
    let pass = scrubber.pass_if_due(&directory);
    tokio::pin!(pass);
    assert!(within(least, &mut pass).await.is_none(), "faster than it may be");
    let pass = within(least, &mut pass).await.expect("half as fast would do").unwrap();
    assert_eq!(pass, Pass { segments: 9, passed_over: 0, bytes, damaged: 2, mended: 1 });
    assert_eq!(*mender.asked.lock(), [place(0), place(2)]);

    assert_eq!(scrubber.pass_if_due(&directory).await, None, "not due again");
    world.clock.advance(Duration::from_secs(7 * 24 * 3600));
    let again = scrubber.pass_if_due(&directory).await.unwrap();
    assert_eq!((again.segments, again.damaged, again.mended), (9, 1, 0), "tried again");
}

#[tokio::test(start_paused = true)]
async fn it_is_paused_and_resumed_while_it_runs() {
    let world = World::new();
    let directory = world.filled();
    let mender = world.restorer();
    let scrubber = world.scrubber(&directory, &mender);
    let pass = scrubber.pass_if_due(&directory);
    tokio::pin!(pass);
    assert!(within(Duration::from_secs(1), &mut pass).await.is_none());
    for paused in [("ottla.scrub.bytes.per.second", "0"), ("ottla.scrub.enable", "false")] {
        world.set(&[paused]);
        assert!(within(100 * HOUR, &mut pass).await.is_none(), "it is paused");
        world.set(&[]);
        assert!(within(Duration::from_millis(300), &mut pass).await.is_none(), "it goes on");
    }
    let pass = within(HOUR, &mut pass).await.expect("it goes on").unwrap();
    assert_eq!((pass.segments, pass.bytes), (9, total_bytes(&directory)), "each once");
    world.set(&[("ottla.scrub.bytes.per.second", "0")]);
    world.clock.advance(Duration::from_secs(30 * 24 * 3600));
    assert_eq!(scrubber.pass_if_due(&directory).await, None, "none begins while it is paused");
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_it_goes_on_where_it_was() {
    let world = World::new();
    let directory = world.filled();
    let mender = world.restorer();
    let scrubber = world.scrubber(&directory, &mender);
    assert!(within(Duration::from_millis(1_700), scrubber.pass_if_due(&directory)).await.is_none());
    let progress = directory.scrub_progress().unwrap();
    let (last, segment) = progress.last.clone().unwrap();
    assert!(!progress.is_over);
    directory.checkpoint_blocking().unwrap();

    let world = World { disk: world.disk.kill(), catalog: world.catalog.kill(), ..world };
    let directory = world.open();
    assert_eq!(directory.scrub_progress(), Some(progress));
    let mut done = 0;
    for log in directory.logs() {
        let bases = log.segments_to_verify().into_iter();
        let before = (log.topic_partition().clone(), Offset(0));
        done += bases.filter(|base| (before.0.clone(), *base) <= (last.clone(), segment)).count();
    }
    assert!((1..9).contains(&done), "{done}");
    let mender = world.restorer();
    let pass = world.scrubber(&directory, &mender).pass_if_due(&directory).await.unwrap();
    assert_eq!(pass.segments, 9 - done as u64);
    assert!(directory.scrub_progress().unwrap().is_over);
}

#[tokio::test(start_paused = true)]
async fn what_goes_meanwhile_is_passed_over() {
    let world = World::new();
    let directory = world.filled();
    let mender = world.restorer();
    let scrubber = world.scrubber(&directory, &mender);
    let pass = scrubber.pass_if_due(&directory);
    tokio::pin!(pass);
    assert!(within(Duration::from_millis(100), &mut pass).await.is_none());
    world.set(&[("ottla.scrub.bytes.per.second", "0")]);
    assert!(within(HOUR, &mut pass).await.is_none());
    let first = directory.log(&place(0)).unwrap();
    first.advance_log_start_blocking(first.log_end_offset()).unwrap();
    directory.delete_blocking(&place(1)).unwrap();
    world.set(&[]);
    let pass = within(HOUR, &mut pass).await.expect("it goes on").unwrap();
    assert_eq!(pass.damaged, 0, "{pass:?}");
    assert!(pass.segments <= 4, "{pass:?}");
}

#[tokio::test(start_paused = true)]
async fn a_verification_on_demand_tells_how_far_it_is_and_what_it_found() {
    let world = World::new();
    let directory = world.filled();
    let mender = world.restorer();
    world.rot(&directory.log(&place(0)).unwrap(), Some(&mender));
    world.rot(&directory.log(&place(1)).unwrap(), None);
    let verifications =
        Verifications::new(vec![Arc::clone(&directory)], mender, Arc::new(InlineOffload), 500);
    let begun = verifications.begin(None, Some(RATE)).unwrap();
    assert_eq!((begun.id, begun.verified_bytes, begun.is_done), (500, 0, false));
    assert_eq!(begun.total_bytes, total_bytes(&directory));
    let running = Arc::clone(&verifications).run();
    tokio::pin!(running);
    assert!(within(Duration::from_secs(1), &mut running).await.is_none());
    let half = verifications.progress(500).unwrap();
    assert!(half.verified_bytes > 0 && half.verified_bytes < half.total_bytes, "{half:?}");
    assert!(within(HOUR, &mut running).await.is_none(), "it waits for more to do");
    let done = verifications.progress(500).unwrap();
    assert!(done.is_done && done.verified_bytes == done.total_bytes, "{done:?}");
    assert_eq!(done.verified_segments, 9);
    let states: Vec<_> =
        done.findings.iter().map(|found| (&found.topic_partition, &found.state)).collect();
    let damaged = State::Damaged("nobody has it".to_owned());
    assert_eq!(states, [(&place(0), &State::Mended), (&place(1), &damaged)]);

    let only = BTreeMap::from([(TopicName::new("topic-2"), vec![PartitionId(0)])]);
    let second = verifications.begin(Some(only), None).unwrap();
    let bytes = directory.log(&place(2)).unwrap().size_bytes();
    assert_eq!(second.total_bytes, bytes);
    assert!(within(HOUR, &mut running).await.is_none());
    let second = verifications.progress(second.id).unwrap();
    assert!(second.is_done && second.findings.is_empty() && second.verified_bytes == bytes);
}

#[tokio::test]
async fn few_verifications_wait_and_unknown_ones_are_told_so() {
    let world = World::new();
    let directory = world.filled();
    let mender = world.restorer();
    let verifications = Verifications::new(vec![directory], mender, Arc::new(InlineOffload), 500);
    assert_eq!(verifications.progress(1).unwrap_err(), Refusal::Unknown(1));
    for _ in 0..8 {
        verifications.begin(None, None).unwrap();
    }
    assert_eq!(verifications.begin(None, None).unwrap_err(), Refusal::TooMany);
}

#[tokio::test]
async fn a_node_verifies_on_demand_over_an_api_that_it_does_not_advertise() {
    let node = super::world::Node::start().await;
    let connection = node.connect().await;
    assert!(!connection.versions().contains_key(&ApiKey::VerifyLogs.code()));
    let mut told = connection.call_at(0, &VerifyLogsRequest::default()).await.unwrap();
    let id = told.verification_id;
    assert!(told.error_code == 0 && id >= 0, "{told:?}");
    let asked = VerifyLogsRequest { verification_id: id, ..Default::default() };
    let done = async {
        while !told.is_done {
            tokio::time::sleep(Duration::from_millis(5)).await;
            told = connection.call_at(0, &asked).await.unwrap();
        }
    };
    within(Duration::from_secs(30), done).await.expect("waited 30 s for the verification");
    assert!(told.findings.is_empty(), "{told:?}");
    let unknown = VerifyLogsRequest { verification_id: -7, ..Default::default() };
    let refused = connection.call_at(0, &unknown).await.unwrap();
    assert_eq!(refused.error_code, ErrorCode::InvalidRequest.code());
    node.stop().await;
}
