//! The file `quorum-state`: this node's vote, what it knows to be committed, what it has purged,
//! and up to where its log has been synced.
//!
//! Two slots, each with a sequence number and a CRC; the valid one with the greater sequence
//! counts. The slot that was synced last is never written to: whatever a crash does to the other,
//! it stays. What was synced is at once written to the other slot too, without a sync: if later one
//! of the two rots, the other has the same vote. A vote and a purge are synced before they are answered. The committed id and the
//! synced end are only hints whose loss costs nothing but time or a weaker check, so that they are
//! written without a sync of their own.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::controller::raft::stored::{QuorumStateBody, Stored};
use crate::controller::raft::types::{LogId, Vote};
use crate::storage::{Disk, DiskFile, OpenMode};

/// The file's name in the metadata directory.
pub const FILE_NAME: &str = "quorum-state";

/// A slot's size: a disk block of the large kind, so that the two never share one.
const SLOT_BYTES: u64 = 4096;

/// Magic, sequence, version, length of the body.
const SLOT_HEADER_BYTES: usize = 4 + 8 + 2 + 2;

const SLOT_MAGIC: [u8; 4] = *b"OQS1";

/// No node writes as often: a slot that claims more is damaged, and nothing could ever follow it.
const MAX_SEQUENCE: u64 = u64::MAX / 2;

/// What a voter must never forget.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QuorumState {
    /// The vote, if there was ever one.
    pub vote: Option<Vote>,
    /// The last entry that is known to be committed.
    pub committed: Option<LogId>,
    /// The last entry that was purged.
    pub purged: Option<LogId>,
    /// One past the last entry that is known to be synced.
    pub synced_end: u64,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum QuorumStateError {
    /// Reading or writing failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Neither slot is whole.
    #[error(
        "{path}: both copies of the vote are damaged; this node must not vote again under its \
         directory id: move the metadata directory away and let the node join anew"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

/// The open file.
#[derive(Debug)]
pub struct QuorumStateFile {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    state: QuorumState,
    sequence: u64,
    /// The slot that holds the last synced state.
    durable_slot: u64,
}

impl QuorumStateFile {
    /// Opens the file in `directory`, or makes it. Blocking.
    pub fn open(disk: &dyn Disk, directory: &Path) -> Result<QuorumStateFile, QuorumStateError> {
        let path = directory.join(FILE_NAME);
        let io_error = |source| QuorumStateError::Io { path: path.clone(), source };
        if !disk.exists(&path) {
            let mut bytes = vec![0; 2 * SLOT_BYTES as usize];
            for (slot, sequence) in [(0, 0), (SLOT_BYTES as usize, 1)] {
                let encoded = encode_slot(sequence, &QuorumState::default());
                bytes[slot..slot + encoded.len()].copy_from_slice(&encoded);
            }
            disk.write_atomic(&path, &bytes).map_err(io_error)?;
        }
        let file = disk.open(&path, OpenMode::Write).map_err(io_error)?;
        let mut damaged_slots = 0;
        let mut newest: Option<(u64, u64, QuorumState)> = None;
        for slot in 0..2 {
            let mut bytes = vec![0; SLOT_BYTES as usize];
            let read = read_up_to(&*file, &mut bytes, slot * SLOT_BYTES).map_err(io_error)?;
            let decoded = decode_slot(&bytes[..read]);
            damaged_slots += u32::from(decoded.is_none());
            if let Some((sequence, state)) = decoded
                && newest.as_ref().is_none_or(|(other, ..)| *other < sequence)
            {
                newest = Some((sequence, slot, state));
            }
        }
        let Some((sequence, durable_slot, state)) = newest else {
            return Err(QuorumStateError::Damaged { path });
        };
        // What was read may not have reached the device yet; from here on it is the slot that is
        // never overwritten, so it must. A sync alone would not write it if an earlier one failed.
        let again = encode_slot(sequence, &state);
        file.write_at(&[IoSlice::new(&again)], durable_slot * SLOT_BYTES).map_err(io_error)?;
        file.sync_data().map_err(io_error)?;
        let mut file = QuorumStateFile { path, file, state, sequence, durable_slot };
        if damaged_slots > 0 {
            tracing::warn!(
                path = %file.path.display(),
                "one copy of the vote was torn or is damaged: it is written anew from the other"
            );
        }
        file.write(file.state.clone())?;
        Ok(file)
    }

    /// The state as last written.
    pub fn state(&self) -> &QuorumState {
        &self.state
    }

    /// Changes the state and syncs it. Blocking.
    pub fn write_synced(&mut self, state: QuorumState) -> Result<(), QuorumStateError> {
        let slot = self.write(state)?;
        self.file.sync_data().map_err(|source| self.io_error(source))?;
        self.durable_slot = slot;
        self.write(self.state.clone()).map(|_| ())
    }

    /// Changes the state without a sync: it survives the process, but perhaps not the machine.
    pub fn write_unsynced(&mut self, state: QuorumState) -> Result<(), QuorumStateError> {
        self.write(state).map(|_| ())
    }

    fn write(&mut self, state: QuorumState) -> Result<u64, QuorumStateError> {
        let slot = 1 - self.durable_slot;
        let bytes = encode_slot(self.sequence + 1, &state);
        self.file
            .write_at(&[IoSlice::new(&bytes)], slot * SLOT_BYTES)
            .map_err(|source| self.io_error(source))?;
        self.sequence += 1;
        self.state = state;
        Ok(slot)
    }

    fn io_error(&self, source: io::Error) -> QuorumStateError {
        QuorumStateError::Io { path: self.path.clone(), source }
    }
}

fn encode_slot(sequence: u64, state: &QuorumState) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    bytes.extend_from_slice(&SLOT_MAGIC);
    bytes.extend_from_slice(&sequence.to_be_bytes());
    let body = QuorumStateBody::from(state).to_bytes();
    bytes.extend_from_slice(&QuorumStateBody::VERSION.to_be_bytes());
    bytes.extend_from_slice(&(body.len() as u16).to_be_bytes());
    bytes.extend_from_slice(&body);
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_be_bytes());
    bytes
}

