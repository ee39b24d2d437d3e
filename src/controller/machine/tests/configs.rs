//! Configurations change while the cluster runs.

use super::*;
use crate::metadata::ConfigResource;

fn topic(name: &str) -> ConfigResource {
    ConfigResource::Topic(name.into())
}

fn broker(node: i32) -> ConfigResource {
    ConfigResource::Broker(NodeId(node))
}

fn group(name: &str) -> ConfigResource {
    ConfigResource::Group(name.into())
}

fn set(pairs: &[(&str, &str)]) -> ConfigChange {
    let operations = pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), ConfigOperation::Set((*value).to_owned())));
    ConfigChange::Incremental(operations.collect())
}

fn one(key: &str, operation: ConfigOperation) -> ConfigChange {
    ConfigChange::Incremental(vec![(key.to_owned(), operation)])
}

fn alter_all(
    world: &mut World,
    resources: Vec<(ConfigResource, ConfigChange)>,
    validate_only: bool,
) -> Vec<Result<(), (ErrorCode, String)>> {
    let command = Command::AlterConfigs(AlterConfigs { resources, validate_only });
    match world.run(command) {
        Reply::AlteredConfigs(altered) => altered
            .into_iter()
            .map(|altered| altered.result.map_err(|refusal| (refusal.code, refusal.message)))
            .collect(),
        other => panic!("{other:?}"),
    }
}

fn alter(
    world: &mut World,
    resource: ConfigResource,
    change: ConfigChange,
) -> Result<(), (ErrorCode, String)> {
    alter_all(world, vec![(resource, change)], false).remove(0)
}

fn configs(world: &World, resource: &ConfigResource) -> String {
    let configs = world.image.config(resource).cloned().unwrap_or_default();
    configs.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
}

#[test]
fn keys_are_set_deleted_appended_to_and_taken_from() {
    use ConfigOperation::{Append, Delete, Set, Subtract};
    let text = |value: &str| value.to_owned();
    let mut world = World::of(3).with_topic();
    for (key, operation, expected) in [
        ("retention.ms", Set(text("7")), "retention.ms=7"),
        ("cleanup.policy", Append(text("compact")), "cleanup.policy=delete,compact retention.ms=7"),
        ("cleanup.policy", Append(text("compact")), "cleanup.policy=delete,compact retention.ms=7"),
        ("cleanup.policy", Subtract(text("delete,x")), "cleanup.policy=compact retention.ms=7"),
        ("retention.ms", Delete, "cleanup.policy=compact"),
        ("retention.ms", Delete, "cleanup.policy=compact"),
        ("cleanup.policy", Subtract(text("compact")), "cleanup.policy="),
    ] {
        assert_eq!(alter(&mut world, topic("t"), one(key, operation.clone())), Ok(()));
        assert_eq!(configs(&world, &topic("t")), expected, "{operation:?}");
    }
    let all = ConfigChange::Replace(vec![(text("segment.ms"), text("9"))]);
    assert_eq!(alter(&mut world, topic("t"), all), Ok(()));
    assert_eq!(configs(&world, &topic("t")), "segment.ms=9");
}

#[test]
fn what_cannot_be_is_refused_in_kafkas_words_and_changes_nothing() {
    use ErrorCode::{
        BrokerIdNotRegistered, InvalidConfig, InvalidRequest, InvalidTopicException,
        UnknownTopicOrPartition,
    };
    let append = one("retention.ms", ConfigOperation::Append("1".to_owned()));
    let subtract = one("nonsense", ConfigOperation::Subtract("1".to_owned()));
    let metrics = |name: &str| ConfigResource::ClientMetrics(name.to_owned());
    let cases = [
        (
            topic("t"),
            set(&[("nonsense", "1")]),
            InvalidConfig,
            "Unknown topic config name: nonsense",
        ),
        (
            topic("t"),
            set(&[("min.insync.replicas", "0")]),
            InvalidConfig,
            "Invalid value 0 for configuration min.insync.replicas: Value must be at least 1",
        ),
        (
            topic("t"),
            set(&[("min.compaction.lag.ms", "9"), ("max.compaction.lag.ms", "8")]),
            InvalidConfig,
            "conflict topic config setting min.compaction.lag.ms (9) > max.compaction.lag.ms (8)",
        ),
        (
            topic("t"),
            append,
            InvalidConfig,
            "Can't APPEND to key retention.ms because its type is not LIST.",
        ),
        (
            topic("t"),
            subtract,
            InvalidConfig,
            "Can't SUBTRACT to key nonsense because its type is not LIST.",
        ),
        (
            topic("u"),
            set(&[("retention.ms", "1")]),
            UnknownTopicOrPartition,
            "The topic 'u' does not exist.",
        ),
        (topic("u"), set(&[("retention.ms", "x")]), InvalidConfig, "Not a number of type LONG"),
        (topic("a/b"), set(&[]), InvalidTopicException, "a/b"),
        (topic(""), set(&[]), InvalidRequest, "Default topic resources are not allowed."),
        (
            broker(9),
            set(&[("max.connections", "1")]),
            BrokerIdNotRegistered,
            "No node with id 9 found.",
        ),
        (
            broker(1),
            set(&[("min.insync.replicas", "1")]),
            InvalidConfig,
            "Broker-level min.insync.replicas cannot be altered while ELR is enabled.",
        ),
        (group(""), set(&[]), InvalidRequest, "Group name can't be empty."),
        (
            group("g"),
            set(&[("retention.ms", "1")]),
            InvalidConfig,
            "Unknown group config name: retention.ms",
        ),
        (
            group("g"),
            set(&[("consumer.session.timeout.ms", "1")]),
            InvalidConfig,
            "must be greater than or equal to group.consumer.min.session.timeout.ms",
        ),
        (metrics(""), set(&[]), InvalidRequest, "Subscription name can't be empty"),
        (metrics("m"), set(&[("interval.ms", "1")]), InvalidRequest, "interval must be between"),
        (
            topic("t"),
            set(&[("leader.replication.throttled.replicas", &"0:1,".repeat(150_000))]),
            InvalidRequest,
            "take more than 524288 bytes",
        ),
    ];
    let mut world = World::of(3).with_topic();
    let records = world.records.len();
    for (resource, change, code, message) in cases {
        let refused = alter(&mut world, resource.clone(), change).unwrap_err();
        assert_eq!(refused.0, code, "{resource}: {}", refused.1);
        assert!(refused.1.contains(message), "{resource}: {}", refused.1);
    }
    assert_eq!(world.records.len(), records);
}

