//! The flags of `configs`, which of them go together, and what they mean.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::bail;
use clap::Args;

use crate::cli::client::admin::Endpoints;
use crate::cli::client::configs::{Resource, ResourceType};
use crate::cli::connection::{CommandConfigArgs, ConnectionArgs};
use crate::cli::properties::Properties;

/// Show and change configurations while the cluster runs
#[derive(Debug, Clone, Args)]
pub struct ConfigsArgs {
    #[command(flatten)]
    pub(super) connection: ConnectionArgs,
    /// The controllers to ask, instead of brokers: HOST:PORT,HOST:PORT
    #[arg(long, value_name = "SERVERS")]
    bootstrap_controller: Option<String>,
    #[command(flatten)]
    pub(super) config_file: CommandConfigArgs,

    /// Show what is set
    #[arg(long)]
    pub(super) describe: bool,
    /// Change what is set
    #[arg(long)]
    pub(super) alter: bool,
    /// Show what is not set too, with --describe
    #[arg(long)]
    pub(super) all: bool,

    /// What is configured: topics, brokers, broker-loggers, groups or client-metrics
    #[arg(long, value_name = "TYPE")]
    entity_type: Vec<String>,
    /// Its name: a topic, a broker's id, a group, or a subscription to the metrics of clients
    #[arg(long, value_name = "NAME")]
    entity_name: Option<String>,
    /// All brokers that have no value of their own
    #[arg(long)]
    entity_default: bool,
    /// A topic: --entity-type topics --entity-name in short
    #[arg(long, value_name = "NAME")]
    topic: Option<String>,
    /// A broker: --entity-type brokers --entity-name in short
    #[arg(long, value_name = "ID")]
    broker: Option<String>,
    /// The loggers of a broker: --entity-type broker-loggers --entity-name in short
    #[arg(long, value_name = "ID")]
    broker_logger: Option<String>,
    /// All brokers: --entity-type brokers --entity-default in short
    #[arg(long)]
    broker_defaults: bool,
    /// A group: --entity-type groups --entity-name in short
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// A subscription to the metrics of clients: --entity-type client-metrics --entity-name in short
    #[arg(long, value_name = "NAME")]
    client_metrics: Option<String>,

    /// What to set: KEY=VALUE,KEY=[VALUE,VALUE]
    #[arg(long, value_name = "PAIRS")]
    add_config: Option<String>,
    /// A properties file with what to set
    #[arg(long, value_name = "FILE")]
    add_config_file: Option<PathBuf>,
    /// What to set no more: KEY,KEY
    #[arg(long, value_name = "KEYS", value_delimiter = ',')]
    delete_config: Vec<String>,
    /// Taken for Kafka's sake: nothing is asked anyway
    #[arg(long, hide = true)]
    force: bool,
}

/// What the tool shall do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Describe,
    Alter,
}

/// What is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entity {
    pub(super) resource_type: ResourceType,
    /// Empty: the default of all. None: every one that there is.
    pub(super) name: Option<String>,
}

impl Entity {
    /// The one resource that is meant; none if all are.
    pub(super) fn resource(&self) -> Option<Resource> {
        let (resource_type, name) = (self.resource_type, self.name.clone()?);
        Some(Resource { resource_type, name })
    }

    /// Why nothing can be changed without a name.
    pub(super) fn unnamed(&self) -> String {
        match self.resource_type {
            ResourceType::Broker => {
                "An entity-name or default entity must be specified with --alter \
                                     of brokers: --broker ID or --broker-defaults"
                    .to_owned()
            }
            other => format!("An entity name must be specified with --alter of {}", plural(other)),
        }
    }
}

fn plural(resource_type: ResourceType) -> &'static str {
    match resource_type {
        ResourceType::Topic => "topics",
        ResourceType::Broker => "brokers",
        ResourceType::BrokerLogger => "broker-loggers",
        ResourceType::ClientMetrics => "client-metrics",
        ResourceType::Group => "groups",
    }
}

