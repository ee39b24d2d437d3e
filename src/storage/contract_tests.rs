//! What holds for every disk and every catalog, and what the twins do in a crash.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{ErrorKind, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;
use crate::types::Clock;
use crate::types::clock::SystemClock;

fn disk_contract(disk: &dyn Disk, root: &Path) {
    let directory = root.join("a/b");
    disk.create_dir_all(&directory).unwrap();
    disk.create_dir_all(&directory).unwrap();
    let path = directory.join("file");
    assert_eq!(disk.open(&path, OpenMode::Read).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(disk.open(&path, OpenMode::Write).unwrap_err().kind(), ErrorKind::NotFound);
    let file = disk.open(&path, OpenMode::Create).unwrap();
    let many: Vec<IoSlice<'_>> = (0..3000).map(|_| IoSlice::new(b"abc")).collect();
    file.write_at(&many, 5).unwrap();
    assert_eq!(file.size_bytes().unwrap(), 9005);
    let mut buffer = [9; 8];
    file.read_exact_at(&mut buffer, 0).unwrap();
    assert_eq!(&buffer, b"\0\0\0\0\0abc");
    assert_eq!(file.read_at(&mut buffer, 9005).unwrap(), 0);
    let error = file.read_exact_at(&mut buffer, 9000).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    assert_eq!(file.read_vec_at(4, 4).unwrap(), b"\0abc");
    assert_eq!(file.read_vec_at(0, 9005).unwrap(), b"");
    let error = file.read_vec_at(8, 9000).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    file.allocate(100_000).unwrap();
    assert_eq!(file.size_bytes().unwrap(), 9005, "reserved room is no length");
    file.set_len(6).unwrap();
    file.sync_data().unwrap();
    assert_eq!(disk.read(&path).unwrap(), b"\0\0\0\0\0a");
    assert!(disk.open(&path, OpenMode::Read).unwrap().write_at(&many, 0).is_err());
    disk.write_atomic(&path, b"new").unwrap();
    assert_eq!(disk.read(&path).unwrap(), b"new");
    assert_eq!(file.size_bytes().unwrap(), 6, "an open file outlives its name");
    let entry = DirEntry { name: "file".into(), is_dir: false, size_bytes: 3 };
    assert_eq!(disk.list(&directory).unwrap(), [entry]);
    let moved = root.join("moved");
    disk.rename(&directory, &moved).unwrap();
    assert!(disk.exists(&moved.join("file")) && !disk.exists(&path));
    let lock = disk.lock(&root.join(".lock")).unwrap();
    assert_eq!(disk.lock(&root.join(".lock")).unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(lock);
    disk.lock(&root.join(".lock")).unwrap();
    disk.remove_file(&moved.join("file")).unwrap();
    disk.remove_dir_all(&moved).unwrap();
    disk.sync_dir(root).unwrap();
    assert_eq!(disk.list(&moved).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(disk.space(root).unwrap().available_bytes > 0);
}

#[test]
fn the_file_system_keeps_the_contract() {
    let root = tempfile::tempdir().unwrap();
    disk_contract(&FileDisk, root.path());
}

#[test]
fn the_memory_disk_keeps_the_contract() {
    disk_contract(&MemoryDisk::new(), Path::new("/"));
    let disk = MemoryDisk::new();
    disk.set_short_reads(true);
    disk_contract(&disk, Path::new("/"));
}

fn catalog_contract(catalog: &dyn Catalog) {
    let mut batch = CatalogBatch::new();
    batch.put("b/1", "one");
    batch.put("b/2", "two");
    batch.put("c", "three");
    batch.delete("b/1");
    catalog.apply(batch).unwrap();
    assert_eq!(catalog.get(b"b/1").unwrap(), None);
    assert_eq!(catalog.scan_prefix(b"b/").unwrap(), [(b"b/2".to_vec(), b"two".to_vec())]);
    let mut batch = CatalogBatch::new();
    batch.delete("c");
    batch.put("big", vec![0; MAX_VALUE_BYTES + 1]);
    assert!(matches!(catalog.apply(batch), Err(CatalogError::TooLarge { .. })));
    assert_eq!(catalog.get(b"c").unwrap().unwrap(), b"three", "all or nothing");
    catalog.flush().unwrap();
}

#[test]
fn sled_keeps_the_contract_and_makes_no_blobs() {
    let root = tempfile::tempdir().unwrap();
    let catalog = SledCatalog::open(root.path()).unwrap();
    catalog_contract(&catalog);
    for key in 0..200_u32 {
        let mut batch = CatalogBatch::new();
        batch.put(key.to_be_bytes(), vec![7; MAX_VALUE_BYTES]);
        catalog.apply(batch).unwrap();
    }
    catalog.flush().unwrap();
    assert_eq!(catalog.blob_files().unwrap(), 0);
    assert_eq!(SledCatalog::open(root.path()).unwrap_err(), CatalogError::Locked);
    drop(catalog);
    // sled lets go of its file in a thread of its own, a moment after it was dropped.
    let patience = SystemClock::new();
    let again = loop {
        match SledCatalog::open(root.path()) {
            Err(CatalogError::Locked) if patience.monotonic().0 < Duration::from_secs(60) => {}
            opened => break opened.unwrap(),
        }
    };
    assert_eq!(again.get(b"b/2").unwrap().unwrap(), b"two");
}

#[test]
fn the_memory_catalog_keeps_the_contract_and_loses_only_what_was_not_flushed() {
    for seed in 0..50 {
        let catalog = MemoryCatalog::new();
        catalog_contract(&catalog);
        let mut batch = CatalogBatch::new();
        batch.put("x", "1");
        batch.put("y", "1");
        catalog.apply(batch).unwrap();
        let after = catalog.crash(seed);
        assert!(catalog.get(b"c").is_err(), "its process is dead");
        assert_eq!(after.get(b"c").unwrap().unwrap(), b"three");
        assert_eq!(after.get(b"x").unwrap(), after.get(b"y").unwrap(), "seed {seed}");
    }
}

#[test]
fn a_crash_keeps_what_was_synced_and_may_lose_the_rest() {
    let (mut lost_name, mut lost_bytes, mut kept_bytes) = (0, 0, 0);
    for seed in 0..100 {
        let disk = MemoryDisk::new();
        disk.create_dir_all(Path::new("/d")).unwrap();
        let file = disk.open(Path::new("/d/kept"), OpenMode::Create).unwrap();
        file.write_at(&[IoSlice::new(b"synced")], 0).unwrap();
        file.sync_data().unwrap();
        disk.sync_dir(Path::new("/d")).unwrap();
        file.write_at(&[IoSlice::new(b"more")], 6).unwrap();
        disk.open(Path::new("/d/new"), OpenMode::Create).unwrap();
        let after = disk.crash(seed);
        assert!(file.size_bytes().is_err(), "its process is dead");
        let content = after.read(Path::new("/d/kept")).unwrap();
        assert!(b"syncedmore".starts_with(&content) && content.len() >= 6, "seed {seed}");
        lost_name += usize::from(!after.exists(Path::new("/d/new")));
        lost_bytes += usize::from(content.len() < 10);
        kept_bytes += usize::from(content.len() == 10);
    }
    assert!(lost_name > 0 && lost_bytes > 0 && kept_bytes > 0);
}

#[test]
fn an_atomic_write_is_old_or_new_wherever_it_fails() {
    let path = Path::new("/file");
    for (nth, seed) in (1..20).flat_map(|nth| (0..10).map(move |seed| (nth, seed))) {
        let disk = MemoryDisk::new();
        disk.write_atomic(path, b"old").unwrap();
        disk.fail(Operation::Any, nth);
        let done = disk.write_atomic(path, b"newer").is_ok();
        let content = disk.crash(seed).read(path).unwrap();
        assert!(content == b"newer" || !done && content == b"old", "op {nth}, seed {seed}");
    }
}

#[test]
fn a_full_disk_refuses_and_takes_again() {
    let disk = MemoryDisk::new();
    let file = disk.open(Path::new("/f"), OpenMode::Create).unwrap();
    disk.set_capacity(Some(4));
    let error = file.write_at(&[IoSlice::new(b"12345")], 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    disk.set_capacity(None);
    file.write_at(&[IoSlice::new(b"12345")], 0).unwrap();
}

#[tokio::test]
async fn a_job_gives_its_result_its_panic_or_its_end() {
    let pool = ThreadOffload::start("test", 2).unwrap();
    assert_eq!(offload(&pool, || 7).await, Ok(7));
    let panicked: Result<(), _> = offload(&pool, || -> () { panic!("oh") }).await;
    assert_eq!(panicked, Err(OffloadError::Panicked("oh".into())));
    assert_eq!(offload(&pool, || 8).await, Ok(8));
}

#[test]
fn a_write_of_many_sectors_is_torn_between_them() {
    let (mut torn, written) = (0, vec![7_u8; 4 * 512 + 100]);
    for seed in 0..100 {
        let disk = MemoryDisk::new();
        let file = disk.open(Path::new("/f"), OpenMode::Create).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        file.write_at(&[IoSlice::new(&written)], 0).unwrap();
        let content = disk.crash(seed).read(Path::new("/f")).unwrap();
        assert!(written.starts_with(&content), "seed {seed}: not a part of what was written");
        let is_whole = content.len() == written.len();
        assert!(
            is_whole || content.len().is_multiple_of(512),
            "seed {seed}: {} bytes",
            content.len()
        );
        torn += usize::from(!is_whole && !content.is_empty());
    }
    assert!(torn > 0);
}

#[test]
fn a_rename_may_be_lost_until_its_directory_is_synced() {
    let (from, to) = (Path::new("/from"), Path::new("/to"));
    let (mut lost, mut kept) = (0, 0);
    for (seed, synced) in (0..100).flat_map(|seed| [(seed, false), (seed, true)]) {
        let disk = MemoryDisk::new();
        disk.write_atomic(from, b"new").unwrap();
        disk.write_atomic(to, b"old").unwrap();
        disk.rename(from, to).unwrap();
        if synced {
            disk.sync_dir(Path::new("/")).unwrap();
        }
        let after = disk.crash(seed);
        let content = after.read(to).unwrap();
        assert!(content == b"new" || content == b"old" && !synced, "seed {seed}");
        assert!(content == b"new" || after.exists(from), "seed {seed}: a file is gone");
        lost += usize::from(content == b"old");
        kept += usize::from(content == b"new" && !synced);
    }
    assert!(lost > 0 && kept > 0);
}

#[test]
fn the_memory_catalog_fails_when_it_is_told_to() {
    let catalog = MemoryCatalog::new();
    let put = |key: &str| {
        let mut batch = CatalogBatch::new();
        batch.put(key, "1");
        catalog.apply(batch)
    };
    catalog.fail_apply(2);
    put("a").unwrap();
    put("b").unwrap_err();
    put("c").unwrap();
    assert_eq!(catalog.get(b"b").unwrap(), None, "a failed apply changes nothing");
    catalog.fail_flush(1);
    catalog.flush().unwrap_err();
    let lost = (0..20).any(|seed| {
        let twin = MemoryCatalog::new();
        let mut batch = CatalogBatch::new();
        batch.put("a", "1");
        twin.apply(batch).unwrap();
        twin.fail_flush(1);
        twin.flush().unwrap_err();
        twin.crash(seed).get(b"a").unwrap().is_none()
    });
    assert!(lost, "a failed flush makes nothing durable");
    catalog.flush().unwrap();
    let after = catalog.crash(1);
    assert!(after.get(b"a").unwrap().is_some() && after.get(b"c").unwrap().is_some());
}

/// Sled panics on much of what it finds damaged; whatever it does, we get an error or a catalog.
#[test]
fn a_damaged_sled_is_an_error_and_not_the_end_of_the_process() {
    let mut refused = 0;
    for damage in 0..8_usize {
        let root = tempfile::tempdir().unwrap();
        let catalog = SledCatalog::open(root.path()).unwrap();
        let mut batch = CatalogBatch::new();
        (0..50_u8).for_each(|key| batch.put([key], vec![key; 1000]));
        catalog.apply(batch).unwrap();
        catalog.flush().unwrap();
        drop(catalog);
        let name = if damage % 2 == 0 { "db" } else { "conf" };
        let path = root.path().join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        let span = bytes.len() / 4 * (damage / 2)..bytes.len() / 4 * (damage / 2 + 1);
        bytes[span].iter_mut().for_each(|byte| *byte = 0xa5);
        std::fs::write(&path, bytes).unwrap();
        let found = SledCatalog::open(root.path()).and_then(|again| again.scan_prefix(b""));
        assert_ne!(found, Err(CatalogError::Locked), "{name} {damage}");
        refused += usize::from(found.is_err());
    }
    assert!(refused > 0, "no damage was noticed");
}

#[test]
fn dropping_the_threads_runs_what_was_handed_over() {
    let done = Arc::new(AtomicUsize::new(0));
    let pool = ThreadOffload::start("test", 1).unwrap();
    for _ in 0..100 {
        let done = Arc::clone(&done);
        pool.run(Box::new(move || {
            done.fetch_add(1, Ordering::Relaxed);
        }));
    }
    drop(pool);
    assert_eq!(done.load(Ordering::Relaxed), 100);
}

#[tokio::test]
async fn a_job_that_is_dropped_unrun_says_so() {
    #[derive(Debug)]
    struct Refusing;
    impl Offload for Refusing {
        fn run(&self, job: Box<dyn FnOnce() + Send>) {
            drop(job);
        }
    }
    assert_eq!(offload(&Refusing, || 7).await, Err(OffloadError::Stopped));
}
