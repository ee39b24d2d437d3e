//! Small facts under keys, changed together or not at all.

use std::fmt::Debug;

/// Larger values are refused: sled puts large ones into files of their own and never syncs those.
pub const MAX_VALUE_BYTES: usize = 4 << 10;
/// Larger keys are refused, for the same reason.
pub const MAX_KEY_BYTES: usize = 1 << 10;

/// Changes that are made together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CatalogBatch {
    changes: Vec<CatalogChange>,
}

/// One change of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CatalogChange {
    /// The key has this value from now on.
    Put(Vec<u8>, Vec<u8>),
    /// The key is no more.
    Delete(Vec<u8>),
}

impl CatalogBatch {
    /// A batch that changes nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives `key` a value.
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.changes.push(CatalogChange::Put(key.into(), value.into()));
    }

    /// Removes `key`, whether or not it is there.
    pub fn delete(&mut self, key: impl Into<Vec<u8>>) {
        self.changes.push(CatalogChange::Delete(key.into()));
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// How many changes it holds.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// The changes, in their order.
    pub fn changes(&self) -> &[CatalogChange] {
        &self.changes
    }

    /// Fails if a key or a value is too large for a catalog.
    pub(super) fn check_sizes(&self) -> Result<(), CatalogError> {
        for change in &self.changes {
            let (key, value_bytes) = match change {
                CatalogChange::Put(key, value) => (key, value.len()),
                CatalogChange::Delete(key) => (key, 0),
            };
            if key.len() > MAX_KEY_BYTES || value_bytes > MAX_VALUE_BYTES {
                return Err(CatalogError::TooLarge { key_bytes: key.len(), value_bytes });
            }
        }
        Ok(())
    }
}

/// Why a catalog did not do as it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// The whole batch was refused; nothing has changed.
    #[error("a key of {key_bytes} bytes with a value of {value_bytes} is too large")]
    TooLarge {
        /// The key's length.
        key_bytes: usize,
        /// The value's length.
        value_bytes: usize,
    },
    /// Another process has it open.
    #[error("the catalog is in use by another process")]
    Locked,
    /// The disk below it refused (no room, no permission, unreadable); what is in it is not in doubt.
    #[error("{0}")]
    Unavailable(String),
    /// The database or the disk below it failed.
    #[error("{0}")]
    Failed(String),
    /// The database panicked; it is not asked again.
    #[error("the database panicked: {0}")]
    Panicked(String),
}

/// What a scan gives: keys with their values, in the order of the keys.
pub type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// A small ordered map that survives crashes as of its last [`Catalog::flush`] or a later
/// [`Catalog::apply`]. Calls block for milliseconds at times.
pub trait Catalog: Send + Sync + Debug {
    /// The value under `key`.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, CatalogError>;
    /// All keys that begin with `prefix`, in order, with their values.
    fn scan_prefix(&self, prefix: &[u8]) -> Result<Entries, CatalogError>;
    /// Makes the changes, all or, if there is an error or a crash, none.
    fn apply(&self, batch: CatalogBatch) -> Result<(), CatalogError>;
    /// What was applied before is on the device when this returns.
    fn flush(&self) -> Result<(), CatalogError>;
}