fn resource_type(text: &str) -> anyhow::Result<ResourceType> {
    Ok(match text {
        "topics" => ResourceType::Topic,
        "brokers" => ResourceType::Broker,
        "groups" => ResourceType::Group,
        "client-metrics" => ResourceType::ClientMetrics,
        "broker-loggers" => ResourceType::BrokerLogger,
        "users" | "clients" | "ips" => {
            bail!("{text} have no configuration here: there are no quotas and no accounts yet")
        }
        other => bail!(
            "Invalid entity type {other}, the entity type must be one of topics, brokers, \
             broker-loggers, groups, client-metrics"
        ),
    })
}

impl ConfigsArgs {
    /// The one action asked for.
    pub(super) fn action(&self) -> anyhow::Result<Action> {
        let adds = self.add_config.is_some() || self.add_config_file.is_some();
        let deletes = !self.delete_config.is_empty();
        match (self.describe, self.alter) {
            (true, false) if adds || deletes => {
                bail!("--add-config, --add-config-file and --delete-config go with --alter")
            }
            (true, false) => Ok(Action::Describe),
            (false, true) if self.all => bail!("--all goes with --describe"),
            (false, true) if self.add_config.is_some() && self.add_config_file.is_some() => {
                bail!("Only one of --add-config or --add-config-file must be specified")
            }
            (false, true) if !adds && !deletes => bail!(
                "At least one of --add-config, --add-config-file, or --delete-config must be \
                 specified with --alter"
            ),
            (false, true) => Ok(Action::Alter),
            _ => bail!("Command must include exactly one action: --describe, --alter"),
        }
    }

    /// Whom to ask, and what they are.
    pub(super) fn servers(&self, properties: &Properties) -> anyhow::Result<(String, Endpoints)> {
        let brokers =
            self.connection.bootstrap_server.as_ref().or(self.connection.broker_list.as_ref());
        match &self.bootstrap_controller {
            Some(_) if brokers.is_some() => {
                bail!("Only one of --bootstrap-server or --bootstrap-controller can be specified")
            }
            Some(controllers) => Ok((controllers.clone(), Endpoints::Controllers)),
            None => Ok((self.connection.servers(properties)?, Endpoints::Brokers)),
        }
    }

    /// What is configured.
    pub(super) fn entity(&self) -> anyhow::Result<Entity> {
        let named = |resource_type, name: &Option<String>| {
            name.clone().map(|name| Entity { resource_type, name: Some(name) })
        };
        let defaults = self
            .broker_defaults
            .then(|| Entity { resource_type: ResourceType::Broker, name: Some(String::new()) });
        let short: Vec<Entity> = [
            named(ResourceType::Topic, &self.topic),
            named(ResourceType::Broker, &self.broker),
            named(ResourceType::BrokerLogger, &self.broker_logger),
            named(ResourceType::Group, &self.group),
            named(ResourceType::ClientMetrics, &self.client_metrics),
            defaults,
        ]
        .into_iter()
        .flatten()
        .collect();
        let long =
            !self.entity_type.is_empty() || self.entity_name.is_some() || self.entity_default;
        let entity = match (&short[..], &self.entity_type[..]) {
            ([_, ..], _) if long => bail!(
                "--entity-{{type,name,default}} should not be used in conjunction with specific \
                 entity flags"
            ),
            ([entity], _) => entity.clone(),
            ([], [text]) => Entity { resource_type: resource_type(text)?, name: self.long_name()? },
            ([], []) => bail!(
                "At least one entity type must be specified: --topic, --broker, --broker-logger, \
                 --broker-defaults, --group, --client-metrics or --entity-type"
            ),
            _ => bail!("Only one entity may be specified"),
        };
        check(&entity)?;
        Ok(entity)
    }

    fn long_name(&self) -> anyhow::Result<Option<String>> {
        match (&self.entity_name, self.entity_default) {
            (Some(_), true) => bail!("--entity-name and --entity-default exclude each other"),
            (Some(name), false) => Ok(Some(name.clone())),
            (None, true) => Ok(Some(String::new())),
            (None, false) => Ok(None),
        }
    }

