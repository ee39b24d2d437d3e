//! What is stored, and what nodes say to each other.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use ottla::controller::peer::frame::decode;
use ottla::controller::peer::message::{PeerRequest, PeerResponse};
use ottla::controller::raft::quorum_state::{FILE_NAME, QuorumStateFile};
use ottla::controller::raft::snapshot::{SnapshotDirectory, inspect};
use ottla::controller::raft::{entry, types};
use ottla::coordinator::group::decode_record;
use ottla::log::inspect::known_logs;
use ottla::metadata::{
    BrokerRegistration, Cause, ConfigResource, Image, LeaderRecoveryState, MetadataRecord,
    Partition,
};
use ottla::record::batches;
use ottla::storage::{Catalog, CatalogBatch, Disk, InlineOffload, MemoryCatalog, MemoryDisk};
use ottla::types::{
    BrokerEpoch, DirectoryId, IncarnationId, LeaderEpoch, NodeId, PartitionEpoch, PartitionId,
    ProducerId, TimestampMs, TopicId, TopicName,
};

use super::{block, blocks};

/// Keys and values in turn, each a block.
pub fn catalog(data: &Bytes) {
    let mut rest = data.clone();
    let catalog = MemoryCatalog::new();
    while let (Some(key), Some(value)) = (block(&mut rest), block(&mut rest)) {
        let mut batch = CatalogBatch::new();
        batch.put(key, value);
        // What is too long for a catalog is in none.
        let _ = catalog.apply(batch);
    }
    let (logs, unreadable) = known_logs(&catalog).expect("a catalog in memory");
    assert!(logs.len() + unreadable.len() <= data.len());
}

pub fn catalog_seeds() -> Vec<Vec<u8>> {
    let key = |kind: &[u8]| [&b"L0123456789abcdef\0\0\0\x01"[..], kind].concat();
    // A version, then fields.
    let numbers = |count: usize| [&[0, 0][..], &vec![1; count]].concat();
    let number = 7_i64.to_be_bytes();
    let first = 0_u32.to_be_bytes();
    let mut all = Vec::new();
    let mut seeds = Vec::new();
    for (kind, rest, lengths) in [
        (b'i', &[][..], [22, 30]),
        (b'p', &[], [34, 33]),
        (b'e', &first, [14, 26]),
        (b's', &number, [45, 53]),
        (b'x', &[&number[..], &first].concat(), [26, 50]),
        (b'q', &number, [40, 80]),
        (b't', &number, [33, 25]),
        (b'c', &[], [9, 8]),
        (b'w', &number, [9, 8]),
        (b'm', &[], [17, 16]),
        (b'r', &[], [30, 60]),
    ] {
        for length in lengths {
            let entry = [key(&[&[kind], rest].concat()), numbers(length)];
            seeds.push(blocks(entry.iter().map(|part| &part[..])));
            all.extend(entry);
        }
    }
    seeds.push(blocks(all.iter().map(|part| &part[..])));
    seeds
}

/// By the first byte: entries of the metadata log, a snapshot, or the votes.
pub fn raft(data: &Bytes) {
    let Some(kind) = data.first() else { return };
    let body = data.slice(1..);
    match kind % 3 {
        0 => batches(&body).map_while(Result::ok).for_each(|batch| {
            if let Ok(read) = entry::decode(&batch) {
                // Whatever was read can be stored.
                let _ = entry::encode(&read, TimestampMs(1));
            }
        }),
        1 => snapshot(&body),
        _ => votes(&body),
    }
}

/// The bytes with a good checksum behind them.
fn summed(body: &[u8]) -> Bytes {
    [body, &crc32c::crc32c(body).to_be_bytes()].concat().into()
}

