//! IncrementalAlterConfigs (key 44), versions 0-1 (KIP-339): single keys of each resource.

use crate::message;
use crate::protocol::ApiKey;
use crate::protocol::codec::Str;

message! {
    /// Changes configurations.
    pub request IncrementalAlterConfigsRequest: ApiKey::IncrementalAlterConfigs, (0..=1, flexible 1) => IncrementalAlterConfigsResponse {
        resources: Vec<AlterConfigsResource> [0..];
        /// Only say what would happen.
        validate_only: bool [0..];
    }

    /// One resource: 2 a topic, 4 a broker, 16 client metrics, 32 a group.
    pub struct AlterConfigsResource {
        resource_type: i8 [0..];
        resource_name: Str [0..];
        configs: Vec<AlterableConfig> [0..];
    }

    /// One key.
    pub struct AlterableConfig {
        name: Str [0..];
        /// 0 sets, 1 deletes, 2 appends to a list, 3 takes out of it.
        config_operation: i8 [0..];
        value: Option<Str> [0..];
    }

    /// What became of each resource.
    pub message IncrementalAlterConfigsResponse (flexible 1) {
        throttle_time_ms: i32 [0..];
        responses: Vec<AlterConfigsResourceResponse> [0..];
    }

    /// One resource's result.
    pub struct AlterConfigsResourceResponse {
        error_code: i16 [0..];
        error_message: Option<Str> [0..];
        resource_type: i8 [0..];
        resource_name: Str [0..];
    }
}
