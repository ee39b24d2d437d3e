//! What happened, in simulated time: the timeline of one run.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::Targets;

/// The timeline. Shared by all that has something to tell; the driver moves its time.
#[derive(Debug, Default)]
pub struct Trace {
    now_us: AtomicU64,
    muted: AtomicBool,
    lines: Mutex<Vec<String>>,
}

impl Trace {
    /// Simulated time goes on.
    pub fn set_now(&self, now: Duration) {
        let micros = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        self.now_us.store(micros, Ordering::Relaxed);
    }

    /// Since the simulation began.
    pub fn now(&self) -> Duration {
        Duration::from_micros(self.now_us.load(Ordering::Relaxed))
    }

    /// Runs `run`, which has nothing to tell: tokio drops a crashed machine's tasks in an order
    /// that the seed does not know.
    pub fn quietly(&self, run: impl FnOnce()) {
        self.muted.store(true, Ordering::Relaxed);
        run();
        self.muted.store(false, Ordering::Relaxed);
    }

    /// Adds a line.
    pub fn note(&self, who: &str, what: impl std::fmt::Display) {
        if self.muted.load(Ordering::Relaxed) {
            return;
        }
        let line = format!("{:>9.3} {who:<8} {what}", self.now().as_secs_f64());
        self.lines.lock().push(line);
    }

    /// Everything so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().clone()
    }
}

/// Takes what nodes log into the timeline, while the guard lives and on this thread.
pub fn listen(trace: &Arc<Trace>) -> tracing::subscriber::DefaultGuard {
    let wanted = std::env::var("OTTLA_SIM_LOG").unwrap_or_else(|_| "ottla=info".to_owned());
    let wanted: Targets = wanted.parse().unwrap_or_else(|error| panic!("OTTLA_SIM_LOG: {error}"));
    let wanted = wanted.with_target("turmoil::sim", Level::INFO);
    let lines = LogLines { wanted, machines: Mutex::default(), trace: Arc::clone(trace) };
    tracing::subscriber::set_default(lines)
}

thread_local! {
    /// The span of the machine that runs, by its number.
    static RUNNING: Cell<u64> = const { Cell::new(0) };
}

/// Events become lines. The spans are turmoil's, one whenever a machine runs on: those of one machine
/// are one span here, since making them costs more than most machines do in a step.
#[derive(Debug)]
struct LogLines {
    wanted: Targets,
    /// Spans are numbered by place, from one on.
    machines: Mutex<Vec<String>>,
    trace: Arc<Trace>,
}

impl Subscriber for LogLines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.wanted.would_enable(metadata.target(), metadata.level())
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut name = MachineName(&self.machines, 0);
        span.record(&mut name);
        Id::from_u64(name.1 + 1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut words = Words::default();
        event.record(&mut words);
        let who = match RUNNING.get().checked_sub(1).and_then(|place| usize::try_from(place).ok()) {
            Some(place) => self.machines.lock().get(place).cloned().unwrap_or_default(),
            None => "log".to_owned(),
        };
        let Words { message, fields } = words;
        self.trace.note(&who, format_args!("{} {message}{fields}", event.metadata().level()));
    }

    fn enter(&self, span: &Id) {
        RUNNING.set(span.into_u64());
    }

    fn exit(&self, _: &Id) {
        RUNNING.set(0);
    }
}

/// Finds the machine's place among those that have run.
struct MachineName<'a>(&'a Mutex<Vec<String>>, u64);

impl Visit for MachineName<'_> {
    fn record_str(&mut self, _: &Field, name: &str) {
        let mut machines = self.0.lock();
        let known = machines.iter().position(|known| known == name);
        let place = known.unwrap_or_else(|| {
            machines.push(name.to_owned());
            machines.len() - 1
        });
        self.1 = place as u64;
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

/// An event in words.
#[derive(Default)]
struct Words {
    message: String,
    fields: String,
}

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            name => self.fields += &format!(" {name}={value:?}"),
        }
    }
}
