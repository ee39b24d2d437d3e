#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;

const GOOD: &str = "process.roles=broker,controller\nnode.id=1\n\
    controller.quorum.voters=1@a:9093,2@b:9093\nlisteners=PLAINTEXT://:9092,CONTROLLER://:9093\n\
    advertised.listeners=PLAINTEXT://a:9092\ncontroller.listener.names=CONTROLLER\nlog.dirs=/one,/two\n";

fn load(text: &str) -> Result<BrokerConfig, ConfigError> {
    BrokerConfig::load(text, &[], |_| None)
}

/// `GOOD` with `line` instead of the one that sets the same key.
fn with(line: &str) -> String {
    let key = line.split('=').next().unwrap();
    let kept = GOOD.lines().filter(|kept| !kept.starts_with(&format!("{key}=")));
    kept.chain([line]).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_good_file_gives_kafkas_defaults_and_what_it_sets() {
    let config = load(GOOD).unwrap();
    assert_eq!(config.node_id, NodeId(1));
    assert_eq!(config.log_dirs, [PathBuf::from("/one"), PathBuf::from("/two")]);
    assert_eq!(config.metadata_log_dir, PathBuf::from("/one"));
    assert_eq!(config.num_partitions, 1);
    assert_eq!(config.replica.lag_time_max, Duration::from_secs(30));
    assert_eq!(config.session_timeout, Duration::from_secs(2));
    assert_eq!(config.listeners.inter_broker, "PLAINTEXT");
    assert_eq!(config.listeners.all[0].advertised, HostPort::new("a", 9092));
    assert!(config.listeners.all[1].is_controller);
}

#[test]
fn what_is_wrong_is_said_in_one_line() {
    for (line, said) in [
        ("num.partition=3", "did you mean num.partitions?"),
        ("num.partitions=0", "Value must be at least 1"),
        ("num.partitions=many", "Not a number of type INT"),
        ("log.retention.ms=soon", "Not a number of type LONG"),
        ("node.id=-1", "Value must be at least 0"),
        ("node.id=9", "does not list this controller; add 9@host:port"),
        ("process.roles=", "process.roles is not set"),
        ("process.roles=king", "must be one of: broker, controller"),
        ("process.roles=broker", "process.roles has no controller"),
        ("controller.quorum.voters=", "list the controllers as id@host:port"),
        ("controller.quorum.voters=1@a", "'1@a' is not of the form id@host:port"),
        ("controller.quorum.voters=1@a:1,1@b:1", "lists 1 twice"),
        ("controller.listener.names=", "name the listener of the controllers"),
        ("listeners=PLAINTEXT://:9092", "a controller needs it"),
        ("listeners=PLAINTEXT:9092,CONTROLLER://:9093", "not of the form NAME://host:port"),
        ("listeners=PLAINTEXT://:9093,CONTROLLER://:9093", "uses port 9093 twice"),
        ("listeners=CLIENTS://:9092,CONTROLLER://:9093", "says nothing about CLIENTS"),
        (
            "listener.security.protocol.map=PLAINTEXT:SSL,CONTROLLER:PLAINTEXT",
            "SSL is not served yet",
        ),
        ("advertised.listeners=PLAINTEXT://0.0.0.0:9092", "cannot be reached by anybody"),
        ("advertised.listeners=OTHER://a:9092", "which listeners has not"),
        ("inter.broker.listener.name=CONTROLLER", "brokers need one of their own"),
        ("inter.broker.listener.name=OTHER", "is not in listeners"),
        ("broker.session.timeout.ms=300", "at least twice broker.heartbeat.interval.ms"),
        ("replica.selector.class=Mine", "RackAwareReplicaSelector is there"),
        ("replica.lag.time.max.ms=100", "must not exceed replica.lag.time.max.ms"),
        ("security.inter.broker.protocol=SSL", "must be one of: PLAINTEXT"),
        ("max.connections.per.ip.overrides=10.0.0.1", "not of the form address:count"),
        ("log.dirs=/a,/b,/a", "log.dirs names /a twice"),
        ("authorizer.class.name=x", "everybody may do everything"),
        ("broker.id=1", "it is called node.id now"),
        ("advertised.host.name=x", "write advertised.listeners="),
        ("cleanup.policy=delete", "not a configuration key"),
    ] {
        let error = load(&with(line)).expect_err(line).to_string();
        assert!(error.contains(said), "{line}: {error}");
        assert_eq!(error.lines().count(), 1, "{line}: {error}");
    }
}

#[test]
fn an_error_says_where_the_value_was_set() {
    let said = |text: &str, overrides: &[(&str, &str)], variable: Option<(&str, &str)>| {
        let overrides: Vec<(String, String)> =
            overrides.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let environment = |name: &str| {
            variable.filter(|(set, _)| *set == name).map(|(_, value)| value.to_owned())
        };
        BrokerConfig::load(text, &overrides, environment).unwrap_err().in_file("s.properties")
    };
    let in_file = |text: &str| said(text, &[], None);
    for (line, place) in [
        // Bad values, unknown and refused keys: known as they are read.
        ("num.partitions=0", "s.properties:8: num.partitions=0: "),
        ("num.partition=3", "s.properties:8: num.partition is not a configuration key"),
        ("broker.id=1", "s.properties:8: broker.id is not supported"),
        ("log.retention.ms=soon", "s.properties:8: log.retention.ms=soon"),
        // Known only when all is read.
        ("node.id=9", "s.properties:2: controller.quorum.voters does not list"),
        ("broker.session.timeout.ms=300", "s.properties:8: broker.session.timeout.ms must be"),
        ("log.dirs=/a,/a", "s.properties:7: log.dirs names /a twice"),
        ("listeners=PLAINTEXT://:1,CONTROLLER://:1", "s.properties:7: listeners uses port 1 twice"),
        (
            "listeners=PLAINTEXT://:1,PLAINTEXT://:2",
            "s.properties:7: listeners names PLAINTEXT twice",
        ),
        ("listeners=X://:1,CONTROLLER://:2", "s.properties:7: listener.security.protocol.map says"),
        ("controller.quorum.voters=1@a", "s.properties:7: controller.quorum.voters: '1@a' is not"),
        ("max.connections.per.ip.overrides=x", "s.properties:8: max.connections.per.ip.overrides"),
        // What nobody set is in no line.
        ("process.roles=", "s.properties:7: process.roles is not set"),
    ] {
        let error = in_file(&(with(line).trim_end().to_owned() + "\n"));
        assert!(error.starts_with(place), "{line}: {error}");
    }
    let missing = GOOD.replace("process.roles=broker,controller\n", "");
    assert!(in_file(&missing).starts_with("s.properties: process.roles is not set"));
    // Comments, empty and continued lines count; of two lines for one key the last counts.
    let text = format!("# a\n\n! b\n{GOOD}num.partitions=\\\n  0\n");
    assert!(in_file(&text).starts_with("s.properties:11: num.partitions=0"), "{}", in_file(&text));
    let twice = format!("num.partitions=0\n{GOOD}num.partitions=-1\n");
    assert!(
        in_file(&twice).starts_with("s.properties:9: num.partitions=-1"),
        "{}",
        in_file(&twice)
    );
    let unreadable = format!("{GOOD}rack=\\u12\n");
    let error = in_file(&unreadable);
    assert!(error.starts_with("s.properties:8: the properties cannot be read: "), "{error}");

    let error = said(&with("num.partitions=3"), &[("num.partitions", "0")], None);
    assert!(error.starts_with("--override: num.partitions=0: "), "{error}");
    let error = said(GOOD, &[("listeners", "PLAINTEXT://:1,PLAINTEXT://:2")], None);
    assert!(error.starts_with("--override: listeners names PLAINTEXT twice"), "{error}");
    let error = said(GOOD, &[], Some(("OTTLA_NUM_PARTITIONS", "0")));
    assert!(error.starts_with("OTTLA_NUM_PARTITIONS: num.partitions=0: "), "{error}");
    let error = said(GOOD, &[], Some(("OTTLA_LISTENERS", "PLAINTEXT://:1,PLAINTEXT://:2")));
    assert!(error.starts_with("OTTLA_LISTENERS: listeners names PLAINTEXT twice"), "{error}");
}

#[test]
fn overrides_go_before_the_environment_and_that_before_the_file() {
    let environment = |name: &str| {
        ["OTTLA_NUM_PARTITIONS", "OTTLA_LOG_DIRS"].contains(&name).then(|| "7".to_owned())
    };
    let overrides = [("num.partitions".to_owned(), "5".to_owned())];
    let config = BrokerConfig::load(&with("num.partitions=3"), &overrides, environment).unwrap();
    assert_eq!(config.num_partitions, 5);
    assert_eq!(config.log_dirs, [PathBuf::from("7")]);
}

#[test]
fn kafkas_other_keys_are_told_and_topic_defaults_kept() {
    let text = with("zookeeper.connect=z:2181") + "\nlog.retention.hours=5\nnum.io.threads=8";
    let config = load(&text).unwrap();
    assert_eq!(config.values.ignored, ["zookeeper.connect", "num.io.threads"]);
    let defaults: Vec<_> = config.topic_defaults.iter().collect();
    assert_eq!(defaults, [(&"log.retention.hours".to_owned(), &"5".to_owned())]);
}

#[test]
fn a_broker_does_not_listen_for_the_quorum() {
    let text = with("process.roles=broker").replace("node.id=1", "node.id=3");
    let error = load(&text).unwrap_err().to_string();
    assert!(error.contains("a controller's, but process.roles has no controller"), "{error}");
}

#[test]
fn open_families_have_no_effect_and_say_why() {
    let text = with("listener.name.internal.ssl.keystore.location=/x") + "\nssl.cipher.suites=x";
    assert_eq!(load(&text).unwrap().values.ignored.len(), 2);
    for (name, part) in [
        ("zookeeper.connect", "no ZooKeeper"),
        ("ssl.cipher.suites", "only PLAINTEXT"),
        ("group.share.max.size", "share groups"),
    ] {
        assert!(ignored::why_ignored(name).unwrap().contains(part), "{name}");
    }
}

#[test]
fn the_servers_limits_are_those_of_the_keys() {
    assert_eq!(load(GOOD).unwrap().server_limits(), ServerLimits::default());
    let text = with("max.connections.per.ip.overrides=10.0.0.1:5, ::1:7")
        + "\nconnections.max.idle.ms=-1\nqueued.max.request.bytes=-1\nmax.connections=9";
    let limits = load(&text).unwrap().server_limits();
    assert_eq!((limits.connections_max_idle, limits.queued_max_request_bytes), (None, None));
    assert_eq!(limits.max_connections, 9);
    assert_eq!(limits.max_connections_per_ip_overrides[&"::1".parse().unwrap()], 7);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[ -~\n]{0,300}", at in 0..keys::KEYS.len(), value in "[ -~]{0,30}") {
        let _ = load(&text);
        let _ = load(&with(&format!("{}={value}", keys::KEYS[at].name)));
    }
}

#[test]
fn every_file_in_cluster_configs_loads_and_each_set_fits_together() {
    let mut sets: BTreeMap<String, Vec<BrokerConfig>> = BTreeMap::new();
    for entry in std::fs::read_dir("cluster-configs").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "properties") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let config = load(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(config.values.ignored.is_empty(), "{}", path.display());
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // controller-1 and broker-4 form one cluster.
        let set = name.split(['-', '.']).next().unwrap().replace("broker", "controller");
        sets.entry(set).or_default().push(config);
    }
    assert_eq!(sets.keys().collect::<Vec<_>>(), ["combined", "compose", "controller", "single"]);
    for (set, configs) in &sets {
        for (index, config) in configs.iter().enumerate() {
            assert_eq!(config.voters, configs[0].voters, "{set}");
            for other in &configs[..index] {
                assert_ne!(config.node_id, other.node_id, "{set}");
                assert_ne!(config.log_dirs, other.log_dirs, "{set}");
                let ports = |config: &BrokerConfig| -> Vec<u16> {
                    config.listeners.all.iter().map(|listener| listener.bind.port).collect()
                };
                assert!(ports(config).iter().all(|port| !ports(other).contains(port)), "{set}");
            }
        }
    }
}
