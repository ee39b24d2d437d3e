//! A start that cannot succeed says in one line what is wrong and what to do.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{Cluster, eventually, free_port};

fn properties(directory: &Path, port: u16, controller_port: u16) -> String {
    format!(
        "process.roles=broker,controller\nnode.id=1\n\
         controller.quorum.voters=1@127.0.0.1:{controller_port}\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}\n\
         controller.listener.names=CONTROLLER\nlog.dirs={}\n",
        directory.display()
    )
}

/// Starts a broker that must refuse, and gives what it says on its error output.
fn refused(text: &str) -> String {
    let root = tempfile::tempdir().unwrap();
    let config = root.path().join("server.properties");
    std::fs::write(&config, text).unwrap();
    let mut process = Command::new(env!("CARGO_BIN_EXE_ottla"))
        .arg("broker")
        .arg("--config")
        .arg(&config)
        .env("OTTLA_LOG", "off")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let status = eventually("the broker to refuse", || process.try_wait().unwrap());
    let output = process.wait_with_output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!status.success(), "it started: {message}");
    assert_eq!(message.trim_end().lines().count(), 1, "more than one line: {message}");
    message
}

#[test]
fn unknown_keys_name_the_nearest_known_one() {
    let root = tempfile::tempdir().unwrap();
    let text = properties(root.path(), free_port(), free_port()) + "num.partition=3\n";
    let message = refused(&text);
    assert!(message.contains("server.properties:7: num.partition is"), "{message}");
    assert!(message.contains("num.partition"), "{message}");
    assert!(message.contains("num.partitions"), "{message}");
}

#[test]
fn bad_values_say_what_is_allowed() {
    let root = tempfile::tempdir().unwrap();
    let text = properties(root.path(), free_port(), free_port()) + "num.partitions=none\n";
    let message = refused(&text);
    assert!(message.contains("num.partitions") && message.contains("none"), "{message}");
}

#[test]
fn a_busy_port_is_named() {
    let root = tempfile::tempdir().unwrap();
    let port = free_port();
    let _held = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let message = refused(&properties(root.path(), port, free_port()));
    assert!(message.contains(&port.to_string()), "{message}");
}

#[test]
fn a_locked_directory_is_named() {
    let cluster = Cluster::start(1, "");
    let directory = &cluster.node(1).directory;
    let message = refused(&properties(directory, free_port(), free_port()));
    assert!(message.contains(&directory.display().to_string()), "{message}");
    assert!(message.contains("lock"), "{message}");
}

#[test]
fn a_directory_that_is_a_file_is_named() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("file");
    std::fs::write(&path, "not a directory").unwrap();
    let message = refused(&properties(&path, free_port(), free_port()));
    assert!(message.contains(&path.display().to_string()), "{message}");
}

#[test]
fn a_foreign_cluster_id_is_refused() {
    let mut cluster = Cluster::start(1, "");
    cluster.terminate(1);
    let directory = cluster.node(1).directory.clone();
    let meta = std::fs::read_to_string(directory.join("meta.properties")).unwrap();
    let other: String = meta
        .lines()
        .map(|line| match line.starts_with("cluster.id=") {
            true => "cluster.id=AAAAAAAAAAAAAAAAAAAAAQ\n".to_owned(),
            false => format!("{line}\n"),
        })
        .collect();
    assert_ne!(meta, other, "meta.properties names no cluster id: {meta}");
    std::fs::write(directory.join("meta.properties"), other).unwrap();
    let message = refused(&properties(&directory, free_port(), free_port()));
    assert!(message.contains("cluster.id") || message.contains("cluster id"), "{message}");
}
