//! Opening a data directory, in the order that keeps every crash honest: lock, identity, markers,
//! catalog, logs.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use crate::log::config::LogConfig;
use crate::log::damage::DamageNotes;
use crate::log::directory::{LogDirectory, LogDirectoryOptions, LogEnvironment};
use crate::log::error::{OpenError, StorageError};
use crate::log::future::futures_found;
use crate::log::marker::Markers;
use crate::log::meta_properties::{
    META_PROPERTIES, MetaProperties, read_partition_metadata, replace_partition_metadata,
};
use crate::log::names::{DirectoryName, METADATA_TOPIC};
use crate::log::recovery::{LogToOpen, recover};
use crate::log::shared::DirectoryShared;
use crate::log::stored::{self, StoredLog};
use crate::storage::{Catalog, CatalogBatch, CatalogError, DirEntry, Disk, share_out};
use crate::types::{BrokerEpoch, DirectoryId, TopicId, TopicIdPartition, TopicPartition};

const LOCK: &str = ".lock";
const CATALOG: &str = "catalog";

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
        disk: Arc::clone(&environment.disk),
        directory: path.clone(),
        directory_id: meta.directory_id,
        boot_id: environment.boot_id.clone(),
    };
    let previous_run = markers.previous_run(is_new);
    let cache_survived = markers.cache_survived();
    // What refuses the directory as a whole comes before anything in it is changed.
    let read = read_catalog(&path, &environment, meta.directory_id)?;
    markers.begin(previous_run)?;

    let damage = Arc::new(DamageNotes::new(markers, previous_run));
    let OpenCatalog { catalog, stored, is_lost } = match read {
        Ok(read) => check_new(&path, &environment, read, meta.directory_id, &damage)?,
        Err(reason) => replace_catalog(&path, &environment, meta.directory_id, &damage, &reason)?,
    };
    // The run before may have died between a batch and its flush. The files will follow what the
    // batch says, so a crash must not take it back.
    catalog.flush().map_err(StorageError::Catalog)?;
    let shared = Arc::new(DirectoryShared::new(
        meta.directory_id,
        path.clone(),
        Arc::clone(&environment.disk),
        Arc::clone(&environment.clock),
        Arc::clone(&environment.offload),
        catalog,
    ));
    let (mut found, mut futures) = logs_found(&shared, stored, is_lost, &damage)?;
    for log in found.iter_mut().chain(&mut futures) {
        // Without the catalog that is all there is, and the directory counts as unclean; but what a
        // voter has counts.
        let is_counted = !is_lost || log.topic_partition.topic.as_str() == METADATA_TOPIC;
        log.cache_only = cache_survived && is_counted;
    }
    let logs = recover_all(&shared, found, environment.recovery_threads, &damage)?;
    let futures = recover_all(&shared, futures, environment.recovery_threads, &damage)?;
    let previous_run = damage.previous_run();
    tracing::info!(path = %path.display(), logs = logs.len(), ?previous_run, "directory open");
    let directory = LogDirectory {
        shared,
        meta: Mutex::new(meta),
        logs: RwLock::new(logs),
        futures: RwLock::new(futures),
        previous_run,
        broker_epoch: Mutex::new(previous_run.intact_epoch().unwrap_or(BrokerEpoch::NONE)),
        checkpointing: Mutex::new(()),
        checkpoints: Mutex::new(None),
        _lock: lock,
        environment,
    };
    directory.recall_damage();
    Ok(Arc::new(directory))
}

