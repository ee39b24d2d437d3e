//! DescribeConfigs (key 32), versions 1-4: topics and brokers, with source, synonyms, type and
//! documentation.
//!
//! Deviation: other kinds of resources (loggers, groups, client metrics) are refused with
//! INVALID_REQUEST, as Ottla has none of them yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::broker::config::BrokerConfig;
use crate::broker::config::keys::KEYS as BROKER_KEYS;
use crate::broker::handlers::dispatch::{Call, Handler, Outcome};
use crate::metadata::MetadataSource;
use crate::metadata::topic_config::{self, Kind, Source, TopicConfigKey};
use crate::protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
    DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};
use crate::types::ErrorCode;

/// The resource type of a topic.
const TOPIC: i8 = 2;
/// The resource type of a broker.
const BROKER: i8 = 4;

/// Where a value comes from, as the wire numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConfigSource {
    /// It was set for the topic.
    Topic,
    /// This broker's file, environment or overrides set it.
    StaticBroker,
    /// Nobody set it.
    Default,
}

impl ConfigSource {
    /// Kafka's number.
    pub fn number(self) -> i8 {
        match self {
            ConfigSource::Topic => 1,
            ConfigSource::StaticBroker => 4,
            ConfigSource::Default => 5,
        }
    }
}

/// One key, as it stands.
#[derive(Debug, Clone)]
pub(crate) struct DescribedConfig {
    /// The key.
    pub name: &'static str,
    /// Its value; none if it has none.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// Whether it can only be set before a start.
    pub read_only: bool,
    kind: Kind,
    doc: &'static str,
    synonyms: Vec<(&'static str, Option<String>, ConfigSource)>,
}

/// Reads configurations as clients see them.
#[derive(Clone)]
pub(crate) struct ConfigView {
    metadata: Arc<dyn MetadataSource>,
    config: Arc<BrokerConfig>,
    topic_defaults: Arc<BTreeMap<String, String>>,
}

impl ConfigView {
    /// Of this node's configuration and the committed metadata.
    pub fn new(metadata: Arc<dyn MetadataSource>, config: Arc<BrokerConfig>) -> Self {
        let topic_defaults = Arc::new(config.topic_defaults());
        Self { metadata, config, topic_defaults }
    }

    /// A topic's configuration; none if there is no such topic.
    pub fn topic(&self, name: &str) -> Option<Vec<DescribedConfig>> {
        let image = self.metadata.image();
        let topic = image.topic(name)?;
        let keys = topic_config::KEYS.iter().filter(|key| !key.name.starts_with("internal."));
        Some(keys.map(|key| self.topic_key(key, &topic.configs)).collect())
    }

    fn topic_key(
        &self,
        key: &'static TopicConfigKey,
        own: &BTreeMap<String, String>,
    ) -> DescribedConfig {
        let resolved = topic_config::resolve(key, own, &self.topic_defaults);
        let mut synonyms = Vec::new();
        if let Some(value) = own.get(key.name) {
            synonyms.push((key.name, Some(value.clone()), ConfigSource::Topic));
        }
        for synonym in key.synonyms {
            if let Some(value) = self.topic_defaults.get(synonym.name) {
                synonyms.push((synonym.name, Some(value.clone()), ConfigSource::StaticBroker));
            }
        }
        let default_name = key.synonyms.first().map_or(key.name, |synonym| synonym.name);
        synonyms.push((default_name, Some(key.default.to_owned()), ConfigSource::Default));
        DescribedConfig {
            name: key.name,
            value: Some(resolved.value),
            source: match resolved.source {
                Source::Topic => ConfigSource::Topic,
                Source::Broker(_) => ConfigSource::StaticBroker,
                Source::Default => ConfigSource::Default,
            },
            read_only: false,
            kind: key.kind,
            doc: key.doc,
            synonyms,
        }
    }

    /// This broker's configuration: its own keys, and the defaults that it sets for topics.
    fn broker(&self) -> Vec<DescribedConfig> {
        let own = BROKER_KEYS.iter();
        let own = own.map(|key| self.broker_key(key.name, key.kind, key.doc, key.default));
        let for_topics = topic_config::KEYS.iter().flat_map(|key| {
            key.synonyms.iter().map(|synonym| {
                // A synonym in another unit (hours) has no default: the one in the topic's has.
                let default = (synonym.to_topic_unit == 1).then_some(key.default);
                self.broker_key(synonym.name, key.kind, key.doc, default)
            })
        });
        own.chain(for_topics).collect()
    }

    fn broker_key(
        &self,
        name: &'static str,
        kind: Kind,
        doc: &'static str,
        default: Option<&str>,
    ) -> DescribedConfig {
        let own = self.config.values.explicit(name).map(str::to_owned);
        let default = default.map(str::to_owned);
        let mut synonyms = Vec::new();
        if own.is_some() {
            synonyms.push((name, own.clone(), ConfigSource::StaticBroker));
        }
        if default.is_some() {
            synonyms.push((name, default.clone(), ConfigSource::Default));
        }
        DescribedConfig {
            name,
            source: match own {
                Some(_) => ConfigSource::StaticBroker,
                None => ConfigSource::Default,
            },
            value: own.or(default),
            read_only: true,
            kind,
            doc,
            synonyms,
        }
    }
}

/// See the module's documentation.
pub(crate) struct DescribeConfigs {
    /// Where the configurations are read.
    pub configs: ConfigView,
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
        match resource.resource_type {
            TOPIC => {
                crate::metadata::topic_name::validate(name)
                    .map_err(|why| (ErrorCode::InvalidTopicException, why))?;
                let unknown = ErrorCode::UnknownTopicOrPartition;
                self.configs
                    .topic(name)
                    .ok_or_else(|| (unknown, format!("Topic '{name}' does not exist.")))
            }
            // The empty name asks for the defaults of all brokers, of which none are kept yet.
            BROKER if name.is_empty() => Ok(Vec::new()),
            BROKER if name == self.configs.config.node_id.to_string() => Ok(self.configs.broker()),
            BROKER => Err((
                ErrorCode::InvalidRequest,
                format!(
                    "Unexpected broker id, expected {}, but received {name}: ask that broker itself.",
                    self.configs.config.node_id
                ),
            )),
            other => Err((
                ErrorCode::InvalidRequest,
                format!("Resource type {other} has no configuration here."),
            )),
        }
    }
}

fn on_the_wire(
    config: DescribedConfig,
    request: &DescribeConfigsRequest,
) -> DescribeConfigsResourceResult {
    let synonyms = config.synonyms.into_iter().filter(|_| request.include_synonyms);
    DescribeConfigsResourceResult {
        name: config.name.into(),
        value: config.value.map(Into::into),
        read_only: config.read_only,
        config_source: config.source.number(),
        is_sensitive: false,
        synonyms: synonyms
            .map(|(name, value, source)| DescribeConfigsSynonym {
                name: name.into(),
                value: value.map(Into::into),
                source: source.number(),
            })
            .collect(),
        config_type: type_number(config.kind),
        documentation: request.include_documentation.then(|| config.doc.into()),
    }
}

/// Kafka's number of a value's type.
fn type_number(kind: Kind) -> i8 {
    match kind {
        Kind::Boolean => 1,
        Kind::Text(_) => 2,
        Kind::Int(..) => 3,
        Kind::Long(..) => 5,
        Kind::Double(..) => 6,
        Kind::List(_) => 7,
    }
}
