//! Brokers are killed without warning and stand still, several at once if the seed says so.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::harness::Cluster;
use crate::recorded::{BROKERS, Clients, SEED, settings};

#[test]
fn histories_hold_while_brokers_are_killed_and_paused() {
    let (seconds, seed) = settings();
    eprintln!("{SEED}={seed}, {seconds} s");
    let mut cluster = Cluster::start(3, BROKERS);
    let clients = Clients::start(&cluster, seed);
    let mut turmoil = Turmoil {
        cluster: &mut cluster,
        clients: &clients,
        rng: StdRng::seed_from_u64(seed),
        until: [None; 3],
        started: Instant::now(),
    };
    turmoil.run(Duration::from_secs(seconds));
    clients.settle(&mut cluster, seed);
}

/// What a broker does not do for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Dead,
    Paused,
}

struct Turmoil<'a> {
    cluster: &'a mut Cluster,
    clients: &'a Clients,
    rng: StdRng,
    /// What ails each broker, and when that ends.
    until: [Option<(Trouble, Instant)>; 3],
    started: Instant,
}

impl Turmoil<'_> {
    /// Trouble upon trouble, for that long; then everything runs.
    fn run(&mut self, duration: Duration) {
        let mut next = self.started + Duration::from_secs(1);
        while self.started.elapsed() < duration {
            self.relieve(Instant::now());
            if Instant::now() >= next {
                self.trouble();
                next = Instant::now() + self.millis(300, 3_000);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let last = self.until.iter().flatten().map(|(_, until)| *until).max();
        self.relieve(last.unwrap_or(self.started));
    }

    fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.rng.random_range(from..to))
    }

    fn say(&self, what: &str) {
        let acknowledged = self.clients.recorder.acknowledged();
        let seconds = self.started.elapsed().as_secs_f32();
        eprintln!("{seconds:6.1} s {what}, {acknowledged} acknowledged");
    }

    fn trouble(&mut self) {
        let id = self.rng.random_range(1..=3);
        let place = id as usize - 1;
        let (trouble, lasting) = match self.rng.random_bool(0.5) {
            true => (Trouble::Dead, self.millis(0, 3_000)),
            false => (Trouble::Paused, self.millis(1_000, 6_000)),
        };
        match (self.until[place].map(|(trouble, _)| trouble), trouble) {
            (None, Trouble::Paused) => self.cluster.pause(id),
            // One that stands still may die, too.
            (None | Some(Trouble::Paused), Trouble::Dead) => self.cluster.kill(id),
            (Some(_), _) => return,
        }
        self.say(&format!("{id} {trouble:?} for {lasting:?}"));
        self.until[place] = Some((trouble, Instant::now() + lasting));
    }

    fn relieve(&mut self, now: Instant) {
        for id in 1..=3 {
            match self.until[id as usize - 1] {
                Some((Trouble::Dead, until)) if until <= now => self.cluster.spawn(id),
                Some((Trouble::Paused, until)) if until <= now => self.cluster.resume(id),
                _ => continue,
            }
            self.until[id as usize - 1] = None;
        }
    }
}
