//! The bytes of every record in every version ever released. A line here is never changed: what is
//! on disks must be read for ever. A new version gets new lines.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::*;
use crate::types::{
    BrokerEpoch, DirectoryId, IncarnationId, LeaderEpoch, NodeId, Offset, PartitionEpoch,
    PartitionId, ProducerId, TopicId,
};

fn golden() -> Vec<(MetadataRecord, &'static str)> {
    let topic_id = TopicId(Uuid::from_u128(0x11));
    let plain = Partition {
        replicas: vec![NodeId(1), NodeId(2)],
        directories: vec![DirectoryId(Uuid::from_u128(0x21)), DirectoryId(Uuid::from_u128(0x22))],
        isr: vec![NodeId(2), NodeId(1)],
        elr: vec![],
        last_known_elr: vec![],
        leader: Some(NodeId(2)),
        leader_epoch: LeaderEpoch(5),
        partition_epoch: PartitionEpoch(9),
        recovery: LeaderRecoveryState::Recovered,
        adding: vec![],
        removing: vec![],
    };
    let rare = Partition {
        isr: vec![],
        elr: vec![NodeId(1)],
        last_known_elr: vec![NodeId(2)],
        leader: None,
        recovery: LeaderRecoveryState::Recovering,
        adding: vec![NodeId(3)],
        removing: vec![NodeId(2)],
        ..plain.clone()
    };
    let broker = BrokerRegistration {
        node_id: NodeId(1),
        broker_epoch: BrokerEpoch(4),
        incarnation: IncarnationId(Uuid::from_u128(0x31)),
        endpoints: vec![Endpoint {
            listener: "L".into(),
            host: "h".into(),
            port: 9092,
            security_protocol: SecurityProtocol::Ssl,
        }],
        rack: Some("r".into()),
        fenced: true,
        in_controlled_shutdown: false,
        directories: vec![DirectoryId(Uuid::from_u128(0x21))],
        has_offline_directories: false,
        features: vec![FeatureRange { name: "f".into(), min: 0, max: 2 }],
    };
    let lame = BrokerRegistration { has_offline_directories: true, ..broker.clone() };
    let partition = |state, cause| MetadataRecord::Partition {
        topic_id,
        partition: PartitionId(3),
        state: Arc::new(state),
        cause,
    };
    let config = |resource, value: Option<&str>| MetadataRecord::Config {
        resource,
        key: "k".into(),
        value: value.map(str::to_owned),
    };
    vec![
        (
            MetadataRecord::SnapshotHeader {
                version: 7,
                offset: Offset(8),
                next_broker_epoch: BrokerEpoch(9),
            },
            "01010000000000000000070000000000000008000000000000000900",
        ),
        (MetadataRecord::ClusterFormed { cluster_id: "c".into() }, "010200026300"),
        (
            MetadataRecord::Broker {
                registration: Arc::new(broker),
                cause: Cause::Registered(NodeId(1)),
            },
            concat!(
                "0103000000000100000000000000040000000000000000000000000000003102024c026823840001",
                "00027201000200000000000000000000000000000021020266000000020000020000000100"
            ),
        ),
        (
            MetadataRecord::Broker {
                registration: Arc::new(lame),
                cause: Cause::DirectoryOffline(NodeId(1)),
            },
            concat!(
                "0103000000000100000000000000040000000000000000000000000000003102024c026823840001",
                "00027201000200000000000000000000000000000021020266000000020000080000000101",
                "000101"
            ),
        ),
        (
            MetadataRecord::BrokerRemoved { node_id: NodeId(1), broker_epoch: BrokerEpoch(4) },
            "01040000000001000000000000000400",
        ),
        (
            MetadataRecord::Topic { name: "t".into(), topic_id },
            "01050002740000000000000000000000000000001100",
        ),
        (
            partition(plain, Cause::IsrReported(NodeId(2))),
            concat!(
                "01060000000000000000000000000000000011000000030300000001000000020300000000000000",
                "00000000000000002100000000000000000000000000000022030000000200000001000000020000",
                "000500000009000a0000000200"
            ),
        ),
        (
            partition(rare, Cause::SessionExpired(NodeId(2))),
            concat!(
                "01060000000000000000000000000000000011000000030300000001000000020300000000000000",
                "0000000000000000210000000000000000000000000000002201ffffffff00000005000000090004",
                "000000020500050200000001010502000000020201010305020000000304050200000002"
            ),
        ),
        (MetadataRecord::TopicRemoved { topic_id }, "0107000000000000000000000000000000001100"),
        (config(ConfigResource::Topic("t".into()), Some("v")), "010800020274026b027600"),
        (config(ConfigResource::Broker(NodeId(2)), None), "010800040232026b0000"),
        (config(ConfigResource::DefaultBroker, Some("")), "0108000401026b0100"),
        (config(ConfigResource::ClientMetrics("m".into()), Some("v")), "01080010026d026b027600"),
        (config(ConfigResource::Group("g".into()), None), "010800200267026b0000"),
        (
            MetadataRecord::ProducerIds {
                node_id: NodeId(1),
                broker_epoch: BrokerEpoch(4),
                next_producer_id: ProducerId(2000),
            },
            "01090000000001000000000000000400000000000007d000",
        ),
        (MetadataRecord::Feature { name: "f".into(), level: 2 }, "010a000266000200"),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Bytes {
    let digits = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digits).collect()
}

#[test]
fn every_record_has_the_bytes_that_it_was_released_with() {
    let golden = golden();
    for (record, stored) in &golden {
        assert_eq!(hex(&record.encode().unwrap()), *stored, "{record:?}");
        assert_eq!(MetadataRecord::decode(bytes(stored)).unwrap(), *record);
    }
    let mut types: Vec<u32> = golden.iter().map(|(record, _)| record.type_id()).collect();
    types.dedup();
    assert_eq!(types, (1..=10).collect::<Vec<_>>());
}

#[test]
fn every_cause_comes_back_from_its_number() {
    let known = (0..i16::MAX).map_while(|code| Cause::from_parts(code, NodeId(3)));
    let codes: Vec<i16> = known.map(|cause| cause.to_parts().0).collect();
    assert_eq!(codes, (0..17).collect::<Vec<_>>());
}

#[test]
fn what_is_not_known_is_an_error_that_says_so() {
    for (stored, message) in [
        ("020500", "metadata record with frame version 2"),
        ("010b00", "metadata record of unknown type 11: this node is too old"),
        ("010501", "metadata record of type 5 in unknown version 1: this node is too old"),
        ("0105", "metadata record is damaged"),
        ("010a000266000200ff", "metadata record has 1 bytes too many"),
        ("010800090274026b0000", "configuration resource type 9"),
    ] {
        let error = MetadataRecord::decode(bytes(stored)).unwrap_err().to_string();
        assert!(error.contains(message), "{stored}: {error}");
    }
}

#[test]
fn a_tagged_field_of_a_later_node_is_passed_over() {
    // Type 10 with tag 9 holding one byte.
    let record = MetadataRecord::decode(bytes("010a00026600020109010a")).unwrap();
    assert_eq!(record, MetadataRecord::Feature { name: "f".into(), level: 2 });
}

#[test]
fn any_truncation_of_a_record_is_an_error() {
    for (_, stored) in golden() {
        for end in (0..stored.len()).step_by(2) {
            assert!(MetadataRecord::decode(bytes(&stored[..end])).is_err());
        }
    }
}
