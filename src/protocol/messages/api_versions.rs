//! ApiVersions (key 18), versions 0-4 (KIP-35, KIP-511, KIP-584).

use crate::message;
use crate::protocol::ApiKey;
use crate::protocol::codec::Str;

message! {
    /// Asks what a broker serves.
    pub request ApiVersionsRequest: ApiKey::ApiVersions, (0..=4, flexible 3) => ApiVersionsResponse {
        /// What kind of client asks.
        client_software_name: Str [3..; ignorable];
        /// In which version.
        client_software_version: Str [3..; ignorable];
    }

    /// What a broker serves.
    pub message ApiVersionsResponse (flexible 3) {
        error_code: i16 [0..];
        api_keys: Vec<ApiVersion> [0..];
        throttle_time_ms: i32 [1..; ignorable];
        /// The features that the broker knows.
        supported_features: Vec<SupportedFeatureKey> [3.., tag 0; ignorable];
        /// Rises with every change to the finalised features; -1: not known.
        finalized_features_epoch: i64 [3.., tag 1; ignorable] = -1;
        /// The features in force in the cluster.
        finalized_features: Vec<FinalizedFeatureKey> [3.., tag 2; ignorable];
        /// Whether a migration from ZooKeeper is possible: never.
        zk_migration_ready: bool [3.., tag 3; ignorable];
    }

    /// One API and its versions.
    pub struct ApiVersion {
        api_key: i16 [0..];
        min_version: i16 [0..];
        max_version: i16 [0..];
    }

    /// A feature and the levels that the broker knows.
    pub struct SupportedFeatureKey {
        name: Str [3..];
        min_version: i16 [3..];
        max_version: i16 [3..];
    }

    /// A feature and the level in force.
    pub struct FinalizedFeatureKey {
        name: Str [3..];
        max_version_level: i16 [3..];
        min_version_level: i16 [3..];
    }
}
