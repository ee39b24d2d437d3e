//! `ottla broker`: one node of a cluster, from a `server.properties`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use rustix::process::{getpid, kill_process};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::util::SubscriberInitExt;

use crate::broker::loggers::DEFAULT_DIRECTIVES;
use crate::broker::{BrokerConfig, Loggers, Seams, Server, open_files};
use crate::http::server::BoundHttp;
use crate::http::{HttpServer, address};

/// The flag with which `ottla dev` makes its brokers end when it ends.
pub(super) const STOP_WITH_STDIN: &str = "stop-with-stdin";

const HTTP_LISTENER: &str = "ottla.http.listener";

/// Run one node of a cluster
#[derive(Debug, Clone, Args)]
pub struct BrokerArgs {
    /// The server.properties file
    #[arg(long, value_name = "FILE", required_unless_present = "file")]
    config: Option<PathBuf>,
    /// The server.properties file, as kafka-server-start.sh takes it
    #[arg(value_name = "FILE", conflicts_with = "config", hide = true)]
    file: Option<PathBuf>,
    /// Replaces one key of the file; may be given several times
    #[arg(long = "override", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Stop as on SIGTERM when stdin, a pipe, closes
    #[arg(long = STOP_WITH_STDIN, hide = true)]
    stop_with_stdin: bool,
}

/// Runs the node until a signal ends it.
pub(super) async fn run(args: BrokerArgs) -> anyhow::Result<ExitCode> {
    let loggers = init_logging()?;
    let path = args.config.as_ref().or(args.file.as_ref()).context("--config is missing")?;
    let config = load(path, &args.overrides)?;
    if args.stop_with_stdin {
        let stdin = pipe_of_stdin()?;
        tokio::spawn(terminate_with(stdin));
    }
    start(config, loggers).await
}

/// Runs the node until a signal ends it in order, or something in it fails for good. A second signal
/// ends it at once.
async fn start(config: BrokerConfig, loggers: Loggers) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new()?;
    open_files::raise_limit();
    let seams = Seams::of_this_machine().context("no thread for blocking work can be started")?;
    let seams = Seams { loggers: Arc::new(loggers), ..seams };
    let http = match config.values.explicit(HTTP_LISTENER) {
        Some(listener) => {
            let address =
                address::parse(listener).map_err(|why| anyhow!("{HTTP_LISTENER}: {why}"))?;
            Some(BoundHttp::bind(&*seams.network, &address).await?)
        }
        None => None,
    };
    let server = tokio::select! {
        biased;
        name = signals.next() => {
            tracing::info!("{name} before the start was over");
            return Ok(ExitCode::SUCCESS);
        }
        server = Server::start(config, seams) => server?,
    };
    for (name, address) in server.listeners() {
        tracing::info!("listener {name} at {address}");
    }
    let http = http.map(|http| {
        tracing::info!("HTTP at {}", http.address());
        let probe = server.health_probe();
        http.serve(move || probe.health())
    });
    let failure = tokio::select! {
        biased;
        reason = server.failed() => Some(reason),
        name = signals.next() => {
            tracing::info!("{name}: stopping");
            None
        }
    };
    tokio::select! {
        biased;
        name = signals.next() => {
            tracing::warn!("{name} again: stopping at once");
            Ok(ExitCode::FAILURE)
        }
        () = stop(server, http) => match failure {
            Some(reason) => bail!(reason),
            None => Ok(ExitCode::SUCCESS),
        },
    }
}

/// The node can be asked how it stands until it has stopped.
async fn stop(server: Server, http: Option<HttpServer>) {
    server.stop().await;
    if let Some(http) = http {
        http.stop().await;
    }
}

/// The signals that end a node.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Signals> {
        let hear = |kind| signal(kind).context("signals cannot be heard");
        Ok(Signals {
            terminate: hear(SignalKind::terminate())?,
            interrupt: hear(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// A node's configuration from its file, the environment and `--override`s.
pub(super) fn load(path: &Path, overrides: &[String]) -> anyhow::Result<BrokerConfig> {
    let overrides = overrides.iter().map(|pair| read_override(pair));
    let overrides = overrides.collect::<anyhow::Result<Vec<_>>>()?;
    let environment = |name: &str| std::env::var(name).ok();
    let file = path.display().to_string();
    let config = BrokerConfig::load(&read_text(path)?, &overrides, environment)
        .map_err(|error| anyhow!(error.in_file(&file)))?;
    if let Some(listener) = config.values.explicit(HTTP_LISTENER) {
        let wrong = |why| config.values.wrong(&[HTTP_LISTENER], format!("{HTTP_LISTENER}: {why}"));
        address::parse(listener).map_err(|why| anyhow!(wrong(why).in_file(&file)))?;
    }
    Ok(config)
}

fn read_text(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| {
        format!("cannot read the configuration {}; cluster-configs/ has examples", path.display())
    })
}

fn read_override(pair: &str) -> anyhow::Result<(String, String)> {
    match pair.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.trim().to_owned()))
        }
        _ => bail!("--override takes KEY=VALUE, not '{pair}'"),
    }
}

fn pipe_of_stdin() -> anyhow::Result<pipe::Receiver> {
    use std::os::fd::AsFd;
    let stdin = std::io::stdin().as_fd().try_clone_to_owned().context("cannot share stdin")?;
    pipe::Receiver::from_owned_fd(stdin).context("stdin is not a pipe")
}

/// Gives this process a SIGTERM when the pipe closes, so that there is one way to stop.
async fn terminate_with(mut stdin: pipe::Receiver) {
    let mut ignored = [0; 64];
    // Only the end counts; an error is one, too.
    while stdin.read(&mut ignored).await.is_ok_and(|count| count > 0) {}
    if let Err(error) = kill_process(getpid(), rustix::process::Signal::TERM) {
        tracing::error!("cannot stop after the end of stdin: {error}");
    }
}

/// Log lines to stderr: `OTTLA_LOG` or `RUST_LOG` say which, by default all from INFO on. What says
/// so may be changed while the node runs.
fn init_logging() -> anyhow::Result<Loggers> {
    let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let with = |directives: &str| Loggers::subscriber(directives, std::io::stderr, is_terminal);
    let (subscriber, loggers) = ["OTTLA_LOG", "RUST_LOG"]
        .iter()
        .filter_map(|variable| std::env::var(variable).ok())
        .find_map(|directives| with(&directives).ok())
        .map_or_else(|| with(DEFAULT_DIRECTIVES), Ok)
        .map_err(anyhow::Error::msg)?;
    subscriber.try_init().context("the log cannot be set up")?;
    Ok(loggers)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn overrides_are_pairs() {
        let pair = |key: &str, value: &str| Some((key.to_owned(), value.to_owned()));
        for (text, expected) in [
            ("node.id=1", pair("node.id", "1")),
            ("listeners=A://h:1,B://h:2", pair("listeners", "A://h:1,B://h:2")),
            ("a=b=c", pair("a", "b=c")),
            ("node.id", None),
            ("=1", None),
        ] {
            assert_eq!(read_override(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn what_dev_writes_is_a_configuration() {
        let directory = tempfile::tempdir().unwrap();
        for count in [1, 3, 4] {
            let plan = crate::cli::dev::plan::Plan::new(count, directory.path(), 9092).unwrap();
            for broker in &plan.brokers {
                let text = plan.properties(broker);
                BrokerConfig::load(&text, &[], |_| None)
                    .unwrap_or_else(|error| panic!("{error}\n{text}"));
            }
        }
    }
}
