//! How often, and when, records are synced: counted on the disk, not timed.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::world::*;
use crate::log::{AppendOrigin, Log, LogConfig, LogDirectory, StorageError};
use crate::storage::{
    DirEntry, DirLock, Disk, DiskFile, InlineOffload, OpenMode, Space, ThreadOffload,
};
use crate::types::Offset;

/// A disk that counts the syncs of segments and can hold them up.
#[derive(Debug)]
struct WatchedDisk {
    inner: Arc<dyn Disk>,
    syncs: Arc<Syncs>,
}

#[derive(Debug, Default)]
struct Syncs {
    begun: AtomicUsize,
    is_held: Mutex<bool>,
    released: Condvar,
}

impl Syncs {
    fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    fn hold(&self, is_held: bool) {
        *self.is_held.lock() = is_held;
        self.released.notify_all();
    }
}

#[derive(Debug)]
struct WatchedFile {
    inner: Arc<dyn DiskFile>,
    syncs: Option<Arc<Syncs>>,
}

impl DiskFile for WatchedFile {
    fn size_bytes(&self) -> io::Result<u64> {
        self.inner.size_bytes()
    }
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.inner.read_at(buffer, position)
    }
    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        self.inner.write_at(parts, position)
    }
    fn set_len(&self, size_bytes: u64) -> io::Result<()> {
        self.inner.set_len(size_bytes)
    }
    fn sync_data(&self) -> io::Result<()> {
        if let Some(syncs) = &self.syncs {
            syncs.begun.fetch_add(1, Ordering::SeqCst);
            let mut is_held = syncs.is_held.lock();
            while *is_held {
                syncs.released.wait(&mut is_held);
            }
        }
        self.inner.sync_data()
    }
}

impl Disk for WatchedDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let is_segment = path.extension().is_some_and(|extension| extension == "log");
        let syncs = is_segment.then(|| Arc::clone(&self.syncs));
        Ok(Arc::new(WatchedFile { inner: self.inner.open(path, mode)?, syncs }))
    }
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.inner.list(path)
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.create_dir(path)
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.inner.create_dir_all(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_file(path)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_dir_all(path)
    }
    fn exists(&self, path: &Path) -> bool {
        self.inner.exists(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.sync_dir(path)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>> {
        self.inner.lock(path)
    }
    fn space(&self, path: &Path) -> io::Result<Space> {
        self.inner.space(path)
    }
}

/// A log on a watched disk. With `threads`, blocking work runs beside the test.
fn watched(world: &World, threads: usize) -> (Arc<LogDirectory>, Arc<Log>, Arc<Syncs>) {
    let syncs = Arc::<Syncs>::default();
    let mut environment = world.environment();
    environment.disk = Arc::new(WatchedDisk { inner: environment.disk, syncs: Arc::clone(&syncs) });
    environment.offload = match threads {
        0 => Arc::new(InlineOffload),
        threads => Arc::new(ThreadOffload::start("test", threads).unwrap()),
    };
    let directory = LogDirectory::open(World::options(), environment).unwrap();
    let log = directory.create(&orders(), TOPIC_ID, LogConfig::default()).unwrap();
    (directory, log, syncs)
}

fn append(log: &Log, count: usize) {
    log.append_as_leader(batch(count), EPOCH, AppendOrigin::Client).unwrap();
}

async fn until(what: &str, done: impl Fn() -> bool) {
    let waited = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(20), waited).await;
    assert!(in_time.is_ok(), "waited 20 s for {what}");
}

#[tokio::test]
async fn all_who_wait_while_a_sync_runs_share_the_next_one() {
    const PRODUCERS: usize = 64;
    let world = World::new();
    let (_directory, log, syncs) = watched(&world, 2);
    syncs.hold(true);
    append(&log, 1);
    let first = tokio::spawn({
        let log = Arc::clone(&log);
        async move { log.flush().await.unwrap() }
    });
    until("the first sync", || syncs.begun() == 1).await;
    let mut waiting = Vec::new();
    for _ in 0..PRODUCERS {
        append(&log, 1);
        let log = Arc::clone(&log);
        waiting.push(tokio::spawn(async move { log.flush().await.unwrap() }));
    }
    tokio::task::yield_now().await;
    assert_eq!((syncs.begun(), log.flushed_offset()), (1, Offset(0)));
    syncs.hold(false);
    assert!(first.await.unwrap() >= Offset(1));
    for (index, flushed) in waiting.into_iter().enumerate() {
        assert!(flushed.await.unwrap() >= Offset(index as i64 + 2), "producer {index}");
    }
    // Those that had not come to wait when the first ended may have had to share a third.
    assert!((2..=3).contains(&syncs.begun()), "{} syncs", syncs.begun());
}

