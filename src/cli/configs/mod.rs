//! `configs`: `kafka-configs.sh` by its flags and its output, for topics, brokers, their loggers, groups and
//! subscriptions to the metrics of clients.
//!
//! - [`args`]: the flags, which go together, and what they mean

mod args;

use std::io::{BufWriter, Write};
use std::process::ExitCode;

use anyhow::bail;

use crate::cli::client::admin::Endpoints;
use crate::cli::client::configs::{ConfigSource, DescribedConfig, Resource, ResourceType};
use crate::cli::client::{Cluster, ClusterOptions};
use crate::cli::connection::warn_of_unknown;
use crate::metadata::topic_name;
pub use args::ConfigsArgs;
use args::{Action, Entity};

/// Does the one action that the flags ask for.
pub(super) async fn run(args: ConfigsArgs) -> anyhow::Result<ExitCode> {
    args.connection.refuse_zookeeper()?;
    let (action, entity) = (args.action()?, args.entity()?);
    let properties = args.config_file.properties()?;
    warn_of_unknown(&properties);
    let (servers, endpoints) = args.servers(&properties)?;
    let mut options = ClusterOptions::from_properties(&servers, "ottla-configs", &properties)?;
    options.endpoints = endpoints;
    match action {
        Action::Describe => {
            let cluster = Cluster::connect(options).await?;
            describe(&cluster, &entity, args.all).await?;
        }
        Action::Alter => {
            let (set, delete) = (args.added()?, args.deleted());
            let Some(resource) = entity.resource() else { bail!("{}", entity.unnamed()) };
            let cluster = Cluster::connect(options).await?;
            match resource.resource_type {
                ResourceType::BrokerLogger => {
                    check_loggers(&cluster, &resource, set.keys().chain(&delete)).await?;
                }
                _ => check_deleted(&cluster, &resource, &delete).await?,
            }
            cluster.alter_config(&resource, &set, &delete).await?;
            writeln!(std::io::stdout(), "{}", completed(&resource))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Kafka's tool refuses loggers that are not there.
async fn check_loggers(
    cluster: &Cluster,
    resource: &Resource,
    named: impl Iterator<Item = &String>,
) -> anyhow::Result<()> {
    let present = cluster.describe_config(resource).await?;
    let is_there = |name: &&String| present.iter().any(|logger| logger.name == **name);
    let invalid: Vec<&str> = named.filter(|name| !is_there(name)).map(String::as_str).collect();
    if !invalid.is_empty() {
        bail!("Invalid broker logger(s): {}; --describe lists them", invalid.join(","));
    }
    Ok(())
}

/// Kafka's tool refuses to delete what is not set.
async fn check_deleted(
    cluster: &Cluster,
    resource: &Resource,
    delete: &[String],
) -> anyhow::Result<()> {
    if delete.is_empty() {
        return Ok(());
    }
    let present = cluster.describe_config(resource).await?;
    let is_set = |name: &&String| {
        present.iter().any(|config| config.name == **name && is_dynamic(resource, config))
    };
    let invalid: Vec<&str> =
        delete.iter().filter(|name| !is_set(name)).map(String::as_str).collect();
    if !invalid.is_empty() {
        bail!("Invalid config(s): {}; nothing of that is set, see --describe", invalid.join(","));
    }
    Ok(())
}

/// Whether the value was set for this very resource.
fn is_dynamic(resource: &Resource, config: &DescribedConfig) -> bool {
    let own = match resource.resource_type {
        ResourceType::Topic => 1,
        ResourceType::Broker if resource.name.is_empty() => 3,
        ResourceType::Broker => 2,
        ResourceType::BrokerLogger => 6,
        ResourceType::ClientMetrics => 7,
        ResourceType::Group => 8,
    };
    config.source == ConfigSource(own)
}

async fn describe(cluster: &Cluster, entity: &Entity, all: bool) -> anyhow::Result<()> {
    let mut out = BufWriter::new(std::io::stdout());
    let resources = match entity.resource() {
        Some(resource) if all || exists(cluster, &resource).await? => vec![resource],
        Some(resource) => {
            writeln!(
                out,
                "The {} '{}' doesn't exist and doesn't have dynamic config.",
                singular(resource.resource_type),
                resource.name
            )?;
            return Ok(out.flush()?);
        }
        None => every(cluster, entity.resource_type).await?,
    };
    for resource in resources {
        let configs = cluster.describe_config(&resource).await?;
        let shown = configs.iter().filter(|config| all || is_dynamic(&resource, config));
        print(&mut out, &resource, all, shown)?;
    }
    Ok(out.flush()?)
}

async fn exists(cluster: &Cluster, resource: &Resource) -> anyhow::Result<bool> {
    let name = resource.name.as_str();
    Ok(match resource.resource_type {
        ResourceType::Broker if name.is_empty() => true,
        ResourceType::Broker | ResourceType::BrokerLogger => {
            cluster.nodes().await?.keys().any(|node| node.to_string() == name)
        }
        ResourceType::Topic => {
            refuse_controllers(cluster)?;
            topic_name::validate(name).map_err(anyhow::Error::msg)?;
            cluster.list_topics().await?.contains_key(name)
        }
        other => cluster.list_config_resources(other).await?.iter().any(|known| known == name),
    })
}

/// Every resource of that type; of brokers the default of all too.
async fn every(cluster: &Cluster, resource_type: ResourceType) -> anyhow::Result<Vec<Resource>> {
    let names: Vec<String> = match resource_type {
        ResourceType::Topic => {
            refuse_controllers(cluster)?;
            cluster.list_topics().await?.into_keys().map(|name| name.to_string()).collect()
        }
        ResourceType::Broker => {
            let live = cluster.nodes().await?;
            live.into_keys().map(|node| node.to_string()).chain([String::new()]).collect()
        }
        other => cluster.list_config_resources(other).await?,
    };
    Ok(names.into_iter().map(|name| Resource { resource_type, name }).collect())
}

/// Only brokers list topics.
fn refuse_controllers(cluster: &Cluster) -> anyhow::Result<()> {
    if cluster.options().endpoints == Endpoints::Controllers {
        bail!("Controllers do not list topics; use --bootstrap-server, or --describe --all of one");
    }
    Ok(())
}

fn singular(resource_type: ResourceType) -> &'static str {
    match resource_type {
        ResourceType::Topic => "topic",
        ResourceType::Broker => "broker",
        ResourceType::BrokerLogger => "broker-logger",
        // As Kafka's tool has it: the plural without its last letter.
        ResourceType::ClientMetrics => "client-metric",
        ResourceType::Group => "group",
    }
}

fn completed(resource: &Resource) -> String {
    if resource.name.is_empty() {
        return "Completed updating default config for brokers in the cluster.".to_owned();
    }
    format!("Completed updating config for {} {}.", singular(resource.resource_type), resource.name)
}

fn print<'a>(
    out: &mut impl Write,
    resource: &Resource,
    all: bool,
    configs: impl Iterator<Item = &'a DescribedConfig>,
) -> std::io::Result<()> {
    if resource.name.is_empty() {
        writeln!(out, "Default configs for brokers in the cluster are:")?;
    } else {
        let which = if all { "All" } else { "Dynamic" };
        let kind = singular(resource.resource_type);
        writeln!(out, "{which} configs for {kind} {} are:", resource.name)?;
    }
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "null".to_owned());
    for config in configs {
        let synonyms: Vec<String> = config
            .synonyms
            .iter()
            .map(|it| format!("{}:{}={}", it.source, it.name, shown(&it.value)))
            .collect();
        writeln!(
            out,
            "  {}={} sensitive={} synonyms={{{}}}",
            config.name,
            shown(&config.value),
            config.is_sensitive,
            synonyms.join(", ")
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::cli::client::configs::Synonym;

    #[test]
    fn lines_are_kafkas() {
        let synonym = |name: &str, value: &str, source| Synonym {
            name: name.to_owned(),
            value: Some(value.to_owned()),
            source: ConfigSource(source),
        };
        let config = DescribedConfig {
            name: "retention.ms".to_owned(),
            value: Some("5".to_owned()),
            source: ConfigSource(1),
            is_sensitive: false,
            synonyms: vec![
                synonym("retention.ms", "5", 1),
                synonym("log.retention.ms", "6", 3),
                synonym("log.retention.ms", "604800000", 5),
            ],
        };
        let none = DescribedConfig {
            name: "log.dirs".to_owned(),
            value: None,
            source: ConfigSource(5),
            is_sensitive: false,
            synonyms: vec![],
        };
        let level = DescribedConfig {
            name: "root".to_owned(),
            value: Some("INFO".to_owned()),
            source: ConfigSource(6),
            ..none.clone()
        };
        for (resource_type, name, all, configs, expected) in [
            (
                ResourceType::Topic,
                "t",
                false,
                vec![&config],
                "Dynamic configs for topic t are:\n  retention.ms=5 sensitive=false \
                 synonyms={DYNAMIC_TOPIC_CONFIG:retention.ms=5, \
                 DYNAMIC_DEFAULT_BROKER_CONFIG:log.retention.ms=6, \
                 DEFAULT_CONFIG:log.retention.ms=604800000}\n",
            ),
            (
                ResourceType::Broker,
                "1",
                true,
                vec![&none],
                "All configs for broker 1 are:\n  log.dirs=null sensitive=false synonyms={}\n",
            ),
            (
                ResourceType::Broker,
                "",
                false,
                vec![],
                "Default configs for brokers in the cluster are:\n",
            ),
            (
                ResourceType::BrokerLogger,
                "1",
                false,
                vec![&level],
                "Dynamic configs for broker-logger 1 are:\n  root=INFO sensitive=false \
                 synonyms={}\n",
            ),
            (ResourceType::Group, "g", false, vec![], "Dynamic configs for group g are:\n"),
            (
                ResourceType::ClientMetrics,
                "m",
                false,
                vec![],
                "Dynamic configs for client-metric m are:\n",
            ),
        ] {
            let mut out = Vec::new();
            let resource = Resource { resource_type, name: name.to_owned() };
            print(&mut out, &resource, all, configs.into_iter()).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
        let resource =
            |resource_type, name: &str| Resource { resource_type, name: name.to_owned() };
        assert_eq!(
            completed(&resource(ResourceType::Topic, "t")),
            "Completed updating config for topic t."
        );
        assert_eq!(
            completed(&resource(ResourceType::Broker, "")),
            "Completed updating default config for brokers in the cluster."
        );
    }
}
