//! Records are not copied: neither out of a request's frame nor into a response's.

use bytes::Bytes;

use ottla::protocol::messages::{fetch, produce};
use ottla::protocol::{Message, Writer};

#[test]
fn records_stay_slices_of_the_frame() {
    let records = Bytes::from(vec![7; 100_000]);
    let request = produce::ProduceRequest {
        topic_data: vec![produce::TopicProduceData {
            name: "t".into(),
            partition_data: vec![produce::PartitionProduceData {
                index: 0,
                records: Some(records),
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let mut writer = Writer::new();
    request.encode(&mut writer, 9).unwrap();
    let frame = writer.into_bytes();
    let range = frame.as_ptr_range();
    let read = produce::ProduceRequest::decode_all(frame.clone(), 9).unwrap();
    let records = read.topic_data[0].partition_data[0].records.as_ref().unwrap();
    assert!(range.contains(&records.as_ptr()));
}

#[test]
fn records_go_into_a_response_by_reference() {
    let records = Bytes::from(vec![7; 100_000]);
    for version in 4..=18 {
        let response = fetch::FetchResponse {
            responses: vec![fetch::FetchableTopicResponse {
                partitions: vec![fetch::PartitionData {
                    records: Some(records.clone()),
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let mut writer = Writer::new();
        response.encode(&mut writer, version).unwrap();
        let length = writer.len();
        let parts = writer.into_parts();
        assert_eq!(parts.iter().map(Bytes::len).sum::<usize>(), length);
        let kept = parts.iter().any(|part| part.as_ptr_range() == records.as_ptr_range());
        assert!(kept, "version {version} copies {} bytes of records", records.len());
    }
}
