#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::coordinator::group::stored::{
    ClassicMemberMetadata, ClassicProtocol, ConsumerGroupCurrentMemberAssignmentValue,
    ConsumerGroupMemberMetadataValue, ConsumerGroupMetadataValue,
    ConsumerGroupRegularExpressionValue, ConsumerGroupTargetAssignmentMemberValue,
    ConsumerGroupTargetAssignmentMetadataValue, StoredMember, StoredTopicPartitions,
};

/// Bytes as the specification says them: pairs of hexadecimal digits, and texts in quotes.
fn bytes(notation: &str) -> Bytes {
    let mut bytes = Vec::new();
    for word in notation.split_whitespace() {
        match word.strip_prefix('"') {
            Some(text) => bytes.extend_from_slice(text.trim_end_matches('"').as_bytes()),
            None => {
                assert!(word.len() % 2 == 0, "{word}");
                for at in (0..word.len()).step_by(2) {
                    bytes.push(u8::from_str_radix(&word[at..at + 2], 16).unwrap());
                }
            }
        }
    }
    Bytes::from(bytes)
}

const TOPIC_ID: Uuid = Uuid::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);
const TOPIC_ID_BYTES: &str = "0102030405060708090a0b0c0d0e0f10";

fn offset_record(value: Option<OffsetCommitValue>) -> GroupRecord {
    let partition = TopicPartition::new("foo", 1);
    GroupRecord::Offset { group: GroupId::from("g"), partition, value }
}

fn offset() -> OffsetCommitValue {
    OffsetCommitValue {
        offset: 100,
        leader_epoch: 10,
        metadata: "meta".into(),
        commit_timestamp: 1234,
        expire_timestamp: -1,
        topic_id: TOPIC_ID,
    }
}

fn owned(partitions: &[i32], epochs: Option<&[i32]>) -> Vec<StoredTopicPartitions> {
    vec![StoredTopicPartitions {
        topic_id: TOPIC_ID,
        partitions: partitions.to_vec(),
        assignment_epochs: epochs.map(<[i32]>::to_vec),
    }]
}

/// A classic group of one member.
fn classic() -> GroupMetadataValue {
    GroupMetadataValue {
        protocol_type: "consumer".into(),
        generation: 5,
        protocol: Some("range".into()),
        leader: Some("m1".into()),
        current_state_timestamp: 1234,
        members: vec![StoredMember {
            member_id: "m1".into(),
            group_instance_id: Some("i".into()),
            client_id: "c".into(),
            client_host: "/h".into(),
            rebalance_timeout: 300_000,
            session_timeout: 45_000,
            subscription: Bytes::from_static(b"\x01\x02"),
            assignment: Bytes::from_static(b"\x03"),
        }],
    }
}

const CLASSIC_3: &str = "0003 0008 \"consumer\" 00000005 0005 \"range\" 0002 \"m1\" \
    00000000000004d2 00000001 \
    0002 \"m1\" 0001 \"i\" 0001 \"c\" 0002 \"/h\" 000493e0 0000afc8 00000002 0102 00000001 03";

fn member() -> ConsumerGroupMemberMetadataValue {
    ConsumerGroupMemberMetadataValue {
        instance_id: None,
        rack_id: Some("r".into()),
        client_id: "c".into(),
        client_host: "/h".into(),
        subscribed_topic_names: vec!["foo".into()],
        subscribed_topic_regex: None,
        rebalance_timeout_ms: 300_000,
        server_assignor: Some("uniform".into()),
        classic_member_metadata: Some(ClassicMemberMetadata {
            session_timeout_ms: 45_000,
            supported_protocols: vec![ClassicProtocol {
                name: "range".into(),
                metadata: Bytes::from_static(b"\xaa"),
            }],
        }),
    }
}

