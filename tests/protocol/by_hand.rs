//! Versions that the oracle does not know, against bytes written out from the specification, and the
//! header that it builds in another way.

use bytes::Bytes;

use ottla::protocol::header::{
    RequestHeader, decode_request_header, encode_request, encode_unsupported_api_versions,
};
use ottla::protocol::messages::api_versions::{ApiVersion, ApiVersionsResponse};
use ottla::protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopic, ListOffsetsTopicResponse,
};
use ottla::protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use ottla::protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponse,
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use ottla::protocol::{Message, Reader, Writer};
use uuid::Uuid;

fn written<M: Message>(message: &M, version: i16) -> Bytes {
    let mut writer = Writer::new();
    message.encode(&mut writer, version).unwrap();
    writer.into_bytes()
}

#[test]
fn list_offsets_11() {
    let request = ListOffsetsRequest {
        replica_id: -1,
        isolation_level: 1,
        topics: vec![ListOffsetsTopic {
            name: "t".into(),
            partitions: vec![ListOffsetsPartition {
                partition_index: 3,
                current_leader_epoch: 7,
                timestamp: -6,
            }],
        }],
        timeout_ms: 1000,
    };
    #[rustfmt::skip]
    let bytes: &[u8] = &[
        0xff, 0xff, 0xff, 0xff,                         // replica id
        1,                                              // isolation level
        2,                                              // one topic
        2, b't',                                        // its name
        2,                                              // one partition
        0, 0, 0, 3,                                     // its index
        0, 0, 0, 7,                                     // current leader epoch
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfa, // timestamp
        0, 0,                                           // no tags in partition and topic
        0, 0, 3, 0xe8,                                  // timeout
        0,                                              // no tags
    ];
    assert_eq!(written(&request, 11), bytes);
    assert_eq!(
        ListOffsetsRequest::decode(&mut Reader::new(Bytes::from_static(bytes)), 11),
        Ok(request)
    );

    let response = ListOffsetsResponse {
        throttle_time_ms: 0,
        topics: vec![ListOffsetsTopicResponse {
            name: "t".into(),
            partitions: vec![ListOffsetsPartitionResponse {
                partition_index: 3,
                error_code: 0,
                timestamp: 5,
                offset: 6,
                leader_epoch: 7,
            }],
        }],
    };
    #[rustfmt::skip]
    let bytes: &[u8] = &[
        0, 0, 0, 0,             // throttle time
        2, 2, b't', 2,          // one topic with one partition
        0, 0, 0, 3,             // its index
        0, 0,                   // error code
        0, 0, 0, 0, 0, 0, 0, 5, // timestamp
        0, 0, 0, 0, 0, 0, 0, 6, // offset
        0, 0, 0, 7,             // leader epoch
        0, 0, 0,                // no tags
    ];
    assert_eq!(written(&response, 11), bytes);
    assert_eq!(
        ListOffsetsResponse::decode(&mut Reader::new(Bytes::from_static(bytes)), 11),
        Ok(response)
    );
}

#[test]
fn a_request_frame_begins_with_its_length_and_header() {
    let parts = encode_request(11, 5, Some("me"), &ListOffsetsRequest::default()).unwrap();
    let frame: Vec<u8> = parts.concat();
    #[rustfmt::skip]
    let header: &[u8] = &[
        0, 0, 0, 24,    // length
        0, 2,           // ListOffsets
        0, 11,          // version
        0, 0, 0, 5,     // correlation id
        0, 2, b'm', b'e',
        0,              // no tags: a flexible version
    ];
    assert_eq!(&frame[..header.len()], header);
    assert_eq!(frame.len(), 4 + 24);
    let mut reader = Reader::new(Bytes::from(frame).slice(4..));
    let read = decode_request_header(&mut reader).unwrap();
    let expected = RequestHeader {
        api_key: 2,
        api_version: 11,
        correlation_id: 5,
        client_id: Some("me".into()),
    };
    assert_eq!(read, expected);
    assert_eq!(reader.remaining(), 11);
}

#[test]
fn an_unknown_version_of_api_versions_is_answered_in_version_0() {
    let served = ApiVersionsResponse {
        api_keys: vec![ApiVersion { api_key: 18, min_version: 0, max_version: 4 }],
        ..Default::default()
    };
    let parts = encode_unsupported_api_versions(9, served).unwrap();
    #[rustfmt::skip]
    let bytes: &[u8] = &[
        0, 0, 0, 9,             // correlation id, and no tags
        0, 35,                  // UNSUPPORTED_VERSION
        0, 0, 0, 1,             // one API
        0, 18, 0, 0, 0, 4,
    ];
    assert_eq!(parts.concat(), bytes);
}

