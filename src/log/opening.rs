//! Opening a data directory, in the order that keeps every crash honest: lock, identity, markers,
//! catalog, logs.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use crate::log::config::LogConfig;
use crate::log::directory::{LogDirectory, LogDirectoryOptions, LogEnvironment};
use crate::log::error::{OpenError, StorageError};
use crate::log::marker::Markers;
use crate::log::meta_properties::{MetaProperties, read_partition_metadata};
use crate::log::names::DirectoryName;
use crate::log::recovery::{LogToOpen, recover};
use crate::log::shared::DirectoryShared;
use crate::log::stored::{self, StoredLog};
use crate::storage::{Catalog, CatalogError};
use crate::types::{BrokerEpoch, DirectoryId, TopicId, TopicIdPartition, TopicPartition};

const LOCK: &str = ".lock";
const CATALOG: &str = "catalog";

/// Notes durably that this directory's logs may have lost something.
type NoteDamage<'a> = &'a dyn Fn() -> Result<(), StorageError>;
type StoredLogs = BTreeMap<TopicIdPartition, StoredLog>;

pub(crate) fn open(
    options: LogDirectoryOptions,
    environment: LogEnvironment,
) -> Result<Arc<LogDirectory>, OpenError> {
    let path = options.path.clone();
    let disk = &*environment.disk;
    disk.create_dir_all(&path).map_err(StorageError::io("make", &path))?;
    let lock = disk.lock(&path.join(LOCK)).map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => OpenError::Locked(path.clone()),
        _ => StorageError::io("lock", &path)(error).into(),
    })?;
    let (meta, is_new) = identify(&options, &environment)?;
    let markers = Markers {
        disk,
        directory: &path,
        directory_id: meta.directory_id,
        boot_id: &environment.boot_id,
    };
    let mut previous_run = markers.previous_run(is_new);
    markers.begin(previous_run)?;

    // Damage is noted before it is mended: a start that fails in between leaves no trace of it.
    let note_damage = || markers.begin(previous_run.damaged());
    let OpenCatalog { catalog, stored, was_set_aside } =
        open_catalog(&path, &environment, &note_damage)?;
    let shared = Arc::new(DirectoryShared::new(
        path.clone(),
        Arc::clone(&environment.disk),
        Arc::clone(&environment.clock),
        Arc::clone(&environment.offload),
        catalog,
    ));
    let (logs, is_damaged) = open_logs(&shared, stored, &note_damage)?;
    if was_set_aside || is_damaged {
        previous_run = previous_run.damaged();
        markers.begin(previous_run)?;
    }
    tracing::info!(path = %path.display(), logs = logs.len(), ?previous_run, "directory open");
    Ok(Arc::new(LogDirectory {
        shared,
        meta: Mutex::new(meta),
        logs: RwLock::new(logs),
        previous_run,
        broker_epoch: Mutex::new(previous_run.intact_epoch().unwrap_or(BrokerEpoch::NONE)),
        checkpointing: Mutex::new(()),
        checkpoints: Mutex::new(None),
        _lock: lock,
        environment,
    }))
}

/// Whose directory it is; it becomes this node's if it is nobody's. Also whether it is new.
fn identify(
    options: &LogDirectoryOptions,
    environment: &LogEnvironment,
) -> Result<(MetaProperties, bool), OpenError> {
    let path = &options.path;
    let disk = &*environment.disk;
    let Some(mut meta) = MetaProperties::read(disk, path)? else {
        let meta = MetaProperties {
            node_id: options.node_id,
            cluster_id: options.cluster_id.clone(),
            directory_id: DirectoryId(environment.random.uuid()),
        };
        meta.write(disk, path)?;
        return Ok((meta, true));
    };
    if meta.node_id != options.node_id {
        let (found, expected) = (meta.node_id.0, options.node_id.0);
        return Err(OpenError::ForeignNode { path: path.clone(), found, expected });
    }
    match (&meta.cluster_id, &options.cluster_id) {
        (Some(found), Some(expected)) if found != expected => {
            let (found, expected) = (found.clone(), expected.clone());
            return Err(OpenError::ForeignCluster { path: path.clone(), found, expected });
        }
        (None, Some(cluster_id)) => {
            meta.cluster_id = Some(cluster_id.clone());
            meta.write(disk, path)?;
        }
        (Some(_), Some(_) | None) | (None, None) => {}
    }
    Ok((meta, false))
}