/// Every kind of record with its bytes: written by hand from Kafka's schemas.
fn golden() -> Vec<(GroupRecord, String, String)> {
    let (group, member_id) = (GroupId::from("g"), MemberId::from("m1"));
    vec![
        (
            offset_record(Some(offset())),
            "0001 0001 \"g\" 0003 \"foo\" 00000001".to_owned(),
            format!(
                "0004 0000000000000064 0000000a 05 \"meta\" 00000000000004d2 01 00 10 {TOPIC_ID_BYTES}"
            ),
        ),
        (
            GroupRecord::Classic { group: group.clone(), value: Some(classic()) },
            "0002 0001 \"g\"".to_owned(),
            CLASSIC_3.to_owned(),
        ),
        (
            GroupRecord::Consumer {
                group: group.clone(),
                value: Some(ConsumerGroupMetadataValue { epoch: 10, metadata_hash: 1 }),
            },
            "0003 0001 \"g\"".to_owned(),
            "0000 0000000a 01 00 08 0000000000000001".to_owned(),
        ),
        (
            GroupRecord::Member {
                group: group.clone(),
                member: member_id.clone(),
                value: Some(member()),
            },
            "0005 0001 \"g\" 0002 \"m1\"".to_owned(),
            "0000 00 02 \"r\" 02 \"c\" 03 \"/h\" 02 04 \"foo\" 00 000493e0 08 \"uniform\" \
             01 00 10 01 0000afc8 02 06 \"range\" 02 aa 00 00"
                .to_owned(),
        ),
        (
            GroupRecord::TargetEpoch {
                group: group.clone(),
                value: Some(ConsumerGroupTargetAssignmentMetadataValue {
                    assignment_epoch: 10,
                    assignment_timestamp: 0,
                }),
            },
            "0006 0001 \"g\"".to_owned(),
            "0000 0000000a 00".to_owned(),
        ),
        (
            GroupRecord::Target {
                group: group.clone(),
                member: member_id.clone(),
                value: Some(ConsumerGroupTargetAssignmentMemberValue {
                    topic_partitions: owned(&[1, 2], None),
                }),
            },
            "0007 0001 \"g\" 0002 \"m1\"".to_owned(),
            format!("0000 02 {TOPIC_ID_BYTES} 03 00000001 00000002 00 00"),
        ),
        (
            GroupRecord::Current {
                group: group.clone(),
                member: member_id,
                value: Some(ConsumerGroupCurrentMemberAssignmentValue {
                    member_epoch: 10,
                    previous_member_epoch: 9,
                    state: 1,
                    assigned_partitions: owned(&[1], Some(&[7])),
                    partitions_pending_revocation: owned(&[2], None),
                }),
            },
            "0008 0001 \"g\" 0002 \"m1\"".to_owned(),
            format!(
                "0000 0000000a 00000009 01 \
                 02 {TOPIC_ID_BYTES} 02 00000001 01 00 05 02 00000007 \
                 02 {TOPIC_ID_BYTES} 02 00000002 00 00"
            ),
        ),
        (
            GroupRecord::Regex {
                group,
                regex: "a.*".to_owned(),
                value: Some(ConsumerGroupRegularExpressionValue {
                    topics: vec!["a".into(), "ab".into()],
                    version: 2,
                    timestamp: 1234,
                }),
            },
            "0010 0001 \"g\" 0003 \"a.*\"".to_owned(),
            "0000 03 02 \"a\" 03 \"ab\" 0000000000000002 00000000000004d2 00".to_owned(),
        ),
    ]
}

/// The same record without a value.
fn taken_back(record: &GroupRecord) -> GroupRecord {
    let mut record = record.clone();
    match &mut record {
        GroupRecord::Offset { value, .. } => *value = None,
        GroupRecord::Classic { value, .. } => *value = None,
        GroupRecord::Consumer { value, .. } => *value = None,
        GroupRecord::Member { value, .. } => *value = None,
        GroupRecord::TargetEpoch { value, .. } => *value = None,
        GroupRecord::Target { value, .. } => *value = None,
        GroupRecord::Current { value, .. } => *value = None,
        GroupRecord::Regex { value, .. } => *value = None,
    }
    record
}

#[test]
fn records_are_kafkas_bytes() {
    for (record, key, value) in golden() {
        let (key, value) = (bytes(&key), bytes(&value));
        assert_eq!(encode(&record), (key.clone(), Some(value.clone())), "{record:?}");
        assert_eq!(decode(key.clone(), Some(value)).unwrap(), Some(record.clone()));
        let tombstone = taken_back(&record);
        assert_eq!(encode(&tombstone), (key.clone(), None));
        assert_eq!(decode(key, None).unwrap(), Some(tombstone));
    }
}