#[test]
fn headers_of_what_is_not_known_can_be_read() {
    // key, version, client id there?, tags there?
    let table = [
        (999, 5, true, false),
        (18, 99, true, true),
        (18, 0, false, false),
        (18, 3, false, true),
        (0, -1, true, false),
        (-7, 0, false, false),
        (17, 1, true, false),
        (1, i16::MAX, true, true),
    ];
    for (api_key, api_version, is_named, is_tagged) in table {
        let mut bytes = Vec::new();
        bytes.extend(i16::to_be_bytes(api_key));
        bytes.extend(i16::to_be_bytes(api_version));
        bytes.extend([0xff, 0xff, 0xff, 0xfe]);
        bytes.extend_from_slice(if is_named { &[0, 1, b'c'] } else { &[0xff, 0xff] });
        bytes.extend_from_slice(if is_tagged { &[1, 4, 2, 8, 8] } else { &[] });
        let length = bytes.len();
        bytes.push(42);
        let frame = Bytes::from(bytes);
        let about = format!("key {api_key} version {api_version}");
        let mut reader = Reader::new(frame.clone());
        let expected = RequestHeader {
            api_key,
            api_version,
            correlation_id: -2,
            client_id: is_named.then(|| "c".into()),
        };
        assert_eq!(decode_request_header(&mut reader), Ok(expected), "{about}");
        assert_eq!(reader.rest(), &[42][..], "{about}");
        for short in 0..length {
            let cut = decode_request_header(&mut Reader::new(frame.slice(..short)));
            assert!(cut.is_err(), "{about}: {short} bytes pass");
        }
    }
}

#[test]
fn no_fetch_response_says_null_for_records_unless_told_to() {
    let partition = ottla::protocol::messages::fetch::PartitionData::default();
    assert_eq!(partition.records, Some(Bytes::new()));
}

/// The bytes 0 to 15.
fn topic_id() -> Uuid {
    Uuid::from_bytes(std::array::from_fn(|at| at as u8))
}

/// Written, it is `bytes`; read, they are it.
fn same<M: Message + PartialEq + std::fmt::Debug>(message: M, version: i16, bytes: &[u8]) {
    assert_eq!(written(&message, version), bytes);
    assert_eq!(M::decode_all(Bytes::copy_from_slice(bytes), version), Ok(message));
}

#[test]
fn offset_commit_10() {
    let request = OffsetCommitRequest {
        group_id: "g".into(),
        generation_id_or_member_epoch: 5,
        member_id: "m".into(),
        group_instance_id: None,
        retention_time_ms: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: "".into(),
            topic_id: topic_id(),
            partitions: vec![OffsetCommitRequestPartition {
                partition_index: 1,
                committed_offset: 258,
                committed_leader_epoch: 3,
                committed_metadata: Some("x".into()),
            }],
        }],
    };
    #[rustfmt::skip]
    same(request, 10, &[
        2, b'g',                                              // group
        0, 0, 0, 5,                                           // generation or member epoch
        2, b'm',                                              // member
        0,                                                    // no instance
        2,                                                    // one topic
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, // its id
        2,                                                    // one partition
        0, 0, 0, 1,                                           // its index
        0, 0, 0, 0, 0, 0, 1, 2,                               // offset
        0, 0, 0, 3,                                           // leader epoch
        2, b'x',                                              // metadata
        0, 0, 0,                                              // no tags
    ]);
    let response = OffsetCommitResponse {
        throttle_time_ms: 0,
        topics: vec![OffsetCommitResponseTopic {
            name: "".into(),
            topic_id: topic_id(),
            partitions: vec![OffsetCommitResponsePartition { partition_index: 1, error_code: 16 }],
        }],
    };
    #[rustfmt::skip]
    same(response, 10, &[
        0, 0, 0, 0,                                           // throttle time
        2,                                                    // one topic
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, // its id
        2,                                                    // one partition
        0, 0, 0, 1,                                           // its index
        0, 16,                                                // error
        0, 0, 0,                                              // no tags
    ]);
}

