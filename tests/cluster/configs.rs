//! Configurations that change while real processes run: set on one broker, seen on all, in force without a
//! restart, and there again after one.

use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};

use crate::harness::{Cluster, PATIENCE, eventually};

/// What each node by itself tells of one key of a resource, or nothing.
fn told_by_each(cluster: &Cluster, entity: &[&str], key: &str) -> Vec<Option<String>> {
    let ask = |port: u16| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_ottla"))
            .args(["configs", "--bootstrap-server", &format!("127.0.0.1:{port}"), "--describe"])
            .args(entity)
            .output()
            .expect("running the tool");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find(|line| line.trim_start().starts_with(&format!("{key}=")))?;
        line.trim().split(' ').next().map(str::to_owned)
    };
    cluster.nodes.iter().map(|node| ask(node.port)).collect()
}

/// Whether a record of so many bytes is taken.
fn is_taken(cluster: &Cluster, topic: &str, bytes: usize) -> bool {
    let mut config = cluster.client();
    config.set("message.max.bytes", "10000000").set("acks", "all");
    let producer: ThreadedProducer<Outcomes> =
        config.create_with_context(Outcomes::default()).unwrap();
    let payload = vec![b'x'; bytes];
    producer.send(BaseRecord::to(topic).partition(0).key("key").payload(&payload)).unwrap();
    producer.flush(PATIENCE).unwrap();
    producer.context().0.load(std::sync::atomic::Ordering::SeqCst) == 1
}

/// Counts what was taken.
#[derive(Default)]
struct Outcomes(std::sync::atomic::AtomicUsize);

impl rdkafka::ClientContext for Outcomes {}

impl rdkafka::producer::ProducerContext for Outcomes {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &rdkafka::producer::DeliveryResult<'_>, (): ()) {
        if result.is_ok() {
            self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    }
}

#[test]
fn what_is_set_on_one_broker_holds_on_all_at_once_and_after_a_restart_of_everything() {
    let mut cluster = Cluster::start(3, "");
    cluster.create_topic("orders", 1, 3, &[]);
    assert!(is_taken(&cluster, "orders", 5_000));

    let alter = ["configs", "--alter", "--topic", "orders", "--add-config"];
    let policy = "cleanup.policy=[delete,compact],max.message.bytes=1000";
    let done = cluster.ottla(&[&alter[..], &[policy]].concat());
    assert_eq!(done, "Completed updating config for topic orders.\n");
    let default = ["configs", "--alter", "--broker-defaults", "--add-config"];
    let done = cluster.ottla(&[&default[..], &["log.retention.ms=7000000"]].concat());
    assert_eq!(done, "Completed updating default config for brokers in the cluster.\n");
    let of_one = ["configs", "--alter", "--broker", "2", "--add-config", "max.connections=500"];
    assert_eq!(cluster.ottla(&of_one), "Completed updating config for broker 2.\n");

    for restarted in [false, true] {
        if restarted {
            (1..=3).for_each(|id| cluster.kill(id));
            (1..=3).for_each(|id| cluster.spawn(id));
            cluster.await_brokers(3);
            cluster.await_in_sync("orders", 3);
        }
        let topic = ["--topic", "orders", "--all"];
        for (entity, key, expected) in [
            (&topic[..], "max.message.bytes", "max.message.bytes=1000"),
            (&topic[..], "cleanup.policy", "cleanup.policy=delete,compact"),
            (&topic[..], "retention.ms", "retention.ms=7000000"),
            (&["--broker", "2"], "max.connections", "max.connections=500"),
        ] {
            eventually(&format!("{expected} on every broker, restarted: {restarted}"), || {
                let told = told_by_each(&cluster, entity, key);
                told.iter().all(|told| told.as_deref() == Some(expected)).then_some(())
            });
        }
        assert!(is_taken(&cluster, "orders", 500), "restarted: {restarted}");
        let large = is_taken(&cluster, "orders", 5_000);
        assert!(!large, "larger than max.message.bytes allows, restarted: {restarted}");
    }

    // Deleted, the default holds again.
    cluster.ottla(&[
        "configs",
        "--alter",
        "--topic",
        "orders",
        "--delete-config",
        "max.message.bytes",
    ]);
    cluster.ottla(&[
        "configs",
        "--alter",
        "--topic",
        "orders",
        "--delete-config",
        "cleanup.policy",
    ]);
    eventually("a large record to be taken again", || {
        is_taken(&cluster, "orders", 5_000).then_some(())
    });
}

