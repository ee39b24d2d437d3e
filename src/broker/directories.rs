//! The data directories of a node, opened together.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::broker::config::BrokerConfig;
use crate::broker::seams::Seams;
use crate::broker::start_error::StartError;
use crate::controller::machine::{self, RegisteredDirectory};
use crate::log::{
    LogDirectory, LogDirectoryOptions, LogEnvironment, OpenError, PreviousRun, settle_moves,
};
use crate::storage::{cores, offload};

/// The data directories of a node.
#[derive(Clone)]
pub(crate) struct Directories {
    /// The one that holds the cluster's metadata; one of `data` unless `metadata.log.dir` is elsewhere.
    pub metadata: Arc<LogDirectory>,
    /// Those of `log.dirs` that could be opened.
    pub data: Vec<Arc<LogDirectory>>,
    /// Those of `log.dirs` that could not: what lies in them is offline.
    pub unopened: Vec<PathBuf>,
}

/// Opens every directory, recovering the logs in it, and starts their checkpoints. A disk that fails
/// leaves the others to serve, unless it has the cluster's metadata; a directory that somebody else
/// has, or that belongs to another node or cluster, is a mistake to be mended first.
pub(crate) async fn open(config: &BrokerConfig, seams: &Seams) -> Result<Directories, StartError> {
    let mut paths: Vec<PathBuf> = config.log_dirs.clone();
    if !paths.contains(&config.metadata_log_dir) {
        paths.push(config.metadata_log_dir.clone());
    }
    let mut opened = Vec::new();
    let mut unopened = Vec::new();
    for path in &paths {
        match open_one(config, path, seams).await {
            Ok(directory) => opened.push(directory),
            Err(error) if may_be_offline(&error) && *path != config.metadata_log_dir => {
                tracing::error!("{error}; the broker starts without it");
                unopened.push(path.clone());
            }
            Err(error) => return Err(error),
        }
    }
    let cluster_ids: Vec<(String, PathBuf)> = opened
        .iter()
        .filter_map(|directory| Some((directory.cluster_id()?, directory.path().to_owned())))
        .collect();
    if let Some((first, first_path)) = cluster_ids.first()
        && let Some((other, path)) = cluster_ids.iter().find(|(id, _)| id != first)
    {
        return Err(StartError::Directories(format!(
            "{} belongs to cluster {first}, {} to cluster {other}: remove one of them from log.dirs",
            first_path.display(),
            path.display()
        )));
    }
    let find = |path: &Path| opened.iter().find(|opened| opened.path() == path).cloned();
    let missing = || StartError::Directories("log.dirs names no directory".to_owned());
    let metadata = find(&config.metadata_log_dir).ok_or_else(missing)?;
    let data: Vec<_> = config.log_dirs.iter().filter_map(|path| find(path)).collect();
    if data.is_empty() {
        return Err(StartError::Directories(
            "no directory of log.dirs can be used: see the log above".to_owned(),
        ));
    }
    let moving = opened.clone();
    offload(&*seams.offload, move || settle_moves(&moving))
        .await
        .map_err(|error| StartError::Blocking(error.to_string()))?
        .map_err(|error| StartError::Directories(error.to_string()))?;
    for directory in &opened {
        directory.start_checkpoints();
    }
    Ok(Directories { metadata, data, unopened })
}

/// Whether the disk is to blame, and not what is configured.
fn may_be_offline(error: &StartError) -> bool {
    matches!(error, StartError::Directory { error: OpenError::Storage(_), .. })
}

/// Opens one directory, recovering the logs in it.
pub(crate) async fn open_one(
    config: &BrokerConfig,
    path: &Path,
    seams: &Seams,
) -> Result<Arc<LogDirectory>, StartError> {
    let options =
        LogDirectoryOptions { path: path.to_owned(), cluster_id: None, node_id: config.node_id };
    let environment = LogEnvironment {
        disk: Arc::clone(&seams.disk),
        catalog_opener: Arc::clone(&seams.catalog_opener),
        clock: Arc::clone(&seams.clock),
        offload: Arc::clone(&seams.offload),
        recovery_threads: config.recovery_threads.unwrap_or_else(cores),
        random: Arc::clone(&seams.random),
        boot_id: seams.boot_id.clone(),
    };
    offload(&*seams.offload, move || LogDirectory::open(options, environment))
        .await
        .map_err(|error| StartError::Blocking(error.to_string()))?
        .map_err(|error| StartError::Directory { path: path.to_owned(), error })
}

impl Directories {
    /// Every directory once.
    pub fn all(&self) -> Vec<Arc<LogDirectory>> {
        let mut all = self.data.clone();
        if !all.iter().any(|directory| Arc::ptr_eq(directory, &self.metadata)) {
            all.push(Arc::clone(&self.metadata));
        }
        all
    }

    /// The data directories as the broker registers them.
    pub fn registered(&self) -> Vec<RegisteredDirectory> {
        let directories = self.data.iter();
        directories
            .map(|directory| RegisteredDirectory {
                id: directory.directory_id(),
                previous_run: previous_run(directory.previous_run()),
            })
            .collect()
    }
}

fn previous_run(run: PreviousRun) -> machine::PreviousRun {
    match run {
        PreviousRun::Fresh => machine::PreviousRun::Fresh,
        PreviousRun::Clean { broker_epoch } => machine::PreviousRun::Clean { broker_epoch },
        PreviousRun::ProcessDied { broker_epoch } => {
            machine::PreviousRun::ProcessDied { broker_epoch }
        }
        PreviousRun::Unclean { .. } => machine::PreviousRun::Unclean,
    }
}
