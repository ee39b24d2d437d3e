//! `meta.properties` of a data directory and `partition.metadata` of a log, as Kafka writes them.

use std::path::Path;

use uuid::Uuid;

use crate::log::error::{OpenError, StorageError};
use crate::storage::{Disk, OpenMode};
use crate::types::ids::{uuid_from_base64, uuid_to_base64};
use crate::types::{DirectoryId, NodeId, TopicId};

/// The file's name in the data directory.
pub const META_PROPERTIES: &str = "meta.properties";
/// The file's name in a log's directory.
pub const PARTITION_METADATA: &str = "partition.metadata";

/// To whom a data directory belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetaProperties {
    /// The node.
    pub node_id: NodeId,
    /// The cluster, once the node belongs to one.
    pub cluster_id: Option<String>,
    /// The directory's own identity.
    pub directory_id: DirectoryId,
}

impl MetaProperties {
    /// Reads the file; `None` if there is none.
    pub fn read(disk: &dyn Disk, directory: &Path) -> Result<Option<Self>, OpenError> {
        let path = directory.join(META_PROPERTIES);
        if !disk.exists(&path) {
            return Ok(None);
        }
        let content = disk.read(&path).map_err(StorageError::io("read", &path))?;
        Self::parse(&String::from_utf8_lossy(&content))
            .map(Some)
            .map_err(|reason| OpenError::MetaProperties { path, reason })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut node_id = None;
        let mut cluster_id = None;
        let mut directory_id = None;
        let mut has_version = false;
        for (key, value) in properties(text) {
            has_version |= key == "version";
            match key {
                "version" if value != "1" => return Err(format!("version {value} is not 1")),
                "node.id" => {
                    let id = value.parse().map_err(|_| format!("'{value}' is no node.id"))?;
                    node_id = Some(NodeId(id));
                }
                "cluster.id" => cluster_id = Some(value.to_owned()),
                "directory.id" => {
                    directory_id = Some(value.parse().map_err(|error| format!("{error}"))?);
                }
                _ => {}
            }
        }
        let parsed = Self {
            node_id: node_id.ok_or("node.id is missing")?,
            cluster_id,
            directory_id: directory_id.ok_or("directory.id is missing")?,
        };
        // It comes last: without it the file may end too early anywhere.
        if has_version { Ok(parsed) } else { Err("version is missing".to_owned()) }
    }

    /// Replaces the file.
    pub fn write(&self, disk: &dyn Disk, directory: &Path) -> Result<(), StorageError> {
        let mut text = String::from("#\n");
        if let Some(cluster_id) = &self.cluster_id {
            text.push_str(&format!("cluster.id={cluster_id}\n"));
        }
        text.push_str(&format!("directory.id={}\n", self.directory_id));
        text.push_str(&format!("node.id={}\nversion=1\n", self.node_id));
        let path = directory.join(META_PROPERTIES);
        disk.write_atomic(&path, text.as_bytes()).map_err(StorageError::io("write", &path))
    }
}

/// The topic id that a log's directory names, if it does.
pub fn read_partition_metadata(disk: &dyn Disk, directory: &Path) -> Option<TopicId> {
    let content = disk.read(&directory.join(PARTITION_METADATA)).ok()?;
    let text = String::from_utf8(content).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("topic_id: "))?;
    uuid_from_base64(line.trim()).ok().map(TopicId).filter(|id| id.0 != Uuid::nil())
}

/// Names the topic in a log's directory. Not synced: until a checkpoint has made the directory
/// durable, the catalog knows the topic too.
pub fn write_partition_metadata(
    disk: &dyn Disk,
    directory: &Path,
    topic_id: TopicId,
) -> Result<(), StorageError> {
    let path = directory.join(PARTITION_METADATA);
    let text = partition_metadata(topic_id);
    disk.open(&path, OpenMode::Create)
        .and_then(|file| file.write_at(&[std::io::IoSlice::new(text.as_bytes())], 0))
        .map_err(StorageError::io("write", &path))
}

/// As [`write_partition_metadata`], in the place of a file that is damaged, durably.
pub fn replace_partition_metadata(
    disk: &dyn Disk,
    directory: &Path,
    topic_id: TopicId,
) -> Result<(), StorageError> {
    let path = directory.join(PARTITION_METADATA);
    let text = partition_metadata(topic_id);
    disk.write_atomic(&path, text.as_bytes()).map_err(StorageError::io("write", &path))
}

fn partition_metadata(topic_id: TopicId) -> String {
    format!("version: 0\ntopic_id: {}", uuid_to_base64(topic_id.0))
}

fn properties(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#') && !line.starts_with('!'))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim(), value.trim()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn kafkas_file_is_understood() {
        let text = "#\n#Fri Nov 20 10:00:00 UTC 2026\ncluster.id=MkU3OEVBNTcwNTJENDM2Qg\n\
                    directory.id=AAAAAAAAAAAAAAAAAAAAAQ\nnode.id=3\nversion=1\n";
        let expected = MetaProperties {
            node_id: NodeId(3),
            cluster_id: Some("MkU3OEVBNTcwNTJENDM2Qg".to_owned()),
            directory_id: DirectoryId(Uuid::from_u128(1)),
        };
        assert_eq!(MetaProperties::parse(text), Ok(expected));
        for (text, problem) in [
            ("version=0\nnode.id=1\n", "version"),
            ("version=1\nnode.id=x\n", "node.id"),
            ("version=1\nnode.id=1\n", "directory.id"),
            ("version=1\nnode.id=1\ndirectory.id=?\n", "uuid"),
            ("node.id=1\ndirectory.id=AAAAAAAAAAAAAAAAAAAAAQ\n", "version"),
        ] {
            assert!(MetaProperties::parse(text).unwrap_err().contains(problem), "{text}");
        }
    }
}
