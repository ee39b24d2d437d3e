//! What the two performance tools measure and how they print it: Kafka's lines, so that scripts
//! that read them keep working.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::types::{Monotonic, TimestampMs};

const MIB: f64 = 1024.0 * 1024.0;

/// How often the producer tool prints what happened since the last time.
const WINDOW: Duration = Duration::from_secs(5);

/// Latencies and counts of acknowledged records.
#[derive(Debug)]
pub(super) struct ProducerStats {
    is_steady_state: bool,
    latencies_ms: Histogram<u64>,
    started: Monotonic,
    total: Totals,
    window_started: Monotonic,
    window: Totals,
}

#[derive(Debug, Default, Clone, Copy)]
struct Totals {
    count: u64,
    bytes: u64,
    latency_ms: u64,
    max_latency_ms: u64,
}

impl Totals {
    fn add(&mut self, bytes: u64, latency_ms: u64) {
        self.count += 1;
        self.bytes += bytes;
        self.latency_ms += latency_ms;
        self.max_latency_ms = self.max_latency_ms.max(latency_ms);
    }

    fn average_latency_ms(self) -> f64 {
        self.latency_ms as f64 / self.count as f64
    }
}

fn per_second(amount: f64, elapsed: Duration) -> f64 {
    1000.0 * amount / elapsed.as_millis() as f64
}

impl ProducerStats {
    /// Starts measuring at `now`. Steady state: what comes after the warm-up.
    pub(super) fn new(now: Monotonic, is_steady_state: bool) -> anyhow::Result<Self> {
        Ok(Self {
            is_steady_state,
            latencies_ms: Histogram::new(3)?,
            started: now,
            total: Totals::default(),
            window_started: now,
            window: Totals::default(),
        })
    }

    /// Counts one acknowledged record.
    pub(super) fn record(&mut self, bytes: u64, latency: Duration) {
        let latency_ms = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX);
        self.total.add(bytes, latency_ms);
        self.window.add(bytes, latency_ms);
        self.latencies_ms.saturating_record(latency_ms);
    }

    /// The line about the last seconds, when it is due.
    pub(super) fn window_line(&mut self, now: Monotonic) -> Option<String> {
        let elapsed = now.since(self.window_started);
        if elapsed < WINDOW || self.window.count == 0 {
            return None;
        }
        let window = std::mem::take(&mut self.window);
        self.window_started = now;
        Some(format!(
            "{} records sent, {:.1} records/sec ({:.2} MB/sec), {:.1} ms avg latency, \
             {:.1} ms max latency.",
            window.count,
            per_second(window.count as f64, elapsed),
            per_second(window.bytes as f64 / MIB, elapsed),
            window.average_latency_ms(),
            window.max_latency_ms as f64,
        ))
    }

    /// The line about all of it.
    pub(super) fn total_line(&self, now: Monotonic) -> String {
        let elapsed = now.since(self.started);
        let percentile = |quantile| self.latencies_ms.value_at_quantile(quantile);
        format!(
            "{}{} records sent, {:.6} records/sec ({:.2} MB/sec), {:.2} ms avg latency, \
             {:.2} ms max latency, {} ms 50th, {} ms 95th, {} ms 99th, {} ms 99.9th.",
            self.total.count,
            if self.is_steady_state { " steady state" } else { "" },
            per_second(self.total.count as f64, elapsed),
            per_second(self.total.bytes as f64 / MIB, elapsed),
            self.total.average_latency_ms(),
            self.total.max_latency_ms as f64,
            percentile(0.5),
            percentile(0.95),
            percentile(0.99),
            percentile(0.999),
        )
    }
}

/// How much a consumer has read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Consumed {
    pub(super) records: u64,
    pub(super) bytes: u64,
}

/// The first line of `consumer-perf-test`.
pub(super) fn consumer_header(is_detailed: bool) -> &'static str {
    if is_detailed {
        "time, threadId, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, \
         rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec"
    } else {
        "start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, \
         rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec"
    }
}

/// The last line of `consumer-perf-test`. `joined_after` is what Kafka's tool spends in its
/// group's rebalance: here, the time until all positions are known.
pub(super) fn consumer_line(
    start: TimestampMs,
    end: TimestampMs,
    joined_after: Duration,
    total: Consumed,
) -> String {
    let elapsed = Duration::from_millis(u64::try_from(end.0 - start.0).unwrap_or(0));
    let fetching = elapsed.saturating_sub(joined_after);
    let mib = total.bytes as f64 / MIB;
    format!(
        "{}, {}, {mib:.4}, {:.4}, {}, {:.4}, {}, {}, {:.4}, {:.4}",
        format_time(start),
        format_time(end),
        per_second(mib, elapsed),
        total.records,
        per_second(total.records as f64, elapsed),
        joined_after.as_millis(),
        fetching.as_millis(),
        per_second(mib, fetching),
        per_second(total.records as f64, fetching),
    )
}

