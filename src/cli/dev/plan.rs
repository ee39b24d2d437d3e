//! What a development cluster looks like: ports, directories, properties.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::types::NodeId;

/// How far the controller ports lie above the brokers' ports.
const CONTROLLER_PORT_DISTANCE: u16 = 1000;
/// More voters than these make the metadata slower and nothing safer on one machine.
const MOST_VOTERS: usize = 3;

/// The whole cluster.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Plan {
    /// Absolute.
    pub(in crate::cli) directory: PathBuf,
    pub(in crate::cli) brokers: Vec<BrokerPlan>,
}

/// One broker of it.
#[derive(Debug, Clone)]
pub(in crate::cli) struct BrokerPlan {
    pub(in crate::cli) node: NodeId,
    pub(in crate::cli) port: u16,
    pub(in crate::cli) controller_port: u16,
    pub(in crate::cli) properties_file: PathBuf,
    pub(in crate::cli) data_directory: PathBuf,
    pub(in crate::cli) log_file: PathBuf,
}

impl BrokerPlan {
    /// Where clients reach it.
    pub(in crate::cli) fn address(&self) -> String {
        format!("{}:{}", Ipv4Addr::LOCALHOST, self.port)
    }
}

impl Plan {
    /// `count` brokers from `port` on.
    pub(in crate::cli) fn new(count: u16, directory: &Path, port: u16) -> anyhow::Result<Self> {
        let directory = std::path::absolute(directory)
            .with_context(|| format!("{} is not a directory's name", directory.display()))?;
        let highest = u32::from(port) + u32::from(CONTROLLER_PORT_DISTANCE) + u32::from(count) - 1;
        if highest > u32::from(u16::MAX) {
            bail!(
                "--port {port} is too high: the brokers and their controllers need the ports up \
                 to {highest}"
            );
        }
        let brokers = (0..count)
            .map(|index| {
                let number = index + 1;
                BrokerPlan {
                    node: NodeId(i32::from(number)),
                    port: port + index,
                    controller_port: port + CONTROLLER_PORT_DISTANCE + index,
                    properties_file: directory.join(format!("broker-{number}.properties")),
                    data_directory: directory.join(format!("broker-{number}")),
                    log_file: directory.join(format!("broker-{number}.log")),
                }
            })
            .collect();
        Ok(Self { directory, brokers })
    }

    /// What to give to clients.
    pub(in crate::cli) fn bootstrap_servers(&self) -> String {
        self.brokers.iter().map(BrokerPlan::address).collect::<Vec<_>>().join(",")
    }

    /// An odd number of voters: an even one tolerates no more failures.
    fn voters(&self) -> &[BrokerPlan] {
        let count = if self.brokers.len() < MOST_VOTERS { 1 } else { MOST_VOTERS };
        &self.brokers[..count]
    }

    /// Refuses ports that something else uses, before any process starts.
    pub(in crate::cli) fn check_ports(&self) -> anyhow::Result<()> {
        for broker in &self.brokers {
            let ports = [(broker.port, "clients"), (broker.controller_port, "the metadata quorum")];
            for (port, of) in ports {
                TcpListener::bind((Ipv4Addr::LOCALHOST, port)).with_context(|| {
                    format!(
                        "port {port}, which broker {} needs for {of}, cannot be used: stop the \
                         program that has it, or choose other ports with --port",
                        broker.node
                    )
                })?;
            }
        }
        Ok(())
    }

    /// Writes the properties files.
    pub(in crate::cli) fn write(&self) -> anyhow::Result<()> {
        std::fs::create_dir_all(&self.directory).with_context(|| {
            format!(
                "cannot make the directory {}; choose another with --data-dir",
                self.directory.display()
            )
        })?;
        for broker in &self.brokers {
            std::fs::write(&broker.properties_file, self.properties(broker))
                .with_context(|| format!("cannot write {}", broker.properties_file.display()))?;
        }
        Ok(())
    }

