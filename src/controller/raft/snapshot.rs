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
    /// The newest file cannot be used.
    #[error(
        "{path}: {source}: without it the metadata is not whole: move the metadata directory away \
         and let the node join anew"
    )]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<SnapshotError>,
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
            let (stored, image) = decode(&bytes)?;
            if stored.last_log_id != meta.last_log_id {
                return Err(SnapshotError::Damaged("it is another than was announced"));
            }
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
            while let Some(name) = this.names()?.pop() {
                let path = this.directory.join(&name);
                let unusable =
                    |error| SnapshotError::Unusable { path: path.clone(), source: Box::new(error) };
                let bytes = this.read_file(&name).map_err(unusable)?;
                let (meta, image) = decode(&bytes).map_err(unusable)?;
                if file_name(&meta) == name {
                    return Ok(Some((meta, image, bytes)));
                }
                this.set_aside(&path, &file_name(&meta))?;
            }
            Ok(None)
        })
        .await?
    }

    /// A copy under a newer one's name would hide what comes after it.
    fn set_aside(&self, path: &Path, own_name: &str) -> Result<(), SnapshotError> {
        let mut aside = path.as_os_str().to_owned();
        aside.push(".damaged");
        let aside = PathBuf::from(aside);
        tracing::error!(
            path = %path.display(), own_name, aside = %aside.display(),
            "a snapshot bears another's name: it is set aside"
        );
        let renamed = self.disk.rename(path, &aside);
        renamed.map_err(|source| SnapshotError::Io { path: path.to_owned(), source })
    }

    /// Reads the bytes of the snapshot that `meta` describes, if they are whole.
    pub async fn read(&self, meta: &SnapshotMeta) -> Result<Bytes, SnapshotError> {
        let (this, name) = (self.clone(), file_name(meta));
        offload(&*self.offload, move || {
            let bytes = this.read_file(&name)?;
            check_crc(&bytes)?;
            Ok(bytes)
        })
        .await?
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

/// Where the CRC begins, if it is right.
fn check_crc(bytes: &[u8]) -> Result<usize, SnapshotError> {
    let (content, crc) =
        bytes.split_last_chunk::<4>().ok_or(SnapshotError::Damaged("it is too short"))?;
    if crc32c::crc32c(content) != u32::from_be_bytes(*crc) {
        return Err(SnapshotError::Damaged("its CRC does not match"));
    }
    Ok(content.len())
}

/// What a file's bytes mean.
fn decode(bytes: &Bytes) -> Result<(SnapshotMeta, Image), SnapshotError> {
    let (meta, records) = inspect(bytes)?;
    let mut image = Image::default();
    for record in records {
        let record = MetadataRecord::decode(record)
            .map_err(|error| SnapshotError::Unreadable(error.to_string()))?;
        image.apply(&record).map_err(|error| SnapshotError::Unreadable(error.to_string()))?;
    }
    Ok((meta, image))
}

/// What a file's bytes hold: how far it goes, and the metadata's records as they were encoded.
///
/// # Errors
/// The file is damaged, or of a version that is not known here.
pub fn inspect(bytes: &Bytes) -> Result<(SnapshotMeta, Vec<Bytes>), SnapshotError> {
    let end = check_crc(bytes)?;
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
    let mut records = Vec::new();
    for _ in 0..count {
        records.push(take_block(&mut rest)?);
    }
    if !rest.is_empty() {
        return Err(SnapshotError::Damaged("there is more in it than its count says"));
    }
    Ok((meta, records))
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