fn snapshot(body: &Bytes) {
    let bytes = summed(body);
    let Ok((meta, _)) = inspect(&bytes) else { return };
    let directory = Path::new("/metadata");
    let disk = Arc::new(MemoryDisk::new());
    disk.create_dir_all(directory).expect("a disk in memory");
    let snapshots = SnapshotDirectory::new(disk, Arc::new(InlineOffload), directory);
    let installed = snapshots.install(&meta, bytes).now_or_never().expect("done at once");
    if let Ok(image) = installed {
        let read = snapshots.newest().now_or_never().expect("done at once");
        let (_, found, _) = read.expect("it was stored").expect("it is there");
        assert_eq!(found, image);
    }
}

/// Two slots, each with a good checksum where its length says that it ends.
fn votes(body: &Bytes) {
    let half = body.len() / 2;
    let mut file = vec![0; 8192];
    for (slot, content) in [(0, &body[..half]), (4096, &body[half..])] {
        let length = content.get(14..16).map_or(0, |two| u16::from_be_bytes([two[0], two[1]]));
        let end = (16 + usize::from(length)).min(4092);
        let taken = content.len().min(end);
        file[slot..slot + taken].copy_from_slice(&content[..taken]);
        let crc = crc32c::crc32c(&file[slot..slot + end]).to_be_bytes();
        file[slot + end..slot + end + 4].copy_from_slice(&crc);
    }
    let directory = Path::new("/metadata");
    let disk = MemoryDisk::new();
    disk.create_dir_all(directory).expect("a disk in memory");
    disk.write_atomic(&directory.join(FILE_NAME), &file).expect("a disk in memory");
    if let Ok(mut file) = QuorumStateFile::open(&disk, directory) {
        let state = file.state().clone();
        file.write_synced(state.clone()).expect("a disk in memory");
        let again = QuorumStateFile::open(&disk, directory).expect("it was just written");
        assert_eq!(*again.state(), state);
    }
}

pub fn raft_seeds() -> Vec<Vec<u8>> {
    let log_id = |index| types::log_id(3, index);
    let records = records().iter().map(|record| record.encode().expect("a record")).collect();
    let data = types::EntryData { records, decided_in_term: 3, decided_on_version: 2 };
    let entries = [openraft::EntryPayload::Blank, openraft::EntryPayload::Normal(data)];
    let mut log = vec![0];
    for (index, payload) in (1..).zip(entries) {
        let entry = types::Entry { log_id: log_id(index), payload };
        log.extend_from_slice(&entry::encode(&entry, TimestampMs(1)).expect("an entry"));
    }
    let directory = Path::new("/metadata");
    let disk = Arc::new(MemoryDisk::new());
    disk.create_dir_all(directory).expect("a disk in memory");
    let snapshots =
        SnapshotDirectory::new(Arc::clone(&disk) as _, Arc::new(InlineOffload), directory);
    let meta = types::SnapshotMeta {
        last_log_id: Some(log_id(9)),
        snapshot_id: "s".into(),
        ..Default::default()
    };
    let image = Image::from_records(&self::records()).expect("an image");
    let bytes = snapshots.build(&meta, image).now_or_never().expect("done at once");
    let bytes = bytes.expect("a snapshot");
    let snapshot = [&[1][..], &bytes[..bytes.len() - 4]].concat();
    let mut file = QuorumStateFile::open(&*disk, directory).expect("a new file");
    let mut state = file.state().clone();
    (state.committed, state.purged, state.synced_end) = (Some(log_id(9)), Some(log_id(5)), 12);
    file.write_synced(state).expect("a disk in memory");
    let slots = disk.read(&directory.join(FILE_NAME)).expect("a disk in memory");
    let votes = [&[2][..], &slots[..200], &slots[4096..4296]].concat();
    vec![log, snapshot, votes]
}

/// Records, each a block, folded in one after the other.
pub fn metadata(data: &Bytes) {
    let mut rest = data.clone();
    let mut image = Image::default();
    while let Some(bytes) = block(&mut rest) {
        let Ok(record) = MetadataRecord::decode(bytes) else { continue };
        let encoded = record.encode().expect("what was read can be written");
        assert_eq!(MetadataRecord::decode(encoded).expect("what was written"), record);
        // A record that does not fit ends the process: what is half folded in is of no use.
        if image.apply(&record).is_err() {
            return;
        }
    }
    let _ = image.check();
    let again = Image::from_records(&image.to_records()).expect("an image's own records");
    assert_eq!(again, image);
}

