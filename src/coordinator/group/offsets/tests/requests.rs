//! OffsetCommit, OffsetFetch and OffsetDelete: what is answered.

use uuid::Uuid;

use super::*;
use crate::coordinator::group::GroupConfig;
use crate::types::ErrorCode;

fn codes(response: &OffsetCommitResponse) -> Vec<ErrorCode> {
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|partition| ErrorCode::from_code(partition.error_code).unwrap()).collect()
}

/// Partition, offset, leader epoch, metadata, error.
fn fetched(response: &OffsetFetchResponseGroup) -> Vec<(i32, i64, i32, String, ErrorCode)> {
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    let rows = partitions.map(|partition| {
        (
            partition.partition_index,
            partition.committed_offset,
            partition.committed_leader_epoch,
            partition.metadata.as_deref().unwrap().to_owned(),
            ErrorCode::from_code(partition.error_code).unwrap(),
        )
    });
    rows.collect()
}

#[test]
fn a_group_that_does_not_exist_takes_commits_without_membership_only() {
    let table = [
        (2, -1, ErrorCode::None),
        (9, -1, ErrorCode::None),
        (10, -7, ErrorCode::None),
        (8, 0, ErrorCode::IllegalGeneration),
        (8, 5, ErrorCode::IllegalGeneration),
        (9, 0, ErrorCode::GroupIdNotFound),
        (10, 5, ErrorCode::GroupIdNotFound),
    ];
    for (version, generation, expected) in table {
        let mut bench = Bench::new(GroupConfig::default());
        let mut body = commit("g", "t", &[0, 1], 5);
        body.generation_id_or_member_epoch = generation;
        body.member_id = "m".into();
        let response = bench.commit(version, body);
        assert_eq!(codes(&response), [expected; 2], "version {version}, {generation}");
        assert_eq!(response.topics[0].topic_id, topic_id("t"));
        assert_eq!(&*response.topics[0].name, "t");
        let (records, groups) = match expected {
            ErrorCode::None => (2, 1),
            _ => (0, 0),
        };
        assert_eq!(bench.log.len(), records);
        assert_eq!(bench.machine.groups.len(), groups);
    }
}

#[test]
fn metadata_is_measured_as_kafka_measures_it_and_refused_by_partition() {
    let config = GroupConfig { offset_metadata_max_bytes: 4, ..GroupConfig::default() };
    let mut bench = Bench::new(config);
    let (fits, too_large) = (ErrorCode::None, ErrorCode::OffsetMetadataTooLarge);
    let table = [
        (None, fits),
        (Some(""), fits),
        (Some("abcd"), fits),
        (Some("abcde"), too_large),
        // Two bytes each, one unit; four bytes, two units.
        (Some("\u{e4}\u{e4}\u{e4}\u{e4}"), fits),
        (Some("\u{1f980}\u{1f980}"), fits),
        (Some("\u{1f980}\u{1f980}a"), too_large),
    ];
    let indexes: Vec<i32> = (0..7).collect();
    let mut body = commit("g", "t", &indexes, 5);
    for (partition, (metadata, _)) in body.topics[0].partitions.iter_mut().zip(&table) {
        partition.committed_metadata = metadata.map(Into::into);
    }
    let expected: Vec<_> = table.iter().map(|(_, error)| *error).collect();
    assert_eq!(codes(&bench.commit(9, body)), expected);
    assert_eq!(bench.offsets().len(), 5);
}

#[test]
fn what_was_committed_last_is_fetched() {
    let mut bench = Bench::new(GroupConfig::default());
    bench.commit(9, commit("g", "t", &[0, 1], 5));
    bench.commit(9, commit("g", "t", &[1], 8));
    bench.commit(9, commit("g", "a", &[3], 1));
    bench.commit(9, commit("other", "t", &[2], 2));

    let response = bench.fetch(9, fetch("g", Some(&[("t", &[1, 2]), ("none", &[0])])));
    assert_eq!(response.error_code, 0);
    let nothing = |index| (index, -1, -1, String::new(), ErrorCode::None);
    let some = |index, offset| (index, offset, 3, "m".to_owned(), ErrorCode::None);
    assert_eq!(fetched(&response), [some(1, 8), nothing(2), nothing(0)]);

    let response = bench.fetch(9, fetch("g", None));
    assert_eq!(fetched(&response), [some(3, 1), some(0, 5), some(1, 8)]);
    let names: Vec<_> = response.topics.iter().map(|topic| topic.name.to_string()).collect();
    assert_eq!(names, ["a", "t"]);
}

