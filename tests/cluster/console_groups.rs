//! Groups as a user of the command line sees them: console consumers that share a topic, and
//! `consumer-groups` that shows, resets and deletes.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::harness::{Cluster, eventually};

const TOPIC: &str = "orders";

/// A console consumer whose output is a file. Dropping it kills it.
struct Reader {
    process: Child,
    output: PathBuf,
}

impl Reader {
    fn start(
        cluster: &Cluster,
        directory: &tempfile::TempDir,
        name: &str,
        flags: &[&str],
    ) -> Reader {
        let output = directory.path().join(name);
        let process = Command::new(env!("CARGO_BIN_EXE_ottla"))
            .args(["console-consumer", "--bootstrap-server", &cluster.bootstrap()])
            .args(["--topic", TOPIC])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(File::create(&output).unwrap())
            .stderr(File::create(directory.path().join(format!("{name}.err"))).unwrap())
            .spawn()
            .unwrap();
        Reader { process, output }
    }

    /// What it has printed, line by line.
    fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.output).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// SIGTERM: it commits, leaves its group and ends.
    fn stop(mut self) -> Vec<String> {
        let pid = self.process.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        let status = eventually("the consumer to end", || self.process.try_wait().unwrap());
        assert!(status.success(), "{status}");
        self.lines()
    }

    /// Waits until it has ended by itself.
    fn ended(mut self) {
        let status = eventually("the consumer to end", || self.process.try_wait().unwrap());
        assert!(status.success(), "{status}");
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Writes records `from..to` to all partitions in turn.
fn produce(cluster: &Cluster, from: usize, to: usize) {
    let mut producer = Command::new(env!("CARGO_BIN_EXE_ottla"))
        .args(["console-producer", "--bootstrap-server", &cluster.bootstrap(), "--topic", TOPIC])
        .args(["--property", "parse.key=true", "--property", "key.separator=:"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = producer.stdin.take().unwrap();
    for index in from..to {
        writeln!(stdin, "key-{index}:{index}").unwrap();
    }
    drop(stdin);
    assert!(producer.wait().unwrap().success());
}

fn numbers(lines: &[String]) -> Vec<usize> {
    let mut numbers: Vec<usize> = lines.iter().map(|line| line.parse().unwrap()).collect();
    numbers.sort_unstable();
    numbers
}

fn groups(cluster: &Cluster, flags: &[&str]) -> String {
    cluster.ottla(&[&["consumer-groups"], flags].concat())
}

/// The rows below the heading, word by word.
fn rows(table: &str) -> Vec<Vec<String>> {
    let lines = table.lines().filter(|line| !line.trim().is_empty()).skip(1);
    lines.map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

/// Waits until the members have so many partitions each, the one with the fewest first.
fn await_shares(cluster: &Cluster, group: &str, shares: &[&str]) {
    eventually(&format!("members with {shares:?} partitions"), || {
        let table = groups(cluster, &["--describe", "--group", group, "--members"]);
        let mut found: Vec<String> = rows(&table).iter().map(|row| row[4].clone()).collect();
        found.sort();
        (found == shares).then_some(())
    });
}

/// The lag of each partition, once it is known for all three.
fn await_lag(cluster: &Cluster, group: &str, total: i64) {
    eventually(&format!("a lag of {total}"), || {
        let table = groups(cluster, &["--describe", "--group", group]);
        let lags: Vec<i64> = rows(&table).iter().filter_map(|row| row[5].parse().ok()).collect();
        (lags.len() == 3 && lags.iter().sum::<i64>() == total).then_some(())
    });
}

/// A group's settings under which its members notice each other soon.
const SOON: [&str; 6] = [
    "--consumer-property",
    "heartbeat.interval.ms=200",
    "--consumer-property",
    "session.timeout.ms=6000",
    "--consumer-property",
    "auto.commit.interval.ms=200",
];

fn flags<'a>(group: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["--group", group], &SOON[..], more].concat()
}

fn start() -> (Cluster, tempfile::TempDir) {
    let cluster = Cluster::start(3, "group.initial.rebalance.delay.ms=100");
    cluster.create_topic(TOPIC, 3, 3, &[]);
    (cluster, tempfile::tempdir().unwrap())
}

#[test]
fn consumers_of_one_group_share_a_topic_and_another_group_sees_it_all() {
    let (cluster, directory) = start();
    let start = |name, flags: &[&str]| Reader::start(&cluster, &directory, name, flags);
    let first = start("first", &flags("readers", &["--from-beginning"]));
    await_shares(&cluster, "readers", &["3"]);
    let second = start("second", &flags("readers", &["--from-beginning"]));
    await_shares(&cluster, "readers", &["1", "2"]);
    produce(&cluster, 0, 300);
    eventually("300 records", || (first.lines().len() + second.lines().len() >= 300).then_some(()));
    await_lag(&cluster, "readers", 0);
    let (first, second) = (first.stop(), second.stop());
    assert!(!first.is_empty() && !second.is_empty(), "{} and {}", first.len(), second.len());
    assert_eq!(numbers(&[first, second].concat()), Vec::from_iter(0..300));

    let other = start("other", &flags("others", &["--from-beginning", "--max-messages", "300"]));
    eventually("all records", || (other.lines().len() >= 300).then_some(()));
    assert_eq!(numbers(&other.lines()), Vec::from_iter(0..300));
    assert_eq!(groups(&cluster, &["--list"]), "others\nreaders\n");

    // They go on where they stopped, and from the beginning only if they have not begun.
    produce(&cluster, 300, 310);
    let again = start("again", &flags("readers", &["--from-beginning", "--max-messages", "10"]));
    eventually("the new records", || (again.lines().len() >= 10).then_some(()));
    assert_eq!(numbers(&again.lines()), Vec::from_iter(300..310));
}

#[test]
fn a_killed_members_partitions_move_to_the_others() {
    let (cluster, directory) = start();
    let start = |name| Reader::start(&cluster, &directory, name, &flags("readers", &[]));
    let mut readers = [start("a"), start("b"), start("c")];
    await_shares(&cluster, "readers", &["1", "1", "1"]);
    produce(&cluster, 0, 30);
    await_lag(&cluster, "readers", 0);
    readers[1].kill();
    await_shares(&cluster, "readers", &["1", "2"]);
    produce(&cluster, 30, 60);
    await_lag(&cluster, "readers", 0);
    let all: Vec<String> = readers.iter().flat_map(Reader::lines).collect();
    assert_eq!(numbers(&all), Vec::from_iter(0..60));
}

#[test]
fn an_operator_resets_and_deletes() {
    let (cluster, directory) = start();
    produce(&cluster, 0, 90);
    let start =
        |name, more: &[&str]| Reader::start(&cluster, &directory, name, &flags("readers", more));
    let reader = start("first", &["--from-beginning"]);
    eventually("90 records", || (reader.lines().len() >= 90).then_some(()));
    await_lag(&cluster, "readers", 0);
    let reset = ["consumer-groups", "--reset-offsets", "--group", "readers", "--to-earliest"];
    let execute = [&reset[..], &["--all-topics", "--execute"]].concat();
    let refused = cluster.ottla_output(&execute);
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    let inactive = "Assignments can only be reset if the group 'readers' is inactive";
    assert!(said.contains(inactive), "{said}");
    let kept = cluster.ottla_output(&["consumer-groups", "--delete", "--group", "readers"]);
    let said = String::from_utf8_lossy(&kept.stderr).into_owned();
    assert!(said.contains("NON_EMPTY_GROUP"), "{said}");
    reader.stop();

    let planned = cluster.ottla(&[&reset[..], &["--topic", "orders:0,2", "--dry-run"]].concat());
    let new: Vec<String> = rows(&planned).iter().map(|row| row[1..].join(" ")).collect();
    assert_eq!(new, ["orders 0 0", "orders 2 0"]);
    await_lag(&cluster, "readers", 0);
    cluster.ottla(&execute);
    await_lag(&cluster, "readers", 90);
    let again = start("again", &["--max-messages", "90"]);
    eventually("the records again", || (again.lines().len() >= 90).then_some(()));
    assert_eq!(numbers(&again.lines()), Vec::from_iter(0..90));
    again.ended();

    let shift = ["--reset-offsets", "--group", "readers", "--shift-by", "-5", "--all-topics"];
    let exported = groups(&cluster, &[&shift[..], &["--export", "--dry-run"]].concat());
    assert_eq!(exported.lines().count(), 3, "{exported}");
    let file = directory.path().join("plan.csv");
    std::fs::write(&file, &exported).unwrap();
    let file = file.display().to_string();
    groups(&cluster, &["--reset-offsets", "--group", "readers", "--from-file", &file, "--execute"]);
    await_lag(&cluster, "readers", 15);

    let forget = ["--delete-offsets", "--group", "readers", "--topic", "orders:1"];
    assert!(groups(&cluster, &forget).starts_with("Request succeeded for deleting offsets"));
    let left = rows(&groups(&cluster, &["--describe", "--group", "readers"]));
    assert_eq!(left.len(), 2, "{left:?}");
    let deleted = groups(&cluster, &["--delete", "--group", "readers"]);
    assert_eq!(deleted, "Deletion of requested consumer groups ('readers') was successful.\n");
    let gone = cluster.ottla_output(&["consumer-groups", "--describe", "--group", "readers"]);
    assert!(!gone.status.success());
    let said = String::from_utf8_lossy(&gone.stderr).into_owned();
    assert_eq!(said, "Error: Consumer group 'readers' does not exist.\n");
}