pub fn metadata_seeds() -> Vec<Vec<u8>> {
    let encoded: Vec<Bytes> =
        records().iter().map(|record| record.encode().expect("a record")).collect();
    let mut seeds = vec![blocks(encoded.iter().map(|record| &record[..]))];
    seeds.extend(encoded.iter().map(|record| blocks([&record[..]])));
    seeds
}

/// One of nearly every kind.
fn records() -> Vec<MetadataRecord> {
    let topic_id = TopicId(DirectoryId::default().0);
    let (node_id, broker_epoch) = (NodeId(1), BrokerEpoch(4));
    let registration = BrokerRegistration {
        node_id,
        broker_epoch,
        incarnation: IncarnationId::default(),
        endpoints: Vec::new(),
        rack: Some("r1".to_owned()),
        fenced: false,
        in_controlled_shutdown: false,
        directories: vec![DirectoryId::default()],
        has_offline_directories: false,
        features: Vec::new(),
    };
    let partition = Partition {
        replicas: vec![node_id],
        directories: vec![DirectoryId::default()],
        isr: vec![node_id],
        elr: Vec::new(),
        last_known_elr: Vec::new(),
        leader: Some(node_id),
        leader_epoch: LeaderEpoch(0),
        partition_epoch: PartitionEpoch(0),
        recovery: LeaderRecoveryState::Recovered,
        adding: Vec::new(),
        removing: Vec::new(),
    };
    let name = TopicName::new("orders");
    let (key, value) = ("retention.ms".to_owned(), Some("7".to_owned()));
    vec![
        MetadataRecord::ClusterFormed { cluster_id: "cluster".to_owned() },
        MetadataRecord::Broker {
            registration: Arc::new(registration),
            cause: Cause::Registered(node_id),
        },
        MetadataRecord::Topic { name: name.clone(), topic_id },
        MetadataRecord::Partition {
            topic_id,
            partition: PartitionId(0),
            state: Arc::new(partition),
            cause: Cause::Created,
        },
        MetadataRecord::Config { resource: ConfigResource::Topic(name), key, value },
        MetadataRecord::ProducerIds { node_id, broker_epoch, next_producer_id: ProducerId(1000) },
        MetadataRecord::Feature { name: "metadata.version".to_owned(), level: 1 },
    ]
}

/// A key and a value of `__consumer_offsets`, each a block.
pub fn groups(data: &Bytes) {
    let mut rest = data.clone();
    let Some(key) = block(&mut rest) else { return };
    let value = block(&mut rest);
    let _ = decode_record(key, value);
}

pub fn group_seeds() -> Vec<Vec<u8>> {
    let named = |kind: u8, names: usize| {
        let mut key = vec![0, kind];
        (0..names).for_each(|_| key.extend_from_slice(b"\0\x02gg"));
        key
    };
    let mut seeds = Vec::new();
    for (kind, names) in [(1, 2), (2, 1), (3, 1), (5, 2), (6, 1), (7, 2), (8, 2), (16, 2)] {
        let mut key = named(kind, names);
        if kind == 1 {
            key.extend_from_slice(&[0, 0, 0, 1]);
        }
        for version in [0_u8, 1, 3, 4] {
            let value = [&[0, version][..], &[1; 60]].concat();
            seeds.push(blocks([&key[..], &value]));
        }
    }
    seeds
}

/// A question or an answer of another node.
pub fn peers(data: &Bytes) {
    let Some(kind) = data.first() else { return };
    if kind % 2 == 0 {
        let _ = decode::<PeerRequest>(&data[1..]);
    } else {
        let _ = decode::<PeerResponse>(&data[1..]);
    }
}

pub fn peer_seeds() -> Vec<Vec<u8>> {
    (0..10_u8)
        .flat_map(|kind| [0_u8, 1].map(|of| [&[of, kind, 0, 0, 0][..], &[1; 80]].concat()))
        .collect()
}
