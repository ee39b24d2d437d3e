//! One run: a seed, a cluster, clients, faults, and what came of it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use ottla::types::random::mix;
use turmoil::Sim;

use crate::checker::{self, report::Report};
use crate::ending;
use crate::faults::Faults;
use crate::invariants::Invariants;
use crate::panics;
use crate::trace::{self, Trace};
use crate::workload::plan::Plan;
use crate::workload::recorder::Recorder;
use crate::workload::{Surroundings, clients};
use crate::world::machine::Machine;
use crate::world::network::{Links, Power};
use crate::world::node;

/// How long the cluster may take until all is as it was, once nothing fails any more.
const HEALING: Duration = Duration::from_secs(90);

/// How long it is waited before it is looked again whether all is as it was.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How often it is looked who has stopped by himself.
const SUPERVISION: Duration = Duration::from_millis(10);

/// How long a process that has stopped stays dead.
const RESTART: Duration = Duration::from_millis(700);

/// What one run is made of.
#[derive(Debug, Clone)]
pub struct Options {
    pub seed: u64,
    /// Nodes; of four the last is a broker only, which joins later.
    pub nodes: i32,
    /// What clients do.
    pub plan: Plan,
    /// How long clients work.
    pub working: Duration,
    /// Whether anything fails meanwhile.
    pub faults: bool,
    /// Whether records are flushed before they are acknowledged.
    pub flush: bool,
    /// Whether segments are so short that most are sealed: what rots and is scrubbed.
    pub rolls: bool,
    /// Whether what otherwise takes longer than a run comes within it.
    pub hasty: bool,
}

impl Options {
    /// The nodes up to this one are voters.
    fn voters(&self) -> i32 {
        if self.joins_late().is_some() { self.nodes - 1 } else { self.nodes }
    }

    /// Who joins only once the cluster is at work.
    pub fn joins_late(&self) -> Option<i32> {
        (self.nodes == 4).then_some(4)
    }

    /// The usual run of that seed: mostly three nodes, of which each has everything.
    pub fn of(seed: u64) -> Options {
        let nodes = match mix(seed ^ 0x0de5) % 32 {
            0..24 => 3,
            24..28 => 4,
            28..31 => 5,
            _ => 7,
        };
        let (working, flush) = (Duration::from_secs(8), mix(seed).is_multiple_of(3));
        let rolls = mix(seed ^ 0x5e9).is_multiple_of(2);
        let faults = !mix(seed ^ 0xca1f).is_multiple_of(16);
        let hasty = mix(seed ^ 0x4a57).is_multiple_of(2);
        Options { seed, nodes, plan: Plan::of(seed), working, faults, flush, rolls, hasty }
    }

    /// What stands in the properties of all nodes besides.
    fn properties(&self) -> String {
        let rolls = if self.rolls { "log.roll.ms=1500\n" } else { "" };
        let hasty = match self.hasty {
            true => {
                "replica.lag.time.max.ms=1500\nleader.imbalance.check.interval.seconds=1\n\
                 ottla.quorum.snapshot.entries=20\n"
            }
            false => "",
        };
        format!("{rolls}{hasty}")
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    pub lines: Vec<String>,
    pub operations: u64,
    pub simulated: Duration,
    pub complaint: Option<String>,
    /// What was odd, but allowed.
    pub report: Report,
}

/// Runs it to its end; a panic, which ends a simulated machine's runtime, is a complaint.
pub fn run(options: &Options) -> Outcome {
    let trace = Arc::<Trace>::default();
    let recorder = Arc::new(Recorder::new(&trace));
    let listening = trace::listen(&trace);
    let running = || Run::new(options, &trace, &recorder).finish();
    let finished = catch_unwind(AssertUnwindSafe(running))
        .unwrap_or_else(|_| Err(format!("panicked: {}", panics::take().unwrap_or_default())));
    drop(listening);
    let (report, complaint) = match finished {
        Ok(report) => (report, None),
        Err(complaint) => (Report::default(), Some(complaint)),
    };
    if let Some(complaint) = &complaint {
        trace.note("verdict", complaint);
    }
    let (lines, operations) = (trace.lines(), recorder.operations());
    Outcome { lines, operations, simulated: trace.now(), complaint, report }
}

struct Run<'a> {
    sim: Sim<'a>,
    options: Options,
    machines: Vec<Arc<Machine>>,
    around: Surroundings,
    faults: Faults,
    invariants: Invariants,
    supervised: Duration,
    /// When whoever stopped by himself is started again.
    restarts: BTreeMap<i32, Duration>,
}

