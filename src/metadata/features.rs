//! The features that this version knows (KIP-584). That of transactions appears once these are
//! served.

use crate::metadata::FeatureRange;

/// The version of the metadata's records and of the protocol between nodes.
pub const METADATA_VERSION: &str = "metadata.version";

/// Kafka's number of the level that Ottla is at: 4.3-IV0.
pub const METADATA_LEVEL: i16 = 30;

/// The protocols of groups.
pub const GROUP_VERSION: &str = "group.version";

/// Kafka's number of the level that has the consumer protocol (KIP-848).
pub const GROUP_LEVEL: i16 = 1;

/// Every feature, with the levels that are known.
pub fn supported() -> Vec<FeatureRange> {
    let only = |name: &str, level| FeatureRange { name: name.to_owned(), min: level, max: level };
    vec![only(GROUP_VERSION, GROUP_LEVEL), only(METADATA_VERSION, METADATA_LEVEL)]
}

/// The features that a new cluster begins with, and their levels.
pub fn initial() -> impl Iterator<Item = (String, i16)> {
    supported().into_iter().map(|feature| (feature.name, feature.max))
}