#[test]
fn a_sync_begins_once_flush_messages_are_unsynced() {
    for (messages, appends, expected) in [(1, 5, 5), (3, 7, 2), (6, 5, 0), (6, 12, 2)] {
        let world = World::new();
        let (_directory, log, syncs) = watched(&world, 0);
        log.set_config(LogConfig { flush_messages: Some(messages), ..LogConfig::default() });
        for _ in 0..appends {
            append(&log, 1);
        }
        assert_eq!(syncs.begun(), expected, "{appends} appends, flush.messages={messages}");
        let synced = (appends / messages * messages) as i64;
        assert_eq!(log.flushed_offset(), Offset(synced), "flush.messages={messages}");
    }
    let world = World::new();
    let (_directory, log, syncs) = watched(&world, 0);
    log.set_config(LogConfig { flush_messages: Some(4), ..LogConfig::default() });
    append(&log, 9);
    assert_eq!(syncs.begun(), 1, "it is records that count, not batches");
    let followed = batch_at(Offset(9), EPOCH, 4);
    log.append_as_follower(followed, EPOCH).unwrap();
    assert_eq!((syncs.begun(), log.flushed_offset()), (2, Offset(13)), "on followers too");
}

#[tokio::test]
async fn an_append_does_not_wait_for_the_sync_that_it_begins() {
    let world = World::new();
    let (_directory, log, syncs) = watched(&world, 1);
    log.set_config(LogConfig { flush_messages: Some(1), ..LogConfig::default() });
    syncs.hold(true);
    for _ in 0..5 {
        append(&log, 1);
    }
    assert_eq!((log.log_end_offset(), log.flushed_offset()), (Offset(5), Offset(0)));
    syncs.hold(false);
    until("everything to be synced", || log.flushed_offset() == Offset(5)).await;
}

#[test]
fn flush_ms_bounds_how_long_a_record_stays_unsynced() {
    let world = World::new();
    let (directory, log, syncs) = watched(&world, 0);
    let timers = &directory.shared.flush_timers;
    let now = || world.environment().clock.monotonic();
    append(&log, 1);
    assert_eq!(timers.start_due(now()), None, "the checkpoint's pace is enough");
    let interval = Duration::from_millis(100);
    log.set_config(LogConfig { flush_interval: Some(interval), ..LogConfig::default() });
    append(&log, 1);
    let due = timers.start_due(now()).expect("a time to sync at");
    assert_eq!(due, now().plus(interval));
    world.clock.advance(Duration::from_millis(50));
    append(&log, 1);
    assert_eq!(timers.start_due(now()), Some(due), "counted from the oldest record");
    assert_eq!(syncs.begun(), 0);
    world.clock.advance(Duration::from_millis(50));
    assert_eq!(timers.start_due(now()), None);
    assert_eq!((syncs.begun(), log.flushed_offset()), (1, Offset(3)));
    append(&log, 1);
    assert_eq!(timers.start_due(now()), Some(now().plus(interval)), "and anew");
}

#[tokio::test]
async fn flush_ms_is_kept_by_the_directorys_task() {
    let world = World::new();
    let (directory, log, _) = watched(&world, 1);
    let zero = Some(Duration::ZERO);
    log.set_config(LogConfig { flush_interval: zero, ..LogConfig::default() });
    directory.start_checkpoints();
    append(&log, 1);
    until("the sync", || log.flushed_offset() == Offset(1)).await;
    directory.close().await.unwrap();
}

/// Runs nothing, as one that is shutting down.
#[derive(Debug)]
struct Stopped;

impl crate::storage::Offload for Stopped {
    fn run(&self, job: Box<dyn FnOnce() + Send>) {
        drop(job);
    }
}

#[tokio::test]
async fn nobody_waits_for_a_sync_that_nobody_will_make() {
    let world = World::new();
    let environment =
        crate::log::LogEnvironment { offload: Arc::new(Stopped), ..world.environment() };
    let directory = LogDirectory::open(World::options(), environment).unwrap();
    let log = directory.create(&orders(), TOPIC_ID, LogConfig::default()).unwrap();
    append(&log, 1);
    let flushed = tokio::time::timeout(Duration::from_secs(20), log.flush()).await;
    let refused = flushed.expect("waited 20 s for a refusal").unwrap_err();
    assert!(matches!(refused, StorageError::Offload(_)), "{refused}");
}

#[tokio::test]
async fn a_sync_that_fails_is_told_to_all_who_wait() {
    let world = World::new();
    let (directory, log, syncs) = watched(&world, 1);
    syncs.hold(true);
    append(&log, 1);
    let wait = || {
        let log = Arc::clone(&log);
        tokio::spawn(async move { log.flush().await })
    };
    let waiting = [wait(), wait(), wait()];
    until("the sync", || syncs.begun() == 1).await;
    world.disk.fail(crate::storage::Operation::Sync, 1);
    syncs.hold(false);
    for flushed in waiting {
        assert!(matches!(flushed.await.unwrap(), Err(StorageError::Poisoned(_))));
    }
    assert!(directory.is_offline());
}
