//! What AlterConfigs and IncrementalAlterConfigs share: requests are looked through here, as far as this
//! node knows more than the controller (the keys of brokers and this node's file, and the levels of its
//! loggers, which stay here); the rest goes to the active controller. Each resource is answered by itself.
//!
//! Deviation: Kafka keeps keys of brokers that it does not know, for plug-ins; here they are refused with
//! INVALID_CONFIG, as nothing would read them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::broker::config::LiveConfig;
use crate::broker::controller_link::ControllerLink;
use crate::broker::loggers::{LevelChange, Loggers};
use crate::controller::machine::{
    AlterConfigs, Command, ConfigChange, ConfigOperation, Refusal, Reply, altered_configs,
};
use crate::metadata::{ConfigResource, Image, MetadataSource};
use crate::net::server::RequestContext;
use crate::types::{ErrorCode, NodeId, TopicName};

/// How long the controller may take: the requests have no timeout of their own.
const PATIENCE: Duration = Duration::from_secs(30);

/// One resource of a request, as it came.
pub(super) struct Asked {
    /// Kafka's number of its type.
    pub resource_type: i8,
    /// Its name.
    pub name: String,
    /// Its keys, each with Kafka's number of the operation and the value.
    pub keys: Vec<(String, i8, Option<String>)>,
    /// Whether what is not named is deleted.
    pub replaces: bool,
}

/// Kafka's number of "set".
pub(super) const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// Changes configurations for clients.
pub(crate) struct ConfigChanges {
    /// The way to the active controller.
    pub link: Arc<ControllerLink>,
    /// This node's configuration.
    pub live: LiveConfig,
    /// The committed image.
    pub metadata: Arc<dyn MetadataSource>,
    /// The loggers of this process.
    pub loggers: Arc<Loggers>,
}

/// A resource that was looked through.
enum Checked {
    /// The controller decides.
    ForController(ConfigResource, ConfigChange),
    /// Levels of this process.
    Levels(Vec<(String, LevelChange)>),
}

impl ConfigChanges {
    /// What became of each resource, in the order asked. What was changed this node has applied.
    pub(super) async fn alter(
        &self,
        asked: Vec<Asked>,
        validate_only: bool,
        context: &RequestContext,
    ) -> Vec<Result<(), Refusal>> {
        let mut resources = Vec::new();
        // What is done, and none for what the controller is asked.
        let mut done = Vec::new();
        for checked in self.check_all(&asked) {
            done.push(match checked {
                Ok(Checked::ForController(resource, change)) => {
                    resources.push((resource, change));
                    None
                }
                Ok(Checked::Levels(changes)) => Some(self.loggers.alter(&changes, validate_only)),
                Err(refusal) => Some(Err(refusal)),
            });
        }
        let mut decided = match resources.is_empty() {
            true => Vec::new(),
            false => self.submit(resources, validate_only, context).await,
        }
        .into_iter();
        let results = done.into_iter().map(|done| {
            done.unwrap_or_else(|| decided.next().unwrap_or_else(|| Err(unexpected())))
        });
        results.collect()
    }

    fn check_all(&self, asked: &[Asked]) -> Vec<Result<Checked, Refusal>> {
        let image = self.metadata.image();
        let mut counts: BTreeMap<(i8, &str), usize> = BTreeMap::new();
        for one in asked {
            *counts.entry((one.resource_type, &one.name)).or_default() += 1;
        }
        asked
            .iter()
            .map(|one| {
                if counts[&(one.resource_type, one.name.as_str())] > 1 {
                    return Err(invalid("Each resource must appear at most once."));
                }
                check(&self.live, &image, one)
            })
            .collect()
    }

    async fn submit(
        &self,
        resources: Vec<(ConfigResource, ConfigChange)>,
        validate_only: bool,
        context: &RequestContext,
    ) -> Vec<Result<(), Refusal>> {
        let count = resources.len();
        let all = |refusal: Refusal| vec![Err(refusal); count];
        let command =
            Command::AlterConfigs(AlterConfigs { resources: resources.clone(), validate_only });
        match self.link.submit(command, context, PATIENCE).await {
            Ok(Reply::AlteredConfigs(altered)) => {
                let results: Vec<_> = altered.into_iter().map(|altered| altered.result).collect();
                if !validate_only {
                    let done = resources.iter().zip(&results).filter(|(_, it)| it.is_ok());
                    let done: Vec<_> = done.map(|(resource, _)| resource).collect();
                    let is_there = |image: &Image| done.iter().all(|it| has_changed(image, it));
                    self.link.await_image(PATIENCE, is_there).await;
                    self.live.at(&self.metadata.image());
                }
                results
            }
            Ok(Reply::Refused(refusal)) => all(refusal),
            Ok(_) => all(unexpected()),
            Err(error) => all(error.into()),
        }
    }
}

/// Whether what was set is there; a later change by somebody else may have undone it, so that only what can
/// be told is asked: values that are set, and keys that are gone.
fn has_changed(image: &Image, (resource, change): &(ConfigResource, ConfigChange)) -> bool {
    let configs = image.config(resource);
    let value = |key: &str| configs.and_then(|configs| configs.get(key));
    match change {
        ConfigChange::Replace(set) => set.iter().all(|(key, set)| value(key) == Some(set)),
        ConfigChange::Incremental(operations) => {
            operations.iter().all(|(key, operation)| match operation {
                ConfigOperation::Set(set) => value(key) == Some(set),
                ConfigOperation::Delete => value(key).is_none(),
                ConfigOperation::Append(_) | ConfigOperation::Subtract(_) => true,
            })
        }
    }
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(ErrorCode::InvalidRequest, message)
}

