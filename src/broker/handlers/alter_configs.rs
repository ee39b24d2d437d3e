//! AlterConfigs (key 33), versions 0-2: the whole configuration of topics, brokers, groups and
//! subscriptions to the metrics of clients. What is not named is deleted.

use std::sync::Arc;

use crate::broker::handlers::config_changes::{Asked, ConfigChanges, SET};
use crate::broker::handlers::dispatch::{Call, Handler, Outcome};
use crate::broker::handlers::refusals::code_and_message;
use crate::protocol::messages::alter_configs::{
    AlterConfigsRequest, AlterConfigsResourceResponse, AlterConfigsResponse,
};

/// See the module's documentation.
pub(crate) struct AlterConfigs {
    /// What both ways of changing configurations share.
    pub changes: Arc<ConfigChanges>,
}

impl Handler for AlterConfigs {
    type Request = AlterConfigsRequest;

    async fn handle(
        self: Arc<Self>,
        call: Call<AlterConfigsRequest>,
    ) -> Outcome<AlterConfigsResponse> {
        let Call { context, request, .. } = call;
        let asked = request.resources.iter().map(|resource| {
            let keys = resource.configs.iter().map(|config| {
                (config.name.to_string(), SET, config.value.as_deref().map(str::to_owned))
            });
            Asked {
                resource_type: resource.resource_type,
                name: resource.resource_name.to_string(),
                keys: keys.collect(),
                replaces: true,
            }
        });
        let asked: Vec<Asked> = asked.collect();
        Outcome::later(async move {
            let results = self.changes.alter(asked, request.validate_only, &context).await;
            let responses = request.resources.into_iter().zip(results).map(|(resource, result)| {
                let (error_code, error_message) = code_and_message(result);
                AlterConfigsResourceResponse {
                    error_code,
                    error_message,
                    resource_type: resource.resource_type,
                    resource_name: resource.resource_name,
                }
            });
            AlterConfigsResponse { throttle_time_ms: 0, responses: responses.collect() }
        })
    }
}