    /// What is to be set.
    pub(super) fn added(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let mut added = BTreeMap::new();
        if let Some(file) = &self.add_config_file {
            let properties = Properties::from_file(file)?;
            for key in properties.keys() {
                let value = properties.get(key).unwrap_or_default();
                added.insert(key.to_owned(), value.trim().to_owned());
            }
        }
        if let Some(text) = &self.add_config {
            added.extend(parse_pairs(text)?);
        }
        let is_key = |key: &str| {
            key.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter))
        };
        if let Some(key) = added.keys().find(|key| !is_key(key)) {
            bail!("Invalid character found for config key: {key}");
        }
        Ok(added)
    }

    /// What is to be set no more.
    pub(super) fn deleted(&self) -> Vec<String> {
        let keys = self.delete_config.iter().map(|key| key.trim().to_owned());
        keys.filter(|key| !key.is_empty()).collect()
    }
}

fn check(entity: &Entity) -> anyhow::Result<()> {
    match (entity.resource_type, entity.name.as_deref()) {
        (ResourceType::BrokerLogger, None) => {
            bail!("An entity name must be specified for broker-loggers: --broker-logger ID")
        }
        (kind @ (ResourceType::Broker | ResourceType::BrokerLogger), Some(name))
            if !name.is_empty() =>
        {
            if name.parse::<i32>().is_err() {
                let kind = plural(kind);
                bail!(
                    "The entity name for {kind} must be a valid integer broker id, but it is: {name}"
                );
            }
        }
        (ResourceType::Broker, _) | (_, None) => {}
        (other, Some("")) => bail!("{} have no default: name one", plural(other)),
        (_, Some(_)) => {}
    }
    Ok(())
}

