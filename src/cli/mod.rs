//! The command line: `ottla broker`, `ottla dev`, and Kafka's tools by their own names and flags.
//!
//! - [`client`]: the Kafka client that the tools share
//! - one module per command: [`broker`], [`dev`], [`topics`], [`configs`], [`console_producer`],
//!   [`console_consumer`], [`consumer_groups`], [`producer_perf`], [`consumer_perf`], [`metadata_quorum`],
//!   [`broker_api_versions`], [`delete_records`], [`dump_log`], [`log_dirs`], [`health`]
//! - [`connection`], [`properties`]: flags and files that tools have in common
//! - [`perf`], [`quorum_table`]: what is printed, without doing it
//!
//! Output goes to stdout as Kafka prints it; an error is one line on stderr that begins with
//! `Error: ` and says what to do, and the exit code is 1. A reader of stdout that goes away is no
//! error.

mod broker;
mod broker_api_versions;
pub mod client;
mod configs;
mod connection;
mod console_consumer;
mod console_producer;
mod consumer_groups;
mod consumer_perf;
mod delete_records;
mod dev;
mod dump_log;
mod health;
mod log_dirs;
mod metadata_quorum;
mod perf;
mod producer_perf;
mod properties;
mod quorum_table;
mod topics;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

/// A Raft-replicated, Kafka-compatible event broker in one binary
#[derive(Debug, Parser)]
#[command(
    name = "ottla",
    version,
    propagate_version = true,
    infer_long_args = true,
    disable_help_subcommand = false,
    after_help = "Start three brokers on this machine: ottla dev\n\
                  Create a topic: ottla topics --create --topic orders --partitions 3"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Broker(broker::BrokerArgs),
    Dev(dev::DevArgs),
    #[command(alias = "kafka-topics")]
    Topics(topics::TopicsArgs),
    #[command(alias = "kafka-configs")]
    Configs(configs::ConfigsArgs),
    #[command(alias = "kafka-console-producer")]
    ConsoleProducer(console_producer::ConsoleProducerArgs),
    #[command(alias = "kafka-console-consumer")]
    ConsoleConsumer(console_consumer::ConsoleConsumerArgs),
    #[command(alias = "kafka-consumer-groups")]
    ConsumerGroups(consumer_groups::ConsumerGroupsArgs),
    #[command(alias = "kafka-producer-perf-test")]
    ProducerPerfTest(producer_perf::ProducerPerfArgs),
    #[command(alias = "kafka-consumer-perf-test")]
    ConsumerPerfTest(consumer_perf::ConsumerPerfArgs),
    #[command(alias = "kafka-metadata-quorum")]
    MetadataQuorum(metadata_quorum::MetadataQuorumArgs),
    #[command(alias = "kafka-delete-records")]
    DeleteRecords(delete_records::DeleteRecordsArgs),
    #[command(alias = "kafka-broker-api-versions")]
    BrokerApiVersions(broker_api_versions::BrokerApiVersionsArgs),
    #[command(alias = "kafka-dump-log")]
    DumpLog(dump_log::DumpLogArgs),
    #[command(alias = "kafka-log-dirs")]
    LogDirs(log_dirs::LogDirsArgs),
    Health(health::HealthArgs),
}

/// Runs one command line to its end and gives its exit code.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return answer_parse_error(&error),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(&error.into()),
    };
    let outcome = runtime.block_on(execute(cli.command));
    // A read of a terminal cannot be called back: do not wait for it.
    runtime.shutdown_background();
    match outcome {
        Ok(code) => code,
        Err(error) => report(&error),
    }
}

async fn execute(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Broker(args) => broker::run(args).await,
        Command::Dev(args) => dev::run(args).await,
        Command::Topics(args) => topics::run(args).await,
        Command::Configs(args) => configs::run(args).await,
        Command::ConsoleProducer(args) => console_producer::run(args).await,
        Command::ConsoleConsumer(args) => console_consumer::run(args).await,
        Command::ConsumerGroups(args) => consumer_groups::run(args).await,
        Command::ProducerPerfTest(args) => producer_perf::run(args).await,
        Command::ConsumerPerfTest(args) => consumer_perf::run(args).await,
        Command::MetadataQuorum(args) => metadata_quorum::run(args).await,
        Command::DeleteRecords(args) => delete_records::run(args).await,
        Command::BrokerApiVersions(args) => broker_api_versions::run(args).await,
        Command::DumpLog(args) => dump_log::run(&args),
        Command::LogDirs(args) => log_dirs::run(args).await,
        Command::Health(args) => health::run(args).await,
    }
}

/// Says what went wrong in one line, unless it is only that nobody reads any more.
fn report(error: &anyhow::Error) -> ExitCode {
    let is_broken_pipe = error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
    });
    if is_broken_pipe {
        return ExitCode::SUCCESS;
    }
    eprintln!("Error: {}", one_line(&format!("{error:#}")));
    ExitCode::FAILURE
}

/// Help and version go to stdout; whatever else clap has to say becomes our one line.
fn answer_parse_error(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // If nobody reads the help there is nobody to tell.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            ExitCode::FAILURE
        }
        _ => {
            eprintln!("{}", parse_error_line(&error.render().to_string()));
            ExitCode::FAILURE
        }
    }
}