#[test]
fn a_group_that_does_not_exist_has_committed_nothing() {
    let mut bench = Bench::new(GroupConfig::default());
    for version in [1, 9] {
        let response = bench.fetch(version, fetch("g", Some(&[("t", &[0])])));
        assert_eq!(response.error_code, 0);
        assert_eq!(fetched(&response), [(0, -1, -1, String::new(), ErrorCode::None)]);
        assert_eq!(bench.fetch(version, fetch("g", None)).topics, []);
    }
    assert!(bench.machine.groups.is_empty());
}

#[test]
fn offsets_of_a_topic_that_was_made_again_are_not_fetched() {
    let mut bench = Bench::new(GroupConfig::default());
    bench.commit(9, commit("g", "t", &[0], 5));
    let table = [(topic_id("t"), 5), (Uuid::nil(), 5), (topic_id("other"), -1)];
    for (id, expected) in table {
        let mut body = fetch("g", Some(&[("t", &[0])]));
        body.topics.as_mut().unwrap()[0].topic_id = id;
        let response = bench.fetch(10, body);
        assert_eq!(fetched(&response)[0].1, expected, "{id}");
        assert_eq!(response.topics[0].topic_id, id);
    }
    // Of offsets that were committed before ids were kept nobody can tell.
    let mut body = commit("g", "t", &[0], 6);
    body.topics[0].topic_id = Uuid::nil();
    bench.commit(9, body);
    let response = bench.fetch(10, fetch("g", Some(&[("t", &[0])])));
    assert_eq!(fetched(&response)[0].1, 6);
}

#[test]
fn all_offsets_have_the_topics_ids() {
    let mut bench = Bench::new(GroupConfig::default());
    bench.run(image(&[("t", topic_id("t"))]));
    for topic in ["t", "gone"] {
        let mut body = commit("g", topic, &[0], 5);
        body.topics[0].topic_id = Uuid::nil();
        bench.commit(9, body);
    }
    let response = bench.fetch(10, fetch("g", None));
    let ids: Vec<_> = response.topics.iter().map(|topic| topic.topic_id).collect();
    assert_eq!(ids, [Uuid::nil(), topic_id("t")]);
}

#[test]
fn deleting_offsets() {
    let mut bench = Bench::new(GroupConfig::default());
    let code = |error: ErrorCode| error.code();
    let response = bench.delete(delete("g", "t", &[0]));
    assert_eq!(response.error_code, code(ErrorCode::GroupIdNotFound));
    assert_eq!(response.topics, []);
    let response = bench.delete(delete("", "t", &[0]));
    assert_eq!(response.error_code, code(ErrorCode::InvalidGroupId));

    bench.commit(9, commit("g", "t", &[0, 1], 5));
    let before = bench.log.len();
    let response = bench.delete(delete("g", "t", &[1, 2]));
    assert_eq!(response.error_code, 0);
    let partitions: Vec<_> = response.topics[0]
        .partitions
        .iter()
        .map(|partition| (partition.partition_index, partition.error_code))
        .collect();
    assert_eq!(partitions, [(1, 0), (2, 0)]);
    assert_eq!(bench.log.len(), before + 1);
    assert_eq!(bench.offsets(), [("g".to_owned(), "t-0".to_owned(), 5)]);
    // The group is there until the walk through all groups finds that it has nothing left.
    bench.delete(delete("g", "t", &[0]));
    assert_eq!(bench.delete(delete("g", "t", &[0])).error_code, 0);
}

#[test]
fn lag_is_what_lies_between() {
    use crate::coordinator::group::lag;
    use crate::types::Offset;
    for (committed, end, expected) in
        [(0, 0, 0), (3, 10, 7), (10, 10, 0), (12, 10, 0), (i64::MIN, i64::MAX, i64::MAX)]
    {
        assert_eq!(lag(Offset(committed), Offset(end)), expected);
    }
}
