//! `--describe`: Kafka's three lines, the last of which is JSON, or a table.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write;
use std::process::ExitCode;

use anyhow::bail;
use serde::Serialize;

use crate::cli::client::{ClientFailure, Cluster};
use crate::protocol::messages::describe_log_dirs::{
    DescribeLogDirsRequest, DescribeLogDirsResponse, DescribeLogDirsResult,
};
use crate::types::{ErrorCode, NodeId};

/// Asks the brokers, all unless some are named, and prints what lies in their directories; of the
/// named topics, if any are named.
pub(super) async fn run(
    cluster: &Cluster,
    brokers: Option<Vec<NodeId>>,
    topics: &[String],
    human_readable: bool,
) -> anyhow::Result<ExitCode> {
    let live: BTreeSet<NodeId> = cluster.live_brokers().await?.into_keys().collect();
    let wanted = brokers.filter(|wanted| !wanted.is_empty());
    let wanted = wanted.map_or_else(|| live.clone(), |wanted| wanted.into_iter().collect());
    let missing: BTreeSet<NodeId> = wanted.difference(&live).copied().collect();
    if !missing.is_empty() {
        bail!(
            "The given brokers do not exist from --broker-list: {}. Current existent brokers: {}",
            ids(&missing),
            ids(&live)
        );
    }
    let mut out = std::io::stdout();
    if !human_readable {
        writeln!(out, "Querying brokers for log directories information")?;
    }
    let mut answers = BTreeMap::new();
    for &broker in &wanted {
        answers.insert(broker, ask(cluster, broker).await?);
    }
    if human_readable {
        write!(out, "{}", table(&answers, topics))?;
    } else {
        writeln!(out, "Received log directory information from brokers {}", ids(&wanted))?;
        writeln!(out, "{}", serde_json::to_string(&document(&answers, topics))?)?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn ask(
    cluster: &Cluster,
    broker: NodeId,
) -> Result<Vec<DescribeLogDirsResult>, ClientFailure> {
    let what = format!("the log directories of broker {broker}");
    let asking = || async {
        let connection = cluster.broker(broker).await?;
        let request = DescribeLogDirsRequest { topics: None };
        let response: DescribeLogDirsResponse = connection.call(&request).await?;
        ClientFailure::check(response.error_code, None)?;
        Ok(response.results)
    };
    cluster.retry(&what, asking).await
}

fn ids(brokers: &BTreeSet<NodeId>) -> String {
    brokers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// What each broker said.
type Answers = BTreeMap<NodeId, Vec<DescribeLogDirsResult>>;

/// Kafka's document.
#[derive(Debug, Serialize)]
struct Document {
    version: i32,
    brokers: Vec<Broker>,
}

#[derive(Debug, Serialize)]
struct Broker {
    broker: i32,
    #[serde(rename = "logDirs")]
    log_dirs: Vec<LogDir>,
}

#[derive(Debug, Serialize)]
struct LogDir {
    #[serde(rename = "logDir")]
    log_dir: String,
    error: Option<String>,
    partitions: Vec<Replica>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Replica {
    partition: String,
    size: i64,
    offset_lag: i64,
    is_future: bool,
}

fn document(answers: &Answers, topics: &[String]) -> Document {
    let log_dir = |result: &DescribeLogDirsResult| LogDir {
        log_dir: result.log_dir.to_string(),
        error: error(result.error_code),
        partitions: replicas(result, topics),
    };
    let brokers = answers.iter().map(|(broker, results)| Broker {
        broker: broker.0,
        log_dirs: results.iter().map(log_dir).collect(),
    });
    Document { version: 1, brokers: brokers.collect() }
}

/// Kafka prints the name of its exception.
fn error(code: i16) -> Option<String> {
    match ErrorCode::from_code(code) {
        Some(ErrorCode::None) => None,
        Some(ErrorCode::KafkaStorageError) => {
            Some("org.apache.kafka.common.errors.KafkaStorageException".to_owned())
        }
        Some(other) => Some(other.name().to_owned()),
        None => Some(format!("UNKNOWN_ERROR {code}")),
    }
}

fn replicas(result: &DescribeLogDirsResult, topics: &[String]) -> Vec<Replica> {
    let is_wanted = |name: &str| topics.is_empty() || topics.iter().any(|topic| topic == name);
    let topics = result.topics.iter().filter(|topic| is_wanted(&topic.name));
    let replicas = topics.flat_map(|topic| {
        topic.partitions.iter().map(|partition| Replica {
            partition: format!("{}-{}", topic.name, partition.partition_index),
            size: partition.partition_size,
            offset_lag: partition.offset_lag,
            is_future: partition.is_future_key,
        })
    });
    replicas.collect()
}

/// A line for each directory with its room, and under it one for each replica.
fn table(answers: &Answers, topics: &[String]) -> String {
    let mut text = String::new();
    for (broker, results) in answers {
        for result in results {
            // Writing to a string cannot fail.
            let _ = write!(text, "Broker: {broker}\tLogDir: {}", result.log_dir);
            let _ = match error(result.error_code) {
                Some(_) => writeln!(text, "\tOFFLINE"),
                None => writeln!(
                    text,
                    "\tPartitions: {}\tUsable: {} of {}",
                    replicas(result, &[]).iter().filter(|replica| !replica.is_future).count(),
                    bytes(result.usable_bytes),
                    bytes(result.total_bytes)
                ),
            };
            for replica in replicas(result, topics) {
                let _ = writeln!(
                    text,
                    "\tPartition: {}\tSize: {}\tOffsetLag: {}{}",
                    replica.partition,
                    bytes(replica.size),
                    replica.offset_lag,
                    if replica.is_future { "\tfuture" } else { "" }
                );
            }
        }
    }
    text
}

/// A number of bytes in the largest unit that leaves it above 1.
fn bytes(count: i64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 0 {
        return "unknown".to_owned();
    }
    if count < 1024 {
        return format!("{count} B");
    }
    // Three digits are shown: that the last bits are lost is not seen.
    let mut scaled = count as f64 / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next().unwrap_or(&"KiB");
    for next in units {
        if scaled < 1024.0 {
            break;
        }
        scaled /= 1024.0;
        unit = next;
    }
    format!("{scaled:.1} {unit}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::protocol::messages::describe_log_dirs::{
        DescribeLogDirsPartition, DescribeLogDirsTopic,
    };

    fn answers() -> Answers {
        let log = |index, size, lag, future| DescribeLogDirsPartition {
            partition_index: index,
            partition_size: size,
            offset_lag: lag,
            is_future_key: future,
        };
        let one = DescribeLogDirsResult {
            log_dir: "/one".into(),
            topics: vec![
                DescribeLogDirsTopic { name: "t".into(), partitions: vec![log(0, 2048, 0, false)] },
                DescribeLogDirsTopic { name: "u".into(), partitions: vec![log(3, 5, 7, true)] },
            ],
            total_bytes: 10 << 30,
            usable_bytes: 3 << 29,
            ..Default::default()
        };
        let two =
            DescribeLogDirsResult { error_code: 56, log_dir: "/two".into(), ..Default::default() };
        BTreeMap::from([(NodeId(4), vec![one, two])])
    }

    #[test]
    fn the_document_is_kafkas() {
        let all = serde_json::to_string(&document(&answers(), &[])).unwrap();
        assert_eq!(
            all,
            "{\"version\":1,\"brokers\":[{\"broker\":4,\"logDirs\":[\
             {\"logDir\":\"/one\",\"error\":null,\"partitions\":[\
             {\"partition\":\"t-0\",\"size\":2048,\"offsetLag\":0,\"isFuture\":false},\
             {\"partition\":\"u-3\",\"size\":5,\"offsetLag\":7,\"isFuture\":true}]},\
             {\"logDir\":\"/two\",\
             \"error\":\"org.apache.kafka.common.errors.KafkaStorageException\",\
             \"partitions\":[]}]}]}"
        );
        let some = serde_json::to_string(&document(&answers(), &["u".to_owned()])).unwrap();
        assert!(!some.contains("t-0") && some.contains("u-3") && some.contains("/two"), "{some}");
    }

    #[test]
    fn the_table_shows_room_and_what_is_on_its_way() {
        assert_eq!(
            table(&answers(), &[]),
            "Broker: 4\tLogDir: /one\tPartitions: 1\tUsable: 1.5 GiB of 10.0 GiB\n\
             \tPartition: t-0\tSize: 2.0 KiB\tOffsetLag: 0\n\
             \tPartition: u-3\tSize: 5 B\tOffsetLag: 7\tfuture\n\
             Broker: 4\tLogDir: /two\tOFFLINE\n"
        );
        for (count, text) in [(-1, "unknown"), (1023, "1023 B"), (1 << 62, "4096.0 PiB")] {
            assert_eq!(bytes(count), text);
        }
    }
}
