//! What is configured, and where each value comes from, as clients see it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::broker::config::keys::{self, KEYS as BROKER_KEYS, Known, Update};
use crate::broker::config::{BrokerConfig, LiveConfig};
use crate::broker::loggers::Level;
use crate::metadata::topic_config::{self, Kind, Synonym, TopicConfigKey};
use crate::metadata::{
    ConfigMap, ConfigResource, Image, MetadataSource, client_metrics_config, group_config,
};
use crate::types::NodeId;

/// Where a value comes from, as the wire numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConfigSource {
    /// It was set for the topic.
    Topic,
    /// It was set for this broker while it runs.
    DynamicBroker,
    /// It was set for all brokers while they run.
    DynamicDefaultBroker,
    /// This broker's file, environment or overrides set it.
    StaticBroker,
    /// Nobody set it.
    Default,
    /// It is the level of a logger.
    BrokerLogger,
    /// It was set for the subscription to the metrics of clients.
    ClientMetrics,
    /// It was set for the group.
    Group,
}

impl ConfigSource {
    /// Kafka's number.
    pub fn number(self) -> i8 {
        match self {
            ConfigSource::Topic => 1,
            ConfigSource::DynamicBroker => 2,
            ConfigSource::DynamicDefaultBroker => 3,
            ConfigSource::StaticBroker => 4,
            ConfigSource::Default => 5,
            ConfigSource::BrokerLogger => 6,
            ConfigSource::ClientMetrics => 7,
            ConfigSource::Group => 8,
        }
    }
}

/// A value that a key has or would have, were it not for those before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigSynonym {
    /// The key by which it is set there.
    pub name: String,
    /// The value.
    pub value: Option<String>,
    /// Where it is set.
    pub source: ConfigSource,
}

/// One key, as it stands.
#[derive(Debug, Clone)]
pub(crate) struct DescribedConfig {
    /// The key.
    pub name: String,
    /// Its value; none if it has none.
    pub value: Option<String>,
    /// Whether it can only be set before a start.
    pub read_only: bool,
    /// Its type; none if that is not known.
    pub kind: Option<Kind>,
    /// What it means.
    pub doc: &'static str,
    /// The values that it could have, in the order of their precedence.
    pub synonyms: Vec<ConfigSynonym>,
}

impl DescribedConfig {
    /// Where the value comes from.
    pub fn source(&self) -> ConfigSource {
        self.synonyms.first().map_or(ConfigSource::Default, |synonym| synonym.source)
    }
}

/// Reads configurations as clients see them.
#[derive(Clone)]
pub(crate) struct ConfigView {
    metadata: Arc<dyn MetadataSource>,
    live: LiveConfig,
}

impl ConfigView {
    /// Of this node's configuration and the committed metadata.
    pub fn new(metadata: Arc<dyn MetadataSource>, live: LiveConfig) -> Self {
        Self { metadata, live }
    }

    /// The committed image.
    #[cfg(test)]
    pub fn metadata(&self) -> Arc<dyn MetadataSource> {
        Arc::clone(&self.metadata)
    }

    /// This node.
    pub fn node_id(&self) -> NodeId {
        self.live.started_with().node_id
    }

    /// A topic's configuration; none if there is no such topic.
    pub fn topic(&self, name: &str) -> Option<Vec<DescribedConfig>> {
        let image = self.metadata.image();
        let topic = image.topic(name)?;
        let levels = self.levels(&image);
        let keys = topic_config::KEYS.iter().filter(|key| !key.name.starts_with("internal."));
        Some(keys.map(|key| levels.topic_key(key, &topic.configs)).collect())
    }

    /// This broker's configuration: its own keys, the defaults that it sets for topics, and what was set
    /// for it although it has no use here.
    pub fn broker(&self) -> Vec<DescribedConfig> {
        let levels = self.levels(&self.metadata.image());
        let own = BROKER_KEYS.iter();
        let own = own.map(|key| levels.broker_key(key.name, Some(key.kind), key.doc, key.default));
        let for_topics = topic_config::KEYS.iter().flat_map(|key| {
            key.synonyms.iter().map(|synonym| levels.broker_key_of_topic(key, synonym))
        });
        let set = levels.cluster.keys().chain(levels.broker.keys());
        let mut unused: Vec<&str> =
            set.map(String::as_str).filter(|name| is_without_use(name)).collect();
        unused.sort_unstable();
        unused.dedup();
        let unused =
            unused.into_iter().map(|name| levels.broker_key(name, None, WITHOUT_USE, None));
        own.chain(for_topics).chain(unused).collect()
    }

    /// What was set for all brokers while they run.
    pub fn default_broker(&self) -> Vec<DescribedConfig> {
        let levels = self.levels(&self.metadata.image());
        let described = levels.cluster.iter().map(|(name, value)| {
            let (kind, doc) = match keys::find(name) {
                Some(Known::Broker(key)) => (Some(key.kind), key.doc),
                Some(Known::TopicDefault(key)) => (Some(key.kind), key.doc),
                Some(Known::Ignored(_)) | None => (None, WITHOUT_USE),
            };
            let source = ConfigSource::DynamicDefaultBroker;
            let synonyms = vec![synonym(name, value, source)];
            let (name, value) = (name.clone(), Some(value.clone()));
            DescribedConfig { name, value, read_only: false, kind, doc, synonyms }
        });
        described.collect()
    }

