//! The flags by which every tool finds its cluster.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;

use crate::cli::client::options::unknown_keys;
use crate::cli::properties::Properties;

/// Where a tool looks when it is not told.
pub const DEFAULT_BOOTSTRAP: &str = "localhost:9092";
/// What takes the default's place, e.g. in a container, where the brokers have other names.
pub const BOOTSTRAP_VARIABLE: &str = "OTTLA_BOOTSTRAP_SERVER";

/// How a tool finds the brokers.
#[derive(Debug, Clone, Default, Args)]
pub struct ConnectionArgs {
    /// The brokers to ask first: HOST:PORT,HOST:PORT (default: $OTTLA_BOOTSTRAP_SERVER or localhost:9092)
    #[arg(long, value_name = "SERVERS", global = true)]
    pub bootstrap_server: Option<String>,

    /// The old name of --bootstrap-server
    #[arg(long, value_name = "SERVERS", hide = true, global = true)]
    pub broker_list: Option<String>,

    /// Only to say what to use instead
    #[arg(long, value_name = "URL", hide = true, global = true, num_args = 0..=1, default_missing_value = "")]
    pub zookeeper: Option<String>,
}

impl ConnectionArgs {
    /// The servers that the flags, the properties (`bootstrap.servers`) or the environment
    /// (`OTTLA_BOOTSTRAP_SERVER`) name, in this order.
    pub fn servers(&self, properties: &Properties) -> anyhow::Result<String> {
        self.servers_in(properties, |name| std::env::var(name).ok())
    }

    fn servers_in(
        &self,
        properties: &Properties,
        environment: impl Fn(&str) -> Option<String>,
    ) -> anyhow::Result<String> {
        self.refuse_zookeeper()?;
        let from_environment = environment(BOOTSTRAP_VARIABLE).filter(|value| !value.is_empty());
        let servers = self
            .bootstrap_server
            .as_deref()
            .or(self.broker_list.as_deref())
            .or_else(|| properties.get("bootstrap.servers"))
            .or(from_environment.as_deref())
            .unwrap_or(DEFAULT_BOOTSTRAP);
        Ok(servers.to_owned())
    }

    /// Kafka lost ZooKeeper in 4.0, and old commands still name it.
    pub fn refuse_zookeeper(&self) -> anyhow::Result<()> {
        if self.zookeeper.is_some() {
            bail!(
                "--zookeeper is not an option: there is no ZooKeeper; \
                 use --bootstrap-server {DEFAULT_BOOTSTRAP} instead"
            );
        }
        Ok(())
    }
}

/// The properties file that tools accept under two names.
#[derive(Debug, Clone, Default, Args)]
pub struct CommandConfigArgs {
    /// A properties file with client settings
    #[arg(long, value_name = "FILE", global = true)]
    pub command_config: Option<PathBuf>,
}

impl CommandConfigArgs {
    /// What the file says.
    pub fn properties(&self) -> anyhow::Result<Properties> {
        self.command_config
            .as_deref()
            .map(Properties::from_file)
            .transpose()
            .map(Option::unwrap_or_default)
    }
}

/// Tells the user of settings that mean nothing here, as Kafka's clients do.
pub fn warn_of_unknown(properties: &Properties) {
    for line in unknown_keys(properties) {
        eprintln!("WARN {line}");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn the_flag_goes_before_the_old_flag_before_the_file_before_the_environment() {
        let mut properties = Properties::default();
        let mut args = ConnectionArgs::default();
        let servers = |args: &ConnectionArgs, properties: &Properties, variable: Option<&str>| {
            let variable = variable.map(str::to_owned);
            args.servers_in(properties, |_| variable.clone()).unwrap()
        };
        assert_eq!(servers(&args, &properties, None), "localhost:9092");
        assert_eq!(servers(&args, &properties, Some("")), "localhost:9092");
        assert_eq!(servers(&args, &properties, Some("env:0")), "env:0");
        properties.set("bootstrap.servers", "file:1");
        assert_eq!(servers(&args, &properties, Some("env:0")), "file:1");
        args.broker_list = Some("list:2".to_owned());
        assert_eq!(servers(&args, &properties, Some("env:0")), "list:2");
        args.bootstrap_server = Some("server:3,[::1]:4".to_owned());
        assert_eq!(servers(&args, &properties, Some("env:0")), "server:3,[::1]:4");
    }

    #[test]
    fn zookeeper_is_answered_with_what_to_use_instead() {
        let args = ConnectionArgs { zookeeper: Some("zk:2181".to_owned()), ..Default::default() };
        let error = args.servers(&Properties::default()).unwrap_err().to_string();
        assert!(error.contains("use --bootstrap-server localhost:9092 instead"), "{error}");
    }
}
