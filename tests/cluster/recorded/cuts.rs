//! The network between brokers, and between them and their clients, is cut: for one broker or for all,
//! in both directions or in one.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::harness::Cluster;
use crate::recorded::networks::{Networks, Side, outer};
use crate::recorded::{BROKERS, Clients, SEED, settings};

use Side::Node;

const INSIDE: &str = "OTTLA_RECORDED_INSIDE";

#[test]
fn histories_hold_while_networks_are_cut() {
    let line = match outer() {
        Ok(line) => line,
        Err(why) => {
            // Past the test's captured output: whoever runs it is to know.
            let said = format!("skipped: cut networks: no network namespaces here: {why}\n");
            return std::io::stderr().write_all(said.as_bytes()).expect("saying so");
        }
    };
    let (_, seed) = settings();
    let mut child = Command::new(line[0])
        .args(&line[1..])
        .arg(std::env::current_exe().expect("the own program"))
        .args(["recorded::cuts::inside", "--exact", "--ignored", "--nocapture"])
        .env(INSIDE, "yes")
        .env(SEED, seed.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starting the test within its namespaces");
    let _open_until_the_end = child.stdin.take();
    let mut said = String::new();
    child.stderr.take().expect("its output").read_to_string(&mut said).expect("text");
    eprintln!("{said}");
    let status = child.wait().expect("its end");
    assert!(status.success(), "{SEED}={seed}: {status}");
}

/// No test: the other one, within namespaces of its own.
#[test]
#[ignore = "the test of cut networks runs it in namespaces of its own"]
fn inside() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        // Whoever started us has ended, and with us all the rest ends.
        std::process::exit(1);
    });
    let (seconds, seed) = settings();
    eprintln!("{SEED}={seed}, {seconds} s");
    let mut networks = Networks::make(3);
    let mut cluster = Cluster::start_on(&networks.hosts(), 1, BROKERS);
    let clients = Clients::start(&cluster, seed);
    let mut rng = StdRng::seed_from_u64(seed);
    let started = Instant::now();
    let mut faults: Vec<Fault> = Vec::new();
    while started.elapsed() < Duration::from_secs(seconds) {
        // Each kind once before any comes again.
        if faults.is_empty() {
            faults = ALL.to_vec();
        }
        let fault = faults.swap_remove(rng.random_range(0..faults.len()));
        let at = (started.elapsed().as_secs_f32(), clients.recorder.acknowledged());
        let what = strike(fault, &mut networks, &mut cluster, &mut rng);
        let lasted = started.elapsed().as_secs_f32() - at.0;
        let acknowledged = clients.recorder.acknowledged() - at.1;
        eprintln!("{:6.1} s {what} for {lasted:.1} s, {acknowledged} acknowledged", at.0);
        std::thread::sleep(Duration::from_millis(rng.random_range(200..1_500)));
    }
    clients.settle(&mut cluster, seed);
}

/// Cuts, waits and heals; now and then a broker dies meanwhile. Says what was done.
fn strike(
    fault: Fault,
    networks: &mut Networks,
    cluster: &mut Cluster,
    rng: &mut StdRng,
) -> String {
    let cuts = fault.cuts(cluster, rng);
    let victim = rng.random_bool(0.25).then(|| rng.random_range(1..=3));
    let pauses = [(); 2].map(|()| Duration::from_millis(rng.random_range(500..2_000)));
    cuts.iter().for_each(|(from, to)| networks.cut(*from, *to));
    std::thread::sleep(pauses[0]);
    if let Some(id) = victim {
        cluster.kill(id);
    }
    std::thread::sleep(pauses[1]);
    networks.heal();
    if let Some(id) = victim {
        cluster.spawn(id);
    }
    let death = victim.map(|id| format!(" and the death of {id}")).unwrap_or_default();
    format!("{fault:?} {cuts:?}{death}")
}

/// A way in which networks fail.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// A broker and the others do not reach each other; clients reach all.
    FromBrokers,
    /// A broker is reached by nobody, and reaches nobody.
    FromAll,
    /// Clients do not reach a broker, which is in touch with the others.
    FromClients,
    /// No broker reaches another.
    Scattered,
    /// What a leader sends does not come to one of the others.
    LeaderUnheard,
    /// What one of the others sends does not come to a leader.
    LeaderDeaf,
    /// What the controller sends comes to no other broker.
    ControllerUnheard,
    /// What others send does not come to the controller.
    ControllerDeaf,
}

use Fault::{
    ControllerDeaf, ControllerUnheard, FromAll, FromBrokers, FromClients, LeaderDeaf,
    LeaderUnheard, Scattered,
};

const ALL: &[Fault] = &[
    FromBrokers,
    FromAll,
    FromClients,
    Scattered,
    LeaderUnheard,
    LeaderDeaf,
    ControllerUnheard,
    ControllerDeaf,
];

impl Fault {
    /// What is cut: from whom, to whom.
    fn cuts(self, cluster: &Cluster, rng: &mut StdRng) -> Vec<(Side, Side)> {
        let some = rng.random_range(1..=3);
        let node = match self {
            LeaderUnheard | LeaderDeaf => {
                let topic = &crate::recorded::TOPICS[0];
                cluster.leader(topic.name, rng.random_range(0..topic.partitions))
            }
            ControllerUnheard | ControllerDeaf => cluster.controller(),
            _ => some,
        };
        let others: Vec<i32> = (1..=3).filter(|other| *other != node).collect();
        let one = others[rng.random_range(0..others.len())];
        let to = |others: &[i32]| -> Vec<(Side, Side)> {
            others.iter().map(|other| (Node(node), Node(*other))).collect()
        };
        let back = |cuts: Vec<(Side, Side)>| cuts.into_iter().map(|(from, to)| (to, from));
        let both = |cuts: Vec<(Side, Side)>| back(cuts.clone()).chain(cuts).collect();
        let clients = vec![(Node(node), Side::Clients)];
        match self {
            FromBrokers => both(to(&others)),
            FromAll => both([to(&others), clients].concat()),
            FromClients => both(clients),
            Scattered => both([to(&others), vec![(Node(others[0]), Node(others[1]))]].concat()),
            LeaderUnheard => to(&[one]),
            LeaderDeaf => back(to(&[one])).collect(),
            ControllerUnheard => to(&others),
            ControllerDeaf => back(to(&others)).collect(),
        }
    }
}
