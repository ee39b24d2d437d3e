//! What can go wrong with a log, one enum per operation, each mapped to Kafka's error codes in
//! one exhaustive match.

use std::io;
use std::path::{Path, PathBuf};

use crate::log::producers::ProducerError;
use crate::storage::{CatalogError, OffloadError};
use crate::types::{ErrorCode, LeaderEpoch, Offset, TopicId, TopicPartition};

/// The disk or the catalog failed, or had failed before.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// A write or a sync failed earlier; what reached the disk is unknown, so the log takes no
    /// more until it is opened again.
    #[error("the log is closed to writes since an earlier failure: {0}")]
    Poisoned(String),
    /// There is no room; writes are taken again when there is.
    #[error("the disk of {0} is full")]
    DiskFull(PathBuf),
    /// The process has as many files open as it may; nothing has changed.
    #[error(
        "{0} cannot be opened, too many files are: raise RLIMIT_NOFILE (ulimit -n, LimitNOFILE=)"
    )]
    TooManyOpenFiles(PathBuf),
    /// The file system said no.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The catalog said no.
    #[error("catalog: {0}")]
    Catalog(#[from] CatalogError),
    /// The job that should have done it ended without an answer.
    #[error(transparent)]
    Offload(#[from] OffloadError),
}

impl StorageError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StorageError {
        // The path is copied only where there is an error: every append passes here.
        move |source| {
            let path = path.to_owned();
            if is_full(&source) {
                StorageError::DiskFull(path)
            } else if is_short_of_files(&source) {
                StorageError::TooManyOpenFiles(path)
            } else {
                StorageError::Io { action, path, source }
            }
        }
    }

    /// Whether what was to be read or written is not there.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, StorageError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// How the protocol says it.
    pub fn error_code(&self) -> ErrorCode {
        match self {
            StorageError::Poisoned(_)
            | StorageError::DiskFull(_)
            | StorageError::TooManyOpenFiles(_)
            | StorageError::Io { .. }
            | StorageError::Catalog(_)
            | StorageError::Offload(_) => ErrorCode::KafkaStorageError,
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Only opening a file fails so, before anything has changed.
fn is_short_of_files(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let short = [Errno::MFILE, Errno::NFILE].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|code| short.contains(&code))
}

/// A record that made its batch be refused (KIP-467).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordError {
    /// Its place in the batch, from 0.
    pub batch_index: i32,
    /// What is wrong with it.
    pub message: String,
}

/// A batch that breaks a rule of the format or of the topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InvalidBatch {
    /// Kafka's error for it.
    pub code: ErrorCode,
    /// What is wrong, for people.
    pub message: String,
    /// Which records are to blame, if it is single ones.
    pub record_errors: Vec<RecordError>,
}

impl InvalidBatch {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), record_errors: Vec::new() }
    }
}

