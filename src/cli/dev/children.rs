//! The brokers' processes: started, watched, stopped.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use crate::cli::broker::STOP_WITH_STDIN;
use crate::cli::dev::plan::{BrokerPlan, Plan};
use crate::types::NodeId;

/// The processes that run.
#[derive(Debug)]
pub(super) struct Children {
    running: BTreeMap<NodeId, Running>,
    /// One task per process, which ends when it does.
    ends: JoinSet<(NodeId, std::io::Result<ExitStatus>)>,
}

/// A process that runs, and what to say when it ends.
#[derive(Debug, Clone)]
pub(super) struct Running {
    pub(super) node: NodeId,
    pub(super) pid: u32,
    pub(super) address: String,
    log: PathBuf,
    command: String,
}

/// A process that ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) node: NodeId,
    pub(super) pid: u32,
    /// `exit status: 1`, `signal: 9 (SIGKILL)`.
    pub(super) how: String,
    pub(super) log: PathBuf,
    /// What starts it again.
    pub(super) command: String,
}

impl Children {
    /// Starts all brokers of the plan. If one cannot be started those before it end too, because
    /// their pipes close.
    pub(super) fn start(program: &Path, plan: &Plan) -> anyhow::Result<Self> {
        let mut children = Self { running: BTreeMap::new(), ends: JoinSet::new() };
        for broker in &plan.brokers {
            children.start_one(program, broker)?;
        }
        Ok(children)
    }

    fn start_one(&mut self, program: &Path, broker: &BrokerPlan) -> anyhow::Result<()> {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&broker.log_file)
            .with_context(|| format!("cannot write {}", broker.log_file.display()))?;
        let mut child = Command::new(program)
            .arg("broker")
            .arg("--config")
            .arg(&broker.properties_file)
            .arg(format!("--{STOP_WITH_STDIN}"))
            .stdin(Stdio::piped())
            .stdout(log.try_clone().context("cannot share the log file")?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let pid = child.id().context("the process ended at once")?;
        let node = broker.node;
        self.running.insert(
            node,
            Running {
                node,
                pid,
                address: broker.address(),
                log: broker.log_file.clone(),
                command: format!(
                    "{} broker --config {}",
                    quote(program),
                    quote(&broker.properties_file)
                ),
            },
        );
        self.ends.spawn(async move {
            // Waiting would close the pipe, and with that stop the broker.
            let pipe = child.stdin.take();
            let end = wait(&mut child).await;
            drop(pipe);
            (node, end)
        });
        Ok(())
    }

    /// Those that run, by their number.
    pub(super) fn list(&self) -> impl Iterator<Item = &Running> {
        self.running.values()
    }

    /// Whether none is left.
    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Waits for the next one to end; for ever if none is left.
    pub(super) async fn next_end(&mut self) -> Ended {
        loop {
            match self.ends.join_next().await {
                Some(Ok((node, end))) => {
                    if let Some(running) = self.running.remove(&node) {
                        return running.ended(end);
                    }
                }
                Some(Err(error)) => eprintln!("Error: the watch over a broker failed: {error}"),
                None => std::future::pending().await,
            }
        }
    }

    /// Asks the last one to stop; `None` if none is left.
    pub(super) fn ask_last_to_stop(&self) -> Option<NodeId> {
        let (&node, running) = self.running.last_key_value()?;
        running.signal(Signal::TERM);
        Some(node)
    }

    /// Kills what is left and waits for the ends.
    pub(super) async fn kill_all(&mut self) {
        for running in self.running.values() {
            running.signal(Signal::KILL);
        }
        while !self.is_empty() {
            self.next_end().await;
        }
    }
}

async fn wait(child: &mut Child) -> std::io::Result<ExitStatus> {
    child.wait().await
}

impl Running {
    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        // If it has ended meanwhile its end is about to be seen.
        if let Some(pid) = pid {
            let _ = kill_process(pid, signal);
        }
    }

    fn ended(self, end: std::io::Result<ExitStatus>) -> Ended {
        Ended {
            node: self.node,
            pid: self.pid,
            how: end.map_or_else(|error| error.to_string(), |status| status.to_string()),
            log: self.log,
            command: self.command,
        }
    }
}

/// A path as a shell takes it.
fn quote(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain =
        text.chars().all(|letter| letter.is_ascii_alphanumeric() || "/._-+:@".contains(letter));
    if is_plain { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    /// A stand-in for a broker, which ends when its stdin does.
    fn stand_in(directory: &Path) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = directory.join("broker");
        std::fs::write(&path, "#!/bin/sh\nread -r line\nexit 7\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    async fn next_end(children: &mut Children) -> Ended {
        let patience = std::time::Duration::from_secs(20);
        tokio::time::timeout(patience, children.next_end())
            .await
            .expect("a process that was told to end has not ended for 20 s")
    }

    #[tokio::test]
    async fn a_killed_child_is_reported_and_the_others_go_on() {
        let directory = tempfile::tempdir().unwrap();
        let plan = Plan::new(2, directory.path(), 9092).unwrap();
        let mut children = Children::start(&stand_in(directory.path()), &plan).unwrap();
        let first = children.list().next().unwrap().clone();
        assert_eq!((first.node, first.address.as_str()), (NodeId(1), "127.0.0.1:9092"));
        first.signal(Signal::KILL);
        let ended = next_end(&mut children).await;
        assert_eq!((ended.node, ended.pid), (NodeId(1), first.pid));
        assert!(ended.how.contains("signal: 9"), "{}", ended.how);
        assert!(ended.command.ends_with("broker-1.properties"), "{}", ended.command);
        assert_eq!(children.ask_last_to_stop(), Some(NodeId(2)));
        assert_eq!(next_end(&mut children).await.node, NodeId(2));
        assert!(children.is_empty());
        assert_eq!(children.ask_last_to_stop(), None);
    }

    #[tokio::test]
    async fn children_end_with_their_parents_pipe() {
        let directory = tempfile::tempdir().unwrap();
        let plan = Plan::new(1, directory.path(), 9092).unwrap();
        let children = Children::start(&stand_in(directory.path()), &plan).unwrap();
        let pid = children.list().next().unwrap().pid;
        drop(children);
        let gone = async {
            while std::path::Path::new(&format!("/proc/{pid}/cmdline")).exists()
                && !std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default().is_empty()
            {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), gone)
            .await
            .expect("a child has outlived its pipe for 20 s");
    }

    #[test]
    fn paths_are_quoted_where_a_shell_needs_it() {
        for (path, quoted) in [
            ("/usr/bin/ottla", "/usr/bin/ottla"),
            ("/my data/broker-1.properties", "'/my data/broker-1.properties'"),
            ("/it's", "'/it'\\''s'"),
        ] {
            assert_eq!(quote(Path::new(path)), quoted);
        }
    }
}
