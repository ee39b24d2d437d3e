//! What is in one file: as everybody sees it, and as it would be found after a power failure.

use super::seeded::Seeded;

/// A device writes these whole or not at all.
const SECTOR_BYTES: u64 = 512;

/// One file's content.
#[derive(Debug, Clone, Default)]
pub struct FileContent {
    /// As the running system sees it.
    pub current: Vec<u8>,
    /// How much room was reserved for it.
    pub allocated_bytes: u64,
    /// As of the last sync.
    durable: Vec<u8>,
    /// Since then, in order.
    unsynced: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Write { position: usize, bytes: Vec<u8> },
    SetLen(usize),
}

impl FileContent {
    /// Writes into the page cache.
    pub fn write(&mut self, position: usize, bytes: Vec<u8>) {
        self.change(Change::Write { position, bytes });
    }

    /// Cuts or lengthens in the page cache.
    pub fn set_len(&mut self, len: usize) {
        self.change(Change::SetLen(len));
    }

    /// Makes all of it durable.
    pub fn sync(&mut self) {
        for change in std::mem::take(&mut self.unsynced) {
            apply(&mut self.durable, &change);
        }
    }

    /// What a failed fsync does on Linux: the pages count as clean, and no later sync writes them.
    pub fn fail_sync(&mut self) {
        self.unsynced.clear();
    }

    /// The power fails: of what was not synced some is there, some is not, some is torn.
    pub fn crash(&mut self, seeded: &mut Seeded) {
        for change in std::mem::take(&mut self.unsynced) {
            match (seeded.below(3), change) {
                (0, _) => {}
                (1, Change::Write { position, bytes }) => {
                    let kept = torn(position, bytes, seeded);
                    apply(&mut self.durable, &kept);
                }
                (_, change) => apply(&mut self.durable, &change),
            }
        }
        self.current = self.durable.clone();
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.current, &change);
        self.unsynced.push(change);
    }
}

/// The first sectors of a write.
fn torn(position: usize, mut bytes: Vec<u8>, seeded: &mut Seeded) -> Change {
    let sectors = bytes.len() as u64 / SECTOR_BYTES;
    let kept = match sectors {
        // Within a sector, writes are torn too: a device with other sectors is no excuse.
        0 => seeded.below(bytes.len() as u64),
        _ => seeded.below(sectors + 1) * SECTOR_BYTES,
    };
    bytes.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
    Change::Write { position, bytes }
}

fn apply(content: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write { bytes, .. } if bytes.is_empty() => {}
        Change::Write { position, bytes } => {
            let end = position + bytes.len();
            if content.len() < end {
                content.resize(end, 0);
            }
            content[*position..end].copy_from_slice(bytes);
        }
        Change::SetLen(len) => content.resize(*len, 0),
    }
}