struct OpenCatalog {
    catalog: Arc<dyn Catalog>,
    stored: StoredLogs,
    was_set_aside: bool,
}

/// Opens the catalog and reads it. One that cannot be opened or read is set aside, and an empty
/// one takes its place: the segments tell the rest.
fn open_catalog(
    path: &Path,
    environment: &LogEnvironment,
    note_damage: NoteDamage<'_>,
) -> Result<OpenCatalog, OpenError> {
    let place = path.join(CATALOG);
    let reason = match try_catalog(&place, environment) {
        Ok((catalog, stored)) => return Ok(OpenCatalog { catalog, stored, was_set_aside: false }),
        Err(stored::LoadError::Catalog(CatalogError::Locked)) => {
            return Err(OpenError::Locked(place));
        }
        Err(reason) => reason,
    };
    let aside = path.join(format!("{CATALOG}.damaged-{}", environment.clock.wall()));
    tracing::error!(
        %reason, aside = %aside.display(),
        "the catalog is damaged: it is set aside and rebuilt from the segments"
    );
    note_damage()?;
    if environment.disk.exists(&place) {
        let renamed = environment.disk.rename(&place, &aside);
        renamed.map_err(StorageError::io("rename", &place))?;
    }
    let (catalog, stored) = try_catalog(&place, environment)
        .map_err(|error| StorageError::Catalog(CatalogError::Failed(error.to_string())))?;
    Ok(OpenCatalog { catalog, stored, was_set_aside: true })
}

fn try_catalog(
    place: &Path,
    environment: &LogEnvironment,
) -> Result<(Arc<dyn Catalog>, StoredLogs), stored::LoadError> {
    let catalog = (environment.catalog_opener)(place)?;
    let stored = stored::load(&*catalog)?;
    Ok((catalog, stored))
}

type Logs = BTreeMap<TopicPartition, Arc<crate::log::partition_log::Log>>;

/// Opens every log in the directory; also whether something that was on the device is gone.
fn open_logs(
    shared: &Arc<DirectoryShared>,
    mut stored: StoredLogs,
    note_damage: NoteDamage<'_>,
) -> Result<(Logs, bool), OpenError> {
    let path = &shared.path;
    let mut logs = BTreeMap::new();
    let mut is_damaged = false;
    for entry in shared.disk.list(path).map_err(StorageError::io("list", path))? {
        let partition = match DirectoryName::parse(&entry.name).filter(|_| entry.is_dir) {
            Some(DirectoryName::Log(partition)) => partition,
            Some(DirectoryName::Deleted) => {
                shared.discard_later(path.join(&entry.name), Duration::ZERO);
                continue;
            }
            Some(DirectoryName::Stray { .. }) | None => continue,
        };
        let log_path = path.join(&entry.name);
        let topic_id = read_partition_metadata(&*shared.disk, &log_path)
            .or_else(|| topic_id_in_catalog(&stored, &partition))
            .unwrap_or(TopicId::ZERO);
        let id = TopicIdPartition { topic_id, partition: partition.partition };
        let log = recover(
            shared,
            LogToOpen {
                topic_partition: partition.clone(),
                topic_id,
                path: log_path,
                config: LogConfig::default(),
                stored: stored.remove(&id),
            },
        )?;
        is_damaged |= log.recovery().lost_below_recovery_point;
        logs.insert(partition, log);
    }
    for (id, log) in &stored {
        let name = log.topic_partition.as_ref().map(ToString::to_string).unwrap_or_default();
        tracing::error!(topic_id = %id.topic_id, name, "the directory of a log is gone");
        is_damaged = true;
        note_damage()?;
        let catalog = shared.gate.catalog();
        let deleted = shared.gate.durably(|batch| stored::delete_log(catalog, batch, *id));
        deleted.and_then(|deleted| deleted).map_err(StorageError::from)?;
    }
    Ok((logs, is_damaged))
}

fn topic_id_in_catalog(stored: &StoredLogs, partition: &TopicPartition) -> Option<TopicId> {
    stored
        .iter()
        .find(|(_, log)| log.topic_partition.as_ref() == Some(partition))
        .map(|(id, _)| id.topic_id)
}
