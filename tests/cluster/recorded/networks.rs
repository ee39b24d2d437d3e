//! Every broker in a network namespace of its own, joined by a router in another one, and the clients
//! in a third. All of them belong to a process namespace that the test makes for a copy of itself:
//! nothing of it is seen from outside, nothing of the machine's own network changes, and when that copy
//! ends, however it ends, the kernel takes everything back.
//!
//! What is cut the router drops without a word, in one direction or both.

use std::process::{Child, Command, Stdio};

use crate::harness::{Host, eventually};

/// Where the clients' network is, among those of the nodes.
const CLIENTS: i32 = 9;

/// A namespace, as long as a process in it sleeps.
struct Namespace(Child);

impl Namespace {
    fn make() -> Namespace {
        let sleeper = Command::new("unshare").args(["--net", "sleep", "infinity"]).spawn();
        let made = Namespace(sleeper.expect("unshare"));
        let own = std::fs::read_link("/proc/self/ns/net").expect("the own namespace");
        eventually("another network namespace", || {
            std::fs::read_link(made.path()).ok().filter(|other| *other != own)
        });
        made
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }

    /// The command that runs another one in it.
    fn enter(&self) -> Vec<String> {
        vec!["nsenter".to_owned(), format!("--net={}", self.path())]
    }

    fn ip(&self, arguments: &str) {
        let line = format!("{} ip {arguments}", self.enter().join(" "));
        run(&line);
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(line: &str) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let output = Command::new(words[0]).args(&words[1..]).output().expect(line);
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Who may be cut off from whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Node(i32),
    Clients,
}

impl Side {
    fn number(self) -> i32 {
        match self {
            Side::Node(id) => id,
            Side::Clients => CLIENTS,
        }
    }
}

/// The networks of some nodes and, where this process is, of their clients.
pub struct Networks {
    router: Namespace,
    nodes: Vec<Namespace>,
    cuts: Vec<String>,
}

impl Networks {
    pub fn make(nodes: i32) -> Networks {
        let router = Namespace::make();
        let made = Networks {
            nodes: (0..nodes).map(|_| Namespace::make()).collect(),
            router,
            cuts: Vec::new(),
        };
        let forward =
            format!("{} sysctl -q -w net.ipv4.ip_forward=1", made.router.enter().join(" "));
        run(&forward);
        for (namespace, id) in made.nodes.iter().zip(1..) {
            made.join(id, namespace.0.id(), |arguments| namespace.ip(arguments));
        }
        made.join(CLIENTS, std::process::id(), |arguments| run(&format!("ip {arguments}")));
        made
    }

    /// Lays a cable between the router and a namespace, in which a process of that number is.
    fn join(&self, number: i32, process: u32, there: impl Fn(&str)) {
        let Networks { router, .. } = self;
        router.ip(&format!("link add port{number} type veth peer name wire netns {process}"));
        router.ip(&format!("address add 10.0.{number}.1/24 dev port{number}"));
        router.ip(&format!("link set port{number} up"));
        there("link set lo up");
        there(&format!("address add 10.0.{number}.2/24 dev wire"));
        there("link set wire up");
        there(&format!("route add default via 10.0.{number}.1"));
    }

    /// Where the nodes' processes run.
    pub fn hosts(&self) -> Vec<Host> {
        let host = |(namespace, id): (&Namespace, i32)| Host {
            address: format!("10.0.{id}.2"),
            enter: namespace.enter(),
        };
        self.nodes.iter().zip(1..).map(host).collect()
    }

    /// From now on nothing that one sends comes to the other.
    pub fn cut(&mut self, from: Side, to: Side) {
        let (from, to, order) = (from.number(), to.number(), 10 + self.cuts.len());
        let rule = format!("order {order} iif port{from} to 10.0.{to}.0/24 blackhole");
        self.router.ip(&format!("rule add {rule}"));
        self.cuts.push(rule);
    }

    /// From now on everything comes through.
    pub fn heal(&mut self) {
        for rule in self.cuts.drain(..) {
            self.router.ip(&format!("rule delete {rule}"));
        }
    }
}

/// What makes the outer namespaces for a command, if this machine lets us; or why not.
pub fn outer() -> Result<Vec<&'static str>, String> {
    let spaces = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let as_user = ["--user", "--map-root-user"];
    let probe = "ip link add probe type veth peer name other && ip rule add order 10 iif probe blackhole \
                 && nsenter --net=/proc/self/ns/net true && sysctl -q net.ipv4.ip_forward";
    let mut why = String::new();
    for more in [&[][..], &as_user[..]] {
        let line: Vec<&str> = spaces.into_iter().chain(more.iter().copied()).collect();
        let output = Command::new(line[0])
            .args(&line[1..])
            .args(["sh", "-c", probe])
            .stdin(Stdio::null())
            .output();
        match output {
            Ok(output) if output.status.success() => return Ok(line),
            Ok(output) => why = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; "),
            Err(error) => why = format!("unshare: {error}"),
        }
    }
    Err(why)
}
