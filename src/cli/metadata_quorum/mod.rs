//! `metadata-quorum describe`: `kafka-metadata-quorum.sh` by its flags and its output.
//! `metadata-quorum --unsafe-recover` is Ottla's own: see [`unsafe_recover`].

mod unsafe_recover;

use std::io::{BufWriter, Write};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};

use crate::cli::client::admin::Endpoints;
use crate::cli::client::{Cluster, ClusterOptions};
use crate::cli::connection::{CommandConfigArgs, ConnectionArgs, warn_of_unknown};
use crate::cli::quorum_table::{Member, Quorum};
use crate::protocol::messages::describe_quorum::{DescribeQuorumResponse, ReplicaState};
use crate::types::{DirectoryId, NodeId, Offset, TimestampMs};

/// Describe the metadata quorum, or bring a lost majority back
#[derive(Debug, Clone, Args)]
pub struct MetadataQuorumArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// The controllers to ask, instead of brokers: HOST:PORT,HOST:PORT
    #[arg(long, value_name = "SERVERS", global = true)]
    bootstrap_controller: Option<String>,
    #[command(flatten)]
    config_file: CommandConfigArgs,
    #[command(flatten)]
    recovery: unsafe_recover::RecoveryArgs,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Clone, Subcommand)]
enum Action {
    /// Show the quorum's state
    Describe {
        /// Who leads, since when, and how far the others are
        #[arg(long)]
        status: bool,
        /// Every voter and observer with its log end
        #[arg(long)]
        replication: bool,
        /// Print times as how long ago they were, with --replication
        #[arg(long)]
        human_readable: bool,
    },
}

/// Prints the quorum's state, or recovers it.
pub(super) async fn run(args: MetadataQuorumArgs) -> anyhow::Result<ExitCode> {
    let Some(action) = args.action else { return unsafe_recover::run(&args.recovery).await };
    args.recovery.refuse_with_describe()?;
    let Action::Describe { status, replication, human_readable } = action;
    match (status, replication) {
        (true, true) => bail!(
            "Only one of --status or --replication should be specified with describe sub-command"
        ),
        (false, false) => {
            bail!("One of --status or --replication must be specified with describe sub-command")
        }
        (true, false) if human_readable => {
            bail!("The option --human-readable is only supported along with --replication")
        }
        _ => {}
    }
    let properties = args.config_file.properties()?;
    warn_of_unknown(&properties);
    let (servers, endpoints) = match args.bootstrap_controller {
        Some(controllers) => {
            args.connection.refuse_zookeeper()?;
            (controllers, Endpoints::Controllers)
        }
        None => (args.connection.servers(&properties)?, Endpoints::Brokers),
    };
    let options = ClusterOptions::from_properties(&servers, "ottla-metadata-quorum", &properties)?;
    let cluster = Cluster::connect(options).await?;
    let quorum = ask(&cluster, endpoints).await?;
    let mut out = BufWriter::new(std::io::stdout());
    if status {
        quorum.print_status(&mut out)?;
    } else {
        let now = human_readable.then(|| cluster.clock().wall());
        quorum.print_replication(&mut out, now)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

async fn ask(cluster: &Cluster, endpoints: Endpoints) -> anyhow::Result<Quorum> {
    let cluster_id = cluster.cluster_id(endpoints).await?;
    let response = cluster.describe_quorum().await?;
    read(cluster_id, &response).context("the broker's answer does not describe the quorum")
}

fn read(cluster_id: String, response: &DescribeQuorumResponse) -> Option<Quorum> {
    let partition = response.topics.first()?.partitions.first()?;
    let member = |state: &ReplicaState| Member {
        node: NodeId(state.replica_id),
        directory: DirectoryId(state.replica_directory_id),
        log_end: Offset(state.log_end_offset),
        last_fetch: TimestampMs(state.last_fetch_timestamp),
        last_caught_up: TimestampMs(state.last_caught_up_timestamp),
        endpoints: response
            .nodes
            .iter()
            .filter(|node| node.node_id == state.replica_id)
            .flat_map(|node| &node.listeners)
            .map(|listener| format!("{}://{}:{}", listener.name, listener.host, listener.port))
            .collect(),
    };
    Some(Quorum {
        cluster_id,
        leader: NodeId(partition.leader_id),
        leader_epoch: partition.leader_epoch,
        high_watermark: Offset(partition.high_watermark),
        voters: partition.current_voters.iter().map(member).collect(),
        observers: partition.observers.iter().map(member).collect(),
    })
}