#[test]
fn offsets_of_every_version_are_read() {
    let old = OffsetCommitValue { topic_id: Uuid::nil(), ..offset() };
    let older = OffsetCommitValue { leader_epoch: -1, ..old.clone() };
    let expiring = OffsetCommitValue { expire_timestamp: 99, ..older.clone() };
    let table = [
        ("0000 0000000000000064 0004 \"meta\" 00000000000004d2", older.clone()),
        ("0001 0000000000000064 0004 \"meta\" 00000000000004d2 0000000000000063", expiring),
        ("0002 0000000000000064 0004 \"meta\" 00000000000004d2", older),
        ("0003 0000000000000064 0000000a 0004 \"meta\" 00000000000004d2", old.clone()),
        ("0004 0000000000000064 0000000a 05 \"meta\" 00000000000004d2 00", old.clone()),
        // A field that a later Kafka may add.
        ("0004 0000000000000064 0000000a 05 \"meta\" 00000000000004d2 01 09 02 abcd", old),
    ];
    for (value, expected) in table {
        for kind in ["0000", "0001"] {
            let key = bytes(&format!("{kind} 0001 \"g\" 0003 \"foo\" 00000001"));
            let read = decode(key, Some(bytes(value))).unwrap();
            assert_eq!(read, Some(offset_record(Some(expected.clone()))), "{value}");
        }
    }
}

#[test]
fn groups_of_every_version_are_read() {
    let mut expected = classic();
    let head = "0008 \"consumer\" 00000005 0005 \"range\" 0002 \"m1\"";
    let tail = "0000afc8 00000002 0102 00000001 03";
    let since = "00000000000004d2";
    let read = |value: &str| decode(bytes("0002 0001 \"g\""), Some(bytes(value))).unwrap();
    let group = |value: &GroupMetadataValue| {
        Some(GroupRecord::Classic { group: GroupId::from("g"), value: Some(value.clone()) })
    };
    assert_eq!(read(CLASSIC_3), group(&expected));
    let flexible = "0004 09 \"consumer\" 00000005 06 \"range\" 03 \"m1\" 00000000000004d2 02 \
        03 \"m1\" 02 \"i\" 02 \"c\" 03 \"/h\" 000493e0 0000afc8 03 0102 02 03 00 00";
    assert_eq!(read(flexible), group(&expected));

    expected.members[0].group_instance_id = None;
    let member = "00000001 0002 \"m1\" 0001 \"c\" 0002 \"/h\"";
    assert_eq!(read(&format!("0002 {head} {since} {member} 000493e0 {tail}")), group(&expected));
    expected.current_state_timestamp = -1;
    assert_eq!(read(&format!("0001 {head} {member} 000493e0 {tail}")), group(&expected));
    expected.members[0].rebalance_timeout = 0;
    assert_eq!(read(&format!("0000 {head} {member} {tail}")), group(&expected));
    let empty = GroupMetadataValue {
        protocol: None,
        leader: None,
        members: Vec::new(),
        ..expected.clone()
    };
    let value = "0000 0008 \"consumer\" 00000005 ffff ffff 00000000";
    assert_eq!(read(value), group(&empty));
}

#[test]
fn an_offset_with_an_end_of_its_own_is_written_so_that_the_end_is_kept() {
    let value = OffsetCommitValue { expire_timestamp: 99, ..offset() };
    let (_, stored) = encode(&offset_record(Some(value)));
    let expected = "0001 0000000000000064 0004 \"meta\" 00000000000004d2 0000000000000063";
    assert_eq!(stored, Some(bytes(expected)));
}

#[test]
fn kinds_without_use_here_are_skipped() {
    // Partition metadata of Kafka 4.0; share groups; streams groups; what is not invented yet.
    for kind in [4_i16, 9, 10, 11, 12, 13, 14, 15, 17, 23, 99, i16::MAX, -1, i16::MIN] {
        let mut key = kind.to_be_bytes().to_vec();
        key.extend_from_slice(b"whatever");
        let value = Some(Bytes::from_static(b"\xff\xff\xff"));
        assert_eq!(decode(Bytes::from(key), value).unwrap(), None, "{kind}");
    }
}

#[test]
fn unknown_versions_are_errors() {
    for (record, key, _) in golden() {
        let highest = match record {
            GroupRecord::Offset { .. } | GroupRecord::Classic { .. } => 4,
            _ => 0,
        };
        for version in [-1, highest + 1, i16::MAX] {
            let value = Bytes::copy_from_slice(&version.to_be_bytes());
            let error = decode(bytes(&key), Some(value)).unwrap_err();
            assert_eq!(error, DecodeError::UnknownVersion(version), "{record:?}");
        }
    }
}