/// Why an append was refused. Nothing has been appended then.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The records are not fit for the log.
    #[error(transparent)]
    Invalid(#[from] InvalidBatch),
    /// The producer's sequence or epoch is not due.
    #[error(transparent)]
    Producer(#[from] ProducerError),
    /// A leader that was deposed wanted to write.
    #[error("leader epoch {got} is older than {current}, which the log has seen")]
    StaleEpoch {
        /// In whose name the append was made.
        got: LeaderEpoch,
        /// The latest epoch of the log.
        current: LeaderEpoch,
    },
    /// A follower was given batches that do not begin where its log ends.
    #[error("the records begin at offset {got}, the log ends at {expected}")]
    OffsetGap {
        /// The log's end.
        expected: Offset,
        /// The first offset given.
        got: Offset,
    },
    /// A follower was given a batch around the start of its empty log: see
    /// [`crate::log::Log::append_around_start`].
    #[error("the first batch begins at offset {got}, before the start of the log at {log_start}")]
    AroundStart {
        /// Where the log starts.
        log_start: Offset,
        /// Where the batch begins.
        got: Offset,
    },
    /// The disk is at fault.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl AppendError {
    /// How the protocol says it.
    pub fn error_code(&self) -> ErrorCode {
        match self {
            AppendError::Invalid(invalid) => invalid.code,
            AppendError::Producer(ProducerError::StaleEpoch { .. }) => {
                ErrorCode::InvalidProducerEpoch
            }
            AppendError::Producer(ProducerError::OutOfOrder { .. }) => {
                ErrorCode::OutOfOrderSequenceNumber
            }
            AppendError::StaleEpoch { .. } => ErrorCode::NotLeaderOrFollower,
            AppendError::OffsetGap { .. } | AppendError::AroundStart { .. } => {
                ErrorCode::OffsetOutOfRange
            }
            AppendError::Storage(storage) => storage.error_code(),
        }
    }
}

/// Why nothing was read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The log has no such offset.
    #[error("offset {offset} is not in {log_start}..={log_end}")]
    OutOfRange {
        /// What was asked for.
        offset: Offset,
        /// The log's first offset.
        log_start: Offset,
        /// The log's end.
        log_end: Offset,
    },
    /// What lies there is no batch.
    #[error("{path} at {position}: {reason}")]
    Corrupt {
        /// The segment.
        path: PathBuf,
        /// Where in it.
        position: u64,
        /// What is wrong.
        reason: String,
    },
    /// What lies there was found damaged, and has not been mended yet.
    #[error("offsets {from} to {to} are damaged: {reason}")]
    Damaged {
        /// The first offset that cannot be read.
        from: Offset,
        /// The offset after the last that cannot be read.
        to: Offset,
        /// What is wrong.
        reason: String,
    },
    /// The file system said no.
    #[error("{path}: {source}")]
    Io {
        /// The segment.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl ReadError {
    /// How the protocol says it.
    pub fn error_code(&self) -> ErrorCode {
        match self {
            ReadError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            ReadError::Corrupt { .. } => ErrorCode::CorruptMessage,
            // Clients try again then, and find it mended.
            ReadError::Damaged { .. } | ReadError::Io { .. } => ErrorCode::KafkaStorageError,
        }
    }
}

/// Why a log's ends were not moved.
#[derive(Debug, thiserror::Error)]
pub enum TruncateError {
    /// The log has no such offset.
    #[error("offset {offset} is not in {log_start}..={log_end}")]
    OutOfRange {
        /// What was asked for.
        offset: Offset,
        /// The log's first offset.
        log_start: Offset,
        /// The log's end, or its high watermark where that is the limit.
        log_end: Offset,
    },
    /// The disk is at fault.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The log could not be read where it was to be cut.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl TruncateError {
    /// How the protocol says it.
    pub fn error_code(&self) -> ErrorCode {
        match self {
            TruncateError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            TruncateError::Storage(storage) => storage.error_code(),
            TruncateError::Read(read) => read.error_code(),
        }
    }
}

/// Why segments were not replaced. The old ones are what the log consists of still.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// Another replacement in this log is under way.
    #[error("another replacement of segments is under way")]
    Busy,
    /// The segments are not what they were, or not what can be replaced yet: begin again later.
    #[error("the segments cannot be replaced now: {0}")]
    Stale(&'static str),
    /// The new file does not cover what the old segments do.
    #[error("the new file does not fit: {0}")]
    Unfit(String),
    /// The disk is at fault.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why a damaged segment was not mended. It is as it was.
#[derive(Debug, thiserror::Error)]
pub enum MendError {
    /// It can be mended a little later.
    #[error("it is too early: {0}")]
    NotYet(&'static str),
    /// What another replica gave is not what was written.
    #[error("{0}")]
    Unfit(String),
    /// The copy could not take the segment's place.
    #[error(transparent)]
    Replace(#[from] ReplaceError),
    /// What was sound is so no more.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The disk is at fault.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl MendError {
    /// Whether it is only to be tried again soon.
    pub fn is_passing(&self) -> bool {
        match self {
            MendError::NotYet(_) | MendError::Read(_) => true,
            MendError::Replace(ReplaceError::Busy | ReplaceError::Stale(_)) => true,
            MendError::Replace(ReplaceError::Unfit(_) | ReplaceError::Storage(_)) => false,
            MendError::Unfit(_) | MendError::Storage(_) => false,
        }
    }
}

/// Why a log was not made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// There is a log of that name that belongs to another topic.
    #[error("{log} belongs to topic id {found}, not {expected}")]
    OtherTopic {
        /// The partition.
        log: TopicPartition,
        /// The topic that has it.
        found: TopicId,
        /// The topic that wants it.
        expected: TopicId,
    },
    /// A future log was to be made where the log itself lies.
    #[error("{0} lies in this directory already")]
    LiesHere(TopicPartition),
    /// The mark of a future log does not fit behind the partition's name.
    #[error("the name of {0} is too long for a future log")]
    NameTooLong(TopicPartition),
    /// The disk is at fault.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why a log was not copied into another one.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The log that is copied cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The copy takes no records.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The copy cannot be cut where it differs.
    #[error(transparent)]
    Truncate(#[from] TruncateError),
    /// The copy is not complete.
    #[error("the copy ends at {end}, the log at {source_end}")]
    Behind {
        /// The copy's end.
        end: Offset,
        /// The log's end.
        source_end: Offset,
    },
}

impl CreateError {
    /// How the protocol says it.
    pub fn error_code(&self) -> ErrorCode {
        match self {
            CreateError::OtherTopic { .. } => ErrorCode::InconsistentTopicId,
            CreateError::LiesHere(_) => ErrorCode::InvalidRequest,
            CreateError::NameTooLong(_) => ErrorCode::InvalidTopicException,
            CreateError::Storage(storage) => storage.error_code(),
        }
    }
}

/// Why a data directory could not be opened. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{0} is locked by another process: stop that one, or give this one its own log.dirs")]
    Locked(PathBuf),
    /// It belongs to another node.
    #[error("{path} belongs to node.id {found}, not {expected}: correct node.id or log.dirs")]
    ForeignNode {
        /// The directory.
        path: PathBuf,
        /// The node it belongs to.
        found: i32,
        /// The node that opens it.
        expected: i32,
    },
    /// It belongs to another cluster.
    #[error(
        "{path} belongs to cluster {found}, not {expected}: correct log.dirs, or empty it if its data is not needed"
    )]
    ForeignCluster {
        /// The directory.
        path: PathBuf,
        /// The cluster it belongs to.
        found: String,
        /// The cluster that opens it.
        expected: String,
    },
    /// Its `meta.properties` cannot be understood.
    #[error("{path}: {reason}: restore the file, or empty the directory if its data is not needed")]
    MetaProperties {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The log that holds the node's votes is gone.
    #[error(
        "{0} is gone, and with it this node's votes: it must not vote again under its directory \
         id: restore the directory, or move the metadata directory away and let the node join anew"
    )]
    LostMetadataLog(PathBuf),
    /// It cannot be read or written.
    #[error("{0}: check the disk, and that the directory exists and may be written")]
    Storage(#[from] StorageError),
}