/// Whose directory it is; it becomes this node's if it is nobody's. Also whether it is new.
fn identify(
    options: &LogDirectoryOptions,
    environment: &LogEnvironment,
) -> Result<(MetaProperties, bool), OpenError> {
    let path = &options.path;
    let disk = &*environment.disk;
    let Some(mut meta) = MetaProperties::read(disk, path)? else {
        refuse_remains(disk, path)?;
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

/// A directory that has anything of ours had `meta.properties` before it: to make another would be
/// to give its logs, and its votes, another identity.
fn refuse_remains(disk: &dyn Disk, path: &Path) -> Result<(), OpenError> {
    let is_ours = |entry: &DirEntry| {
        let is_log = matches!(DirectoryName::parse(&entry.name), Some(DirectoryName::Log(_)));
        entry.name == CATALOG || (entry.is_dir && is_log) || Markers::is_marker(&entry.name)
    };
    let entries = disk.list(path).map_err(StorageError::io("list", path))?;
    match entries.iter().find(|entry| is_ours(entry)) {
        None => Ok(()),
        Some(found) => Err(OpenError::MetaProperties {
            path: path.join(META_PROPERTIES),
            reason: format!("it is missing, although {} is there", found.name),
        }),
    }
}

struct OpenCatalog {
    catalog: Arc<dyn Catalog>,
    stored: StoredLogs,
    /// There was another, and it could not be used or is gone.
    is_lost: bool,
}

/// Opens the catalog and reads it. The inner error is a catalog that is damaged.
fn read_catalog(
    path: &Path,
    environment: &LogEnvironment,
    directory_id: DirectoryId,
) -> Result<Result<ReadCatalog, stored::LoadError>, OpenError> {
    let place = path.join(CATALOG);
    match try_catalog(&place, environment) {
        Ok((_, _, Some(owner))) if owner != directory_id => Err(OpenError::MetaProperties {
            path: path.join(META_PROPERTIES),
            reason: format!("directory.id is {directory_id}, but the catalog is of {owner}"),
        }),
        Ok(read) => Ok(Ok(read)),
        Err(stored::LoadError::Catalog(CatalogError::Locked)) => Err(OpenError::Locked(place)),
        // The disk's refusal says nothing about the catalog.
        Err(stored::LoadError::Catalog(error @ CatalogError::Unavailable(_))) => {
            Err(StorageError::Catalog(error).into())
        }
        Err(reason) => Ok(Err(reason)),
    }
}

/// A catalog that cannot be opened or read is set aside, and an empty one takes its place: the
/// segments tell the rest.
fn replace_catalog(
    path: &Path,
    environment: &LogEnvironment,
    directory_id: DirectoryId,
    damage: &DamageNotes,
    reason: &stored::LoadError,
) -> Result<OpenCatalog, OpenError> {
    let place = path.join(CATALOG);
    let aside = path.join(format!("{CATALOG}.damaged-{}", environment.clock.wall()));
    tracing::error!(
        %reason, aside = %aside.display(),
        "the catalog is damaged: it is set aside and rebuilt from the segments"
    );
    damage.lost()?;
    let disk = &*environment.disk;
    let existed = disk.exists(&place);
    if existed {
        disk.rename(&place, &aside).map_err(StorageError::io("rename", &place))?;
    }
    match try_catalog(&place, environment) {
        Ok((catalog, stored, _)) => {
            put_owner(&*catalog, directory_id)?;
            Ok(OpenCatalog { catalog, stored, is_lost: true })
        }
        Err(error) => {
            if existed {
                // What failed was not the catalog, perhaps: the next start shall see it again.
                let _ = disk.remove_dir_all(&place);
                disk.rename(&aside, &place).map_err(StorageError::io("rename", &aside))?;
            }
            Err(StorageError::Catalog(CatalogError::Failed(error.to_string())).into())
        }
    }
}

type ReadCatalog = (Arc<dyn Catalog>, StoredLogs, Option<DirectoryId>);

fn try_catalog(
    place: &Path,
    environment: &LogEnvironment,
) -> Result<ReadCatalog, stored::LoadError> {
    let catalog = (environment.catalog_opener)(place)?;
    let stored = stored::load(&*catalog)?;
    let owner = stored::owner(&*catalog)?;
    Ok((catalog, stored, owner))
}

/// A catalog says from its first moment on whose it is. One that does not is new, and where there
/// are logs it has taken the place of one that was lost.
fn check_new(
    path: &Path,
    environment: &LogEnvironment,
    (catalog, stored, owner): ReadCatalog,
    directory_id: DirectoryId,
    damage: &DamageNotes,
) -> Result<OpenCatalog, OpenError> {
    let mut is_lost = false;
    if owner.is_none() {
        is_lost = stored.is_empty() && has_logs(&*environment.disk, path)?;
        if is_lost {
            tracing::error!(
                path = %path.display(),
                "the catalog is gone or empty: it is rebuilt from the segments"
            );
            damage.lost()?;
        }
        put_owner(&*catalog, directory_id)?;
    }
    Ok(OpenCatalog { catalog, stored, is_lost })
}

fn put_owner(catalog: &dyn Catalog, directory_id: DirectoryId) -> Result<(), StorageError> {
    let mut batch = CatalogBatch::new();
    stored::put_owner(&mut batch, directory_id);
    catalog.apply(batch)?;
    Ok(catalog.flush()?)
}

fn has_logs(disk: &dyn Disk, path: &Path) -> Result<bool, StorageError> {
    let entries = disk.list(path).map_err(StorageError::io("list", path))?;
    Ok(entries.iter().any(|entry| {
        let name = DirectoryName::parse(&entry.name);
        entry.is_dir && matches!(name, Some(DirectoryName::Log(_)))
    }))
}

type Logs = BTreeMap<TopicPartition, Arc<crate::log::partition_log::Log>>;

/// The logs and the future logs whose directories are there, each with what the catalog knows of
/// it. What it knows of others is lost.
fn logs_found(
    shared: &DirectoryShared,
    mut stored: StoredLogs,
    catalog_lost: bool,
    damage: &DamageNotes,
) -> Result<(Vec<LogToOpen>, Vec<LogToOpen>), OpenError> {
    let path = &shared.path;
    let topic_ids = topic_ids(&stored);
    let mut found = Vec::new();
    let mut found_futures = Vec::new();
    for entry in shared.disk.list(path).map_err(StorageError::io("list", path))? {
        let partition = match DirectoryName::parse(&entry.name).filter(|_| entry.is_dir) {
            Some(DirectoryName::Log(partition)) => partition,
            Some(DirectoryName::Deleted) => {
                shared.discard_later(path.join(&entry.name), Duration::ZERO);
                continue;
            }
            Some(DirectoryName::Future(partition)) => {
                found_futures.push((entry.name, partition));
                continue;
            }
            Some(DirectoryName::Stray { .. }) | None => continue,
        };
        let log_path = path.join(&entry.name);
        let known = topic_ids.get(&partition).copied();
        let topic_id = topic_of(shared, &log_path, known, damage)?;
        let id = TopicIdPartition { topic_id, partition: partition.partition };
        found.push(LogToOpen {
            topic_partition: partition,
            topic_id,
            path: log_path,
            config: LogConfig::default(),
            stored: stored.remove(&id),
            catalog_lost,
            cache_only: false,
        });
    }
    let futures = futures_found(shared, &mut stored, found_futures, &found);
    forget_lost(shared, &stored, damage)?;
    Ok((found, futures))
}

/// Forgets the logs whose directories are gone.
fn forget_lost(
    shared: &DirectoryShared,
    lost: &StoredLogs,
    damage: &DamageNotes,
) -> Result<(), OpenError> {
    for (id, log) in lost {
        let name = log.topic_partition.as_ref().map(ToString::to_string).unwrap_or_default();
        if name == format!("{METADATA_TOPIC}-0") {
            return Err(OpenError::LostMetadataLog(shared.path.join(name)));
        }
        tracing::error!(topic_id = %id.topic_id, name, "the directory of a log is gone");
        damage.lost()?;
        let catalog = shared.gate.catalog();
        let deleted = shared.gate.durably(|batch| stored::delete_log(catalog, batch, *id));
        deleted.and_then(|deleted| deleted).map_err(StorageError::from)?;
    }
    Ok(())
}

/// Opens logs, `threads` at a time.
fn recover_all(
    shared: &Arc<DirectoryShared>,
    found: Vec<LogToOpen>,
    threads: usize,
    damage: &Arc<DamageNotes>,
) -> Result<Logs, OpenError> {
    let (recovering, damage) = (Arc::clone(shared), Arc::clone(damage));
    let recover_one = move |log| recover(&recovering, log, &damage);
    let recovered = share_out(&*shared.offload, threads, found, recover_one);
    let mut logs = BTreeMap::new();
    for log in recovered.map_err(StorageError::from)? {
        let log = log?;
        logs.insert(log.topic_partition().clone(), log);
    }
    Ok(logs)
}

/// The topics' ids as the catalog has them.
fn topic_ids(stored: &StoredLogs) -> BTreeMap<TopicPartition, TopicId> {
    let known = stored.iter();
    known.filter_map(|(id, log)| Some((log.topic_partition.clone()?, id.topic_id))).collect()
}

/// The topic that a log belongs to. The catalog, which has checksums, counts for more than the file
/// in the log's directory, which has none; that one is then written anew.
fn topic_of(
    shared: &DirectoryShared,
    path: &Path,
    known: Option<TopicId>,
    damage: &DamageNotes,
) -> Result<TopicId, StorageError> {
    let disk = &*shared.disk;
    let in_file = read_partition_metadata(disk, path);
    match known.or(in_file) {
        Some(topic_id) if in_file == Some(topic_id) => Ok(topic_id),
        Some(topic_id) => {
            let found = in_file.map_or_else(|| "nothing".to_owned(), |id| id.to_string());
            tracing::error!(
                path = %path.display(), %topic_id, found,
                "partition.metadata is damaged: it is written anew from the catalog"
            );
            replace_partition_metadata(disk, path, topic_id)?;
            Ok(topic_id)
        }
        None => {
            tracing::error!(path = %path.display(), "nobody knows which topic this log belongs to");
            damage.lost()?;
            Ok(TopicId::ZERO)
        }
    }
}
