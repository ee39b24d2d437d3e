//! ApiVersions (key 18), versions 0-4: what this listener serves, read off the dispatch table.
//!
//! A request of an unknown version is answered in version 0 with UNSUPPORTED_VERSION and the table,
//! so that the client can come down (KIP-511); the service sees to that before decoding.

use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::broker::handlers::dispatch::{Call, Handler, Outcome};
use crate::metadata::MetadataSource;
use crate::metadata::features::supported;
use crate::net::server::ClientSoftware;
use crate::protocol::ApiKey;
use crate::protocol::messages::api_versions::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};
use crate::types::ErrorCode;

/// See the module's documentation.
pub(crate) struct ApiVersions {
    /// What is served, in the order of the keys.
    pub served: Vec<(ApiKey, RangeInclusive<i16>)>,
    /// The finalised features.
    pub metadata: Arc<dyn MetadataSource>,
}

impl Handler for ApiVersions {
    type Request = ApiVersionsRequest;

    async fn handle(
        self: Arc<Self>,
        call: Call<ApiVersionsRequest>,
    ) -> Outcome<ApiVersionsResponse> {
        let ApiVersionsRequest { client_software_name, client_software_version, .. } =
            &call.request;
        let mut response = self.response();
        if call.version >= 3 {
            // A client that asks again says the same.
            let _ = call.context.client_software.set(ClientSoftware {
                name: client_software_name.to_string(),
                version: client_software_version.to_string(),
            });
        }
        let is_legal = is_software(client_software_name) && is_software(client_software_version);
        if call.version >= 3 && !is_legal {
            response = ApiVersionsResponse {
                error_code: ErrorCode::InvalidRequest.code(),
                ..Default::default()
            };
        }
        Outcome::Now(response)
    }
}

impl ApiVersions {
    /// Everything that is served here.
    pub fn response(&self) -> ApiVersionsResponse {
        let api_keys = self.served.iter().map(|(api, versions)| ApiVersion {
            api_key: *api as i16,
            min_version: *versions.start(),
            max_version: *versions.end(),
        });
        let image = self.metadata.image();
        let finalized = image.features.iter().map(|(name, &level)| FinalizedFeatureKey {
            name: name.into(),
            max_version_level: level,
            min_version_level: level,
        });
        let supported = supported().into_iter().map(|feature| SupportedFeatureKey {
            name: feature.name.into(),
            min_version: feature.min,
            max_version: feature.max,
        });
        ApiVersionsResponse {
            error_code: ErrorCode::None.code(),
            api_keys: api_keys.collect(),
            supported_features: supported.collect(),
            finalized_features_epoch: i64::try_from(image.version()).unwrap_or(i64::MAX),
            finalized_features: finalized.collect(),
            ..Default::default()
        }
    }
}

/// KIP-511: letters, digits, `.` and `-`, beginning and ending with a letter or digit.
fn is_software(name: &str) -> bool {
    let bytes = name.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    ends.iter().all(|end| end.is_some_and(u8::is_ascii_alphanumeric))
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::is_software;

    #[test]
    fn software_names_follow_kip_511() {
        for name in ["apache-kafka-java", "librdkafka", "4.1.0", "a", "v2.3-rc1"] {
            assert!(is_software(name), "{name}");
        }
        for name in ["", "-a", "a-", "a b", ".1", "naïve"] {
            assert!(!is_software(name), "{name}");
        }
    }
}