/// A line of `consumer-perf-test --show-detailed-stats`.
pub(super) fn consumer_progress_line(
    now: TimestampMs,
    interval: Duration,
    joined_after: Duration,
    total: Consumed,
    before: Consumed,
) -> String {
    let fetching = interval.saturating_sub(joined_after);
    let mib = (total.bytes - before.bytes) as f64 / MIB;
    let records = (total.records - before.records) as f64;
    let fetch_rate = |amount| if fetching.is_zero() { 0.0 } else { per_second(amount, fetching) };
    format!(
        "{}, 0, {:.4}, {:.4}, {}, {:.4}, {}, {}, {:.4}, {:.4}",
        format_time(now),
        total.bytes as f64 / MIB,
        per_second(mib, interval),
        total.records,
        per_second(records, interval),
        joined_after.as_millis(),
        fetching.as_millis(),
        fetch_rate(mib),
        fetch_rate(records),
    )
}

/// `2026-01-31 12:00:00:123`, in UTC.
pub(super) fn format_time(time: TimestampMs) -> String {
    const DAY_MS: i64 = 86_400_000;
    let (day, in_day) = (time.0.div_euclid(DAY_MS), time.0.rem_euclid(DAY_MS));
    let (year, month, day) = civil(day);
    let (seconds, millis) = (in_day / 1000, in_day % 1000);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}:{millis:03}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// Year, month and day of a day counted from 1970-01-01 in the Gregorian calendar. Years are
/// taken to begin in March, so that the leap day is their last.
fn civil(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let era = day.div_euclid(146_097);
    let day_of_era = day.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_month)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn at(ms: u64) -> Monotonic {
        Monotonic(Duration::from_millis(ms))
    }

    #[test]
    fn the_producers_lines_are_kafkas() {
        let mut stats = ProducerStats::new(at(0), false).unwrap();
        for index in 0..1000_u64 {
            stats.record(1024, Duration::from_millis(index / 10));
        }
        assert_eq!(stats.window_line(at(4_999)), None);
        assert_eq!(
            stats.window_line(at(5_000)).unwrap(),
            "1000 records sent, 200.0 records/sec (0.20 MB/sec), 49.5 ms avg latency, 99.0 ms max latency."
        );
        assert_eq!(stats.window_line(at(20_000)), None, "nothing happened since");
        assert_eq!(
            stats.total_line(at(10_000)),
            "1000 records sent, 100.000000 records/sec (0.10 MB/sec), 49.50 ms avg latency, \
             99.00 ms max latency, 49 ms 50th, 94 ms 95th, 98 ms 99th, 99 ms 99.9th."
        );
    }

    #[test]
    fn what_comes_after_the_warm_up_says_so() {
        let mut stats = ProducerStats::new(at(0), true).unwrap();
        stats.record(1, Duration::ZERO);
        assert!(stats.total_line(at(1)).starts_with("1 steady state records sent, "));
    }

    #[test]
    fn the_consumers_lines_are_kafkas() {
        let total = Consumed { records: 1000, bytes: 1_048_576 };
        assert_eq!(
            consumer_line(
                TimestampMs(1_700_000_000_000),
                TimestampMs(1_700_000_002_500),
                Duration::from_millis(500),
                total
            ),
            "2023-11-14 22:13:20:000, 2023-11-14 22:13:22:500, 1.0000, 0.4000, 1000, 400.0000, \
             500, 2000, 0.5000, 500.0000"
        );
        assert_eq!(
            consumer_progress_line(
                TimestampMs(1_700_000_002_500),
                Duration::from_secs(1),
                Duration::ZERO,
                total,
                Consumed { records: 500, bytes: 524_288 }
            ),
            "2023-11-14 22:13:22:500, 0, 1.0000, 0.5000, 1000, 500.0000, 0, 1000, 0.5000, 500.0000"
        );
        assert_eq!(
            consumer_header(false).split(", ").count(),
            consumer_line(TimestampMs(0), TimestampMs(1), Duration::ZERO, total)
                .split(", ")
                .count()
        );
    }

    #[test]
    fn days_are_counted_over_leap_years() {
        for (ms, text) in [
            (0, "1970-01-01 00:00:00:000"),
            (951_782_400_000, "2000-02-29 00:00:00:000"),
            (1_709_251_199_999, "2024-02-29 23:59:59:999"),
            (1_767_225_600_001, "2026-01-01 00:00:00:001"),
            (4_107_542_400_000, "2100-03-01 00:00:00:000"),
        ] {
            assert_eq!(format_time(TimestampMs(ms)), text);
        }
    }
}
