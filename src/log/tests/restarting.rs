//! Crashes, recovery, markers.

use std::sync::Arc;

use super::world::*;
use crate::log::{AppendOrigin, LogDirectory, LogEnvironment, OpenError, PreviousRun};
use crate::storage::{CatalogError, Disk};
use crate::types::{BrokerEpoch, LeaderEpoch, Offset};

#[test]
fn what_a_checkpoint_covered_survives_a_crash() {
    let world = World::new();
    let (directory, log) = one_log(&world);
    log.set_config(small_segments());
    for _ in 0..40 {
        log.append_as_leader(batch(3), LeaderEpoch(4), AppendOrigin::Client).unwrap();
    }
    log.append_as_leader(idempotent(5, 0, 0, 3), LeaderEpoch(4), AppendOrigin::Client).unwrap();
    log.set_high_watermark(Offset(60));
    directory.checkpoint_blocking().unwrap();
    assert_eq!(log.recovery_point(), Offset(123));
    log.append_as_leader(batch(1), LeaderEpoch(4), AppendOrigin::Client).unwrap();

    for seed in 0..20 {
        let after = world.crash(seed);
        let directory = after.open();
        let log = directory.log(&orders()).unwrap();
        assert_eq!(log.topic_id(), TOPIC_ID);
        assert!([Offset(123), Offset(124)].contains(&log.log_end_offset()), "seed {seed}");
        assert_eq!(log.high_watermark(), Offset(60));
        assert_eq!(log.latest_epoch(), Some(LeaderEpoch(4)));
        assert_eq!(log.producer_states().len(), 1);
        assert!(!log.recovery().lost_below_recovery_point && !log.recovery().rebuilt);
        let end = log.log_end_offset().0;
        assert_eq!(offsets(&read_all(&log, 1000)), (0..end).collect::<Vec<_>>(), "seed {seed}");
    }
}

#[test]
fn a_lost_catalog_is_rebuilt_from_the_segments() {
    let world = World::new();
    let (directory, log) = one_log(&world);
    log.set_config(small_segments());
    for epoch in 0..30 {
        let append = |batch| {
            log.append_as_leader(batch, LeaderEpoch(epoch), AppendOrigin::Client).unwrap();
        };
        append(batch(3));
        append(idempotent(5, 0, epoch, 1));
    }
    log.set_high_watermark(Offset(100));
    let (epochs, producers) = (log.epochs(), log.producer_states());
    directory.set_broker_epoch(BrokerEpoch(8)).unwrap();
    directory.close_blocking().unwrap();
    drop((directory, log));

    let after = world.kill();
    let environment = after.environment_with_damaged_catalog();
    let directory = LogDirectory::open(World::options(), environment).unwrap();
    let unclean = PreviousRun::Unclean { broker_epoch: Some(BrokerEpoch(8)) };
    assert_eq!(directory.previous_run(), unclean);
    let log = directory.log(&orders()).unwrap();
    assert!(log.recovery().rebuilt);
    assert_eq!(log.log_end_offset(), Offset(120));
    assert_eq!((log.log_start_offset(), log.high_watermark()), (Offset(0), Offset(0)));
    assert_eq!(log.epochs(), epochs);
    assert_eq!(log.producer_states(), producers);
    assert_eq!(log.topic_id(), TOPIC_ID);
}

#[test]
fn rule_15_the_markers_tell_how_the_last_run_ended() {
    let world = World::new();
    let epoch = BrokerEpoch(8);
    let directory = world.open();
    assert_eq!(directory.previous_run(), PreviousRun::Fresh);
    directory.set_broker_epoch(epoch).unwrap();

    let killed = world.kill();
    let died = PreviousRun::ProcessDied { broker_epoch: epoch };
    assert_eq!(killed.open().previous_run(), died);
    assert_eq!(killed.kill().open().previous_run(), died, "killed before it registered");

    let unclean = PreviousRun::Unclean { broker_epoch: Some(epoch) };
    let crashed = world.crash(1);
    assert_eq!(crashed.open().previous_run(), unclean);
    let again = crashed.kill().open().previous_run();
    assert_eq!(again, PreviousRun::Unclean { broker_epoch: None }, "still not intact");

    let reopened = world.kill();
    let directory = reopened.open();
    directory.set_broker_epoch(epoch).unwrap();
    directory.close_blocking().unwrap();
    let clean = PreviousRun::Clean { broker_epoch: epoch };
    let closed = reopened.crash(2);
    assert_eq!(closed.open().previous_run(), clean);
    assert_eq!(closed.kill().open().previous_run(), died, "the clean marker counts once");
}