#[test]
fn truncated_records_are_errors() {
    for (record, key, value) in golden() {
        let (key, value) = (bytes(&key), bytes(&value));
        for length in 0..key.len() {
            assert!(decode(key.slice(..length), None).is_err(), "{record:?} {length}");
        }
        for length in 0..value.len() {
            let cut = decode(key.clone(), Some(value.slice(..length)));
            assert!(cut.is_err(), "{record:?} {length}");
        }
    }
}

#[test]
fn counts_that_the_bytes_cannot_hold_are_errors() {
    let many = "0003 0000 00000000 ffff ffff 0000000000000000 7fffffff 0000";
    assert!(decode(bytes("0002 0001 \"g\""), Some(bytes(many))).is_err());
    let many = "0000 ffffffff0f 00";
    assert!(decode(bytes("0007 0001 \"g\" 0001 \"m\""), Some(bytes(many))).is_err());
    assert!(decode(bytes("0001 7fff \"g\""), None).is_err());
    assert!(decode(bytes("0001 8000 \"g\""), None).is_err());
}

/// What is longer than Kafka's fields is kept as far as it can be, and can be read again.
#[test]
fn long_names_are_cut_and_long_members_kept() {
    let long = "\u{e4}".repeat(20_000);
    let group = GroupId::from(long.as_str());
    let (key, _) = encode(&GroupRecord::Consumer { group, value: None });
    assert_eq!(key.len(), 2 + 2 + 32_766);
    let mut value = classic();
    value.members[0].member_id = long.into();
    let record = GroupRecord::Classic { group: GroupId::from("g"), value: Some(value) };
    let (key, value) = encode(&record);
    assert_eq!(decode(key, value).unwrap(), Some(record));
}

/// A random record, as it is written: fields that the written version does not have are not set.
fn sample(draw: &mut dyn FnMut(u32) -> u32) -> GroupRecord {
    fn value<M: Message>(draw: &mut dyn FnMut(u32) -> u32, version: i16) -> Option<M> {
        (draw(4) > 0).then(|| M::sample(draw, version))
    }
    let name = |draw: &mut dyn FnMut(u32) -> u32| String::from(&NamedKey::sample(draw, 0).name);
    let (group, member) = (GroupId::from(&*name(draw)), MemberId::from(&*name(draw)));
    match draw(8) {
        0 => {
            let partition = TopicPartition::new(name(draw).as_str(), draw(1000) as i32);
            let mut value: Option<OffsetCommitValue> = value(draw, 4);
            if let (Some(value), 0) = (&mut value, draw(3)) {
                *value = OffsetCommitValue::sample(draw, 1);
            }
            GroupRecord::Offset { group, partition, value }
        }
        1 => GroupRecord::Classic { group, value: value(draw, 3) },
        2 => GroupRecord::Consumer { group, value: value(draw, 0) },
        3 => GroupRecord::Member { group, member, value: value(draw, 0) },
        4 => GroupRecord::TargetEpoch { group, value: value(draw, 0) },
        5 => GroupRecord::Target { group, member, value: value(draw, 0) },
        6 => GroupRecord::Current { group, member, value: value(draw, 0) },
        _ => GroupRecord::Regex { group, regex: name(draw), value: value(draw, 0) },
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(seed: u64) {
        let mut state = seed | 1;
        let record = sample(&mut |below| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            ((state >> 33) as u32) % below.max(1)
        });
        let (key, value) = encode(&record);
        prop_assert_eq!(decode(key, value).unwrap(), Some(record));
    }

    #[test]
    fn garbage_never_panics(kind in 0_i16..20, key: Vec<u8>, version in 0_i16..5, value: Vec<u8>) {
        let key = [&kind.to_be_bytes(), key.as_slice()].concat();
        let value = [&version.to_be_bytes(), value.as_slice()].concat();
        let _ = decode(Bytes::from(key), Some(Bytes::from(value)));
    }

    /// One byte of a good record is another.
    #[test]
    fn damage_never_panics(which in 0_usize..8, at: prop::sample::Index, byte: u8) {
        let (_, key, value) = golden().swap_remove(which);
        let mut damaged = bytes(&value).to_vec();
        let at = at.index(damaged.len());
        damaged[at] = byte;
        let _ = decode(bytes(&key), Some(Bytes::from(damaged)));
        let mut damaged = bytes(&key).to_vec();
        let at = at % damaged.len();
        damaged[at] = byte;
        let _ = decode(Bytes::from(damaged), Some(bytes(&value)));
    }
}
