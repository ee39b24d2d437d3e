//! The features that this version knows (KIP-584). Those of groups and transactions appear once
//! these are served.

use crate::metadata::FeatureRange;

/// The version of the metadata's records and of the protocol between nodes.
pub const METADATA_VERSION: &str = "metadata.version";

/// Kafka's number of the level that Ottla is at: 4.3-IV0.
pub const METADATA_LEVEL: i16 = 30;

/// Every feature, with the levels that are known.
pub fn supported() -> Vec<FeatureRange> {
    vec![FeatureRange {
        name: METADATA_VERSION.to_owned(),
        min: METADATA_LEVEL,
        max: METADATA_LEVEL,
    }]
}

/// The features that a new cluster begins with, and their levels.
pub fn initial() -> impl Iterator<Item = (String, i16)> {
    supported().into_iter().map(|feature| (feature.name, feature.max))
}