#[test]
fn offset_fetch_10() {
    let request = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: "g".into(),
            member_id: Some("m".into()),
            member_epoch: 4,
            topics: Some(vec![OffsetFetchRequestTopics {
                name: "".into(),
                topic_id: topic_id(),
                partition_indexes: vec![2],
            }]),
        }],
        require_stable: true,
        ..OffsetFetchRequest::default()
    };
    #[rustfmt::skip]
    same(request, 10, &[
        2,                                                    // one group
        2, b'g',                                              // its id
        2, b'm',                                              // member
        0, 0, 0, 4,                                           // member epoch
        2,                                                    // one topic
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, // its id
        2,                                                    // one partition
        0, 0, 0, 2,                                           // its index
        0, 0,                                                 // no tags in topic and group
        1,                                                    // require stable
        0,                                                    // no tags
    ]);
    let response = OffsetFetchResponse {
        groups: vec![OffsetFetchResponseGroup {
            group_id: "g".into(),
            topics: vec![OffsetFetchResponseTopics {
                name: "".into(),
                topic_id: topic_id(),
                partitions: vec![OffsetFetchResponsePartitions {
                    partition_index: 2,
                    committed_offset: 7,
                    committed_leader_epoch: -1,
                    metadata: None,
                    error_code: 0,
                }],
            }],
            error_code: 0,
        }],
        ..OffsetFetchResponse::default()
    };
    #[rustfmt::skip]
    same(response, 10, &[
        0, 0, 0, 0,                                           // throttle time
        2,                                                    // one group
        2, b'g',                                              // its id
        2,                                                    // one topic
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, // its id
        2,                                                    // one partition
        0, 0, 0, 2,                                           // its index
        0, 0, 0, 0, 0, 0, 0, 7,                               // offset
        0xff, 0xff, 0xff, 0xff,                               // leader epoch
        0,                                                    // no metadata
        0, 0,                                                 // no error
        0, 0,                                                 // no tags in partition and topic
        0, 0,                                                 // no error in the group
        0, 0,                                                 // no tags
    ]);
}

#[test]
fn verify_logs_0() {
    use ottla::protocol::own::verify_logs::{
        VerifyLogsFinding, VerifyLogsRequest, VerifyLogsResponse, VerifyLogsTopic,
    };
    let request = VerifyLogsRequest {
        verification_id: -1,
        topics: Some(vec![VerifyLogsTopic { name: "t".into(), partitions: vec![3] }]),
        bytes_per_second: 512,
    };
    #[rustfmt::skip]
    let bytes: &[u8] = &[
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, // a new one
        2,                                              // one topic
        2, b't',                                        // its name
        2, 0, 0, 0, 3,                                  // one partition
        0,                                              // no tags in the topic
        0, 0, 0, 0, 0, 0, 2, 0,                         // bytes per second
        0,                                              // no tags
    ];
    assert_eq!(written(&request, 0), bytes);
    assert_eq!(VerifyLogsRequest::decode_all(written(&request, 0), 0), Ok(request));

    let response = VerifyLogsResponse {
        verification_id: 7,
        is_done: true,
        total_bytes: 256,
        verified_bytes: 255,
        verified_segments: 2,
        findings: vec![VerifyLogsFinding {
            log_dir: "/d".into(),
            topic: "t".into(),
            partition: 3,
            segment: 100,
            position: 61,
            from_offset: 101,
            to_offset: 105,
            reason: "r".into(),
            state: 1,
            obstacle: None,
        }],
        ..VerifyLogsResponse::default()
    };
    #[rustfmt::skip]
    let bytes: &[u8] = &[
        0, 0, 0, 0,                 // throttle time
        0, 0,                       // no error
        0,                          // no error message
        0, 0, 0, 0, 0, 0, 0, 7,     // verification
        1,                          // done
        0, 0, 0, 0, 0, 0, 1, 0,     // total bytes
        0, 0, 0, 0, 0, 0, 0, 255,   // verified bytes
        0, 0, 0, 2,                 // verified segments
        2,                          // one finding
        3, b'/', b'd',              // log directory
        2, b't',                    // topic
        0, 0, 0, 3,                 // partition
        0, 0, 0, 0, 0, 0, 0, 100,   // segment
        0, 0, 0, 0, 0, 0, 0, 61,    // position
        0, 0, 0, 0, 0, 0, 0, 101,   // from
        0, 0, 0, 0, 0, 0, 0, 105,   // to
        2, b'r',                    // reason
        1,                          // mended
        0,                          // no obstacle
        0,                          // no tags in the finding
        0,                          // no tags
    ];
    assert_eq!(written(&response, 0), bytes);
    assert_eq!(VerifyLogsResponse::decode_all(written(&response, 0), 0), Ok(response));
}