impl Run<'_> {
    fn new(options: &Options, trace: &Arc<Trace>, recorder: &Arc<Recorder>) -> Self {
        let links = Arc::<Links>::default();
        let mut sim = turmoil::Builder::new()
            .rng_seed(mix(options.seed))
            .epoch(UNIX_EPOCH)
            .simulation_duration(Duration::from_secs(3_600))
            .min_message_latency(Duration::ZERO)
            .max_message_latency(Duration::from_millis(4))
            .tcp_capacity(1_024)
            .enable_random_order()
            .build();
        let machines: Vec<_> = (1..=options.nodes)
            .map(|id| Machine::new(id, mix(options.seed), &links, trace))
            .collect();
        for machine in &machines {
            let more = options.properties();
            let properties = node::properties(machine.id, options.voters(), &more);
            let on = Arc::clone(machine);
            sim.host(machine.name.as_str(), move || node::run(Arc::clone(&on), properties.clone()));
        }
        let late = options.joins_late().map(|late| format!("n{late}"));
        if let Some(late) = &late {
            links.set_power(late, Power::ProcessDead);
            trace.quietly(|| sim.crash(late.as_str()));
        }
        let around = Surroundings {
            seed: options.seed,
            nodes: options.nodes,
            plan: options.plan.clone(),
            flush: options.flush,
            machine: String::new(),
            clients: clients::MACHINES.map(str::to_owned).to_vec(),
            links,
            trace: Arc::clone(trace),
            recorder: Arc::clone(recorder),
            told: Arc::default(),
        };
        for machine in clients::MACHINES {
            let around = Surroundings { machine: machine.to_owned(), ..around.clone() };
            sim.client(machine, clients::run(around, options.working));
        }
        let invariants = Invariants::new(&around.told, options);
        Run {
            sim,
            options: options.clone(),
            machines,
            around,
            faults: Faults::new(options),
            invariants,
            supervised: Duration::ZERO,
            restarts: BTreeMap::new(),
        }
    }

    fn finish(&mut self) -> Result<Report, String> {
        let working = self.options.working;
        while !self.step()? || self.around.trace.now() < working {
            self.faults.act(&mut self.sim, &self.machines, &self.around);
        }
        self.faults.end(&mut self.sim, &self.machines, &self.around);
        self.around.trace.note("run", "nothing fails any more");
        let patience = self.around.trace.now() + HEALING;
        let copies = loop {
            // What rots is found by who reads it, and mended then.
            match ending::healed(&self.machines) {
                Ok(copies) => break copies,
                Err(unhealed) if self.around.trace.now() > patience => {
                    return Err(format!("{HEALING:?} after the last fault: {unhealed}"));
                }
                Err(_) => self.pass(LOOK_AGAIN)?,
            }
        };
        let reads = ending::same_on_all(copies, &self.around.recorder)?;
        let history = self.around.recorder.history(reads);
        let report = checker::check(&history);
        match report.failures()[..] {
            [] => Ok(report),
            _ => Err(report.explain(&history, |process| self.around.recorder.name(process))),
        }
    }

    fn pass(&mut self, time: Duration) -> Result<(), String> {
        let until = self.around.trace.now() + time;
        while self.around.trace.now() < until {
            self.step()?;
        }
        Ok(())
    }

    /// One step; whether all clients are done.
    fn step(&mut self) -> Result<bool, String> {
        self.around.trace.set_now(self.sim.elapsed());
        let done = self.sim.step().map_err(|error| format!("a client failed: {error}"))?;
        if let Some(panic) = panics::take() {
            return Err(format!("panicked: {panic}"));
        }
        let now = self.around.trace.now();
        for (machine, news) in self.invariants.look(&self.machines, now)? {
            self.around.trace.note(&machine, news);
        }
        if now >= self.supervised + SUPERVISION {
            self.supervised = now;
            self.supervise();
        }
        Ok(done)
    }

    /// Starts again who has stopped by himself, as a service manager would.
    fn supervise(&mut self) {
        let now = self.around.trace.now();
        for machine in &self.machines {
            let is_meant = self.faults.is_down(machine.id);
            if is_meant || self.sim.is_host_running(machine.name.as_str()) {
                self.restarts.remove(&machine.id);
                continue;
            }
            if let Some(due) = self.restarts.get(&machine.id) {
                if *due <= now {
                    self.restarts.remove(&machine.id);
                    machine.links.set_power(&machine.name, Power::Running);
                    self.sim.bounce(machine.name.as_str());
                }
                continue;
            }
            machine.links.set_power(&machine.name, Power::ProcessDead);
            machine.process_died();
            machine.trace.quietly(|| self.sim.crash(machine.name.as_str()));
            self.restarts.insert(machine.id, now + RESTART);
        }
    }
}
