//! Dates and durations in the forms of ISO 8601 that Kafka's tools take. No time zone means UTC.

use crate::types::TimestampMs;

/// A duration such as `P1DT2H`; negative ones lie ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli::consumer_groups) struct IsoDuration {
    /// Its length in milliseconds.
    pub(in crate::cli::consumer_groups) ms: i64,
}

impl IsoDuration {
    /// The moment so long before `now`.
    pub(super) fn before(self, now: TimestampMs) -> TimestampMs {
        TimestampMs(now.0.saturating_sub(self.ms))
    }
}

/// Reads `YYYY-MM-DDTHH:mm:SS.sss` with `Z`, `+hh`, `+hhmm`, `+hh:mm` or nothing at the end; the
/// fraction may be missing.
pub(in crate::cli::consumer_groups) fn parse_datetime(text: &str) -> Result<TimestampMs, String> {
    datetime(text).ok_or_else(|| {
        "a date and time is written YYYY-MM-DDTHH:mm:SS.sss, perhaps with Z or +hh:mm".to_owned()
    })
}

fn datetime(text: &str) -> Option<TimestampMs> {
    let (date, rest) = text.split_once('T')?;
    let at = rest.find(['Z', '+', '-']).unwrap_or(rest.len());
    let (time, zone) = rest.split_at(at);
    let [year, month, day] = split(date, '-', [4, 2, 2])?;
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [hour, minute, second] = split(clock, ':', [2, 2, 2])?;
    let is_real = (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !is_real || year == 0 {
        return None;
    }
    let seconds = (days_since_epoch(year, month, day) * 24 + hour) * 3600 + minute * 60 + second;
    Some(TimestampMs((seconds - zone_seconds(zone)?) * 1000 + fraction_ms(fraction)?))
}

/// Numbers of exactly these widths between separators.
fn split(text: &str, separator: char, widths: [usize; 3]) -> Option<[i64; 3]> {
    let mut numbers = [0; 3];
    let mut parts = text.split(separator);
    for (number, width) in numbers.iter_mut().zip(widths) {
        *number = digits(parts.next().filter(|part| part.len() == width)?)?;
    }
    parts.next().is_none().then_some(numbers)
}

fn digits(text: &str) -> Option<i64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

/// How far a zone is ahead of UTC.
fn zone_seconds(zone: &str) -> Option<i64> {
    let sign = match zone.chars().next() {
        None => return Some(0),
        Some('Z') => return (zone.len() == 1).then_some(0),
        Some('-') => -1,
        Some(_) => 1,
    };
    let number = zone.get(1..)?.replacen(':', "", 1);
    let (hours, minutes) = match number.len() {
        2 => (digits(&number)?, 0),
        4 => (digits(number.get(..2)?)?, digits(number.get(2..)?)?),
        _ => return None,
    };
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

/// The first three digits of a fraction of a second.
fn fraction_ms(digits_after: &str) -> Option<i64> {
    let first: String = digits_after.chars().chain("000".chars()).take(3).collect();
    digits(digits_after).and_then(|_| digits(&first))
}

fn is_leap(year: i64) -> bool {
    (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a day of the Gregorian calendar.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let leap_days = |before: i64| before / 4 - before / 100 + before / 400;
    let years = (year - 1970) * 365 + leap_days(year - 1) - leap_days(1969);
    let months: i64 = (1..month).map(|earlier| days_in_month(year, earlier)).sum();
    years + months + day - 1
}

/// Reads `PnDTnHnMn.nS`; each number may have a sign, and so may the whole.
pub(in crate::cli::consumer_groups) fn parse_duration(text: &str) -> Result<IsoDuration, String> {
    duration(text).ok_or_else(|| "a duration is written PnDTnHnMnS, as P1DT12H or PT30M".to_owned())
}

fn duration(text: &str) -> Option<IsoDuration> {
    let upper = text.to_ascii_uppercase();
    let (sign, body) = match upper.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, upper.strip_prefix('+').unwrap_or(&upper)),
    };
    let body = body.strip_prefix('P')?;
    let (days, times) = match body.split_once('T') {
        Some((_, "")) => return None,
        Some((days, times)) => (days, times),
        None => (body, ""),
    };
    if days.is_empty() && times.is_empty() {
        return None;
    }
    let mut rest = days;
    let mut ms = take(&mut rest, 'D', 86_400_000)?;
    if !rest.is_empty() {
        return None;
    }
    rest = times;
    for (unit, length_ms) in [('H', 3_600_000), ('M', 60_000), ('S', 1_000)] {
        ms = ms.checked_add(take(&mut rest, unit, length_ms)?)?;
    }
    rest.is_empty().then_some(IsoDuration { ms: sign * ms })
}

/// Takes the number before `unit` off the text, if that unit comes next, in milliseconds.
fn take(rest: &mut &str, unit: char, length_ms: i64) -> Option<i64> {
    let Some((number, after)) = rest.split_once(unit) else { return Some(0) };
    let (sign, number) = match number.strip_prefix('-') {
        Some(number) => (-1, number),
        None => (1, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) if unit == 'S' => (whole, fraction_ms(fraction)?),
        Some(_) => return None,
        None => (number, 0),
    };
    *rest = after;
    Some(sign * digits(whole)?.checked_mul(length_ms)?.checked_add(fraction)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_as_kafkas_tools_read_them() {
        for (text, expected) in [
            ("1970-01-01T00:00:00.000", Some(0)),
            ("1970-01-01T00:00:00", Some(0)),
            ("1970-01-01T00:00:00.5", Some(500)),
            ("1969-12-31T23:59:59.999Z", Some(-1)),
            ("2000-02-29T12:00:00.000", Some(951_825_600_000)),
            ("2000-03-01T00:00:00.000", Some(951_868_800_000)),
            ("2026-11-21T14:00:00.123Z", Some(1_795_269_600_123)),
            ("2026-11-21T14:00:00.123+02:00", Some(1_795_262_400_123)),
            ("2026-11-21T14:00:00.123+0200", Some(1_795_262_400_123)),
            ("2026-11-21T14:00:00.123-05", Some(1_795_287_600_123)),
            ("2026-11-21", None),
            ("2026-11-21 14:00:00.000", None),
            ("2026-13-01T00:00:00.000", None),
            ("2026-02-29T00:00:00.000", None),
            ("2026-11-21T24:00:00.000", None),
            ("2026-11-21T14:60:00.000", None),
            ("2026-11-21T14:00.000", None),
            ("2026-11-21T14:00:00.", None),
            ("2026-11-21T14:00:00.x", None),
            ("2026-11-21T14:00:00.000+2", None),
            ("2026-11-21T14:00:00.000Zulu", None),
            ("+026-11-21T14:00:00.000", None),
            ("", None),
            ("T", None),
        ] {
            assert_eq!(parse_datetime(text).ok().map(|at| at.0), expected, "{text}");
        }
    }

    #[test]
    fn durations_are_read_as_java_reads_them() {
        for (text, expected) in [
            ("PT0S", Some(0)),
            ("PT1S", Some(1_000)),
            ("pt1.5s", Some(1_500)),
            ("PT0.0019S", Some(1)),
            ("PT2M", Some(120_000)),
            ("PT1H30M", Some(5_400_000)),
            ("P1D", Some(86_400_000)),
            ("P2DT3H4M5.006S", Some(183_845_006)),
            ("-PT1H", Some(-3_600_000)),
            ("PT-1H", Some(-3_600_000)),
            ("PT1H-1M", Some(3_540_000)),
            ("P", None),
            ("PT", None),
            ("P1DT", None),
            ("P1", None),
            ("1D", None),
            ("P1W", None),
            ("P1M", None),
            ("PT1.5H", None),
            ("PT1S1H", None),
            ("PT1H1", None),
            ("P1H", None),
            ("PTS", None),
            ("P99999999999999999D", None),
        ] {
            assert_eq!(parse_duration(text).ok().map(|duration| duration.ms), expected, "{text}");
        }
    }

    #[test]
    fn a_duration_counts_back_from_now() {
        assert_eq!(IsoDuration { ms: 1 }.before(TimestampMs(10)), TimestampMs(9));
        assert_eq!(IsoDuration { ms: -1 }.before(TimestampMs(10)), TimestampMs(11));
    }
}
