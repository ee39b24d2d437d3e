//! Peers that are broken or mean harm, against one real broker: what they cost in memory is bounded by the
//! configuration, and others are served all the while.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use ottla::protocol::Request;
use ottla::protocol::header::encode_request;
use ottla::protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use ottla::protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla::record::{BatchBuilder, Compression};
use ottla::types::{Offset, TimestampMs};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::harness::{Cluster, PATIENCE, eventually};

const MIB: u64 = 1 << 20;

/// What all requests together may weigh, and one of them.
const LIMITS: &str = "queued.max.request.bytes=16777216\nsocket.request.max.bytes=8388608\n";

/// A broker under attack, and what it took before.
struct Target {
    cluster: Cluster,
}

impl Target {
    /// One broker with a topic of 4 MiB.
    fn start() -> Target {
        ottla::broker::open_files::raise_limit();
        let cluster = Cluster::start(1, LIMITS);
        cluster.create_topic("orders", 1, 1, &[]);
        let target = Target { cluster };
        target.produces(64, &vec![b'x'; 64 << 10]);
        target
    }

    /// An ordinary client produces, and is acknowledged.
    fn produces(&self, count: usize, payload: &[u8]) {
        let producer: BaseProducer = self.cluster.client().create().expect("a producer");
        for _ in 0..count {
            let record = BaseRecord::<(), _>::to("orders").partition(0).payload(payload);
            producer.send(record).map_err(|(error, _)| error).expect("room in the client's queue");
        }
        producer.flush(PATIENCE).expect("others are served");
    }

    fn connect(&self) -> TcpStream {
        let address = ("127.0.0.1", self.cluster.nodes[0].port);
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream
    }

    /// Runs an attack, has an ordinary client served while what it left is there, and asserts that
    /// the broker's memory never rose by more than `bound`.
    fn withstands<T>(&self, what: &str, bound: u64, attack: impl FnOnce() -> T) {
        let before = self.cluster.resident_bytes()[0];
        self.cluster.forget_peaks();
        let left = attack();
        self.produces(1, b"an ordinary record");
        let rose = self.cluster.peak_resident_bytes()[0].saturating_sub(before);
        assert!(rose <= bound, "{what}: {} MiB, and {} are the bound", rose / MIB, bound / MIB);
        println!("{what}: {} MiB of {}", rose / MIB, bound / MIB);
        drop(left);
        self.produces(1, b"an ordinary record");
    }
}

/// A whole frame.
fn frame<R: Request>(version: i16, request: &R) -> Vec<u8> {
    encode_request(version, 1, Some("hostile"), request).expect("a request").concat()
}

/// The frame of the answer on its way.
fn answer(stream: &mut TcpStream) -> Vec<u8> {
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

#[test]
fn memory_is_bounded_and_others_are_served() {
    let target = Target::start();

    // Half of them have begun a frame and say no more: a byte a minute looks like this.
    target.withstands("idle connections", 128 * MIB, || {
        let mut streams: Vec<TcpStream> = (0..2_000).map(|_| target.connect()).collect();
        for stream in streams.iter_mut().step_by(2) {
            stream.write_all(&[0, 0, 1]).expect("three bytes");
        }
        streams
    });

    // 800 MiB claimed, and as much of it sent as is taken.
    target.withstands("frames of the greatest size", 256 * MIB, || {
        let length = 8_388_608_u32;
        let mut bytes = vec![0; 8_388_607];
        bytes[..4].copy_from_slice(&length.to_be_bytes());
        let mut streams: Vec<_> = (0..100).map(|_| (target.connect(), 0)).collect();
        push(&mut streams, &bytes, bytes.len());
        streams
    });

    // Each asks for 200 MiB, 8 GiB together.
    target.withstands("clients that take no answers", 512 * MIB, || {
        let partition =
            FetchPartition { partition: 0, partition_max_bytes: 1 << 20, ..Default::default() };
        let topic = FetchTopic {
            topic: "orders".into(),
            partitions: vec![partition],
            ..Default::default()
        };
        let request =
            FetchRequest { max_bytes: 1 << 20, topics: vec![topic], ..Default::default() };
        let bytes = frame(12, &request);
        let mut streams: Vec<_> = (0..40).map(|_| (target.connect(), 0)).collect();
        push(&mut streams, &bytes, 200 * bytes.len());
        streams
    });

    // Eight times 200 MiB in a few KiB. The allocator may still hold the one while the next is unpacked.
    let bomb = bomb(200 << 20);
    target.withstands("decompression bombs", 640 * MIB, || {
        let mut streams: Vec<TcpStream> = (0..8).map(|_| target.connect()).collect();
        streams.iter_mut().for_each(|stream| stream.write_all(&bomb).expect("a produce request"));
        streams.iter_mut().for_each(|stream| drop(answer(stream)));
    });
}

/// A produce request whose only batch unpacks to more than `size` bytes.
fn bomb(size: usize) -> Vec<u8> {
    let mut batch = BatchBuilder::new(Offset::ZERO).compression(Compression::Zstd);
    batch.push(TimestampMs(1), None, Some(&vec![0; size]), &[]).expect("a record");
    let records = batch.build().expect("a batch");
    assert!(records.len() < 100 << 10, "{} bytes", records.len());
    let partition = PartitionProduceData { index: 0, records: Some(records) };
    let topic = TopicProduceData {
        name: "orders".into(),
        partition_data: vec![partition],
        ..Default::default()
    };
    let timeout_ms = i32::try_from(Duration::from_secs(30).as_millis()).expect("milliseconds");
    frame(9, &ProduceRequest { acks: 1, timeout_ms, topic_data: vec![topic], ..Default::default() })
}