#[test]
fn each_resource_is_answered_by_itself_and_validation_changes_nothing() {
    let resources = vec![
        (topic("t"), set(&[("retention.ms", "1")])),
        (topic("u"), set(&[("retention.ms", "1")])),
        (ConfigResource::DefaultBroker, set(&[("log.retention.ms", "2")])),
        (broker(2), set(&[("max.connections", "3")])),
        (group("g"), set(&[("consumer.session.timeout.ms", "46000")])),
        (ConfigResource::ClientMetrics("m".into()), set(&[("interval.ms", "100")])),
    ];
    let outcomes = [true, false, true, true, true, true];
    let mut world = World::of(3).with_topic();
    let before = world.image.clone();
    for validate_only in [true, false] {
        let results = alter_all(&mut world, resources.clone(), validate_only);
        assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), outcomes);
        assert_eq!(world.image == before, validate_only);
    }
    for ((resource, _), done) in resources.iter().zip(outcomes) {
        assert_eq!(!configs(&world, resource).is_empty(), done, "{resource}");
    }
    // All of it survives in a snapshot, and goes again.
    let restored = Image::from_records(&world.image.to_records()).unwrap();
    assert_eq!(restored, world.image);
    for (resource, _) in resources.into_iter().filter(|(resource, _)| *resource != topic("u")) {
        assert_eq!(alter(&mut world, resource, ConfigChange::Replace(vec![])), Ok(()));
    }
    assert_eq!(world.image.configured().count(), 0);
}

#[test]
fn a_topics_configuration_goes_with_it() {
    let mut world = World::of(3).with_topic();
    alter(&mut world, topic("t"), set(&[("retention.ms", "1")])).unwrap();
    world.run(Command::DeleteTopics { topics: vec![TopicRef::Name("t".into())] });
    assert_eq!(world.image.config(&topic("t")), None);
    world.create(&[1, 2, 3], &[]);
    assert_eq!(configs(&world, &topic("t")), "");
}

#[test]
fn a_lower_minimum_ends_eligible_leaders_that_will_lack_what_is_acknowledged_now() {
    // The minimum is 2 (see World::of); only the leader is in sync, broker 2 is eligible.
    let lowered = [
        (topic("t"), set(&[("min.insync.replicas", "1")])),
        (ConfigResource::DefaultBroker, set(&[("min.insync.replicas", "1")])),
    ];
    for (resource, change) in lowered {
        let mut world = World::of(3).with_topic();
        world.set_isr(&[1, 2]);
        world.set_isr(&[1]);
        assert_eq!(world.state(), (1, vec![1], vec![2], vec![]));
        alter(&mut world, resource.clone(), change.clone()).unwrap();
        assert_eq!(world.state(), (1, vec![1], vec![], vec![]), "{resource}");
        world.fence(1);
        assert_eq!(world.state(), (-1, vec![], vec![1], vec![]), "broker 2 must not lead");

        // Nobody is in sync: nothing is acknowledged, and who is eligible stays so.
        let mut world = World::of(3).with_topic();
        world.set_isr(&[1, 2]);
        world.set_isr(&[1]);
        world.fence(2);
        world.fence(1);
        assert_eq!(world.state(), (-1, vec![], vec![1, 2], vec![]));
        alter(&mut world, resource, change).unwrap();
        assert_eq!(world.state(), (-1, vec![], vec![1, 2], vec![]));
    }
    // A topic with a minimum of its own does not care for the default; one request may name both.
    let mut world = World::of(3).with_topic();
    alter(&mut world, topic("t"), set(&[("min.insync.replicas", "2")])).unwrap();
    world.set_isr(&[1]);
    let default = (ConfigResource::DefaultBroker, set(&[("min.insync.replicas", "1")]));
    assert_eq!(alter_all(&mut world, vec![default.clone()], false), [Ok(())]);
    assert_eq!(world.state(), (1, vec![1], vec![2, 3], vec![]));
    let both = vec![(topic("t"), ConfigChange::Replace(vec![])), default];
    assert_eq!(alter_all(&mut world, both, false), [Ok(()), Ok(())]);
    assert_eq!(world.state(), (1, vec![1], vec![], vec![]));
}

