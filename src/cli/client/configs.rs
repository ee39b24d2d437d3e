//! What tools ask of configurations: what is set where, changes, and which resources have any.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::cli::client::admin::Endpoints;
use crate::cli::client::cluster::Cluster;
use crate::cli::client::error::ClientFailure;
use crate::net::client::Connection;
use crate::protocol::Request;
use crate::protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource,
};
use crate::protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use crate::protocol::messages::list_config_resources::ListConfigResourcesRequest;
use crate::types::{ErrorCode, NodeId};

/// Kafka's number of "set".
const SET: i8 = 0;
/// Kafka's number of "delete".
const DELETE: i8 = 1;

/// What has a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResourceType {
    /// A topic.
    Topic,
    /// A broker; without a name, all of them.
    Broker,
    /// The loggers of a broker.
    BrokerLogger,
    /// A subscription to the metrics of clients.
    ClientMetrics,
    /// A group.
    Group,
}

impl ResourceType {
    /// Kafka's number.
    pub fn number(self) -> i8 {
        match self {
            ResourceType::Topic => 2,
            ResourceType::Broker => 4,
            ResourceType::BrokerLogger => 8,
            ResourceType::ClientMetrics => 16,
            ResourceType::Group => 32,
        }
    }
}

/// One resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Its type.
    pub resource_type: ResourceType,
    /// Its name; empty for the default of all brokers.
    pub name: String,
}

/// Where a value comes from, under Kafka's numbers and names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfigSource(pub i8);

impl fmt::Display for ConfigSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            1 => "DYNAMIC_TOPIC_CONFIG",
            2 => "DYNAMIC_BROKER_CONFIG",
            3 => "DYNAMIC_DEFAULT_BROKER_CONFIG",
            4 => "STATIC_BROKER_CONFIG",
            5 => "DEFAULT_CONFIG",
            6 => "DYNAMIC_BROKER_LOGGER_CONFIG",
            7 => "DYNAMIC_CLIENT_METRICS_CONFIG",
            8 => "DYNAMIC_GROUP_CONFIG",
            _ => "UNKNOWN",
        })
    }
}

/// A value that a key has, or would have without those before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synonym {
    /// The key by which it is set.
    pub name: String,
    /// The value.
    pub value: Option<String>,
    /// Where it is set.
    pub source: ConfigSource,
}

/// One key of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedConfig {
    /// Its name.
    pub name: String,
    /// Its value; none if it is a secret or not set.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// Whether the value is a secret.
    pub is_sensitive: bool,
    /// The values that it could have.
    pub synonyms: Vec<Synonym>,
}

impl Cluster {
    /// A resource's configuration, by name.
    pub async fn describe_config(
        &self,
        resource: &Resource,
    ) -> Result<Vec<DescribedConfig>, ClientFailure> {
        let request = DescribeConfigsRequest {
            resources: vec![DescribeConfigsResource {
                resource_type: resource.resource_type.number(),
                resource_name: resource.name.as_str().into(),
                configuration_keys: None,
            }],
            include_synonyms: true,
            include_documentation: false,
        };
        self.ask_owner(resource, &request, "the configuration", |response| {
            let mut found = BTreeMap::new();
            for result in response.results {
                ClientFailure::check(result.error_code, result.error_message.as_deref())?;
                for config in result.configs {
                    let synonyms = config.synonyms.into_iter().map(|synonym| Synonym {
                        name: synonym.name.to_string(),
                        value: synonym.value.as_deref().map(str::to_owned),
                        source: ConfigSource(synonym.source),
                    });
                    let described = DescribedConfig {
                        name: config.name.to_string(),
                        value: config.value.as_deref().map(str::to_owned),
                        source: ConfigSource(config.config_source),
                        is_sensitive: config.is_sensitive,
                        synonyms: synonyms.collect(),
                    };
                    found.insert(described.name.clone(), described);
                }
            }
            Ok(found.into_values().collect())
        })
        .await
    }

    /// Sets and deletes keys of one resource: all of it or nothing.
    pub async fn alter_config(
        &self,
        resource: &Resource,
        set: &BTreeMap<String, String>,
        delete: &[String],
    ) -> Result<(), ClientFailure> {
        let deleted = delete.iter().map(|name| AlterableConfig {
            name: name.as_str().into(),
            config_operation: DELETE,
            value: None,
        });
        let added = set.iter().map(|(name, value)| AlterableConfig {
            name: name.as_str().into(),
            config_operation: SET,
            value: Some(value.as_str().into()),
        });
        let request = IncrementalAlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type: resource.resource_type.number(),
                resource_name: resource.name.as_str().into(),
                configs: deleted.chain(added).collect(),
            }],
            validate_only: false,
        };
        self.ask_owner(resource, &request, "the change of the configuration", |response| {
            response.responses.iter().try_for_each(|result| {
                ClientFailure::check(result.error_code, result.error_message.as_deref())
            })
        })
        .await
    }

    /// The names of the resources of one type that have a configuration, or may have one.
    pub async fn list_config_resources(
        &self,
        resource_type: ResourceType,
    ) -> Result<Vec<String>, ClientFailure> {
        let number = resource_type.number();
        let request = ListConfigResourcesRequest { resource_types: vec![number] };
        self.ask(&request, "the list of resources", |response| {
            ClientFailure::check(response.error_code, None)?;
            let resources = response.config_resources.into_iter();
            let of_type = resources.filter(|resource| resource.resource_type == number);
            Ok(of_type.map(|resource| resource.resource_name.to_string()).collect())
        })
        .await
    }

    /// Asks the broker or controller itself where it is about one, else whichever answers.
    async fn ask_owner<R: Request, T>(
        &self,
        resource: &Resource,
        request: &R,
        what: &str,
        check: impl Fn(R::Response) -> Result<T, ClientFailure>,
    ) -> Result<T, ClientFailure> {
        self.retry(what, || async {
            match check(self.owner(resource).await?.call(request).await?) {
                // A topic that is configured should be there: none comes to be by waiting.
                Err(refused) if refused.code() == Some(ErrorCode::UnknownTopicOrPartition) => {
                    Ok(Err(refused))
                }
                outcome => outcome.map(Ok),
            }
        })
        .await?
    }

    async fn owner(&self, resource: &Resource) -> Result<Arc<Connection>, ClientFailure> {
        let node = match resource.resource_type {
            ResourceType::Broker | ResourceType::BrokerLogger => {
                resource.name.parse().ok().map(NodeId)
            }
            ResourceType::Topic | ResourceType::ClientMetrics | ResourceType::Group => None,
        };
        match (node, self.options().endpoints) {
            (Some(node), Endpoints::Brokers) => {
                self.live_brokers().await?;
                self.broker(node).await
            }
            (Some(node), Endpoints::Controllers) => {
                let controllers = self.nodes().await?;
                let address = controllers.get(&node).ok_or(ClientFailure::UnknownBroker(node))?;
                self.dial(address).await
            }
            (None, _) => self.any().await,
        }
    }
}
