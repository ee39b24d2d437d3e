//! Configurations change while the cluster runs: of topics, brokers, groups and subscriptions to the
//! metrics of clients. Judged in Kafka's order and words, each resource by itself.
//!
//! The values of a broker's own keys are judged by that broker before it asks (only it knows its
//! file); here only what the whole cluster depends on.

use std::collections::BTreeMap;

use crate::controller::machine::draft::{Draft, min_isr};
use crate::controller::machine::settings::Settings;
use crate::controller::machine::{
    AlterConfigs, AlteredConfig, ConfigChange, ConfigOperation, Decision, Refusal, Reply, Situation,
};
use crate::metadata::election::{self, Change, Search};
use crate::metadata::{
    Cause, ConfigResource, MetadataRecord, Partition, Topic, client_metrics_config, group_config,
    topic_config, topic_name,
};
use crate::types::{ErrorCode, PartitionId};

/// What one resource's changes may weigh together: an entry of the metadata log holds them all.
const MAX_CHANGE_BYTES: usize = 512 * 1024;

const MIN_ISR: &str = "min.insync.replicas";

/// A configuration by key.
type Configs = BTreeMap<String, String>;

/// Decides every resource by itself, each on top of those before it.
pub(super) fn alter(situation: &Situation<'_>, request: AlterConfigs) -> Decision {
    let mut image = situation.image.clone();
    let (mut groups, mut altered) = (Vec::new(), Vec::new());
    for (resource, change) in request.resources {
        let situation = Situation { image: &image, ..*situation };
        let mut draft = Draft::default();
        let result = plan(&situation, &resource, &change).map(|next| {
            if !request.validate_only {
                commit(&situation, &mut draft, &resource, &next);
            }
        });
        let decided = draft.reply(Reply::Done).groups;
        for record in decided.iter().flatten() {
            // A record that does not fit is found by whoever applies the whole.
            let _ = image.apply(record);
        }
        groups.extend(decided);
        altered.push(AlteredConfig { resource, result });
    }
    Decision { groups, notes: Vec::new(), reply: Reply::AlteredConfigs(altered) }
}

/// The configuration as it is to be.
fn plan(
    situation: &Situation<'_>,
    resource: &ConfigResource,
    change: &ConfigChange,
) -> Result<Configs, Refusal> {
    let now = current(situation, resource);
    let next = altered_configs(resource, &now, change)?;
    validate(situation, resource, &now, &next)?;
    exists(situation, resource)?;
    let weight: usize =
        changed(&now, &next).map(|(key, value)| key.len() + value.map_or(0, str::len)).sum();
    if weight > MAX_CHANGE_BYTES {
        let message = format!("The changes to {resource} take more than {MAX_CHANGE_BYTES} bytes.");
        return Err(Refusal::new(ErrorCode::InvalidRequest, message));
    }
    Ok(next)
}

/// What `change` makes of a configuration, before anybody has judged it.
///
/// # Errors
/// INVALID_CONFIG: something is to be appended to what is no list.
pub fn altered_configs(
    resource: &ConfigResource,
    now: &Configs,
    change: &ConfigChange,
) -> Result<Configs, Refusal> {
    match change {
        ConfigChange::Replace(configs) => Ok(configs.iter().cloned().collect()),
        ConfigChange::Incremental(operations) => {
            let mut next = now.clone();
            for (key, operation) in operations {
                apply(resource, &mut next, key, operation)?;
            }
            Ok(next)
        }
    }
}

fn current(situation: &Situation<'_>, resource: &ConfigResource) -> Configs {
    situation.image.config(resource).map(|configs| (**configs).clone()).unwrap_or_default()
}

/// Every key whose value differs, with the value from now on.
fn changed<'a>(
    now: &'a Configs,
    next: &'a Configs,
) -> impl Iterator<Item = (&'a str, Option<&'a str>)> {
    let set = next.iter().filter(|(key, value)| now.get(*key) != Some(value));
    let set = set.map(|(key, value)| (key.as_str(), Some(value.as_str())));
    let removed = now.keys().filter(|key| !next.contains_key(*key));
    set.chain(removed.map(|key| (key.as_str(), None)))
}