#[test]
fn the_level_of_a_logger_changes_what_is_logged_until_the_restart() {
    let mut cluster = Cluster::start(1, "");
    let loggers = ["--entity-type", "broker-loggers", "--entity-name", "1"];
    let configs = |cluster: &Cluster, arguments: &[&str]| {
        cluster.ottla(&[&["configs"][..], &loggers, arguments].concat())
    };
    let described = configs(&cluster, &["--describe"]);
    assert!(described.starts_with("Dynamic configs for broker-logger 1 are:\n"), "{described}");
    assert!(described.contains("\n  root=INFO sensitive=false synonyms={}\n"), "{described}");

    // A change of a configuration is told by the room of brokers, to whoever wants to hear of it.
    let told = |cluster: &Cluster| {
        let log = cluster.node(1).said();
        log.lines().filter(|line| line.contains("the configuration has changed")).count()
    };
    let change = |cluster: &Cluster, limit: &str| {
        let limit = format!("max.connections={limit}");
        cluster.ottla(&["configs", "--alter", "--broker", "1", "--add-config", &limit]);
    };
    change(&cluster, "500");
    eventually("the change to be logged", || (told(&cluster) == 1).then_some(()));
    let done = configs(&cluster, &["--alter", "--add-config", "ottla.broker=ERROR"]);
    assert_eq!(done, "Completed updating config for broker-logger 1.\n");
    change(&cluster, "501");
    // The controllers are asked, which a combined node is as well.
    let properties = std::fs::read_to_string(&cluster.node(1).config).expect("the properties");
    let controller = properties.split("CONTROLLER://").nth(1).expect("a controller's listener");
    let controller = controller.lines().next().unwrap_or_default();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_ottla"))
        .args(["configs", "--bootstrap-controller", controller, "--broker-logger", "1"])
        .args(["--alter", "--delete-config", "ottla.broker"])
        .output()
        .expect("running the tool");
    let done = String::from_utf8_lossy(&output.stdout);
    assert_eq!(done, "Completed updating config for broker-logger 1.\n", "{output:?}");
    change(&cluster, "502");
    eventually("the third change to be logged", || (told(&cluster) == 2).then_some(()));

    configs(&cluster, &["--alter", "--add-config", "root=WARN"]);
    cluster.kill(1);
    cluster.spawn(1);
    cluster.await_brokers(1);
    let described = configs(&cluster, &["--describe"]);
    assert!(described.contains("\n  root=INFO "), "the level went with the process: {described}");
}

#[test]
fn refusals_are_one_line_that_says_what_to_do() {
    let cluster = Cluster::start(1, "");
    cluster.create_topic("t", 1, 1, &[]);
    for (arguments, says) in [
        (&["--topic", "t", "--add-config", "retention.ms=soon"][..], "Not a number of type LONG"),
        (&["--topic", "t", "--add-config", "nonsense=1"], "Unknown topic config name: nonsense"),
        (&["--topic", "u", "--add-config", "retention.ms=1"], "The topic 'u' does not exist."),
        (&["--topic", "t", "--delete-config", "retention.ms"], "Invalid config(s): retention.ms"),
        (
            &["--broker", "1", "--add-config", "node.id=2"],
            "Cannot update these configs dynamically: [node.id]",
        ),
        (
            &["--broker-logger", "1", "--add-config", "ottla.n=INFO"],
            "Invalid broker logger(s): ottla.n",
        ),
        (
            &["--broker-logger", "1", "--add-config", "root=LOUD"],
            "Cannot set the log level of root",
        ),
        (&["--entity-type", "brokers", "--add-config", "a=b"], "--broker ID or --broker-defaults"),
    ] {
        let output = cluster.ottla_output(&[&["configs", "--alter"][..], arguments].concat());
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains(says), "{arguments:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
    let unknown = cluster.ottla(&["configs", "--describe", "--topic", "u"]);
    assert_eq!(unknown, "The topic 'u' doesn't exist and doesn't have dynamic config.\n");
    let described = cluster.ottla(&["configs", "--describe", "--topic", "t"]);
    assert_eq!(described, "Dynamic configs for topic t are:\n");
}
