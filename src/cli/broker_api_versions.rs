//! `broker-api-versions`: `kafka-broker-api-versions.sh` by its flags and its output.

use std::fmt::Write as _;
use std::io::{BufWriter, Write};
use std::process::ExitCode;

use clap::Args;

use crate::cli::client::{ClientFailure, Cluster, ClusterOptions};
use crate::cli::connection::{CommandConfigArgs, ConnectionArgs, warn_of_unknown};
use crate::net::transport::HostPort;
use crate::protocol::ApiKey;
use crate::types::NodeId;

/// Show which requests each broker understands, in which versions
#[derive(Debug, Clone, Args)]
pub struct BrokerApiVersionsArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(flatten)]
    config_file: CommandConfigArgs,
}

/// Asks every broker and prints its answer.
pub(super) async fn run(args: BrokerApiVersionsArgs) -> anyhow::Result<ExitCode> {
    let properties = args.config_file.properties()?;
    warn_of_unknown(&properties);
    let servers = args.connection.servers(&properties)?;
    let options = ClusterOptions::from_properties(&servers, "ottla-api-versions", &properties)?;
    let cluster = Cluster::connect(options).await?;
    let mut out = BufWriter::new(std::io::stdout());
    for (node, address) in cluster.live_brokers().await? {
        match ask(&cluster, &address).await {
            Ok(ranges) => writeln!(out, "{} -> {}", name(node, &address), listing(&ranges))?,
            Err(failure) => writeln!(out, "{} -> ERROR: {failure}", name(node, &address))?,
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// One API's number, and the versions of it that a broker understands.
type Range = (i16, i16, i16);

async fn ask(cluster: &Cluster, address: &HostPort) -> Result<Vec<Range>, ClientFailure> {
    let connection = cluster.dial(address).await?;
    let served = connection.versions().iter();
    Ok(served.map(|(&key, versions)| (key, *versions.start(), *versions.end())).collect())
}

fn name(node: NodeId, address: &HostPort) -> String {
    format!("{address} (id: {node} rack: null isFenced: false)")
}

/// Kafka's listing: one API per line, indented.
fn listing(ranges: &[Range]) -> String {
    let lines: Vec<String> = ranges
        .iter()
        .map(|&(key, min, max)| {
            let mut line = match ApiKey::from_i16(key) {
                Some(api) => format!("{}({key}): ", api.name()),
                None => format!("UNKNOWN({key}): "),
            };
            // Writing to a string cannot fail.
            let _ = if min == max { write!(line, "{min}") } else { write!(line, "{min} to {max}") };
            if ApiKey::from_i16(key).is_some() {
                let _ = write!(line, " [usable: {max}]");
            }
            line
        })
        .collect();
    format!("(\n\t{}\n)", lines.join(",\n\t"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listing_is_kafkas() {
        assert_eq!(
            listing(&[(0, 0, 13), (46, 0, 0), (9999, 1, 2)]),
            "(\n\tProduce(0): 0 to 13 [usable: 13],\n\
             \tListPartitionReassignments(46): 0 [usable: 0],\n\
             \tUNKNOWN(9999): 1 to 2\n)"
        );
    }
}
