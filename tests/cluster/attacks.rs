//! What broken or hostile peers do, for who measures what it costs.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use ottla::protocol::Request;
use ottla::protocol::header::encode_request;
use ottla::protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use ottla::protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla::record::{BatchBuilder, Compression};
use ottla::types::{Offset, TimestampMs};

use crate::harness::{PATIENCE, eventually};

/// The topic that is attacked.
pub const TOPIC: &str = "orders";

/// What the brokers' configuration says: what all requests together may weigh, and one of them.
pub const LIMITS: &str = "queued.max.request.bytes=16777216\nsocket.request.max.bytes=8388608\n";
const GREATEST: u32 = 8_388_608;

/// A connection to the broker on that port.
pub fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream
}

/// Connections that say nothing; half of them have begun a frame and say no more: a byte a minute
/// looks like this.
pub fn idle(port: u16, count: usize) -> Vec<TcpStream> {
    let mut streams: Vec<TcpStream> = (0..count).map(|_| connect(port)).collect();
    for stream in streams.iter_mut().step_by(2) {
        stream.write_all(&[0, 0, 1]).expect("three bytes");
    }
    streams
}

/// Connections that each claim a frame of the greatest size and send as much of it as is taken.
pub fn greatest_frames(port: u16, count: usize) -> Vec<(TcpStream, usize)> {
    let mut bytes = vec![0; GREATEST as usize - 1];
    bytes[..4].copy_from_slice(&GREATEST.to_be_bytes());
    let mut streams: Vec<_> = (0..count).map(|_| (connect(port), 0)).collect();
    push(&mut streams, &bytes, bytes.len());
    streams
}

/// Connections that ask for 200 MiB each, and never read.
pub fn takers_of_nothing(port: u16, count: usize) -> Vec<(TcpStream, usize)> {
    let partition =
        FetchPartition { partition: 0, partition_max_bytes: 1 << 20, ..Default::default() };
    let topic =
        FetchTopic { topic: TOPIC.into(), partitions: vec![partition], ..Default::default() };
    let request = FetchRequest { max_bytes: 1 << 20, topics: vec![topic], ..Default::default() };
    let bytes = frame(12, &request);
    let mut streams: Vec<_> = (0..count).map(|_| (connect(port), 0)).collect();
    push(&mut streams, &bytes, 200 * bytes.len());
    streams
}

/// Each sends that batch and waits for the answer.
pub fn send_bombs(port: u16, count: usize, bomb: &[u8]) {
    let mut streams: Vec<TcpStream> = (0..count).map(|_| connect(port)).collect();
    streams.iter_mut().for_each(|stream| stream.write_all(bomb).expect("a produce request"));
    streams.iter_mut().for_each(|stream| drop(answer(stream)));
}

/// A produce request whose only batch unpacks to more than `size` bytes.
pub fn bomb(size: usize) -> Vec<u8> {
    let mut batch = BatchBuilder::new(Offset::ZERO).compression(Compression::Zstd);
    batch.push(TimestampMs(1), None, Some(&vec![0; size]), &[]).expect("a record");
    let records = batch.build().expect("a batch");
    assert!(records.len() < 100 << 10, "{} bytes", records.len());
    let partition = PartitionProduceData { index: 0, records: Some(records) };
    let topic = TopicProduceData {
        name: TOPIC.into(),
        partition_data: vec![partition],
        ..Default::default()
    };
    let timeout_ms = i32::try_from(Duration::from_secs(30).as_millis()).expect("milliseconds");
    frame(9, &ProduceRequest { acks: 1, timeout_ms, topic_data: vec![topic], ..Default::default() })
}

/// A whole frame.
pub fn frame<R: Request>(version: i16, request: &R) -> Vec<u8> {
    encode_request(version, 1, Some("hostile"), request).expect("a request").concat()
}

/// The frame of the answer on its way.
pub fn answer(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).expect("an answer's length");
    let mut body = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut body).expect("an answer");
    body
}

/// Writes `bytes` again and again, from where each stream stands, until none takes any more or each
/// has taken `most`.
fn push(streams: &mut [(TcpStream, usize)], bytes: &[u8], most: usize) {
    streams.iter().for_each(|(stream, _)| stream.set_nonblocking(true).expect("a socket"));
    let mut idle_rounds = 0;
    eventually("the broker to stop taking bytes", || {
        let mut moved = false;
        for (stream, sent) in streams.iter_mut() {
            while *sent < most {
                let from = *sent % bytes.len();
                let part = &bytes[from..bytes.len().min(from + most - *sent)];
                match stream.write(part) {
                    Ok(count) => (*sent, moved) = (*sent + count, true),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        idle_rounds = if moved { 0 } else { idle_rounds + 1 };
        (idle_rounds == 10).then_some(())
    });
}
