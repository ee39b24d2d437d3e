//! `metadata-quorum --unsafe-recover`: makes a stopped controller the only voter of its quorum,
//! after saying what that costs.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;

use crate::broker::Seams;
use crate::broker::unsafe_recovery::StoppedNode;
use crate::cli::broker::load;
use crate::controller::unsafe_recovery::Survivor;
use crate::log::LogDirectory;

/// The flags of a recovery.
#[derive(Debug, Clone, Default, Args)]
pub struct RecoveryArgs {
    /// Make this stopped controller the only voter, where a majority of the voters is lost for
    /// good; says what that costs, and changes nothing without --yes
    #[arg(long, requires = "config")]
    unsafe_recover: bool,
    /// The controller's server.properties, with --unsafe-recover
    #[arg(long, value_name = "FILE", requires = "unsafe_recover")]
    config: Option<PathBuf>,
    /// Replaces one key of that file; may be given several times
    #[arg(long = "override", value_name = "KEY=VALUE", requires = "unsafe_recover")]
    overrides: Vec<String>,
    /// Do it without asking, with --unsafe-recover
    #[arg(long, requires = "unsafe_recover")]
    yes: bool,
}

impl RecoveryArgs {
    /// To look and to recover are two things.
    pub(super) fn refuse_with_describe(&self) -> anyhow::Result<()> {
        if self.unsafe_recover {
            bail!("--unsafe-recover works on a stopped node; it does not go with describe");
        }
        Ok(())
    }
}

/// Says what would be done, and does it where that is wanted.
pub(super) async fn run(args: &RecoveryArgs) -> anyhow::Result<ExitCode> {
    let Some(path) = args.config.as_ref().filter(|_| args.unsafe_recover) else {
        bail!("nothing to do: say describe, or --unsafe-recover --config FILE");
    };
    let config = load(path, &args.overrides)?;
    let seams = Seams::of_this_machine().context("no thread for blocking work can be started")?;
    let node = StoppedNode::open(&config, &seams).await?;
    let outcome = recover(&node, args.yes).await;
    // However it went: the directory is left as it was found.
    let closed = node.close().await;
    outcome?;
    closed?;
    Ok(ExitCode::SUCCESS)
}

async fn recover(node: &StoppedNode, yes: bool) -> anyhow::Result<()> {
    let survivor = node.survivor().await?;
    let cluster_id = node.directory().cluster_id();
    let mut out = std::io::stdout();
    write!(out, "{}", explain(node.directory(), &survivor))?;
    out.flush()?;
    if !yes {
        let cluster_id = cluster_id.as_deref().filter(|_| std::io::stdin().is_terminal());
        let Some(cluster_id) = cluster_id else {
            bail!("nothing was changed: to pay that price, add --yes");
        };
        write!(out, "\nTo pay that price, type the cluster id ({cluster_id}): ")?;
        out.flush()?;
        let mut typed = String::new();
        std::io::stdin().read_line(&mut typed)?;
        if typed.trim() != cluster_id {
            bail!("nothing was changed: that is not the cluster id");
        }
    }
    survivor.recover().await?;
    writeln!(out, "\n{DONE}")?;
    Ok(())
}

const DONE: &str = "\
This node is the only voter now. Start it; it leads its quorum alone.
Then start the lost controllers anew: with their old node ids, with empty directories, and with a
controller.quorum.voters that has everybody's address of now. They become voters again by themselves.";

const COSTS: &str = "\
What it costs:
- Metadata that only the lost voters had is lost, although it was committed. Topics, configurations,
  leaders and in-sync replicas go back to what this node knows; records that were acknowledged
  under newer leaders may be lost with that. If several controllers survive, recover the one with
  the greatest term, and among those the greatest offset.
- The lost voters must never start again with their old metadata directories. This node refuses
  them, but a majority of them would go on as the old cluster, and clients and brokers that reach
  them would follow. Delete those directories, or make sure that those machines stay away.
- A broker whose metadata is newer than this node's stops, and needs an empty metadata directory.
";

/// What the node has, what would be done, and what that costs.
fn explain(directory: &LogDirectory, survivor: &Survivor) -> String {
    let cluster_id = directory.cluster_id().unwrap_or_else(|| "unknown".to_owned());
    let mut text = format!(
        "Metadata directory {}, directory id {}, cluster id {cluster_id}\n\
         Its metadata log ends with offset {} of term {}.\n\
         The other voters, which are given up:\n",
        directory.path().display(),
        directory.directory_id(),
        survivor.last_offset(),
        survivor.last_term(),
    );
    for voter in survivor.lost_voters() {
        text += &format!("  node {}, directory id {}\n", voter.node_id, voter.directory_id);
    }
    text += &format!(
        "\n--unsafe-recover makes this node the only voter, in term {}. It keeps all that its log \
         has.\n{COSTS}",
        survivor.new_term()
    );
    text
}
