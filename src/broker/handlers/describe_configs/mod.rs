//! DescribeConfigs (key 32), versions 1-4: topics, brokers, their loggers, groups and subscriptions to the
//! metrics of clients, with source, synonyms, type and documentation.
//!
//! - `view`: what is configured, and where each value comes from
//!
//! Deviation: keys of Kafka's without use here are shown only where they were set while brokers run.

mod view;

use std::sync::Arc;

use crate::broker::handlers::dispatch::{Call, Handler, Outcome};
use crate::metadata::topic_config::Kind;
use crate::metadata::{ConfigResource, topic_name};
use crate::protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
    DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};
use crate::types::ErrorCode;

use crate::broker::loggers::Loggers;
use view::{ConfigSource, ConfigSynonym};
pub(crate) use view::{ConfigView, DescribedConfig};

/// See the module's documentation.
pub(crate) struct DescribeConfigs {
    /// Where the configurations are read.
    pub configs: ConfigView,
    /// The loggers of this process.
    pub loggers: Arc<Loggers>,
}

impl Handler for DescribeConfigs {
    type Request = DescribeConfigsRequest;

    async fn handle(
        self: Arc<Self>,
        call: Call<DescribeConfigsRequest>,
    ) -> Outcome<DescribeConfigsResponse> {
        let request = &call.request;
        let results = request.resources.iter().map(|resource| {
            let (error, message, found) = match self.look_up(resource) {
                Ok(found) => (ErrorCode::None, None, found),
                Err((error, message)) => (error, Some(message), Vec::new()),
            };
            let wanted = |config: &DescribedConfig| match &resource.configuration_keys {
                Some(keys) if !keys.is_empty() => keys.iter().any(|key| **key == *config.name),
                _ => true,
            };
            let configs = found.into_iter().filter(wanted);
            DescribeConfigsResult {
                error_code: error.code(),
                error_message: message.map(Into::into),
                resource_type: resource.resource_type,
                resource_name: resource.resource_name.clone(),
                configs: configs.map(|config| on_the_wire(config, request)).collect(),
            }
        });
        Outcome::Now(DescribeConfigsResponse { throttle_time_ms: 0, results: results.collect() })
    }
}

impl DescribeConfigs {
    fn look_up(
        &self,
        resource: &DescribeConfigsResource,
    ) -> Result<Vec<DescribedConfig>, (ErrorCode, String)> {
        let name = &*resource.resource_name;
        let invalid = |message: String| Err((ErrorCode::InvalidRequest, message));
        match resource.resource_type {
            ConfigResource::TOPIC => {
                topic_name::validate(name)
                    .map_err(|why| (ErrorCode::InvalidTopicException, why))?;
                let unknown = ErrorCode::UnknownTopicOrPartition;
                self.configs
                    .topic(name)
                    .ok_or_else(|| (unknown, format!("Topic '{name}' does not exist.")))
            }
            ConfigResource::BROKER if name.is_empty() => Ok(self.configs.default_broker()),
            ConfigResource::BROKER => self.broker(name),
            ConfigResource::GROUP if name.is_empty() => {
                invalid("Group name must not be empty".to_owned())
            }
            ConfigResource::GROUP => Ok(self.configs.group(name)),
            ConfigResource::CLIENT_METRICS if name.is_empty() => {
                invalid("Client metrics subscription name must not be empty".to_owned())
            }
            ConfigResource::CLIENT_METRICS => Ok(self.configs.client_metrics(name)),
            ConfigResource::BROKER_LOGGER if name.is_empty() => {
                invalid("Broker id must not be empty".to_owned())
            }
            ConfigResource::BROKER_LOGGER => self.loggers_of(name),
            other => invalid(format!("Unsupported resource type: {other}")),
        }
    }

    fn loggers_of(&self, name: &str) -> Result<Vec<DescribedConfig>, (ErrorCode, String)> {
        let own = self.configs.node_id().0;
        match name.parse::<i32>() {
            Ok(node) if node == own => {
                let loggers = self.loggers.all().into_iter();
                Ok(loggers.map(|(name, level)| view::logger(name, level)).collect())
            }
            Ok(_) => {
                let why = format!("Unexpected broker id, expected {own} but received {name}");
                Err((ErrorCode::InvalidRequest, why))
            }
            Err(_) => {
                let why = format!("Broker id must be an integer, but it is: {name}");
                Err((ErrorCode::InvalidRequest, why))
            }
        }
    }

    fn broker(&self, name: &str) -> Result<Vec<DescribedConfig>, (ErrorCode, String)> {
        let invalid = |message: String| Err((ErrorCode::InvalidRequest, message));
        let own = self.configs.node_id().0;
        match name.parse::<i32>() {
            Ok(node) if node == own => Ok(self.configs.broker()),
            Ok(_) => invalid(format!(
                "Unexpected broker id, expected {own} or empty string, but received {name}"
            )),
            Err(_) => invalid(format!("Broker id must be an integer, but it is: {name}")),
        }
    }
}

fn on_the_wire(
    config: DescribedConfig,
    request: &DescribeConfigsRequest,
) -> DescribeConfigsResourceResult {
    let config_source = config.source().number();
    // A level has a source and, in Kafka, no synonyms.
    let is_told = |synonym: &ConfigSynonym| {
        request.include_synonyms && synonym.source != ConfigSource::BrokerLogger
    };
    let synonyms = config.synonyms.into_iter().filter(is_told);
    DescribeConfigsResourceResult {
        name: config.name.into(),
        value: config.value.map(Into::into),
        read_only: config.read_only,
        config_source,
        is_sensitive: false,
        synonyms: synonyms
            .map(|synonym| DescribeConfigsSynonym {
                name: synonym.name.into(),
                value: synonym.value.map(Into::into),
                source: synonym.source.number(),
            })
            .collect(),
        config_type: config.kind.map_or(0, type_number),
        documentation: request.include_documentation.then(|| config.doc.into()),
    }
}

/// Kafka's number of a value's type.
fn type_number(kind: Kind) -> i8 {
    match kind {
        Kind::Boolean => 1,
        Kind::Text(_) => 2,
        Kind::Int(..) | Kind::IntOr(..) => 3,
        Kind::Long(..) => 5,
        Kind::Double(..) => 6,
        Kind::List(_) | Kind::Replicas => 7,
    }
}
