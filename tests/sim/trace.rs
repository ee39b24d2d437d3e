//! What happened, in simulated time: the timeline of one run.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tracing_subscriber::fmt::MakeWriter;

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
    let level = std::env::var("OTTLA_SIM_LOG").unwrap_or_else(|_| "ottla=info".to_owned());
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(format!(
            "off,turmoil::sim=info,{level}"
        )))
        .without_time()
        .with_ansi(false)
        .with_target(false)
        .with_writer(LogLines(Arc::clone(trace)))
        .finish();
    tracing::subscriber::set_default(subscriber)
}

#[derive(Debug, Clone)]
struct LogLines(Arc<Trace>);

impl<'a> MakeWriter<'a> for LogLines {
    type Writer = LogLines;

    fn make_writer(&'a self) -> LogLines {
        self.clone()
    }
}

impl io::Write for LogLines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let text = text.trim();
        // "WARN node{name="n1"}: text", as the formatter writes it.
        let (who, what) = match text.split_once("node{name=\"") {
            Some((level, rest)) => match rest.split_once("\"}: ") {
                Some((name, text)) => (name.to_owned(), format!("{} {text}", level.trim())),
                None => ("log".to_owned(), text.to_owned()),
            },
            None => ("log".to_owned(), text.to_owned()),
        };
        self.0.note(&who, what);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
