//! `--verify`: has brokers verify what lies in their log directories, follows that with a bar, and
//! says what was damaged and what became of it. Ottla's own. Brokers go on if this is interrupted.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::client::{ClientFailure, Cluster};
use crate::net::client::{ClientError, Connection};
use crate::protocol::own::verify_logs::{
    VerifyLogsFinding, VerifyLogsRequest, VerifyLogsResponse, VerifyLogsTopic,
};
use crate::types::NodeId;

/// How often brokers are asked how far they are.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// What became of damage, as the broker says it.
const MENDED: i8 = 1;
/// The only version of the question.
const VERSION: i16 = 0;

/// What is to be verified.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    /// Only these brokers; empty: all.
    pub brokers: Vec<NodeId>,
    /// Only these topics; empty: all.
    pub topics: Vec<String>,
    /// How fast each broker may read; none: as fast as it can.
    pub bytes_per_second: Option<i64>,
}

/// A verification that a broker performs.
struct UnderWay {
    broker: NodeId,
    connection: Arc<Connection>,
    last: VerifyLogsResponse,
}

/// Has it done and tells. The exit code is 1 if damage was found, mended or not.
pub(super) async fn run(cluster: &Cluster, wanted: Wanted) -> anyhow::Result<ExitCode> {
    let mut all = begin(cluster, &wanted).await?;
    let bar = bar();
    let total_bytes: i64 = all.iter().map(|one| one.last.total_bytes).sum();
    bar.set_length(total_bytes.max(0).unsigned_abs());
    if bar.is_hidden() {
        eprintln!("Verifying {total_bytes} bytes on {} brokers", all.len());
    }
    while all.iter().any(|one| !one.last.is_done) {
        tokio::time::sleep(ASK_EVERY).await;
        for one in all.iter_mut().filter(|one| !one.last.is_done) {
            let id = one.last.verification_id;
            let request = VerifyLogsRequest { verification_id: id, ..Default::default() };
            one.last = ask(&one.connection, one.broker, &request).await?;
        }
        let verified: i64 = all.iter().map(|one| one.last.verified_bytes).sum();
        let found: usize = all.iter().map(|one| one.last.findings.len()).sum();
        bar.set_position(verified.max(0).unsigned_abs());
        bar.set_message(if found > 0 { format!("{found} damaged") } else { String::new() });
    }
    bar.finish_and_clear();
    let mut out = std::io::stdout();
    for one in &all {
        for line in lines(one.broker, &one.last) {
            writeln!(out, "{line}")?;
        }
    }
    let is_sound = all.iter().all(|one| one.last.findings.is_empty());
    Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn begin(cluster: &Cluster, wanted: &Wanted) -> anyhow::Result<Vec<UnderWay>> {
    let live: BTreeMap<NodeId, _> = cluster.live_brokers().await?;
    if let Some(missing) = wanted.brokers.iter().find(|broker| !live.contains_key(broker)) {
        let known: Vec<String> = live.keys().map(ToString::to_string).collect();
        bail!("broker {missing} of --broker-list is not there; there are {}", known.join(","));
    }
    let is_wanted = |broker: &&NodeId| wanted.brokers.is_empty() || wanted.brokers.contains(broker);
    let topics = wanted
        .topics
        .iter()
        .map(|name| VerifyLogsTopic { name: name.as_str().into(), partitions: Vec::new() });
    let request = VerifyLogsRequest {
        verification_id: -1,
        topics: (!wanted.topics.is_empty()).then(|| topics.collect()),
        bytes_per_second: wanted.bytes_per_second.unwrap_or(-1),
    };
    let mut all = Vec::new();
    for broker in live.keys().copied().filter(|broker| is_wanted(&broker)) {
        let connection = cluster.broker(broker).await?;
        let last = ask(&connection, broker, &request).await?;
        all.push(UnderWay { broker, connection, last });
    }
    Ok(all)
}

async fn ask(
    connection: &Connection,
    broker: NodeId,
    request: &VerifyLogsRequest,
) -> anyhow::Result<VerifyLogsResponse> {
    // It is not advertised, so no version is agreed upon: who does not know it hangs up.
    let response = connection.call_at(VERSION, request).await.map_err(|error| match error {
        ClientError::Closed { .. } => anyhow::Error::from(error)
            .context(format!("broker {broker} does not verify logs, or has stopped")),
        other => anyhow::Error::from(other),
    })?;
    ClientFailure::check(response.error_code, response.error_message.as_deref())
        .with_context(|| format!("broker {broker}"))?;
    Ok(response)
}

/// The bar, drawn only where stderr is a terminal.
fn bar() -> ProgressBar {
    let target = match std::io::stderr().is_terminal() {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::hidden(),
    };
    let template = "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} eta {eta} {msg}";
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(0), target).with_style(style)
}

/// What is told of one broker.
fn lines(broker: NodeId, told: &VerifyLogsResponse) -> Vec<String> {
    let mut lines: Vec<String> =
        told.findings.iter().map(|finding| format!("Broker {broker}: {}", line(finding))).collect();
    let mended = told.findings.iter().filter(|finding| finding.state == MENDED).count();
    let damage = match told.findings.len() {
        0 => "no damage".to_owned(),
        found if mended == found => format!("{found} damaged, all mended"),
        found => format!("{found} damaged, {mended} mended"),
    };
    let (segments, bytes) = (told.verified_segments, told.verified_bytes);
    lines.push(format!("Broker {broker}: {segments} segments, {bytes} bytes: {damage}"));
    lines
}

fn line(finding: &VerifyLogsFinding) -> String {
    let VerifyLogsFinding { topic, partition, log_dir, segment, position, reason, .. } = finding;
    let (from, last) = (finding.from_offset, finding.to_offset - 1);
    let outcome = match (finding.state, &finding.obstacle) {
        (MENDED, _) => "mended".to_owned(),
        (_, Some(obstacle)) => format!("NOT MENDED: {obstacle}"),
        (_, None) => "NOT MENDED".to_owned(),
    };
    format!(
        "{topic}-{partition} in {log_dir}, segment {segment} from byte {position}: \
         offsets {from} to {last} are damaged ({reason}): {outcome}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_told_with_what_became_of_it() {
        let finding = |state, obstacle: Option<&str>| VerifyLogsFinding {
            log_dir: "/d".into(),
            topic: "orders".into(),
            partition: 3,
            segment: 100,
            position: 61,
            from_offset: 101,
            to_offset: 105,
            reason: "bad".into(),
            state,
            obstacle: obstacle.map(Into::into),
        };
        let told = |findings| VerifyLogsResponse {
            verified_bytes: 512,
            verified_segments: 2,
            findings,
            ..Default::default()
        };
        assert_eq!(
            lines(NodeId(1), &told(Vec::new())),
            ["Broker 1: 2 segments, 512 bytes: no damage"]
        );
        let place = "Broker 2: orders-3 in /d, segment 100 from byte 61: \
                     offsets 101 to 104 are damaged (bad)";
        assert_eq!(
            lines(NodeId(2), &told(vec![finding(1, None), finding(2, Some("nobody has them"))])),
            [
                format!("{place}: mended"),
                format!("{place}: NOT MENDED: nobody has them"),
                "Broker 2: 2 segments, 512 bytes: 2 damaged, 1 mended".to_owned(),
            ]
        );
        assert_eq!(
            lines(NodeId(2), &told(vec![finding(1, None)]))[1],
            "Broker 2: 2 segments, 512 bytes: 1 damaged, all mended"
        );
    }
}