fn apply(
    resource: &ConfigResource,
    configs: &mut Configs,
    key: &str,
    operation: &ConfigOperation,
) -> Result<(), Refusal> {
    let (items, name) = match operation {
        ConfigOperation::Set(value) => {
            configs.insert(key.to_owned(), value.clone());
            return Ok(());
        }
        ConfigOperation::Delete => {
            configs.remove(key);
            return Ok(());
        }
        ConfigOperation::Append(items) => (items, "APPEND"),
        ConfigOperation::Subtract(items) => (items, "SUBTRACT"),
    };
    let Some(default) = list_default(resource, key) else {
        let message = format!("Can't {name} to key {key} because its type is not LIST.");
        return Err(Refusal::new(ErrorCode::InvalidConfig, message));
    };
    let split = |list: &str| -> Vec<String> {
        let items = list.split(',').map(str::trim).filter(|item| !item.is_empty());
        items.map(str::to_owned).collect()
    };
    let mut list = split(configs.get(key).map_or(default, String::as_str));
    for item in split(items) {
        let place = list.iter().position(|present| *present == item);
        match (operation, place) {
            (ConfigOperation::Append(_), None) => list.push(item),
            (ConfigOperation::Subtract(_), Some(place)) => {
                list.remove(place);
            }
            _ => {}
        }
    }
    configs.insert(key.to_owned(), list.join(","));
    Ok(())
}

/// What a list begins with that nobody has set; none if the key is no list.
fn list_default(resource: &ConfigResource, key: &str) -> Option<&'static str> {
    let (kind, default) = match resource {
        ConfigResource::Topic(_) => topic_config::key(key).map(|key| (key.kind, key.default)),
        ConfigResource::Broker(_) | ConfigResource::DefaultBroker => {
            let mut keys = topic_config::KEYS.iter();
            keys.find(|topic| topic.synonyms.iter().any(|synonym| synonym.name == key))
                .map(|key| (key.kind, key.default))
        }
        ConfigResource::Group(_) => group_config::key(key).map(|key| (key.kind, key.default)),
        ConfigResource::ClientMetrics(_) => {
            client_metrics_config::key(key).map(|key| (key.kind, key.default))
        }
    }?;
    kind.is_list().then_some(default)
}

fn validate(
    situation: &Situation<'_>,
    resource: &ConfigResource,
    now: &Configs,
    next: &Configs,
) -> Result<(), Refusal> {
    let invalid = |message| Refusal::new(ErrorCode::InvalidConfig, message);
    match resource {
        ConfigResource::Topic(name) if name.is_empty() => {
            let message = "Default topic resources are not allowed.";
            Err(Refusal::new(ErrorCode::InvalidRequest, message))
        }
        ConfigResource::Topic(name) => {
            topic_name::validate(name)
                .map_err(|message| Refusal::new(ErrorCode::InvalidTopicException, message))?;
            let configs = next.iter().map(|(key, value)| (key.as_str(), Some(value.as_str())));
            topic_config::validate(configs).map_err(invalid)
        }
        // Brokers would differ in what they take for the minimum, and then in who is eligible.
        ConfigResource::Broker(_) if now.get(MIN_ISR) != next.get(MIN_ISR) => Err(invalid(
            "Broker-level min.insync.replicas cannot be altered while ELR is enabled.".to_owned(),
        )),
        ConfigResource::Broker(_) | ConfigResource::DefaultBroker => Ok(()),
        ConfigResource::Group(name) if name.is_empty() => {
            Err(Refusal::new(ErrorCode::InvalidRequest, "Group name can't be empty."))
        }
        ConfigResource::Group(_) => {
            group_config::validate(next, &situation.options.broker_defaults).map_err(invalid)
        }
        ConfigResource::ClientMetrics(name) => client_metrics_config::validate(name, next)
            .map_err(|(code, message)| Refusal::new(code, message)),
    }
}