/// Clap's message, its tips and where to find help, in one line.
fn parse_error_line(rendered: &str) -> String {
    let usage = rendered
        .split("Usage: ")
        .nth(1)
        .and_then(|usage| usage.lines().next())
        .map(|usage| {
            usage
                .split_whitespace()
                .take_while(|word| !word.starts_with(['[', '<', '-']))
                .collect::<Vec<_>>()
                .join(" ")
        })
        .filter(|command| !command.is_empty())
        .unwrap_or_else(|| "ottla".to_owned());
    let message = rendered.split("Usage: ").next().unwrap_or(rendered);
    let message = message.split("For more information").next().unwrap_or(message);
    let message = one_line(&message.replace("\n\n  tip: ", "; "));
    let message = message.strip_prefix("error: ").unwrap_or(&message);
    format!("Error: {message}; '{usage} --help' lists the options")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_flags_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn kafkas_commands_are_understood_as_typed() {
        for line in [
            "topics --create --topic quickstart-events --bootstrap-server localhost:9092",
            "topics --describe --topic quickstart-events --bootstrap-server localhost:9092",
            "topics --broker-list a:1 --list --command-config client.properties",
            "configs --bootstrap-server localhost:9092 --entity-type topics --entity-name t --alter \
             --add-config cleanup.policy=[compact,delete],retention.ms=5 --delete-config segment.ms",
            "kafka-configs --describe --all --broker 1 --command-config c.properties --force",
            "console-producer --topic t --bootstrap-server localhost:9092",
            "console-producer --broker-list a:1 --topic t --property parse.key=true \
             --property key.separator=:",
            "console-producer --topic t --reader-property parse.headers=true --sync \
             --producer-property acks=1 --compression-codec lz4 --request-required-acks -1 \
             --timeout 10 --max-block-ms 5000 --batch-size 1000 --producer.config p.properties",
            "console-consumer --topic quickstart-events --from-beginning --bootstrap-server a:1",
            "console-consumer --topic t --partition 0 --offset earliest --max-messages 1",
            "console-consumer --topic t --group g --from-beginning --bootstrap-server a:1",
            "console-consumer --include t.* --timeout-ms 100 --isolation-level read_committed \
             --property print.key=true --formatter-property print.offset=true \
             --consumer-property fetch.min.bytes=1 --consumer.config c.properties",
            "producer-perf-test --topic t --num-records 1000 --record-size 100 --throughput -1 \
             --producer-props bootstrap.servers=localhost:9092 acks=1 linger.ms=5 --print-metrics",
            "producer-perf-test --topic t --num-records 10 --payload-file f --throughput 1.5 \
             --producer.config p.properties",
            "consumer-perf-test --bootstrap-server a:1 --topic t --messages 1000 --hide-header \
             --show-detailed-stats --reporting-interval 100 --timeout 1000 --from-latest",
            "metadata-quorum --bootstrap-server localhost:9092 describe --status",
            "metadata-quorum --bootstrap-controller a:1 describe --replication --human-readable",
            "metadata-quorum --unsafe-recover --config server.properties --override node.id=1 --yes",
            "broker-api-versions --bootstrap-server localhost:9092",
            "kafka-delete-records --bootstrap-server a:1 --offset-json-file offsets.json \
             --command-config c.properties",
            "consumer-groups --bootstrap-server localhost:9092 --list --state --type",
            "consumer-groups --bootstrap-server localhost:9092 --describe --group my-group",
            "consumer-groups --describe --all-groups --members --verbose --timeout 100",
            "consumer-groups --reset-offsets --group g --topic t:0,1 --shift-by -5 --execute \
             --command-config c.properties",
            "kafka-consumer-groups --delete-offsets --group g --topic t",
            "dump-log --files 00000000000000000000.log,b.log --print-data-log --deep-iteration \
             --cluster-metadata-decoder",
            "log-dirs --describe --bootstrap-server localhost:9092",
            "kafka-log-dirs --describe --bootstrap-server a:1 --topic-list t,u --broker-list 1,2 \
             --command-config c.properties",
            "log-dirs --alter --broker 1 --topic-partition t-0 --to /d",
            "log-dirs --verify --bootstrap-server a:1 --topic-list t,u --broker-list 1,2 --throttle 1000",
            "broker --config server.properties --override node.id=1 --override log.dirs=/d",
            "broker server.properties --override node.id=1",
            "dev --brokers 5 --data-dir d --port 19092",
            "health --url http://127.0.0.1:8080",
        ] {
            let words = std::iter::once("ottla").chain(line.split_whitespace());
            Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{line}\n{error}"));
        }
    }

    #[test]
    fn what_is_not_there_yet_is_not_in_the_help() {
        for mut command in Cli::command().get_subcommands().cloned() {
            let help = command.render_long_help().to_string();
            for absent in ["--zookeeper", "--transactional-id"] {
                assert!(!help.contains(absent), "{} {absent}", command.get_name());
            }
        }
    }

    #[test]
    fn what_cannot_be_parsed_is_said_in_one_line() {
        for (line, says) in [
            ("topics --tpic t", "Error: unexpected argument '--tpic' found; a similar argument"),
            ("tpics", "Error: unrecognized subcommand 'tpics'; a similar subcommand"),
            ("console-producer", "not provided: --topic <TOPIC>; 'ottla console-producer --help'"),
            ("dev --brokers 0", "Error: invalid value '0' for '--brokers <COUNT>'"),
            ("console-consumer --topic t --partition 0 --offset x", "'earliest', 'latest', or"),
        ] {
            let words = std::iter::once("ottla").chain(line.split_whitespace());
            let error = Cli::try_parse_from(words).unwrap_err();
            let text = parse_error_line(&error.render().to_string());
            assert!(text.contains(says), "{line}: {text}");
            assert_eq!(text.lines().count(), 1, "{text}");
        }
    }

    #[test]
    fn nobody_reading_any_more_is_no_error() {
        let broken = anyhow::Error::new(io::Error::from(io::ErrorKind::BrokenPipe));
        let wrapped = broken.context("cannot print");
        assert_eq!(format!("{:?}", report(&wrapped)), format!("{:?}", ExitCode::SUCCESS));
    }
}
