//! What the console producer tells on stderr: a bar while a file is read, a line for each record
//! that is lost, a summary at the end.

use std::fmt::Display;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::client::producer::Delivery;
use crate::types::{Clock, Monotonic, TopicName};

/// Counts lines, acknowledgements and losses.
#[derive(Debug)]
pub(super) struct Progress {
    clock: Arc<dyn Clock>,
    started: Monotonic,
    bar: ProgressBar,
    is_piped: bool,
    delivered: AtomicU64,
    failed: AtomicU64,
}

impl Progress {
    /// Starts counting. The bar is drawn only where stderr is a terminal and stdin is not; it
    /// has an end only if stdin is a file.
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let is_piped = !std::io::stdin().is_terminal();
        let is_drawn = is_piped && std::io::stderr().is_terminal();
        let target =
            if is_drawn { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let size = file_size_bytes();
        let template = match size {
            Some(_) => "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} eta {eta} {msg}",
            None => "{spinner} {bytes} {bytes_per_sec} {msg}",
        };
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(size, target).with_style(style);
        let started = clock.monotonic();
        Self {
            clock,
            started,
            bar,
            is_piped,
            delivered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    /// A line was read.
    pub(super) fn read(&self, line: &Bytes) {
        self.bar.inc(line.len() as u64 + 1);
    }

    /// A batch was acknowledged or lost; the tokens are line numbers.
    pub(super) fn delivered(&self, delivery: &Delivery) {
        match &delivery.outcome {
            Ok(_) => {
                let count = delivery.tokens.len() as u64;
                let total = self.delivered.fetch_add(count, Ordering::Relaxed) + count;
                self.bar.set_message(format!("{total} acknowledged"));
            }
            Err(failure) => {
                for &line in &delivery.tokens {
                    self.failed(line, failure);
                }
            }
        }
    }

    /// The record of a line is lost.
    pub(super) fn failed(&self, line: u64, failure: &dyn Display) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        self.bar.suspend(|| eprintln!("Error: line {line} was not sent: {failure}"));
    }

    /// Whether any record is lost.
    pub(super) fn has_failures(&self) -> bool {
        self.failed.load(Ordering::Relaxed) > 0
    }

    /// Takes the bar away and sums up.
    pub(super) fn finish(&self, topic: &TopicName) {
        self.bar.finish_and_clear();
        if !self.is_piped {
            return;
        }
        let (delivered, failed) =
            (self.delivered.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed));
        let seconds = self.clock.monotonic().since(self.started).as_secs_f64();
        eprintln!("{}", summary(topic, delivered, failed, seconds));
    }
}

fn summary(topic: &TopicName, delivered: u64, failed: u64, seconds: f64) -> String {
    let rate = delivered as f64 / seconds.max(0.001);
    let lost = if failed == 0 { String::new() } else { format!(", {failed} not sent") };
    format!("{delivered} records sent to {topic} in {seconds:.1} s ({rate:.0} records/s){lost}")
}

/// The size of stdin, if it is a file.
fn file_size_bytes() -> Option<u64> {
    let stat = rustix::fs::fstat(std::io::stdin()).ok()?;
    let is_file = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file();
    if is_file { u64::try_from(stat.st_size).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_names_losses_only_if_there_are_any() {
        let topic = TopicName::from("orders");
        assert_eq!(
            summary(&topic, 1000, 0, 0.5),
            "1000 records sent to orders in 0.5 s (2000 records/s)"
        );
        assert_eq!(
            summary(&topic, 1000, 3, 0.5),
            "1000 records sent to orders in 0.5 s (2000 records/s), 3 not sent"
        );
    }
}
