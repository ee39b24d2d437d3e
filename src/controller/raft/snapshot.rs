//! Snapshots of the metadata: files beside the metadata log, one at a time, written whole and
//! synced before they are used.
//!
//! A file is a magic, the header's version and length, the header, the number of records, each
//! record with its length, and a CRC-32C of all that.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::controller::raft::stored::{SnapshotHeader, Stored};
use crate::controller::raft::types::SnapshotMeta;
use crate::metadata::{Image, MetadataRecord};
use crate::storage::{Disk, Offload, OffloadError, offload};

const MAGIC: [u8; 4] = *b"OMS1";
const EXTENSION: &str = ".checkpoint";

/// Why a snapshot cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Reading or writing failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not whole.
    #[error("the snapshot is damaged: {0}")]
    Damaged(&'static str),
    /// What it holds cannot be understood.
    #[error("the snapshot cannot be read: {0}")]
    Unreadable(String),
    /// The job was lost.
    #[error(transparent)]
    Offload(#[from] OffloadError),
}

/// The directory that holds the current snapshot.
#[derive(Debug, Clone)]
pub struct SnapshotDirectory {
    disk: Arc<dyn Disk>,
    offload: Arc<dyn Offload>,
    directory: PathBuf,
}

impl SnapshotDirectory {
    /// Snapshots in `directory`, which exists.
    pub fn new(disk: Arc<dyn Disk>, offload: Arc<dyn Offload>, directory: &Path) -> Self {
        Self { disk, offload, directory: directory.to_owned() }
    }

    /// Writes and syncs a snapshot of `image`; gives its bytes.
    pub async fn build(&self, meta: &SnapshotMeta, image: Image) -> Result<Bytes, SnapshotError> {
        let (this, meta) = (self.clone(), meta.clone());
        offload(&*self.offload, move || {
            let bytes = encode(&meta, &image)?;
            this.save(&meta, &bytes)?;
            Ok(bytes)
        })
        .await?
    }

    /// Reads, writes and syncs a snapshot that the leader sent; gives its image.
    pub async fn install(&self, meta: &SnapshotMeta, bytes: Bytes) -> Result<Image, SnapshotError> {
        let (this, meta) = (self.clone(), meta.clone());
        offload(&*self.offload, move || {
            let (_, image) = decode(&bytes)?;
            this.save(&meta, &bytes)?;
            Ok(image)
        })
        .await?
    }

    /// Writes and syncs a snapshot, then removes all older ones.
    fn save(&self, meta: &SnapshotMeta, bytes: &[u8]) -> Result<(), SnapshotError> {
        let name = file_name(meta);
        let path = self.directory.join(&name);
        self.disk
            .write_atomic(&path, bytes)
            .map_err(|source| SnapshotError::Io { path, source })?;
        for other in self.names()?.into_iter().filter(|other| *other < name) {
            // A leftover costs disk space only, and the next snapshot tries again.
            if let Err(error) = self.disk.remove_file(&self.directory.join(&other)) {
                tracing::warn!("cannot remove the old snapshot {other}: {error}");
            }
        }
        Ok(())
    }

    /// Reads the newest snapshot, if there is any.
    pub async fn newest(&self) -> Result<Option<(SnapshotMeta, Image, Bytes)>, SnapshotError> {
        let this = self.clone();
        offload(&*self.offload, move || {
            let Some(name) = this.names()?.pop() else { return Ok(None) };
            let bytes = this.read_file(&name)?;
            let (meta, image) = decode(&bytes)?;
            Ok(Some((meta, image, bytes)))
        })
        .await?
    }

    /// Reads the bytes of the snapshot that `meta` describes.
    pub async fn read(&self, meta: &SnapshotMeta) -> Result<Bytes, SnapshotError> {
        let (this, name) = (self.clone(), file_name(meta));
        offload(&*self.offload, move || this.read_file(&name)).await?
    }

    fn read_file(&self, name: &str) -> Result<Bytes, SnapshotError> {
        let path = self.directory.join(name);
        match self.disk.read(&path) {
            Ok(bytes) => Ok(Bytes::from(bytes)),
            Err(source) => Err(SnapshotError::Io { path, source }),
        }
    }

    /// The snapshots' names, the oldest first.
    fn names(&self) -> Result<Vec<String>, SnapshotError> {
        let entries = self
            .disk
            .list(&self.directory)
            .map_err(|source| SnapshotError::Io { path: self.directory.clone(), source })?;
        let mut names: Vec<String> = entries
            .into_iter()
            .map(|entry| entry.name)
            .filter(|name| name.ends_with(EXTENSION))
            .collect();
        names.sort();
        Ok(names)
    }
}

/// As Kafka names them: the end offset, then the epoch; both padded, so that names sort as they do.
fn file_name(meta: &SnapshotMeta) -> String {
    let end = meta.last_log_id.map_or(0, |id| id.index + 1);
    let term = meta.last_log_id.map_or(0, |id| id.leader_id.term);
    format!("{end:020}-{term:010}{EXTENSION}")
}

/// The file's bytes.
fn encode(meta: &SnapshotMeta, image: &Image) -> Result<Bytes, SnapshotError> {
    let mut bytes = Vec::with_capacity(4096);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&SnapshotHeader::VERSION.to_be_bytes());
    put(&mut bytes, &SnapshotHeader::from(meta).to_bytes());
    let records = image.to_records();
    bytes.extend_from_slice(&(records.len() as u32).to_be_bytes());
    for record in &records {
        let encoded =
            record.encode().map_err(|error| SnapshotError::Unreadable(error.to_string()))?;
        put(&mut bytes, &encoded);
    }
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_be_bytes());
    Ok(Bytes::from(bytes))
}