    /// One broker's properties file.
    pub(in crate::cli) fn properties(&self, broker: &BrokerPlan) -> String {
        let host = Ipv4Addr::LOCALHOST;
        let voters = self.voters();
        let is_voter = voters.iter().any(|voter| voter.node == broker.node);
        let voter_list: Vec<String> = voters
            .iter()
            .map(|voter| format!("{}@{host}:{}", voter.node, voter.controller_port))
            .collect();
        let replicas = self.brokers.len().min(3);
        let in_sync = if replicas >= 3 { 2 } else { 1 };
        let mut text = String::new();
        let mut set = |key: &str, value: &dyn std::fmt::Display| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{key}={value}");
        };
        set("node.id", &broker.node);
        set("process.roles", &if is_voter { "broker,controller" } else { "broker" });
        let client = format!("PLAINTEXT://{host}:{}", broker.port);
        let listeners = if is_voter {
            format!("{client},CONTROLLER://{host}:{}", broker.controller_port)
        } else {
            client.clone()
        };
        set("listeners", &listeners);
        set("advertised.listeners", &client);
        set("inter.broker.listener.name", &"PLAINTEXT");
        set("controller.listener.names", &"CONTROLLER");
        set("listener.security.protocol.map", &"PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT");
        set("controller.quorum.voters", &voter_list.join(","));
        set("log.dirs", &escape(&broker.data_directory.display().to_string()));
        set("default.replication.factor", &replicas);
        set("min.insync.replicas", &in_sync);
        set("offsets.topic.replication.factor", &replicas);
        // As the properties that Kafka comes with: a first consumer starts at once.
        set("group.initial.rebalance.delay.ms", &0);
        set("transaction.state.log.replication.factor", &replicas);
        set("transaction.state.log.min.isr", &in_sync);
        format!(
            "# Broker {} of a cluster for development. `ottla dev` writes this file at each start;\n\
             # copy it to change it.\n{text}",
            broker.node
        )
    }
}

/// A path as a properties file's value: backslashes are its escapes.
fn escape(value: &str) -> String {
    value.replace('\\', "\\\\")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::cli::properties::Properties;

    fn plan(count: u16) -> Plan {
        Plan::new(count, Path::new("/data"), 9092).unwrap()
    }

    #[test]
    fn three_brokers_are_three_combined_nodes() {
        let plan = plan(3);
        assert_eq!(plan.bootstrap_servers(), "127.0.0.1:9092,127.0.0.1:9093,127.0.0.1:9094");
        assert_eq!(
            plan.properties(&plan.brokers[1]).lines().skip(2).collect::<Vec<_>>(),
            [
                "node.id=2",
                "process.roles=broker,controller",
                "listeners=PLAINTEXT://127.0.0.1:9093,CONTROLLER://127.0.0.1:10093",
                "advertised.listeners=PLAINTEXT://127.0.0.1:9093",
                "inter.broker.listener.name=PLAINTEXT",
                "controller.listener.names=CONTROLLER",
                "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
                "controller.quorum.voters=1@127.0.0.1:10092,2@127.0.0.1:10093,3@127.0.0.1:10094",
                "log.dirs=/data/broker-2",
                "default.replication.factor=3",
                "min.insync.replicas=2",
                "offsets.topic.replication.factor=3",
                "group.initial.rebalance.delay.ms=0",
                "transaction.state.log.replication.factor=3",
                "transaction.state.log.min.isr=2",
            ]
        );
    }

    #[test]
    fn the_number_of_voters_is_odd() {
        for (count, voters) in [(1, 1), (2, 1), (3, 3), (4, 3), (9, 3)] {
            assert_eq!(plan(count).voters().len(), voters, "{count} brokers");
        }
        let plan = plan(4);
        let fourth = plan.properties(&plan.brokers[3]);
        assert!(fourth.contains("process.roles=broker\n"), "{fourth}");
        assert!(fourth.contains("listeners=PLAINTEXT://127.0.0.1:9095\n"), "{fourth}");
    }

    #[test]
    fn no_two_listeners_share_a_port() {
        let plan = plan(100);
        let mut ports: Vec<u16> =
            plan.brokers.iter().flat_map(|broker| [broker.port, broker.controller_port]).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 200);
        assert!(Plan::new(3, Path::new("/data"), 64_535).is_err());
    }

    #[test]
    fn a_busy_port_is_named_with_what_to_do() {
        let busy = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut plan = plan(1);
        plan.brokers[0].port = busy.local_addr().unwrap().port();
        let error = plan.check_ports().unwrap_err().to_string();
        assert!(error.contains(&plan.brokers[0].port.to_string()), "{error}");
        assert!(error.contains("--port"), "{error}");
    }

    #[test]
    fn the_written_files_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let plan = Plan::new(2, &directory.path().join("new"), 9092).unwrap();
        plan.write().unwrap();
        let file = Properties::from_file(&plan.brokers[1].properties_file).unwrap();
        assert_eq!(file.get("node.id"), Some("2"));
        assert_eq!(file.get("log.dirs"), plan.brokers[1].data_directory.to_str());
    }
}