fn exists(situation: &Situation<'_>, resource: &ConfigResource) -> Result<(), Refusal> {
    match resource {
        ConfigResource::Topic(name) if situation.image.topic(name).is_none() => {
            let message = format!("The topic '{name}' does not exist.");
            Err(Refusal::new(ErrorCode::UnknownTopicOrPartition, message))
        }
        ConfigResource::Broker(node)
            if situation.image.broker(*node).is_none() && situation.options.node_id != *node =>
        {
            let message = format!("No node with id {node} found.");
            Err(Refusal::new(ErrorCode::BrokerIdNotRegistered, message))
        }
        _ => Ok(()),
    }
}

/// Records what differs. Where the minimum of replicas in sync falls to what is in sync already, the
/// eligible leaders are no more: from now on records are acknowledged that they do not have. They go
/// first, so that no entry in between has a low minimum beside them.
fn commit(situation: &Situation<'_>, draft: &mut Draft, resource: &ConfigResource, next: &Configs) {
    let now = current(situation, resource);
    if changed(&now, next).next().is_none() {
        return;
    }
    if now.get(MIN_ISR) != next.get(MIN_ISR) {
        settle_eligible(situation, draft, resource, next.get(MIN_ISR).map(String::as_str));
    }
    draft.begin_group();
    for (key, value) in changed(&now, next) {
        draft.push(MetadataRecord::Config {
            resource: resource.clone(),
            key: key.to_owned(),
            value: value.map(str::to_owned),
        });
    }
}

fn settle_eligible(
    situation: &Situation<'_>,
    draft: &mut Draft,
    resource: &ConfigResource,
    value: Option<&str>,
) {
    for (topic, index, partition) in situation.image.partitions() {
        let settings = Settings::of(situation, topic);
        let configured = match resource {
            ConfigResource::Topic(name) if *name == topic.name => {
                settings.min_insync_replicas_with(Some(value), None)
            }
            ConfigResource::DefaultBroker => settings.min_insync_replicas_with(None, Some(value)),
            _ => continue,
        };
        let min_isr = election::effective_min_isr(configured, partition.replicas.len());
        if let Some(next) = without_eligible(partition, min_isr) {
            push(draft, topic, index, next);
        }
    }
}

/// Ends the eligible leaders of partitions that have the minimum in sync as this controller sees it.
/// A change of the configuration does so by itself; this is for a controller whose file has a lower
/// minimum than the one before it: leaders commit nothing while there are any. Whether it did anything.
pub(super) fn settle_by_minimum(situation: &Situation<'_>, draft: &mut Draft) -> bool {
    let mut has_settled = false;
    // Few have any, and every tick comes here: what each topic's minimum is, is asked for those only.
    let eligible = situation.image.partitions().filter(|(_, _, partition)| has_eligible(partition));
    for (topic, index, partition) in eligible {
        let min_isr = min_isr(situation, topic, partition);
        if let Some(next) = without_eligible(partition, min_isr) {
            push(draft, topic, index, next);
            has_settled = true;
        }
    }
    has_settled
}

fn push(draft: &mut Draft, topic: &Topic, index: PartitionId, next: Partition) {
    draft.push_partition(topic, index, next, Cause::ConfigChanged);
}

fn has_eligible(partition: &Partition) -> bool {
    !partition.elr.is_empty() || !partition.last_known_elr.is_empty()
}

/// The partition at that minimum, if it has eligible leaders that end with it.
fn without_eligible(partition: &Partition, min_isr: usize) -> Option<Partition> {
    if !has_eligible(partition) || partition.leader.is_none() || partition.isr.len() < min_isr {
        return None;
    }
    let change = Change {
        isr: partition.isr.clone(),
        unclean: &[],
        min_isr,
        search: Search::Any,
        may_lead: &|_| true,
    };
    election::change(partition, &change).map(|outcome| outcome.partition)
}