fn unknown(key: &str) -> Refusal {
    Refusal::new(ErrorCode::InvalidConfig, format!("Unknown broker config name: {key}"))
}

fn unexpected() -> Refusal {
    ErrorCode::UnknownServerError.into()
}

/// One resource, as the controller is asked for it, or why it is not.
fn check(live: &LiveConfig, image: &Image, asked: &Asked) -> Result<Checked, Refusal> {
    let mut names = BTreeSet::new();
    if !asked.keys.iter().all(|(name, ..)| names.insert(name)) {
        return Err(invalid("Error due to duplicate config keys"));
    }
    let without_value = |(_, operation, value): &&(String, i8, Option<String>)| {
        *operation != DELETE && value.is_none()
    };
    let nulls: Vec<&str> =
        asked.keys.iter().filter(without_value).map(|(name, ..)| name.as_str()).collect();
    if !nulls.is_empty() {
        return Err(invalid(format!("Null value not supported for : {}", nulls.join(", "))));
    }
    if asked.resource_type == ConfigResource::BROKER_LOGGER {
        return levels(live.started_with().node_id, asked);
    }
    let resource = resource(live, asked)?;
    let change = change(asked)?;
    if matches!(resource, ConfigResource::Broker(_) | ConfigResource::DefaultBroker) {
        check_broker(live, image, &resource, &change)?;
    }
    Ok(Checked::ForController(resource, change))
}

fn resource(live: &LiveConfig, asked: &Asked) -> Result<ConfigResource, Refusal> {
    let name = asked.name.as_str();
    match asked.resource_type {
        ConfigResource::TOPIC => Ok(ConfigResource::Topic(TopicName::new(name))),
        ConfigResource::BROKER if name.is_empty() => Ok(ConfigResource::DefaultBroker),
        ConfigResource::BROKER => {
            let node: i32 = name
                .parse()
                .map_err(|_| invalid(format!("Node id must be an integer, but it is: {name}")))?;
            let own = live.started_with().node_id;
            if node != own.0 {
                return Err(invalid(format!(
                    "Unexpected broker id, expected {own}, but received {name}"
                )));
            }
            Ok(ConfigResource::Broker(NodeId(node)))
        }
        ConfigResource::GROUP => Ok(ConfigResource::Group(name.to_owned())),
        ConfigResource::CLIENT_METRICS => Ok(ConfigResource::ClientMetrics(name.to_owned())),
        other => Err(invalid(format!("Unknown resource type {other}"))),
    }
}

fn levels(own: NodeId, asked: &Asked) -> Result<Checked, Refusal> {
    if asked.replaces {
        return Err(invalid(
            "AlterConfigs is deprecated and does not support the resource type BROKER_LOGGER.",
        ));
    }
    let name = asked.name.as_str();
    let node: i32 = name
        .parse()
        .map_err(|_| invalid(format!("Node id must be an integer, but it is: {name}")))?;
    if node != own.0 {
        return Err(invalid(format!("Unexpected node id. Expected {own}, but received {name}")));
    }
    let changes = asked.keys.iter().map(|(logger, operation, level)| {
        let change = match *operation {
            SET => LevelChange::Set(level.clone().unwrap_or_default()),
            DELETE => LevelChange::Delete,
            APPEND => LevelChange::Other("APPEND operation".to_owned()),
            SUBTRACT => LevelChange::Other("SUBTRACT operation".to_owned()),
            other => LevelChange::Other(format!("Unknown operation type {other}")),
        };
        (logger.clone(), change)
    });
    Ok(Checked::Levels(changes.collect()))
}

fn change(asked: &Asked) -> Result<ConfigChange, Refusal> {
    let value = |value: &Option<String>| value.clone().unwrap_or_default();
    if asked.replaces {
        let set = asked.keys.iter().map(|(name, _, set)| (name.clone(), value(set)));
        return Ok(ConfigChange::Replace(set.collect()));
    }
    let operations = asked.keys.iter().map(|(name, operation, set)| {
        let operation = match *operation {
            SET => ConfigOperation::Set(value(set)),
            DELETE => ConfigOperation::Delete,
            APPEND => ConfigOperation::Append(value(set)),
            SUBTRACT => ConfigOperation::Subtract(value(set)),
            other => return Err(invalid(format!("Unknown operations type {other}"))),
        };
        Ok((name.clone(), operation))
    });
    Ok(ConfigChange::Incremental(operations.collect::<Result<_, Refusal>>()?))
}

/// What only brokers know: their keys, and whether values fit what this one was started with.
fn check_broker(
    live: &LiveConfig,
    image: &Image,
    resource: &ConfigResource,
    change: &ConfigChange,
) -> Result<(), Refusal> {
    if let ConfigChange::Incremental(operations) = change {
        operations.iter().try_for_each(|(key, operation)| check_list(key, operation))?;
    }
    let now = image.config(resource).cloned().unwrap_or_default();
    let next = altered_configs(resource, &now, change)?;
    if let Some(key) = next.keys().find(|key| !LiveConfig::is_known(key)) {
        return Err(unknown(key));
    }
    live.judge(image, resource, &next).map_err(invalid)
}

/// Whether the key may be changed so.
fn check_list(key: &str, operation: &ConfigOperation) -> Result<(), Refusal> {
    let verb = match operation {
        ConfigOperation::Set(_) | ConfigOperation::Delete => return Ok(()),
        ConfigOperation::Append(_) => "append",
        ConfigOperation::Subtract(_) => "subtract",
    };
    if !LiveConfig::is_known(key) {
        return Err(unknown(key));
    }
    if LiveConfig::is_list(key) {
        return Ok(());
    }
    let message = format!("Config value {verb} is not allowed for config key: {key}");
    Err(Refusal::new(ErrorCode::InvalidConfig, message))
}
