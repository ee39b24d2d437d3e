//! Seeded histories: random commands, every image checked after every group, and the same image
//! out of the records alone, out of their bytes, and out of a snapshot and the tail.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::metadata::{
    Cause, ConfigResource, LeaderRecoveryState, MetadataRecord, Topic, broker_delta,
};
use crate::types::random::SeededRandom;
use crate::types::{LeaderEpoch, Random, TopicId};

struct Dice(SeededRandom);

impl Dice {
    fn below(&self, bound: usize) -> usize {
        (&self.0 as &dyn Random).below(bound as u64) as usize
    }

    fn node(&self) -> i32 {
        1 + self.below(4) as i32
    }

    fn name(&self) -> String {
        ["a", "b", "a.b", "a_b"][self.below(4)].to_owned()
    }
}

/// Who holds everything committed, as an onlooker who sees all logs knows it. While the ISR is at
/// its minimum we take it that something is committed, which only the ISR is sure to hold.
#[derive(Default)]
struct Onlooker {
    holders: BTreeMap<(TopicId, PartitionId), (LeaderEpoch, BTreeSet<NodeId>)>,
    causes: BTreeSet<String>,
}

impl Onlooker {
    /// A machine loses what was not synced, in the logs that `lost` names.
    fn loses(&mut self, image: &Image, node: NodeId, lost: impl Fn(&Partition) -> bool) {
        for (topic, index, partition) in image.partitions() {
            if lost(partition)
                && let Some(known) = self.holders.get_mut(&(topic.id, index))
            {
                known.1.remove(&node);
            }
        }
    }

    fn sees(&mut self, image: &Image, record: &MetadataRecord) {
        if matches!(record, MetadataRecord::Config { .. }) {
            return self.sees_configs(image);
        }
        let MetadataRecord::Partition { topic_id, partition, state, cause } = record else {
            return;
        };
        let text = format!("{cause:?}");
        self.causes.insert(text.split('(').next().unwrap().to_owned());
        let min = image.topic_by_id(*topic_id).map_or(1, |topic| minimum(image, topic));
        let isr: BTreeSet<NodeId> = state.isr.iter().copied().collect();
        let first = (state.leader_epoch, isr.clone());
        let known = self.holders.entry((*topic_id, *partition)).or_insert(first);
        if matches!(cause, Cause::UncleanElection(_) | Cause::UncleanRecovery(_)) {
            known.1.clone_from(&isr);
        } else if let Some(leader) = state.leader.filter(|_| state.leader_epoch > known.0) {
            assert!(known.1.contains(&leader), "{leader} lacks what is committed: {record:?}");
        }
        known.0 = state.leader_epoch;
        if isr.len() >= crate::metadata::election::effective_min_isr(min, state.replicas.len()) {
            known.1 = isr;
        } else {
            known.1.extend(isr);
        }
    }
}

impl Onlooker {
    /// What was set may let records be committed that were waiting for more replicas.
    fn sees_configs(&mut self, image: &Image) {
        for (topic, index, partition) in image.partitions() {
            let min = minimum(image, topic);
            let min = crate::metadata::election::effective_min_isr(min, partition.replicas.len());
            if partition.isr.len() >= min
                && let Some(known) = self.holders.get_mut(&(topic.id, index))
            {
                known.1 = partition.isr.iter().copied().collect();
            }
        }
    }
}

/// `min.insync.replicas` of a topic, as leaders know it (see `World::of`).
fn minimum(image: &Image, topic: &Topic) -> usize {
    let key = "min.insync.replicas";
    let of_all = || image.config(&ConfigResource::DefaultBroker)?.get(key);
    topic.configs.get(key).or_else(of_all).map_or(2, |text| text.parse().unwrap())
}

