//! The log alone gives the same offsets; and how much memory they take.

use std::collections::BTreeMap;
use std::mem::size_of;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::coordinator::group::GroupConfig;
use crate::coordinator::group::ids::GroupId;
use crate::coordinator::group::offsets::store::Committed;
use crate::types::TopicPartition;

const RETENTION: Duration = Duration::from_secs(3600);
const TOPICS: [&str; 3] = ["a", "b", "t"];

#[derive(Debug, Clone)]
enum Step {
    Commit { group: u8, topic: usize, partition: i32, offset: i64 },
    Delete { group: u8, topic: usize, partition: i32 },
    DeleteTopic { topic: usize },
    Pass { minutes: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let place = (0..3_u8, 0..TOPICS.len(), 0..4_i32);
    prop_oneof![
        6 => (place.clone(), 0..100_i64).prop_map(|((group, topic, partition), offset)| {
            Step::Commit { group, topic, partition, offset }
        }),
        2 => place.prop_map(|(group, topic, partition)| Step::Delete { group, topic, partition }),
        1 => (0..TOPICS.len()).prop_map(|topic| Step::DeleteTopic { topic }),
        2 => (0..40_u64).prop_map(|minutes| Step::Pass { minutes }),
    ]
}

/// Offset and time of commit, by group and partition.
type Model = BTreeMap<(String, String), (i64, i64)>;

fn play(bench: &mut Bench, model: &mut Model, step: &Step) {
    let key = |group: &u8, topic: &usize, partition: &i32| {
        (format!("g{group}"), format!("{}-{partition}", TOPICS[*topic]))
    };
    match step {
        Step::Commit { group, topic, partition, offset } => {
            let name = format!("g{group}");
            bench.commit(9, commit(&name, TOPICS[*topic], &[*partition], *offset));
            model.insert(key(group, topic, partition), (*offset, bench.now.wall.0));
        }
        Step::Delete { group, topic, partition } => {
            bench.delete(delete(&format!("g{group}"), TOPICS[*topic], &[*partition]));
            model.remove(&key(group, topic, partition));
        }
        Step::DeleteTopic { topic } => {
            let all = TOPICS.map(|topic| (topic, topic_id(topic)));
            let others: Vec<_> =
                all.into_iter().filter(|(name, _)| *name != TOPICS[*topic]).collect();
            bench.run(image(&all));
            bench.run(image(&others));
            model.retain(|(_, partition), _| !partition.starts_with(TOPICS[*topic]));
        }
        Step::Pass { minutes } => {
            bench.pass(Duration::from_secs(minutes * 60));
            if !bench.tick().is_empty() {
                let oldest = bench.now.wall.0 - i64::try_from(RETENTION.as_millis()).unwrap();
                model.retain(|_, (_, committed_at)| *committed_at > oldest);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn offsets_are_the_models_and_the_logs(steps in prop::collection::vec(step(), 1..60)) {
        let mut bench = Bench::new(GroupConfig {
            offsets_retention: RETENTION,
            ..GroupConfig::default()
        });
        let mut model = Model::new();
        for step in &steps {
            play(&mut bench, &mut model, step);
            let expected: Vec<_> = model
                .iter()
                .map(|((group, partition), (offset, _))| (group.clone(), partition.clone(), *offset))
                .collect();
            prop_assert_eq!(bench.offsets(), expected, "after {:?}", step);
        }
        let replayed = bench.replayed();
        prop_assert_eq!(&replayed.offsets, &bench.machine.offsets);
        let groups = |machine: &GroupMachine| machine.groups.keys().cloned().collect::<Vec<_>>();
        prop_assert_eq!(groups(&replayed), groups(&bench.machine));
    }
}

/// A node of a B-tree has eleven places; ten that were put in one after another are in one node.
#[test]
fn an_idle_group_with_ten_offsets_takes_little_memory() {
    let node = |entry: usize| 11 * entry + 16;
    let offsets = node(size_of::<TopicPartition>() + size_of::<Committed>());
    // Nodes are half full at worst.
    let of_group = 2 * (size_of::<GroupId>() + size_of::<BTreeMap<TopicPartition, Committed>>());
    let of_topic = 2 * (size_of::<TopicName>() + size_of::<GroupId>());
    let names = 2 * (16 + 40);
    let one_topic = offsets + of_group + of_topic + names;
    let ten_topics = offsets + of_group + 10 * of_topic + names;
    assert!(one_topic <= 1_300, "{one_topic}");
    assert!(ten_topics <= 2_048, "{ten_topics}");
}

/// What is kept does not hold the request's frame or the log's segment: every name is its own.
#[test]
fn names_are_kept_once() {
    let mut bench = Bench::new(GroupConfig::default());
    for group in ["g", "h"] {
        for index in 0..3 {
            bench.commit(9, commit(group, "t", &[index], 5));
        }
    }
    let names: Vec<_> =
        bench.machine.committed_offsets().map(|(_, p, _)| p.topic.as_ptr()).collect();
    assert_eq!(names.len(), 6);
    assert!(names.iter().all(|name| *name == names[0]));
}
