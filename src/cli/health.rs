//! `ottla health`: asks a node whether it is ready, for container engines and scripts.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;

use crate::http::{address, client};
use crate::net::transport::TcpNetwork;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Say whether a node is ready: exit status 0 if so, else 1
#[derive(Debug, Clone, Args)]
pub struct HealthArgs {
    /// The node's ottla.http.listener
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    url: String,
}

/// Prints what the node answers.
pub(super) async fn run(args: HealthArgs) -> anyhow::Result<ExitCode> {
    let node = address::parse(&args.url).map_err(|why| anyhow!("--url: {why}"))?;
    let asked = client::get(&TcpNetwork, &node, "/health/ready");
    let answer = tokio::time::timeout(PATIENCE, asked)
        .await
        .with_context(|| format!("{node} has not answered in {PATIENCE:?}"))?
        .with_context(|| format!("no health from {node}; is ottla.http.listener set there?"))?;
    println!("{}", answer.body.trim_end());
    Ok(if answer.status == 200 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