fn step(world: &mut World, dice: &Dice, onlooker: &mut Onlooker) {
    let node = dice.node();
    let node_id = NodeId(node);
    let registered = world.image.broker(node_id).map(|broker| broker.broker_epoch);
    let broker_epoch = registered.unwrap_or(BrokerEpoch::NONE);
    let command = match dice.below(18) {
        0..=2 => {
            let run = match dice.below(4) {
                0 => PreviousRun::Unclean,
                1 => PreviousRun::Clean { broker_epoch },
                _ => PreviousRun::ProcessDied { broker_epoch },
            };
            if dice.below(4) > 0 {
                world.liveness.live.remove(&node_id);
            }
            let wiped = DirectoryId(Uuid::from_u128(5_000 + dice.below(1_000) as u128));
            let id = if dice.below(12) == 0 { wiped } else { directory(node) };
            let mut directories = vec![(id, run), (second(node), run)];
            let is_one_offline = dice.below(5) == 0;
            if is_one_offline {
                directories.remove(dice.below(2));
            }
            let before = world.image.clone();
            let incarnation = u128::from(world.decisions);
            let reply = world.register_without(node, incarnation, &directories, is_one_offline);
            if matches!(reply, Reply::Registered { .. }) {
                onlooker.loses(&before, node_id, |partition| {
                    let lies_in = partition.directory_of(node_id);
                    let is_there = directories.iter().any(|(id, _)| Some(*id) == lies_in);
                    run == PreviousRun::Unclean || (!is_there && !is_one_offline)
                });
            }
            return;
        }
        3..=5 => {
            world.liveness.live.insert(node_id, broker_epoch);
            Command::UnfenceBroker { node_id, broker_epoch }
        }
        6 => {
            let cause = FenceCause::SessionExpired;
            Command::FenceBroker { node_id, broker_epoch, cause }
        }
        7 if dice.below(2) == 0 => Command::BeginControlledShutdown { node_id, broker_epoch },
        7 => Command::CompleteControlledShutdown { node_id, broker_epoch },
        8 if dice.below(10) == 0 => Command::UnregisterBroker { node_id },
        8 | 9 => alter(world, dice, node_id, broker_epoch),
        10 => create(dice),
        11 if dice.below(5) == 0 => {
            Command::DeleteTopics { topics: vec![TopicRef::Name(dice.name())] }
        }
        11 => Command::CreatePartitions {
            topics: vec![NewPartitions {
                topic: dice.name(),
                count: dice.below(5) as i32,
                assignments: None,
            }],
            validate_only: dice.below(3) == 0,
        },
        12 => Command::ElectLeaders {
            election: if dice.below(6) == 0 {
                ElectionType::Unclean
            } else {
                ElectionType::Preferred
            },
            partitions: None,
        },
        13 => {
            let held = world.image.broker(node_id).and_then(|broker| {
                let directories = &broker.directories;
                directories.get(dice.below(directories.len().max(1))).copied()
            });
            let logs = awaits_log_end(&world.image, node_id)
                .map(|(topic, partition, _)| LogEnd {
                    topic_id: topic.id,
                    partition,
                    directory: held.unwrap_or_default(),
                    last_epoch: LeaderEpoch(dice.below(3) as i32),
                    log_end: Offset(dice.below(9) as i64),
                })
                .collect();
            Command::ReportLogEnds { node_id, broker_epoch, logs }
        }
        14 if dice.below(3) == 0 => {
            let failed = [directory(node), second(node)][dice.below(2)];
            let before = world.image.clone();
            let known = before.broker(node_id).is_some_and(|broker| broker.has_directory(failed));
            let directories = vec![failed];
            let command = Command::DirectoriesOffline { node_id, broker_epoch, directories };
            if world.run(command) == Reply::Done && known {
                let lies_there = |it: &Partition| it.directory_of(node_id) == Some(failed);
                onlooker.loses(&before, node_id, lies_there);
            }
            return;
        }
        15 => assign(world, dice, node_id, broker_epoch),
        16 => configure(dice),
        _ => {
            world.elapsed += Duration::from_secs(dice.below(40) as u64);
            Command::Tick
        }
    };
    world.run(command);
}

/// Where some of a broker's replicas lie, now and then a directory that is not online.
fn assign(world: &World, dice: &Dice, node_id: NodeId, broker_epoch: BrokerEpoch) -> Command {
    let some = world.image.partitions().filter(|_| dice.below(3) == 0);
    let replicas = some
        .map(|(topic, partition, _)| AssignedDirectory {
            topic_id: topic.id,
            partition,
            directory: [directory(node_id.0), second(node_id.0)][dice.below(2)],
        })
        .collect();
    Command::AssignDirectories { node_id, broker_epoch, replicas }
}

fn create(dice: &Dice) -> Command {
    let unclean = ["true", "false", "false"][dice.below(3)];
    let topic = NewTopic {
        name: dice.name(),
        num_partitions: 1 + dice.below(3) as i32,
        replication_factor: 1 + dice.below(3) as i16,
        assignments: Vec::new(),
        configs: vec![
            ("min.insync.replicas".into(), Some((1 + dice.below(3)).to_string())),
            ("unclean.leader.election.enable".into(), Some(unclean.into())),
        ],
    };
    Command::CreateTopics { topics: vec![topic], validate_only: dice.below(5) == 0 }
}

/// Other settings that elections depend on, for one topic or for all.
fn configure(dice: &Dice) -> Command {
    let resource = match dice.below(3) {
        0 => ConfigResource::DefaultBroker,
        _ => ConfigResource::Topic(dice.name().as_str().into()),
    };
    let (key, operation) = match dice.below(4) {
        0 => ("min.insync.replicas", ConfigOperation::Delete),
        1 => {
            let unclean = ["true", "false"][dice.below(2)];
            ("unclean.leader.election.enable", ConfigOperation::Set(unclean.to_owned()))
        }
        _ => {
            let min = (1 + dice.below(3)).to_string();
            ("min.insync.replicas", ConfigOperation::Set(min))
        }
    };
    let change = ConfigChange::Incremental(vec![(key.to_owned(), operation)]);
    Command::AlterConfigs(AlterConfigs {
        resources: vec![(resource, change)],
        validate_only: false,
    })
}

