//! `delete-records`: `kafka-delete-records.sh` by its flags, its file and its output. Where Kafka's
//! tool prints a partition's error and exits with 0, this one exits with 1.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use serde::Deserialize;

use crate::cli::client::deletions::Deleted;
use crate::cli::client::{Cluster, ClusterOptions};
use crate::cli::connection::{CommandConfigArgs, ConnectionArgs, warn_of_unknown};
use crate::types::{Offset, TopicPartition};

/// Delete the records of partitions below given offsets
#[derive(Debug, Clone, Args)]
pub struct DeleteRecordsArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(flatten)]
    config_file: CommandConfigArgs,
    /// The file with an offset per partition, -1 for the high watermark:
    /// {"partitions": [{"topic": "foo", "partition": 1, "offset": 1}], "version": 1}
    #[arg(long, value_name = "FILE")]
    offset_json_file: PathBuf,
}

/// Deletes, and says how far for each partition.
pub(super) async fn run(args: DeleteRecordsArgs) -> anyhow::Result<ExitCode> {
    let path = &args.offset_json_file;
    let text = tokio::fs::read_to_string(path)
        .await
        .with_context(|| format!("cannot read {}", path.display()))?;
    let offsets = parse(&text).with_context(|| path.display().to_string())?;
    let properties = args.config_file.properties()?;
    warn_of_unknown(&properties);
    let servers = args.connection.servers(&properties)?;
    let options = ClusterOptions::from_properties(&servers, "ottla-delete-records", &properties)?;
    let cluster = Cluster::connect(options).await?;
    println!("Executing records delete operation");
    let deleted = cluster.delete_records(&offsets).await?;
    let mut out = BufWriter::new(std::io::stdout());
    out.write_all(report(&deleted).as_bytes())?;
    out.flush()?;
    let all_done = deleted.values().all(Result::is_ok);
    Ok(if all_done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[derive(Deserialize)]
struct OffsetFile {
    version: Option<i64>,
    partitions: Option<Vec<OffsetOfPartition>>,
}

#[derive(Deserialize)]
struct OffsetOfPartition {
    topic: String,
    partition: i32,
    offset: i64,
}

/// Reads Kafka's file; a partition may stand in it once.
fn parse(text: &str) -> anyhow::Result<BTreeMap<TopicPartition, Offset>> {
    let value: serde_json::Value =
        serde_json::from_str(text).context("The input string is not a valid JSON")?;
    let file = OffsetFile::deserialize(value).context("not a list of offsets")?;
    match file.version {
        None | Some(1) => {}
        Some(version) => bail!("Not supported version field value {version}"),
    }
    let Some(partitions) = file.partitions else { bail!("Missing partitions field") };
    let mut offsets = BTreeMap::new();
    let mut duplicates = Vec::new();
    for OffsetOfPartition { topic, partition, offset } in partitions {
        let name = TopicPartition::new(topic.as_str(), partition);
        if offsets.insert(name.clone(), Offset(offset)).is_some() {
            duplicates.push(name.to_string());
        }
    }
    duplicates.dedup();
    if !duplicates.is_empty() {
        bail!("Offset json file contains duplicate topic partitions: {}", duplicates.join(","));
    }
    Ok(offsets)
}

/// Kafka's lines.
fn report(deleted: &Deleted) -> String {
    let mut text = "Records delete operation completed:\n".to_owned();
    for (partition, outcome) in deleted {
        text.push_str(&match outcome {
            Ok(low_watermark) => {
                format!("partition: {partition}\tlow_watermark: {low_watermark}\n")
            }
            Err(failure) => format!("partition: {partition}\terror: {failure}\n"),
        });
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::cli::client::ClientFailure;
    use crate::types::ErrorCode;

    #[test]
    fn the_file_is_kafkas() {
        let text = r#"{"partitions": [{"topic": "a", "partition": 1, "offset": 7},
            {"topic": "b-c", "partition": 0, "offset": -1}], "version": 1}"#;
        let expected = BTreeMap::from([
            (TopicPartition::new("a", 1), Offset(7)),
            (TopicPartition::new("b-c", 0), Offset(-1)),
        ]);
        assert_eq!(parse(text).unwrap(), expected);
        assert_eq!(parse(r#"{"partitions": []}"#).unwrap(), BTreeMap::new());
        for (text, says) in [
            ("partitions", "The input string is not a valid JSON"),
            (r#"{"version": 1}"#, "Missing partitions field"),
            (r#"{"version": 2, "partitions": []}"#, "Not supported version field value 2"),
            (r#"{"partitions": [{"topic": "a", "partition": 1}]}"#, "missing field `offset`"),
            (
                r#"{"partitions": [{"topic": "a", "partition": 1, "offset": 1},
                    {"topic": "a", "partition": 1, "offset": 2}]}"#,
                "Offset json file contains duplicate topic partitions: a-1",
            ),
        ] {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn the_output_is_kafkas() {
        let refused = ClientFailure::Refused { code: ErrorCode::OffsetOutOfRange, message: None };
        let deleted = Deleted::from([
            (TopicPartition::new("a", 0), Ok(Offset(3))),
            (TopicPartition::new("a", 1), Err(refused)),
        ]);
        let text = report(&deleted);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[..2],
            ["Records delete operation completed:", "partition: a-0\tlow_watermark: 3"]
        );
        assert!(lines[2].starts_with("partition: a-1\terror: "), "{}", lines[2]);
        assert!(lines[2].ends_with("(OFFSET_OUT_OF_RANGE)"), "{}", lines[2]);
    }
}
