//! DescribeConfigs (key 32), versions 1-4 (KIP-133, KIP-226, KIP-569).

use crate::message;
use crate::protocol::ApiKey;
use crate::protocol::codec::Str;

message! {
    /// Asks for configurations.
    pub request DescribeConfigsRequest: ApiKey::DescribeConfigs, (1..=4, flexible 4) => DescribeConfigsResponse {
        resources: Vec<DescribeConfigsResource> [0..];
        include_synonyms: bool [1..];
        include_documentation: bool [3..];
    }

    /// What is configured: 2 a topic, 4 a broker.
    pub struct DescribeConfigsResource {
        resource_type: i8 [0..];
        resource_name: Str [0..];
        /// Which keys; null means all.
        configuration_keys: Option<Vec<Str>> [0..];
    }

    /// The configurations.
    pub message DescribeConfigsResponse (flexible 4) {
        throttle_time_ms: i32 [0..];
        results: Vec<DescribeConfigsResult> [0..];
    }

    /// One resource's configuration.
    pub struct DescribeConfigsResult {
        error_code: i16 [0..];
        error_message: Option<Str> [0..];
        resource_type: i8 [0..];
        resource_name: Str [0..];
        configs: Vec<DescribeConfigsResourceResult> [0..];
    }

    /// One key.
    pub struct DescribeConfigsResourceResult {
        name: Str [0..];
        value: Option<Str> [0..];
        read_only: bool [0..];
        config_source: i8 [1..; ignorable] = -1;
        is_sensitive: bool [0..];
        synonyms: Vec<DescribeConfigsSynonym> [1..; ignorable];
        config_type: i8 [3..; ignorable];
        documentation: Option<Str> [3..; ignorable];
    }

    /// A place from which the value could come.
    pub struct DescribeConfigsSynonym {
        name: Str [1..];
        value: Option<Str> [1..];
        source: i8 [1..];
    }
}
