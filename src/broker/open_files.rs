//! How many files the process may have open: every segment of every log is one.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::log::LogDirectory;

/// How often the open segments are counted.
const COUNTED_EVERY: Duration = Duration::from_secs(60);
/// Connections, the catalog and whatever else is open beside segments.
const OTHERS: u64 = 1_000;

/// Raises the process's limit on open files to what it may be raised to, and gives what it is then;
/// `None`: there is none.
pub fn raise_limit() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit on open files stays as it is");
            current
        }
    }
}

/// Warns, once each time that it comes to that, when segments leave little of the limit.
pub(crate) async fn watch(directories: Vec<Arc<LogDirectory>>) {
    let mut was_short = false;
    loop {
        let limit = getrlimit(Resource::Nofile).current;
        let segments = segments(&directories);
        let is_short = is_short(segments, limit);
        if is_short && !was_short {
            tracing::warn!(
                segments,
                limit,
                "segments leave few files to be opened: raise RLIMIT_NOFILE (ulimit -n, LimitNOFILE=)"
            );
        }
        was_short = is_short;
        tokio::time::sleep(COUNTED_EVERY).await;
    }
}

fn segments(directories: &[Arc<LogDirectory>]) -> u64 {
    let logs = directories.iter().flat_map(|directory| directory.logs());
    logs.map(|log| log.segment_count() as u64).sum()
}

/// Whether a tenth more segments would not fit.
fn is_short(segments: u64, limit: Option<u64>) -> bool {
    limit.is_some_and(|limit| segments + segments / 10 + OTHERS > limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_run_short_before_they_run_out() {
        for (segments, limit, expected) in [
            (100, Some(1_024), true),
            (10, Some(4_096), false),
            (10_000, Some(10_240), true),
            (10_000, Some(20_000), false),
            (1_000_000, None, false),
        ] {
            assert_eq!(is_short(segments, limit), expected, "{segments} of {limit:?}");
        }
    }
}