/// What a file's bytes mean.
fn decode(bytes: &Bytes) -> Result<(SnapshotMeta, Image), SnapshotError> {
    let end = bytes.len().checked_sub(4).ok_or(SnapshotError::Damaged("it is too short"))?;
    let crc = u32::from_be_bytes([bytes[end], bytes[end + 1], bytes[end + 2], bytes[end + 3]]);
    if crc32c::crc32c(&bytes[..end]) != crc {
        return Err(SnapshotError::Damaged("its CRC does not match"));
    }
    let mut rest = bytes.slice(..end);
    if take(&mut rest, 4)? != MAGIC[..] {
        return Err(SnapshotError::Damaged("it does not begin as a snapshot does"));
    }
    let version = take(&mut rest, 2)?;
    let version = i16::from_be_bytes([version[0], version[1]]);
    let header = take_block(&mut rest)?;
    let meta = SnapshotHeader::from_bytes(header, version)
        .and_then(|header| header.to_meta())
        .map_err(|error| SnapshotError::Unreadable(error.to_string()))?;
    let count = take_length(&mut rest)?;
    let mut image = Image::default();
    for _ in 0..count {
        let record = MetadataRecord::decode(take_block(&mut rest)?)
            .map_err(|error| SnapshotError::Unreadable(error.to_string()))?;
        image.apply(&record).map_err(|error| SnapshotError::Unreadable(error.to_string()))?;
    }
    if !rest.is_empty() {
        return Err(SnapshotError::Damaged("there is more in it than its count says"));
    }
    Ok((meta, image))
}

fn put(bytes: &mut Vec<u8>, block: &[u8]) {
    bytes.extend_from_slice(&(block.len() as u32).to_be_bytes());
    bytes.extend_from_slice(block);
}

fn take(rest: &mut Bytes, length: usize) -> Result<Bytes, SnapshotError> {
    if rest.len() < length {
        return Err(SnapshotError::Damaged("it ends too early"));
    }
    Ok(rest.split_to(length))
}

fn take_length(rest: &mut Bytes) -> Result<usize, SnapshotError> {
    let length = take(rest, 4)?;
    Ok(u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize)
}

fn take_block(rest: &mut Bytes) -> Result<Bytes, SnapshotError> {
    let length = take_length(rest)?;
    take(rest, length)
}