/// The slot's sequence and state, if it is whole.
fn decode_slot(bytes: &[u8]) -> Option<(u64, QuorumState)> {
    let header = bytes.get(..SLOT_HEADER_BYTES)?;
    if header[..4] != SLOT_MAGIC {
        return None;
    }
    let sequence = u64::from_be_bytes(header[4..12].try_into().ok()?);
    let version = i16::from_be_bytes(header[12..14].try_into().ok()?);
    let length = usize::from(u16::from_be_bytes(header[14..16].try_into().ok()?));
    let end = SLOT_HEADER_BYTES + length;
    let crc = u32::from_be_bytes(bytes.get(end..end + 4)?.try_into().ok()?);
    if crc32c::crc32c(&bytes[..end]) != crc || sequence > MAX_SEQUENCE {
        return None;
    }
    let body = &bytes[SLOT_HEADER_BYTES..end];
    let body = QuorumStateBody::from_bytes(Bytes::copy_from_slice(body), version).ok()?;
    if !body.is_sound() {
        return None;
    }
    Some((sequence, QuorumState::from(&body)))
}

fn read_up_to(file: &dyn DiskFile, bytes: &mut [u8], position: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < bytes.len() {
        match file.read_at(&mut bytes[read..], position + read as u64)? {
            0 => break,
            more => read += more,
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use crate::storage::MemoryDisk;

    /// A disk with the two slots, each with its sequence and its synced end.
    fn with_slots(slots: [(u64, u64); 2]) -> MemoryDisk {
        let mut bytes = vec![0; 2 * SLOT_BYTES as usize];
        for (at, (sequence, synced_end)) in [0, SLOT_BYTES as usize].into_iter().zip(slots) {
            let state = QuorumState { synced_end, ..QuorumState::default() };
            let slot = encode_slot(sequence, &state);
            bytes[at..at + slot.len()].copy_from_slice(&slot);
        }
        let disk = MemoryDisk::new();
        disk.create_dir_all(Path::new("/m")).unwrap();
        disk.write_atomic(&Path::new("/m").join(FILE_NAME), &bytes).unwrap();
        disk
    }

    /// The next write would have begun at sequence 0 again, and been older than what it replaced.
    #[test]
    fn a_slot_that_nothing_can_follow_is_damaged() {
        let open = |disk: &MemoryDisk| QuorumStateFile::open(disk, Path::new("/m"));
        for last in [u64::MAX, u64::MAX - 1, MAX_SEQUENCE + 1] {
            let disk = with_slots([(last, 7), (5, 4)]);
            let mut file = open(&disk).unwrap();
            assert_eq!(file.state().synced_end, 4, "{last}");
            let state = QuorumState { synced_end: 9, ..QuorumState::default() };
            file.write_synced(state.clone()).unwrap();
            assert_eq!(*open(&disk).unwrap().state(), state, "{last}");
            let both = open(&with_slots([(last, 7), (last, 7)]));
            assert!(matches!(both, Err(QuorumStateError::Damaged { .. })), "{last}: {both:?}");
        }
    }
}