    /// The configuration of a group, which need not exist.
    pub fn group(&self, name: &str) -> Vec<DescribedConfig> {
        let image = self.metadata.image();
        let levels = self.levels(&image);
        let own =
            image.config(&ConfigResource::Group(name.to_owned())).cloned().unwrap_or_default();
        let described = group_config::KEYS.iter().map(|key| {
            let broker_key = group_config::broker_key(key.name);
            let mut synonyms: Vec<_> = own
                .get(key.name)
                .map(|value| synonym(key.name, value, ConfigSource::Group))
                .into_iter()
                .collect();
            let default = match keys::find(&broker_key) {
                Some(Known::Broker(known)) => known.default.unwrap_or(key.default),
                _ => key.default,
            };
            synonyms.extend(levels.of(&[&broker_key]));
            synonyms.push(synonym(&broker_key, default, ConfigSource::Default));
            DescribedConfig {
                name: key.name.to_owned(),
                value: synonyms.first().and_then(|first| first.value.clone()),
                read_only: false,
                kind: Some(key.kind),
                doc: key.doc,
                synonyms,
            }
        });
        described.collect()
    }

    /// A subscription to the metrics of clients, which need not exist.
    pub fn client_metrics(&self, name: &str) -> Vec<DescribedConfig> {
        let image = self.metadata.image();
        let resource = ConfigResource::ClientMetrics(name.to_owned());
        let own = image.config(&resource).cloned().unwrap_or_default();
        let described = client_metrics_config::KEYS.iter().map(|key| {
            let set = own.get(key.name);
            let synonyms = set.map(|value| synonym(key.name, value, ConfigSource::ClientMetrics));
            DescribedConfig {
                name: key.name.to_owned(),
                value: Some(set.map_or(key.default, String::as_str).to_owned()),
                read_only: false,
                kind: Some(key.kind),
                doc: key.doc,
                synonyms: synonyms.into_iter().collect(),
            }
        });
        described.collect()
    }

    fn levels(&self, image: &Image) -> Levels {
        let of = |resource| image.config(&resource).cloned().unwrap_or_default();
        Levels {
            broker: of(ConfigResource::Broker(self.node_id())),
            cluster: of(ConfigResource::DefaultBroker),
            file: Arc::clone(self.live.started_with()),
            topic_defaults: Arc::clone(&self.live.at(image).topic_defaults),
        }
    }
}

/// What documents a key that is kept and has no use.
const WITHOUT_USE: &str = "Kept; without effect here.";

/// A logger, as it stands.
pub(super) fn logger(name: String, level: Level) -> DescribedConfig {
    let synonyms = vec![synonym(&name, &level.to_string(), ConfigSource::BrokerLogger)];
    let value = Some(level.to_string());
    DescribedConfig { name, value, read_only: false, kind: None, doc: "", synonyms }
}

fn is_without_use(name: &str) -> bool {
    matches!(keys::find(name), Some(Known::Ignored(_)) | None)
}

fn synonym(name: &str, value: &str, source: ConfigSource) -> ConfigSynonym {
    ConfigSynonym { name: name.to_owned(), value: Some(value.to_owned()), source }
}

/// Where values of broker keys come from.
struct Levels {
    broker: ConfigMap,
    cluster: ConfigMap,
    file: Arc<BrokerConfig>,
    topic_defaults: Arc<BTreeMap<String, String>>,
}

impl Levels {
    /// Where the values of the keys `names`, of which an earlier one wins, are set: level by level.
    fn of(&self, names: &[&str]) -> Vec<ConfigSynonym> {
        let dynamic = [
            (&self.broker, ConfigSource::DynamicBroker),
            (&self.cluster, ConfigSource::DynamicDefaultBroker),
        ];
        let dynamic = dynamic.into_iter().flat_map(|(level, source)| {
            let set = move |name: &&str| level.get(*name).map(|value| synonym(name, value, source));
            names.iter().filter_map(set)
        });
        let explicit = |name: &&str| {
            let value = self.file.values.explicit(name)?;
            Some(synonym(name, value, ConfigSource::StaticBroker))
        };
        dynamic.chain(names.iter().filter_map(explicit)).collect()
    }

    fn topic_key(&self, key: &'static TopicConfigKey, own: &ConfigMap) -> DescribedConfig {
        let resolved = topic_config::resolve(key, own, &self.topic_defaults);
        let mut synonyms = Vec::new();
        if let Some(value) = own.get(key.name) {
            synonyms.push(synonym(key.name, value, ConfigSource::Topic));
        }
        let names: Vec<&str> = key.synonyms.iter().map(|synonym| synonym.name).collect();
        synonyms.extend(self.of(&names));
        if let Some(first) = names.first() {
            synonyms.push(synonym(first, key.default, ConfigSource::Default));
        }
        DescribedConfig {
            name: key.name.to_owned(),
            value: Some(resolved.value),
            read_only: false,
            kind: Some(key.kind),
            doc: key.doc,
            synonyms,
        }
    }

    fn broker_key_of_topic(&self, key: &TopicConfigKey, synonym: &Synonym) -> DescribedConfig {
        // A synonym in another unit (hours) has no default: the one in the topic's has.
        let default = (synonym.to_topic_unit == 1).then_some(key.default);
        self.broker_key(synonym.name, Some(key.kind), key.doc, default)
    }

    fn broker_key(
        &self,
        name: &str,
        kind: Option<Kind>,
        doc: &'static str,
        default: Option<&str>,
    ) -> DescribedConfig {
        let mut synonyms = self.of(&[name]);
        synonyms.extend(default.map(|default| synonym(name, default, ConfigSource::Default)));
        DescribedConfig {
            name: name.to_owned(),
            value: synonyms.first().and_then(|first| first.value.clone()),
            read_only: keys::update_mode(name) == Some(Update::ReadOnly),
            kind,
            doc,
            synonyms,
        }
    }
}
