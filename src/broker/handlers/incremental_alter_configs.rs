//! IncrementalAlterConfigs (key 44), versions 0-1: single keys of topics, brokers, their loggers, groups
//! and subscriptions to the metrics of clients. A broker is asked for its own; any for the default of all.

use std::sync::Arc;

use crate::broker::handlers::config_changes::{Asked, ConfigChanges};
use crate::broker::handlers::dispatch::{Call, Handler, Outcome};
use crate::broker::handlers::refusals::code_and_message;
use crate::protocol::messages::incremental_alter_configs::{
    AlterConfigsResourceResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};

/// See the module's documentation.
pub(crate) struct IncrementalAlterConfigs {
    /// What both ways of changing configurations share.
    pub changes: Arc<ConfigChanges>,
}

impl Handler for IncrementalAlterConfigs {
    type Request = IncrementalAlterConfigsRequest;

    async fn handle(
        self: Arc<Self>,
        call: Call<IncrementalAlterConfigsRequest>,
    ) -> Outcome<IncrementalAlterConfigsResponse> {
        let Call { context, request, .. } = call;
        let asked = request.resources.iter().map(|resource| {
            let keys = resource.configs.iter().map(|config| {
                let value = config.value.as_deref().map(str::to_owned);
                (config.name.to_string(), config.config_operation, value)
            });
            Asked {
                resource_type: resource.resource_type,
                name: resource.resource_name.to_string(),
                keys: keys.collect(),
                replaces: false,
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
            IncrementalAlterConfigsResponse { throttle_time_ms: 0, responses: responses.collect() }
        })
    }
}