/// Files of controllers may differ: only the active one decides, by its own, and the entry holds what it
/// decided. Leaders commit nothing beside eligible leaders, so the next controller may end them.
#[test]
fn the_next_controller_ends_eligible_leaders_that_its_own_file_does_not_ask_for() {
    let mut world = World::of(3).with_topic();
    world.set_isr(&[1]);
    assert_eq!(world.state(), (1, vec![1], vec![2, 3], vec![]));
    world.pass(Duration::from_secs(1));
    assert_eq!(world.state(), (1, vec![1], vec![2, 3], vec![]), "the minimum is still 2");
    // Another controller takes over. Every node that applies its entry has the same image, whatever
    // its own file says.
    world.options.broker_defaults.insert("min.insync.replicas".into(), "1".into());
    let applied = world.records.len();
    world.pass(Duration::from_secs(1));
    assert_eq!(world.state(), (1, vec![1], vec![], vec![]));
    assert_eq!(world.records.len(), applied + 1);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.records.len(), applied + 1, "once");
}

#[test]
fn the_answer_to_a_leader_names_those_who_may_be_elected() {
    let mut world = World::of(3).with_topic();
    let command = Command::AlterPartition(AlterPartition {
        node_id: NodeId(1),
        broker_epoch: world.epoch(1),
        partitions: vec![world.item(&[1])],
    });
    let Reply::AlteredPartitions(answers) = world.run(command) else { panic!("another answer") };
    assert_eq!(answers[0].isr, nodes(&[1]));
    assert_eq!(answers[0].elr, nodes(&[2, 3]));
}

#[test]
fn an_offline_partition_is_elected_once_unclean_elections_are_switched_on() {
    for resource in [topic("t"), ConfigResource::DefaultBroker] {
        let mut world = World::of(3).with_topic();
        // Brokers 1 and 2 held all; only 3, which did not, lives.
        world.set_isr(&[1, 2]);
        world.fence(2);
        world.fence(1);
        assert_eq!(world.state(), (-1, vec![], vec![1, 2], vec![]));
        world.pass(Duration::from_secs(1));
        assert_eq!(world.state().0, -1);
        let on = set(&[("unclean.leader.election.enable", "true")]);
        alter(&mut world, resource.clone(), on).unwrap();
        world.pass(Duration::from_secs(1));
        assert_eq!(world.state(), (3, vec![3], vec![], vec![]), "{resource}");
    }
    // What is set for the controller itself counts too, and before what is set for all.
    let mut world = World::of(3).with_topic();
    world.options.node_id = NodeId(3);
    world.set_isr(&[1, 2]);
    alter(&mut world, broker(3), set(&[("unclean.leader.election.enable", "true")])).unwrap();
    world.fence(2);
    world.fence(1);
    assert_eq!(world.state().0, 3);
}

#[test]
fn what_is_asked_travels_between_nodes() {
    let change = one("cleanup.policy", ConfigOperation::Append("compact".to_owned()));
    let command = Command::AlterConfigs(AlterConfigs {
        resources: vec![(topic("t"), change), (group("g"), ConfigChange::Replace(vec![]))],
        validate_only: false,
    });
    let bytes = bincode::serialize(&command).unwrap();
    assert_eq!(bincode::deserialize::<Command>(&bytes).unwrap(), command);
    let reply = World::of(3).run(command);
    let bytes = bincode::serialize(&reply).unwrap();
    assert_eq!(bincode::deserialize::<Reply>(&bytes).unwrap(), reply);
}

#[test]
fn commands_keep_their_numbers_between_nodes_of_different_versions() {
    // bincode numbers variants by their order: a new one goes to the end.
    for (command, number) in [
        (Command::FormCluster { cluster_id: String::new() }, 0_u32),
        (Command::Tick, 14),
        (Command::AlterConfigs(AlterConfigs { resources: vec![], validate_only: true }), 15),
    ] {
        let bytes = bincode::serialize(&command).unwrap();
        assert_eq!(bytes[..4], number.to_le_bytes(), "{command:?}");
    }
}