#[test]
fn rule_15_damage_is_noted_before_it_is_mended() {
    let world = World::new();
    let (directory, _log) = one_log(&world);
    directory.set_broker_epoch(BrokerEpoch(8)).unwrap();
    directory.checkpoint_blocking().unwrap();
    directory.close_blocking().unwrap();
    // The catalog is damaged, and the start fails while another one is made.
    let full = CatalogError::Failed("no space left".to_owned());
    let opener = move |_: &std::path::Path| Err(full.clone());
    let failing =
        |world: &World| LogEnvironment { catalog_opener: Arc::new(opener), ..world.environment() };
    let after = world.kill();
    assert!(LogDirectory::open(World::options(), failing(&after)).is_err());
    let unclean = PreviousRun::Unclean { broker_epoch: None };
    assert_eq!(after.kill().open().previous_run(), unclean, "the damage is forgotten");

    // A log's directory is gone, and the start fails while the catalog forgets the log.
    let after = world.kill();
    after.disk.remove_dir_all(std::path::Path::new("/data/orders-0")).unwrap();
    after.catalog.fail_flush(0);
    assert!(after.try_open().is_err());
    assert_eq!(after.kill().open().previous_run(), unclean, "the loss is forgotten");
}

#[test]
fn a_directory_belongs_to_one_process_one_node_and_one_cluster() {
    let world = World::new();
    let directory = world.open();
    assert!(matches!(world.try_open(), Err(OpenError::Locked(_))));
    directory.set_cluster_id("one").unwrap();
    let id = directory.directory_id();
    drop(directory);
    let open = |node_id: i32, cluster_id: &str| {
        let mut options = World::options();
        options.node_id = crate::types::NodeId(node_id);
        options.cluster_id = Some(cluster_id.to_owned());
        LogDirectory::open(options, world.environment())
    };
    assert!(matches!(open(2, "one"), Err(OpenError::ForeignNode { found: 1, expected: 2, .. })));
    assert!(matches!(open(1, "two"), Err(OpenError::ForeignCluster { .. })));
    assert_eq!(open(1, "one").unwrap().directory_id(), id);
}

/// A log with four sealed segments and an active one, checkpointed; then `more` batches.
fn checkpointed_log(world: &World, more: usize) -> (Arc<LogDirectory>, Arc<crate::log::Log>) {
    let (directory, log) = one_log(world);
    log.set_config(small_segments());
    while log.segment_count() < 5 || log.active().size_bytes() < 800 {
        log.append_as_leader(batch(2), EPOCH, AppendOrigin::Client).unwrap();
    }
    directory.set_broker_epoch(BrokerEpoch(8)).unwrap();
    directory.checkpoint_blocking().unwrap();
    log.set_config(crate::log::LogConfig::default());
    for _ in 0..more {
        log.append_as_leader(batch(2), EPOCH, AppendOrigin::Client).unwrap();
    }
    (directory, log)
}

#[test]
fn recovery_reads_what_lies_beyond_the_recovery_point_and_nothing_else() {
    for (more, close) in [(0, false), (1, false), (5, false), (5, true)] {
        let world = World::new();
        let (directory, log) = checkpointed_log(&world, 0);
        let durable_bytes = log.active().size_bytes();
        for _ in 0..more {
            log.append_as_leader(batch(2), EPOCH, AppendOrigin::Client).unwrap();
        }
        let (active, end_bytes) = (log.active().path().to_owned(), log.active().size_bytes());
        let segments = log.segments.load_full();
        if close {
            directory.close_blocking().unwrap();
        }
        let after = world.kill();
        after.disk.trace_reads();
        let directory = after.open();
        let reads = |segment: &crate::log::segment::Segment| after.disk.reads(segment.path());
        for sealed in segments.iter().filter(|segment| segment.path() != active) {
            assert_eq!(reads(sealed), [], "a sealed segment was read");
        }
        let read = after.disk.reads(&active);
        let scanned = directory.log(&orders()).unwrap().recovery().scanned_bytes;
        if close {
            assert_eq!((read, scanned), (Vec::new(), 0), "a clean stop leaves nothing to read");
        } else {
            assert!(read.iter().all(|range| range.start >= durable_bytes), "{read:?}");
            assert_eq!(scanned, end_bytes - durable_bytes);
            let bytes: u64 = read.iter().map(|range| range.end - range.start).sum();
            let headers = more as u64 * crate::record::HEADER_BYTES as u64;
            // Each batch and its header before it, and once more what is written once more.
            assert_eq!(bytes, 2 * scanned + headers);
        }
    }
}

