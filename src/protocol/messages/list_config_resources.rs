//! ListConfigResources (key 74), versions 0-1 (KIP-1142); version 0 was ListClientMetricsResources and
//! lists those alone.

use crate::message;
use crate::protocol::ApiKey;
use crate::protocol::codec::Str;

message! {
    /// Asks which resources have, or may have, a configuration.
    pub request ListConfigResourcesRequest: ApiKey::ListConfigResources, (0..=1, flexible 0) => ListConfigResourcesResponse {
        /// Of which types; empty means all.
        resource_types: Vec<i8> [1..];
    }

    /// The resources.
    pub message ListConfigResourcesResponse (flexible 0) {
        throttle_time_ms: i32 [0..];
        error_code: i16 [0..];
        config_resources: Vec<ConfigResource> [0..];
    }

    /// One resource.
    pub struct ConfigResource {
        resource_name: Str [0..];
        resource_type: i8 [1..; ignorable] = 16;
    }
}
