//! What happens to the brokers meanwhile, step by step, as the seed says.

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use rand::Rng;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rdkafka::ClientConfig;
use rdkafka::consumer::BaseConsumer;

use crate::chaos::admin::Administrator;
use crate::chaos::damage::{Damage, inflict};
use crate::chaos::load::Load;
use crate::chaos::{CUT, GROWS, config_of};
use crate::harness::{Cluster, eventually, eventually_within};

/// No topic gets more partitions than this.
const MOST_PARTITIONS: i32 = 6;

/// Everything that the steps reach.
pub struct Turmoil<'a> {
    pub cluster: &'a mut Cluster,
    pub loads: &'a [Load],
    pub administrator: Administrator,
    consumer: BaseConsumer,
    rng: StdRng,
    damages: Vec<Damage>,
    started: Instant,
}

impl<'a> Turmoil<'a> {
    pub fn new(
        cluster: &'a mut Cluster,
        loads: &'a [Load],
        seed: u64,
        damages: Vec<Damage>,
    ) -> Self {
        let mut config: ClientConfig = cluster.client();
        config.set("log_level", "0");
        Turmoil {
            administrator: Administrator::new(cluster),
            consumer: config.create().expect("a consumer"),
            cluster,
            loads,
            rng: StdRng::seed_from_u64(seed),
            damages,
            started: Instant::now(),
        }
    }

    /// One step after another, for that long; then everything runs.
    pub fn run(&mut self, duration: Duration) {
        while self.started.elapsed() < duration {
            self.step();
        }
    }

    fn say(&self, what: &str) {
        let acknowledged: usize = self.loads.iter().map(Load::acknowledged).sum();
        eprintln!(
            "{:6.1} s {what}, {acknowledged} acknowledged",
            self.started.elapsed().as_secs_f32()
        );
    }

    fn any_node(&mut self) -> i32 {
        self.rng.random_range(1..=3)
    }

    fn step(&mut self) {
        match self.rng.random_range(0..100) {
            0..22 => {
                let id = self.any_node();
                self.say(&format!("kill {id}"));
                self.cluster.kill(id);
                self.meanwhile(1_500);
                self.cluster.spawn(id);
                self.meanwhile(1_000);
            }
            22..30 => self.kill_several(),
            30..38 => {
                let id = self.any_node();
                self.say(&format!("pause {id}"));
                self.cluster.pause(id);
                self.meanwhile(4_000);
                self.cluster.resume(id);
                self.meanwhile(1_000);
            }
            38..46 => {
                let id = self.any_node();
                self.say(&format!("terminate {id}"));
                let status = self.cluster.ask_to_stop(id);
                assert!(status.success() || status.signal() == Some(15), "{id}: {status}");
                self.meanwhile(1_000);
                self.cluster.spawn(id);
            }
            46..66 if !self.damages.is_empty() => self.damage(),
            _ => {
                self.administrate();
                self.meanwhile(500);
            }
        }
    }

    fn kill_several(&mut self) {
        let spared = self.rng.random_range(1..=4);
        let victims: Vec<i32> = (1..=3).filter(|id| *id != spared).collect();
        self.say(&format!("kill {victims:?}"));
        for &id in &victims {
            self.cluster.kill(id);
        }
        for &id in &victims {
            self.meanwhile(500);
            self.cluster.spawn(id);
        }
    }

    /// Damages one broker, while the others have everything, and waits until it has everything again.
    fn damage(&mut self) {
        self.say("wait for all replicas");
        await_everything(self.cluster);
        let id = self.any_node();
        let damage = self.damages[self.rng.random_range(0..self.damages.len())];
        self.cluster.kill(id);
        // Only once the others know that it is gone can "all in sync" mean that it has come back.
        self.cluster.await_brokers(2);
        let node = self.cluster.node(id);
        match inflict(damage, node, &mut self.rng) {
            Some(place) => self.say(&format!("{damage:?} on {id}: {}", place.display())),
            None => self.say(&format!("{damage:?} on {id}: nothing of that kind")),
        }
        self.meanwhile(500);
        self.cluster.spawn(id);
        await_everything(self.cluster);
        if damage.is_silent() {
            // It is mended from the others: before they may be damaged, too.
            await_soundness(self.cluster);
        }
    }

    /// Up to so many milliseconds, and at times something that an administrator does.
    fn meanwhile(&mut self, most_ms: u64) {
        if self.rng.random_bool(0.3) {
            self.administrate();
        }
        std::thread::sleep(Duration::from_millis(self.rng.random_range(0..most_ms)));
    }

    fn administrate(&mut self) {
        match self.rng.random_range(0..10) {
            0..3 => {
                let load = &self.loads[self.rng.random_range(0..self.loads.len())];
                let topic = load.writing.topic;
                self.administrator.configure(topic, config_of(topic), &mut self.rng);
            }
            3..6 => {
                let partition = self.rng.random_range(0..2);
                self.administrator.delete_records(&self.consumer, CUT, partition);
            }
            6..9 => self.administrator.pass(self.cluster),
            _ => {
                let load = self.loads.iter().find(|load| load.writing.topic == GROWS);
                let load = load.expect("the load of the topic that grows");
                if load.partitions() < MOST_PARTITIONS {
                    let grown = self.administrator.grow(GROWS, load.partitions());
                    grown.into_iter().for_each(|partitions| load.spread_to(partitions));
                }
            }
        }
    }
}

/// Waits until all three brokers are there and every partition with three replicas has all of them
/// in sync.
pub fn await_everything(cluster: &Cluster) {
    cluster.await_brokers(3);
    let mut behind = String::new();
    eventually("all replicas of all topics to be in sync", || {
        let metadata = cluster.metadata()?;
        let missing: Vec<String> = metadata
            .topics()
            .iter()
            .flat_map(|topic| topic.partitions().iter().map(move |p| (topic.name(), p)))
            .filter(|(_, p)| p.replicas().len() > 1)
            .filter(|(_, p)| p.leader() <= 0 || p.isr().len() < p.replicas().len())
            .map(|(name, p)| format!("{name}-{} {:?}", p.id(), p.isr()))
            .collect();
        if behind != missing.join(" ") {
            behind = missing.join(" ");
            eprintln!("         not in sync: {behind}");
        }
        missing.is_empty().then_some(())
    });
}

/// All that was written in a long run is read by all brokers, some times.
const VERIFYING: Duration = Duration::from_secs(600);

/// Waits until no broker finds anything on its disks that is not what was written.
pub fn await_soundness(cluster: &Cluster) {
    let mut last = String::new();
    eventually_within(VERIFYING, "everything on the disks to be sound", || {
        let output = cluster.ottla_output(&["log-dirs", "--verify"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let text = text + &String::from_utf8_lossy(&output.stderr);
        if text != last && !output.status.success() {
            eprintln!("{text}");
        }
        last = text;
        output.status.success().then_some(())
    });
    await_everything(cluster);
}