/// Some leader's wish, now and then a stale or a mad one.
fn alter(world: &World, dice: &Dice, sender: NodeId, epoch: BrokerEpoch) -> Command {
    let items = world
        .image
        .partitions()
        .filter(|(_, _, partition)| partition.leader == Some(sender) || dice.below(9) == 0)
        .map(|(topic, index, partition)| AlterPartitionItem {
            topic_id: topic.id,
            partition: index,
            leader_epoch: LeaderEpoch(partition.leader_epoch.0 - i32::from(dice.below(9) == 0)),
            partition_epoch: partition.partition_epoch,
            new_isr: partition
                .replicas
                .iter()
                .filter(|&&node| node == sender || dice.below(3) > 0)
                .map(|&node_id| IsrMember { node_id, broker_epoch: BrokerEpoch::NONE })
                .collect(),
            recovery: LeaderRecoveryState::Recovered,
        })
        .collect();
    Command::AlterPartition(AlterPartition {
        node_id: sender,
        broker_epoch: epoch,
        partitions: items,
    })
}

#[test]
fn random_histories_keep_every_invariant_and_replay_to_the_same_image() {
    let mut causes = BTreeSet::new();
    for seed in 0..60 {
        let dice = Dice(SeededRandom::new(seed));
        let mut world = World::of(3);
        let mut onlooker = Onlooker::default();
        let mut snapshot = (world.image.clone(), world.records.len());
        for _ in 0..250 {
            let before = world.image.clone();
            let seen = world.records.len();
            step(&mut world, &dice, &mut onlooker);
            world.records[seen..].iter().for_each(|record| onlooker.sees(&world.image, record));
            check_delta(&before, &world.image);
            if dice.below(100) == 0 {
                snapshot =
                    (Image::from_records(&world.image.to_records()).unwrap(), world.records.len());
                assert_eq!(snapshot.0, world.image, "seed {seed}");
            }
        }
        causes.append(&mut onlooker.causes);
        let stored =
            |record: &MetadataRecord| MetadataRecord::decode(record.encode().unwrap()).unwrap();
        let folded: Vec<MetadataRecord> = world.records.iter().map(stored).collect();
        assert_eq!(folded, world.records, "seed {seed}");
        let mut replayed = Image::default();
        folded.iter().for_each(|record| replayed.apply(record).unwrap());
        same_facts(&replayed, &world.image, seed);
        let (mut image, position) = snapshot;
        folded[position..].iter().for_each(|record| image.apply(record).unwrap());
        same_facts(&image, &world.image, seed);
    }
    let expected = [
        "ConfigChanged",
        "ControlledShutdown",
        "Created",
        "DirectoryAssigned",
        "DirectoryOffline",
        "ElectionRequested",
        "IsrReported",
        "PreferredLeader",
        "Registered",
        "SessionExpired",
        "UncleanElection",
        "UncleanRecovery",
        "UncleanShutdown",
        "Unfenced",
        "Unregistered",
    ];
    assert_eq!(causes.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}

/// Equal but for version and position, which entries count and records do not.
fn same_facts(one: &Image, other: &Image, seed: u64) {
    let facts = |image: &Image| image.to_records().split_off(1);
    assert_eq!(facts(one), facts(other), "seed {seed}");
    assert_eq!(one.next_broker_epoch(), other.next_broker_epoch(), "seed {seed}");
}

/// What a broker is told is what changed: no more, no less.
fn check_delta(old: &Image, new: &Image) {
    for node in (1..=4).map(NodeId) {
        let delta = broker_delta(old, new, node);
        for (topic, index, partition) in new.partitions().filter(|(_, _, p)| p.is_replica(node)) {
            let known = old.topic_by_id(topic.id).and_then(|topic| topic.partition(index));
            let list =
                if partition.leader == Some(node) { &delta.leaders } else { &delta.followers };
            let told = list.iter().any(|replica| {
                replica.topic_id == topic.id
                    && replica.topic_partition.partition == index
                    && replica.partition == *partition
            });
            assert_eq!(told, known != Some(partition));
        }
        let gone = old.partitions().filter(|(topic, _, partition)| {
            partition.is_replica(node) && new.topic_by_id(topic.id).is_none()
        });
        assert_eq!(delta.removed.len(), gone.count());
        let set = |image: &Image| {
            let of = |resource| image.config(&resource).cloned().unwrap_or_default();
            (of(ConfigResource::DefaultBroker), of(ConfigResource::Broker(node)))
        };
        assert_eq!(delta.broker_configs_changed, set(old) != set(new));
    }
}

#[test]
fn the_same_seed_decides_the_same() {
    let history = |seed| {
        let dice = Dice(SeededRandom::new(seed));
        let mut world = World::of(3);
        let mut onlooker = Onlooker::default();
        (0..100).for_each(|_| step(&mut world, &dice, &mut onlooker));
        world.records
    };
    assert_eq!(history(7), history(7));
    assert_ne!(history(7), history(8));
}
