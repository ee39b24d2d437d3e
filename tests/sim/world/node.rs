//! A whole Ottla node as the software of a machine.

use std::sync::Arc;

use ottla::broker::{BrokerConfig, Server};

use super::machine::Machine;

/// `server.properties` of node `id` in a cluster with the voters `1..=voters`, and what all of them
/// add. Whoever is no voter is a broker only.
pub fn properties(id: i32, voters: i32, more: &str) -> String {
    let (roles, controller) = match id <= voters {
        true => ("broker,controller", format!(",CONTROLLER://n{id}:9093")),
        false => ("broker", String::new()),
    };
    let voters: Vec<String> = (1..=voters).map(|id| format!("{id}@n{id}:9093")).collect();
    format!(
        "process.roles={roles}\nnode.id={id}\n\
         controller.quorum.voters={}\ncontroller.listener.names=CONTROLLER\n\
         listeners=PLAINTEXT://n{id}:9092{controller}\n\
         log.dirs=/data\nnum.recovery.threads.per.data.dir=1\n\
         default.replication.factor=3\nmin.insync.replicas=2\n\
         offsets.topic.num.partitions=2\noffsets.topic.replication.factor=3\n\
         auto.create.topics.enable=false\n\
         ottla.quorum.replace.after.ms=3000\nottla.scrub.interval.ms=2000\n{more}",
        voters.join(",")
    )
}

/// Runs a node until it stops by itself. It is dropped where it stands when the machine crashes.
pub async fn run(machine: Arc<Machine>, properties: String) -> turmoil::Result {
    let config = BrokerConfig::load(&properties, &[], |_| None)?;
    let seams = machine.seams();
    match Server::start(config, seams).await {
        Ok(server) => {
            let server = Arc::new(server);
            machine.runs(&server);
            let reason = server.failed().await;
            machine.trace.note(&machine.name, format_args!("stops: {reason}"));
        }
        Err(error) => {
            machine.trace.note(&machine.name, format_args!("does not start: {error}"));
        }
    }
    Ok(())
}
