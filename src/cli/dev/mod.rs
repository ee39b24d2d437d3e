//! `ottla dev`: a cluster on this machine, each broker a child process of this one.
//!
//! - [`plan`]: ports, directories and properties files, computed
//! - [`children`]: starting, watching and stopping the processes
//!
//! The children get a pipe as stdin and stop when it closes, so that they never outlive this
//! process, however it ends. They stand in process groups of their own: a Ctrl-C in the terminal
//! reaches only this process, which then stops them one after another.

mod children;
pub(super) mod plan;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::client::{Cluster, ClusterOptions};
use children::{Children, Ended};
use plan::Plan;

/// How long a broker that was asked to stop may take before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(30);
/// How often the brokers are asked whether they are ready.
const READY_POLL: Duration = Duration::from_millis(25);
/// When to say that it takes long.
const READY_PATIENCE: Duration = Duration::from_secs(20);

/// Start a cluster on this machine for development
#[derive(Debug, Clone, Args)]
pub struct DevArgs {
    /// How many brokers
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    brokers: u16,
    /// Where the brokers keep their data, their properties files and their logs
    #[arg(long, value_name = "DIR", default_value = "./ottla-data")]
    data_dir: PathBuf,
    /// The first broker's port; the next ones follow
    #[arg(long, default_value_t = 9092, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
}

/// Runs the cluster until a signal ends it.
pub(super) async fn run(args: DevArgs) -> anyhow::Result<ExitCode> {
    let plan = Plan::new(args.brokers, &args.data_dir, args.port)?;
    plan.check_ports()?;
    plan.write()?;
    let program = std::env::current_exe().context("cannot tell where this program lies")?;

    let mut interrupts = Interrupts::new()?;
    let mut children = Children::start(&program, &plan)?;
    for child in children.list() {
        println!("broker {}  pid {}  {}", child.node, child.pid, child.address);
    }

    let mut ready = std::pin::pin!(ready(&plan));
    let mut is_ready = false;
    loop {
        tokio::select! {
            () = &mut ready, if !is_ready => {
                is_ready = true;
                println!("ready: {}", plan.bootstrap_servers());
            }
            ended = children.next_end() => {
                report_end(&ended);
                if children.is_empty() {
                    bail!("all brokers have ended; their logs are in {}", plan.directory.display());
                }
            }
            () = interrupts.next() => break,
        }
    }
    stop(&mut children, &mut interrupts).await;
    Ok(ExitCode::SUCCESS)
}

/// Stops the brokers in order, the last first; a second signal kills what is left.
async fn stop(children: &mut Children, interrupts: &mut Interrupts) {
    eprintln!("stopping the brokers; interrupt again to kill them");
    while let Some(node) = children.ask_last_to_stop() {
        let one = async {
            loop {
                let ended = children.next_end().await;
                println!("broker {}  stopped", ended.node);
                if ended.node == node {
                    return;
                }
            }
        };
        let in_time = tokio::select! {
            () = one => true,
            () = tokio::time::sleep(STOP_PATIENCE) => false,
            () = interrupts.next() => false,
        };
        if !in_time {
            eprintln!("killing the brokers that are left");
            children.kill_all().await;
            return;
        }
    }
}

fn report_end(ended: &Ended) {
    eprintln!(
        "broker {}  pid {}  ended: {}; the others go on. Its log: {}. Start it again with:\n  {}",
        ended.node,
        ended.pid,
        ended.how,
        ended.log.display(),
        ended.command
    );
}

/// Waits until every broker knows of every broker, which means: all are registered and unfenced.
async fn ready(plan: &Plan) {
    let mut waited = Duration::ZERO;
    for broker in &plan.brokers {
        let options = ClusterOptions::new(&broker.address(), "ottla-dev");
        loop {
            if knows_all(&options, plan.brokers.len()).await {
                break;
            }
            tokio::time::sleep(READY_POLL).await;
            waited += READY_POLL;
            if waited == READY_PATIENCE {
                eprintln!(
                    "broker {} is not ready yet; its log: {}",
                    broker.node,
                    broker.log_file.display()
                );
            }
        }
    }
}

/// Whether the broker behind `options` answers and lists `count` brokers.
async fn knows_all(options: &anyhow::Result<ClusterOptions>, count: usize) -> bool {
    let Ok(options) = options else { return false };
    let Ok(cluster) = Cluster::connect(options.clone()).await else { return false };
    cluster.live_brokers().await.is_ok_and(|brokers| brokers.len() >= count)
}

/// SIGINT and SIGTERM, which mean the same here.
struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?,
            terminate: signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