/// Reads `key=value,key=[value,value]`: commas within brackets separate nothing.
fn parse_pairs(text: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let mut pairs = vec![String::new()];
    let mut within = false;
    for letter in text.chars() {
        match letter {
            ',' if !within => pairs.push(String::new()),
            '[' => within = true,
            ']' => within = false,
            other => {
                if let Some(last) = pairs.last_mut() {
                    last.push(other);
                }
            }
        }
    }
    let mut parsed = BTreeMap::new();
    for pair in pairs {
        let Some((key, value)) = pair.split_once('=').filter(|(key, _)| !key.trim().is_empty())
        else {
            bail!(
                "Invalid entity config: all configs to be added must be in the format \"key=val\" or \
                 \"key=[val1,val2]\" to group values which contain commas, but one is '{pair}'"
            );
        };
        parsed.insert(key.trim().to_owned(), value.trim().to_owned());
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Only {
        #[command(flatten)]
        configs: ConfigsArgs,
    }

    fn args(line: &str) -> ConfigsArgs {
        let words = std::iter::once("configs").chain(line.split_whitespace());
        Only::try_parse_from(words).unwrap_or_else(|error| panic!("{line}\n{error}")).configs
    }

    #[test]
    fn the_commands_of_kafkas_documentation_are_understood() {
        use ResourceType::{Broker, BrokerLogger, ClientMetrics, Group, Topic};
        for (line, action, resource_type, name) in [
            (
                "--bootstrap-server localhost:9092 --entity-type topics --entity-name my-topic \
                 --alter --add-config max.message.bytes=128000",
                Action::Alter,
                Topic,
                Some("my-topic"),
            ),
            (
                "--entity-type brokers --entity-default --describe",
                Action::Describe,
                Broker,
                Some(""),
            ),
            (
                "--entity-type brokers --entity-name 0 --describe --all",
                Action::Describe,
                Broker,
                Some("0"),
            ),
            ("--entity-type brokers --describe", Action::Describe, Broker, None),
            (
                "--broker 0 --alter --delete-config log.cleaner.threads",
                Action::Alter,
                Broker,
                Some("0"),
            ),
            (
                "--broker-defaults --alter --add-config-file new.properties",
                Action::Alter,
                Broker,
                Some(""),
            ),
            (
                "--bootstrap-controller localhost:9093 --entity-type broker-loggers --entity-name 1 \
                 --alter --add-config ottla.net=DEBUG",
                Action::Alter,
                BrokerLogger,
                Some("1"),
            ),
            ("--broker-logger 1 --describe", Action::Describe, BrokerLogger, Some("1")),
            ("--topic t --describe", Action::Describe, Topic, Some("t")),
            ("--group g --describe", Action::Describe, Group, Some("g")),
            ("--entity-type groups --describe", Action::Describe, Group, None),
            (
                "--client-metrics m --alter --add-config interval.ms=100",
                Action::Alter,
                ClientMetrics,
                Some("m"),
            ),
        ] {
            let args = args(line);
            let name = name.map(str::to_owned);
            assert_eq!(args.action().unwrap(), action, "{line}");
            assert_eq!(args.entity().unwrap(), Entity { resource_type, name }, "{line}");
        }
    }

    #[test]
    fn flags_that_do_not_go_together_are_refused() {
        for (line, says) in [
            ("--topic t", "exactly one action"),
            ("--topic t --describe --alter", "exactly one action"),
            ("--topic t --describe --add-config a=b", "go with --alter"),
            ("--topic t --alter", "At least one of --add-config"),
            ("--topic t --alter --all --add-config a=b", "--all goes with --describe"),
            ("--topic t --alter --add-config a=b --add-config-file f", "Only one of"),
            ("--describe", "At least one entity type"),
            ("--describe --topic t --group g", "Only one entity"),
            ("--describe --topic t --entity-name t", "should not be used in conjunction"),
            ("--describe --entity-type users --entity-name u", "no accounts yet"),
            ("--describe --entity-type broker-loggers", "--broker-logger ID"),
            ("--describe --broker-logger one", "valid integer broker id, but it is: one"),
            ("--describe --entity-type broker-loggers --entity-default", "have no default"),
            ("--describe --broker 1 --broker-logger 1", "Only one entity"),
            ("--describe --entity-type things", "must be one of topics, brokers"),
            ("--describe --entity-type topics --entity-default", "topics have no default"),
            ("--describe --broker one", "valid integer broker id, but it is: one"),
            ("--topic t --alter --add-config a", "all configs to be added must be"),
            ("--topic t --alter --add-config a$=1", "Invalid character found for config key: a$"),
        ] {
            let args = args(line);
            let outcome = args.action().and_then(|_| args.entity()).and_then(|_| args.added());
            let error = outcome.unwrap_err().to_string();
            assert!(error.contains(says), "{line}: {error}");
        }
        let entity = Entity { resource_type: ResourceType::Broker, name: None };
        assert!(entity.unnamed().contains("--broker-defaults"));
    }

    #[test]
    fn brokers_or_controllers_are_asked() {
        let properties = Properties::default();
        let to = |line: &str| args(line).servers(&properties);
        let controllers = to("--describe --broker 1 --bootstrap-controller a:1,b:2").unwrap();
        assert_eq!(controllers, ("a:1,b:2".to_owned(), Endpoints::Controllers));
        let brokers = to("--describe --broker 1 --bootstrap-server a:1").unwrap();
        assert_eq!(brokers, ("a:1".to_owned(), Endpoints::Brokers));
        let both = to("--describe --broker 1 --bootstrap-server a:1 --bootstrap-controller b:2");
        assert!(both.unwrap_err().to_string().contains("Only one of --bootstrap-server"));
    }

    #[test]
    fn lists_stand_in_brackets() {
        let added = args("--topic t --alter --add-config cleanup.policy=[compact,delete],a=,b=x=y");
        let added = added.added().unwrap();
        let pairs: Vec<_> = added.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(pairs, [("a", ""), ("b", "x=y"), ("cleanup.policy", "compact,delete")]);
        let deleted = args("--topic t --alter --delete-config a,b");
        assert_eq!(deleted.deleted(), ["a", "b"]);
    }
}
