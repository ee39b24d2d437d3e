//! One cluster of real processes. Ports are picked below the kernel's ephemeral range, so that no
//! outgoing connection takes one between picking and binding. Dropping a cluster kills it; if the
//! test failed, the ends of the brokers' logs are printed first.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::metadata::Metadata;

/// How long anything may take that normally takes well under a second.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Calls `check` until it gives something, and panics after [`PATIENCE`] saying what was awaited.
pub fn eventually<T>(what: &str, check: impl FnMut() -> Option<T>) -> T {
    eventually_within(PATIENCE, what, check)
}

/// As [`eventually`], for what takes longer.
pub fn eventually_within<T>(
    patience: Duration,
    what: &str,
    mut check: impl FnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {patience:?} for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

static NEXT_PORT: AtomicU16 = AtomicU16::new(0);

/// A port on 127.0.0.1 that nothing listens on.
pub fn free_port() -> u16 {
    let start = 10_000 + (std::process::id() % 20_000) as u16;
    loop {
        let port = 10_000 + (start + NEXT_PORT.fetch_add(1, Ordering::Relaxed)) % 22_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Where a node's process runs.
#[derive(Debug, Clone)]
pub struct Host {
    /// Its own and the others' way to it.
    pub address: String,
    /// The command that runs another command there; empty: here.
    pub enter: Vec<String>,
}

/// Where one node lives and how it is reached.
pub struct Node {
    pub id: i32,
    pub host: Host,
    pub port: u16,
    /// The first of its data directories, with the metadata.
    pub directory: PathBuf,
    /// All of its data directories.
    #[allow(dead_code)] // not for benches
    pub directories: Vec<PathBuf>,
    /// Its server.properties.
    pub config: PathBuf,
    log: PathBuf,
    process: Option<Child>,
}

impl Node {
    /// Whether the process is there.
    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// `host:port` for clients.
    pub fn server(&self) -> String {
        format!("{}:{}", self.host.address, self.port)
    }

    /// All that it has logged.
    #[allow(dead_code)] // not for benches
    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Where this node's replica of a partition lies, if it has one.
    #[allow(dead_code)] // not for benches
    pub fn replica(&self, topic: &str, partition: i32) -> Option<PathBuf> {
        let name = format!("{topic}-{partition}");
        self.directories.iter().map(|directory| directory.join(&name)).find(|path| path.is_dir())
    }
}

/// A running cluster.
pub struct Cluster {
    pub nodes: Vec<Node>,
    root: tempfile::TempDir,
}

impl Cluster {
    /// `count` combined nodes with `extra` lines in each one's properties, all registered.
    pub fn start(count: usize, extra: &str) -> Cluster {
        Cluster::start_with_directories(count, 1, extra)
    }

    /// The same, with `directories` data directories each.
    pub fn start_with_directories(count: usize, directories: usize, extra: &str) -> Cluster {
        let here = Host { address: "127.0.0.1".to_owned(), enter: Vec::new() };
        Cluster::start_on(&vec![here; count], directories, extra)
    }

    /// The same, one node on each host.
    pub fn start_on(hosts: &[Host], directories: usize, extra: &str) -> Cluster {
        let root = tempfile::tempdir().expect("a temporary directory");
        let places: Vec<(&Host, u16, u16)> =
            hosts.iter().map(|host| (host, free_port(), free_port())).collect();
        let voters: Vec<String> = places
            .iter()
            .enumerate()
            .map(|(index, (host, _, port))| format!("{}@{}:{port}", index + 1, host.address))
            .collect();
        let nodes = places
            .iter()
            .enumerate()
            .map(|(index, &(host, port, controller_port))| {
                let (id, address) = (index as i32 + 1, &host.address);
                let directory = root.path().join(format!("data-{id}"));
                let further = (2..=directories).map(|n| root.path().join(format!("data-{id}-{n}")));
                let directories: Vec<PathBuf> =
                    std::iter::once(directory.clone()).chain(further).collect();
                let log_dirs: Vec<String> =
                    directories.iter().map(|path| path.display().to_string()).collect();
                let config = root.path().join(format!("broker-{id}.properties"));
                let text = format!(
                    "process.roles=broker,controller\nnode.id={id}\n\
                     controller.quorum.voters={}\n\
                     listeners=PLAINTEXT://{address}:{port},CONTROLLER://{address}:{controller_port}\n\
                     advertised.listeners=PLAINTEXT://{address}:{port}\n\
                     listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
                     inter.broker.listener.name=PLAINTEXT\ncontroller.listener.names=CONTROLLER\n\
                     log.dirs={}\n{extra}\n",
                    voters.join(","),
                    log_dirs.join(","),
                );
                fs::write(&config, text).expect("writing the properties");
                let log = root.path().join(format!("broker-{id}.log"));
                let host = host.clone();
                Node { id, host, port, directory, directories, config, log, process: None }
            })
            .collect();
        let mut cluster = Cluster { nodes, root };
        for id in 1..=hosts.len() as i32 {
            cluster.spawn(id);
        }
        cluster.await_brokers(hosts.len());
        cluster
    }

    /// The node of that id.
    pub fn node(&self, id: i32) -> &Node {
        &self.nodes[id as usize - 1]
    }

    /// Starts node `id`'s process.
    pub fn spawn(&mut self, id: i32) {
        let node = &mut self.nodes[id as usize - 1];
        assert!(node.process.is_none(), "node {id} is running already");
        let log = File::options().create(true).append(true).open(&node.log).expect("a log file");
        let mut line =
            node.host.enter.iter().map(String::as_str).chain([env!("CARGO_BIN_EXE_ottla")]);
        let process = Command::new(line.next().unwrap_or_default())
            .args(line)
            .arg("broker")
            .arg("--config")
            .arg(&node.config)
            // What idempotent producers are refused tells what they do next.
            .env("OTTLA_LOG", "info,openraft=off,sled=warn,ottla::log::append=debug")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("starting the broker");
        node.process = Some(process);
    }

    /// SIGKILL.
    pub fn kill(&mut self, id: i32) {
        let mut process = self.nodes[id as usize - 1].process.take().expect("a running node");
        process.kill().expect("kill");
        process.wait().expect("wait");
    }

    /// Waits until node `id` has given up starting, and gives the last line that it said.
    #[allow(dead_code)] // not for benches
    pub fn await_refusal(&mut self, id: i32) -> String {
        let node = &mut self.nodes[id as usize - 1];
        let mut process = node.process.take().expect("a running node");
        let status =
            eventually(&format!("node {id} to refuse"), || process.try_wait().expect("wait"));
        assert!(!status.success(), "node {id} ended as if all were well");
        let said = fs::read_to_string(&node.log).unwrap_or_default();
        said.lines().last().unwrap_or_default().to_owned()
    }

    /// Stops the process in its tracks: silence, but no closed connection.
    #[allow(dead_code)] // not for benches
    pub fn pause(&self, id: i32) {
        self.signal(id, "-STOP");
    }

    /// Lets a paused process go on, as if no time had passed.
    #[allow(dead_code)] // not for benches
    pub fn resume(&self, id: i32) {
        self.signal(id, "-CONT");
    }

    fn signal(&self, id: i32, signal: &str) {
        let process = self.node(id).process.as_ref().expect("a running node");
        let sent = Command::new("kill").args([signal, &process.id().to_string()]).status();
        assert!(sent.expect("kill").success(), "kill {signal}");
    }

    /// SIGTERM, and waits for a clean exit.
    pub fn terminate(&mut self, id: i32) {
        let status = self.ask_to_stop(id);
        assert!(status.success(), "node {id} stopped with {status}");
    }

    /// SIGTERM, and waits for the exit, which is not a clean one where the process has only just begun.
    pub fn ask_to_stop(&mut self, id: i32) -> ExitStatus {
        let mut process = self.nodes[id as usize - 1].process.take().expect("a running node");
        let pid = process.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().expect("kill -TERM");
        eventually(&format!("node {id} to stop after SIGTERM"), || {
            process.try_wait().expect("wait")
        })
    }

    /// The CPU time that the running nodes have used, in seconds.
    #[allow(dead_code)] // for benches
    pub fn cpu_seconds(&self) -> f64 {
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let of = |pid: u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process's stat");
            // What follows the name, which may contain spaces: state is field 3, times are 14, 15.
            let fields: Vec<&str> =
                stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
            fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()
        };
        self.pids().map(of).sum::<f64>() / ticks
    }

    /// The resident memory of each running node, in bytes.
    #[allow(dead_code)] // for benches
    pub fn resident_bytes(&self) -> Vec<u64> {
        let page = rustix::param::page_size() as u64;
        let of = |pid: u32| {
            let statm =
                fs::read_to_string(format!("/proc/{pid}/statm")).expect("the process's statm");
            statm.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * page
        };
        self.pids().map(of).collect()
    }

    /// The most memory that each running node had resident since [`Cluster::forget_peaks`].
    #[allow(dead_code)] // not for benches
    pub fn peak_resident_bytes(&self) -> Vec<u64> {
        let of = |pid: u32| {
            let status =
                fs::read_to_string(format!("/proc/{pid}/status")).expect("the process's status");
            let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
            peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
        };
        self.pids().map(of).collect()
    }

    /// From now on peaks count anew.
    #[allow(dead_code)] // not for benches
    pub fn forget_peaks(&self) {
        self.pids().for_each(|pid| fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap());
    }

    /// How many files each running node has open, sockets among them.
    #[allow(dead_code)] // for benches
    pub fn open_files(&self) -> Vec<usize> {
        let of = |pid: u32| fs::read_dir(format!("/proc/{pid}/fd")).expect("the process").count();
        self.pids().map(of).collect()
    }

    fn pids(&self) -> impl Iterator<Item = u32> + '_ {
        self.nodes.iter().filter_map(|node| node.process.as_ref()).map(Child::id)
    }

    /// `host:port` of every node.
    pub fn bootstrap(&self) -> String {
        self.nodes.iter().map(Node::server).collect::<Vec<String>>().join(",")
    }

    /// A client configuration that knows the cluster.
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.bootstrap());
        config.set("reconnect.backoff.ms", "10");
        config.set("reconnect.backoff.max.ms", "200");
        config
    }

    /// The metadata of all topics as some node tells it, or `None` if none answers.
    pub fn metadata(&self) -> Option<Metadata> {
        self.nodes.iter().filter(|node| node.is_running()).find_map(|node| {
            let mut config = ClientConfig::new();
            config.set("bootstrap.servers", node.server());
            config.set("log_level", "0");
            let consumer: BaseConsumer = config.create().ok()?;
            consumer.fetch_metadata(None, Duration::from_secs(5)).ok()
        })
    }

    /// Waits until `count` brokers are registered and unfenced.
    pub fn await_brokers(&self, count: usize) {
        eventually(&format!("{count} registered brokers"), || {
            self.metadata().filter(|metadata| metadata.brokers().len() == count).map(drop)
        });
    }

    /// Waits until every partition of `topic` has `in_sync` replicas in its ISR and a leader.
    pub fn await_in_sync(&self, topic: &str, in_sync: usize) {
        eventually(&format!("{in_sync} in-sync replicas of {topic}"), || {
            let metadata = self.metadata()?;
            let found = metadata.topics().iter().find(|found| found.name() == topic)?;
            let partitions = found.partitions();
            let all = partitions.iter().all(|p| p.isr().len() == in_sync && p.leader() > 0);
            (all && !partitions.is_empty()).then_some(())
        });
    }

    /// The leader of a partition, once there is one.
    pub fn leader(&self, topic: &str, partition: i32) -> i32 {
        eventually(&format!("a leader of {topic}-{partition}"), || {
            let metadata = self.metadata()?;
            let found = metadata.topics().iter().find(|found| found.name() == topic)?;
            let partition = found.partitions().iter().find(|found| found.id() == partition)?;
            (partition.leader() > 0 && self.node(partition.leader()).is_running())
                .then_some(partition.leader())
        })
    }

    /// The node that is the active controller, as the cluster's own tool tells it.
    pub fn controller(&self) -> i32 {
        eventually("an active controller", || {
            let output = self.ottla(&["metadata-quorum", "describe", "--status"]);
            let line = output.lines().find(|line| line.starts_with("LeaderId:"))?;
            let id: i32 = line.split_whitespace().nth(1)?.parse().ok()?;
            (id > 0 && self.node(id).is_running()).then_some(id)
        })
    }

    /// An admin client.
    pub fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().expect("an admin client")
    }

    /// Creates a topic and waits until all its replicas are in sync.
    pub fn create_topic(
        &self,
        name: &str,
        partitions: i32,
        replicas: i32,
        config: &[(&str, &str)],
    ) {
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(replicas));
        for (key, value) in config {
            topic = topic.set(key, value);
        }
        let admin = self.admin();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
        let results = runtime.block_on(admin.create_topics([&topic], &options)).unwrap();
        for result in results {
            result.expect("creating the topic");
        }
        self.await_in_sync(name, replicas as usize);
    }

    /// Runs one of the command line's tools against the cluster and gives what it prints.
    pub fn ottla(&self, arguments: &[&str]) -> String {
        let output = self.ottla_output(arguments);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs one of the command line's tools against the running nodes.
    pub fn ottla_output(&self, arguments: &[&str]) -> std::process::Output {
        let running: Vec<String> =
            self.nodes.iter().filter(|node| node.is_running()).map(Node::server).collect();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
        command.arg(arguments[0]).args(["--bootstrap-server", &running.join(",")]);
        command.args(&arguments[1..]).stdin(Stdio::null()).output().expect("running the tool")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            if let Some(mut process) = node.process.take() {
                let _ = process.kill();
                let _ = process.wait();
            }
        }
        if std::thread::panicking() {
            for node in &self.nodes {
                let text = fs::read_to_string(&node.log).unwrap_or_default();
                let lines: Vec<&str> = text.lines().collect();
                let tail = &lines[lines.len().saturating_sub(60)..];
                eprintln!("--- the last lines of broker {}\n{}", node.id, tail.join("\n"));
            }
            if std::env::var_os("OTTLA_KEEP_FAILED").is_some() {
                let kept = std::mem::replace(&mut self.root, tempfile::tempdir().unwrap()).keep();
                eprintln!("--- kept in {}", kept.display());
            }
        }
    }
}
