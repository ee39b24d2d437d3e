//! Peers that are broken or mean harm, against one real broker: what they cost in memory is bounded by the
//! configuration, and others are served all the while. How quickly is measured by `benches/hostile.rs`.

use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::attacks::{self, LIMITS, TOPIC};
use crate::harness::{Cluster, PATIENCE};

const MIB: u64 = 1 << 20;

/// How many connections say nothing, where the machine lets one process have as many.
const IDLE: usize = 10_000;

/// What this process needs beside them.
const OTHER_FILES: u64 = 1_000;

/// A broker under attack, and what it took before.
struct Target {
    cluster: Cluster,
}

impl Target {
    /// One broker with a topic of 4 MiB.
    fn start() -> Target {
        ottla::broker::open_files::raise_limit();
        let cluster = Cluster::start(1, LIMITS);
        cluster.create_topic(TOPIC, 1, 1, &[]);
        let target = Target { cluster };
        target.produces(64, &vec![b'x'; 64 << 10]);
        target
    }

    /// An ordinary client produces, and is acknowledged.
    fn produces(&self, count: usize, payload: &[u8]) {
        let producer: BaseProducer = self.cluster.client().create().expect("a producer");
        for _ in 0..count {
            let record = BaseRecord::<(), _>::to(TOPIC).partition(0).payload(payload);
            producer.send(record).map_err(|(error, _)| error).expect("room in the client's queue");
        }
        producer.flush(PATIENCE).expect("others are served");
    }

    fn port(&self) -> u16 {
        self.cluster.nodes[0].port
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

#[test]
fn memory_is_bounded_and_others_are_served() {
    let target = Target::start();
    let port = target.port();

    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let room = limit.map_or(u64::MAX, |files| files.saturating_sub(OTHER_FILES));
    let idle = IDLE.min(usize::try_from(room).unwrap_or(IDLE));
    target.withstands(&format!("{idle} idle connections"), 256 * MIB, || attacks::idle(port, idle));

    // 800 MiB claimed, and as much of it sent as is taken.
    target.withstands("frames of the greatest size", 256 * MIB, || {
        attacks::greatest_frames(port, 100)
    });

    // Each asks for 200 MiB, 8 GiB together.
    target.withstands("clients that take no answers", 512 * MIB, || {
        attacks::takers_of_nothing(port, 40)
    });

    // Eight times 200 MiB in a few KiB. The allocator may still hold the one while the next is unpacked.
    let bomb = attacks::bomb(200 << 20);
    target.withstands("decompression bombs", 640 * MIB, || attacks::send_bombs(port, 8, &bomb));
}