#[test]
fn rule_15_every_state_of_the_markers_counts_as_it_should() {
    let running = std::path::Path::new("/data/.ottla_running");
    let clean = std::path::Path::new("/data/.kafka_cleanshutdown");
    let put = |world: &World, path, content: &[u8]| {
        crate::storage::Disk::write_atomic(&*world.disk, path, content).unwrap();
    };
    // What becomes of the two files, whether the machine went on, how the run before then counts.
    type Change<'a> = Box<dyn Fn(&World) + 'a>;
    let died = PreviousRun::ProcessDied { broker_epoch: BrokerEpoch(8) };
    let unclean = PreviousRun::Unclean { broker_epoch: None };
    let unclean_of_8 = PreviousRun::Unclean { broker_epoch: Some(BrokerEpoch(8)) };
    let clean_of = |epoch| PreviousRun::Clean { broker_epoch: BrokerEpoch(epoch) };
    let json = |epoch: i64| format!("{{\"version\":0,\"brokerEpoch\":{epoch}}}");
    let cases: Vec<(&str, Change<'_>, &str, PreviousRun)> = vec![
        ("killed", Box::new(|_| {}), "boot-1", died),
        ("power lost", Box::new(|_| {}), "boot-2", unclean_of_8),
        ("boot id not known", Box::new(|_| {}), "", unclean_of_8),
        (
            "no marker",
            Box::new(|world| world.disk.remove_file(running).unwrap()),
            "boot-1",
            unclean,
        ),
        ("empty marker", Box::new(|world| put(world, running, b"")), "boot-1", unclean),
        ("torn marker", Box::new(|world| put(world, running, b"\0\0\0\0\0\0")), "boot-1", unclean),
        (
            "both markers",
            Box::new(|world| put(world, clean, json(8).as_bytes())),
            "boot-2",
            clean_of(8),
        ),
        (
            "another's epoch",
            Box::new(|world| put(world, clean, json(7).as_bytes())),
            "boot-1",
            clean_of(7),
        ),
        ("no epoch", Box::new(|world| put(world, clean, b"{\"version\":0}")), "boot-1", died),
        ("no json", Box::new(|world| put(world, clean, b"{")), "boot-1", died),
        ("blanks", Box::new(|world| put(world, clean, b" {\"brokerEpoch\":8}")), "boot-1", died),
    ];
    for (what, change, boot_id, expected) in cases {
        let world = World::new();
        checkpointed_log(&world, 1);
        let mut after = world.kill();
        after.boot_id = boot_id.to_owned();
        change(&after);
        assert_eq!(after.open().previous_run(), expected, "{what}");
        assert!(!after.disk.exists(clean), "{what}: the clean marker counts once");
        assert!(after.disk.exists(running), "{what}: from here on it runs");
    }
}

#[test]
fn rule_15_a_directory_of_another_id_has_not_died_here() {
    let world = World::new();
    checkpointed_log(&world, 1);
    // The files of one directory with the identity of another: as a copy that was made anew.
    let path = std::path::Path::new("/data/meta.properties");
    let content = String::from_utf8(world.disk.read(path).unwrap()).unwrap();
    let line = content.lines().find(|line| line.starts_with("directory.id")).unwrap();
    let changed = content.replace(line, "directory.id=AAAAAAAAAAAAAAAAAAAAAQ");
    world.disk.write_atomic(path, changed.as_bytes()).unwrap();
    let error = world.kill().try_open().expect_err("another's directory");
    assert!(error.to_string().contains("but the catalog is of"), "{error}");
}

#[test]
fn what_was_flushed_before_the_first_checkpoint_is_not_a_strangers() {
    for seed in 0..20 {
        let world = World::new();
        let (_directory, log) = one_log(&world);
        log.append_as_follower(batch_at(Offset(0), EPOCH, 3), EPOCH).unwrap();
        log.flush_blocking().unwrap();
        let log = world.crash(seed).open().log(&orders()).expect("the log");
        assert_eq!((log.topic_id(), log.log_end_offset()), (TOPIC_ID, Offset(3)), "seed {seed}");
    }
}
