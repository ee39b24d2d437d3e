//! Connections over turmoil that can be cut, silenced and reset.
//!
//! turmoil drops what is sent over a cut link, and its connections do not send again; real ones
//! do. So a cut holds back what the receiver reads until the link is whole again. And when a
//! machine crashes, tokio drops its tasks in an order that the seed does not know; so the
//! connections are taken from them first.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::task::AtomicWaker;
use ottla::net::transport::BoxStream;
use ottla::net::{HostPort, Listener, Network};
use ottla::storage::MemoryDisk;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::{TcpListener, TcpStream};

/// How often a dialler looks again whether the other side can be reached.
const DIAL_AGAIN: Duration = Duration::from_millis(50);

/// How much of what was under way arrives before a reset.
const TORN_BYTES: usize = 7;

/// How a machine stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// Its process runs.
    Running,
    /// It answers, and nobody listens on its ports.
    ProcessDead,
    /// It does not answer.
    Off,
}

/// All links between the machines.
#[derive(Debug, Default)]
pub struct Links {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// From, to: nothing gets through.
    cut: BTreeSet<(String, String)>,
    down: BTreeMap<String, Power>,
    /// How often each machine was without power.
    outages: BTreeMap<String, u64>,
    /// How often the connections between two machines were reset.
    resets: BTreeMap<(String, String), u64>,
    /// How often each machine's process died.
    deaths: BTreeMap<String, u64>,
    /// Whose process stands still.
    paused: BTreeSet<String>,
    /// Whose process dies with its disk.
    dying: BTreeMap<String, MemoryDisk>,
    ends: Vec<Arc<End>>,
}

/// One end of a connection: the stream until its machine crashes, who reads and who writes.
#[derive(Debug)]
struct End {
    here: String,
    stream: Mutex<Option<TcpStream>>,
    reader: AtomicWaker,
    writer: AtomicWaker,
}

impl Links {
    /// Nothing gets from one machine to the other any more.
    pub fn cut(&self, from: &str, to: &str) {
        self.state.lock().cut.insert((from.to_owned(), to.to_owned()));
    }

    /// What was held back gets through.
    pub fn mend(&self, from: &str, to: &str) {
        self.change(|state| _ = state.cut.remove(&(from.to_owned(), to.to_owned())));
    }

    /// All links are whole.
    pub fn mend_all(&self) {
        self.change(|state| state.cut.clear());
    }

    /// Every connection between two machines ends, with what is under way on it.
    pub fn reset(&self, a: &str, b: &str) {
        self.change(|state| *state.resets.entry(sorted(a, b)).or_default() += 1);
    }

    /// How a machine stands from now on. If its process does not run, its connections are gone:
    /// the others are told of a death, and nobody of a power failure. Not within the simulation.
    pub fn set_power(&self, machine: &str, power: Power) {
        let mut lost = Vec::new();
        self.change(|state| {
            let count = match power {
                Power::Running => None,
                Power::ProcessDead => Some(&mut state.deaths),
                Power::Off => Some(&mut state.outages),
            };
            if let Some(count) = count {
                *count.entry(machine.to_owned()).or_default() += 1;
                state.dying.remove(machine);
                let ends = state.ends.iter().filter(|end| end.here == machine);
                lost.extend(ends.filter_map(|end| end.stream.lock().take()));
            }
            state.down.insert(machine.to_owned(), power);
        });
        drop(lost);
    }

    /// The machine's process stands still, or goes on.
    pub fn set_paused(&self, machine: &str, paused: bool) {
        self.change(|state| {
            _ = match paused {
                true => state.paused.insert(machine.to_owned()),
                false => state.paused.remove(machine),
            };
        });
    }

    /// The machine says nothing more once that disk is broken.
    pub fn silence_with(&self, machine: &str, disk: MemoryDisk) {
        self.state.lock().dying.insert(machine.to_owned(), disk);
    }

    fn is_paused(&self, machine: &str) -> bool {
        self.state.lock().paused.contains(machine)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let ends = {
            let mut state = self.state.lock();
            change(&mut state);
            state.ends.retain(|end| Arc::strong_count(end) > 1);
            state.ends.clone()
        };
        for end in ends {
            end.reader.wake();
            end.writer.wake();
        }
    }
}

impl State {
    fn is_cut(&self, from: &str, to: &str) -> bool {
        // No allocation: this is asked for every read.
        !self.cut.is_empty() && self.cut.iter().any(|(a, b)| a == from && b == to)
    }

    /// Whether the machine neither reads nor writes.
    fn is_still(&self, machine: &str) -> bool {
        self.paused.contains(machine) || self.dying.get(machine).is_some_and(MemoryDisk::is_broken)
    }

    fn power(&self, machine: &str) -> Power {
        self.down.get(machine).copied().unwrap_or(Power::Running)
    }

    fn outages_of(&self, machine: &str) -> u64 {
        self.outages.get(machine).copied().unwrap_or(0)
    }

    fn deaths_of(&self, machine: &str) -> u64 {
        self.deaths.get(machine).copied().unwrap_or(0)
    }

    fn resets_of(&self, pair: &(String, String)) -> u64 {
        self.resets.get(pair).copied().unwrap_or(0)
    }
}

fn sorted(a: &str, b: &str) -> (String, String) {
    if a < b { (a.to_owned(), b.to_owned()) } else { (b.to_owned(), a.to_owned()) }
}

/// One machine's socket into the network.
#[derive(Debug, Clone)]
pub struct SimNetwork {
    here: String,
    links: Arc<Links>,
}

impl SimNetwork {
    /// That of `here`.
    pub fn new(here: &str, links: &Arc<Links>) -> Self {
        Self { here: here.to_owned(), links: Arc::clone(links) }
    }

    fn plug(&self, stream: TcpStream, there: &str) -> BoxStream {
        let end = Arc::new(End {
            here: self.here.clone(),
            stream: Mutex::new(Some(stream)),
            reader: AtomicWaker::new(),
            writer: AtomicWaker::new(),
        });
        let mut state = self.links.state.lock();
        state.ends.push(Arc::clone(&end));
        let pair = sorted(&self.here, there);
        Box::new(Plug {
            end,
            there: there.to_owned(),
            links: Arc::clone(&self.links),
            outages: state.outages_of(there),
            deaths: state.deaths_of(there),
            resets: state.resets_of(&pair),
            is_torn: false,
            pair,
        })
    }
}

impl Network for SimNetwork {
    fn connect<'a>(&'a self, address: &'a HostPort) -> BoxFuture<'a, io::Result<BoxStream>> {
        Box::pin(async move {
            loop {
                if self.links.is_paused(&self.here) {
                    tokio::time::sleep(DIAL_AGAIN).await;
                    continue;
                }
                let (power, cut) = {
                    let state = self.links.state.lock();
                    let (here, there) = (&self.here, &address.host);
                    (state.power(there), state.is_cut(here, there) || state.is_cut(there, here))
                };
                match (power, cut) {
                    (Power::Running, false) => break,
                    (Power::ProcessDead, false) => {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                        return Err(io::ErrorKind::ConnectionRefused.into());
                    }
                    (Power::Off, _) | (_, true) => tokio::time::sleep(DIAL_AGAIN).await,
                }
            }
            let stream = TcpStream::connect((address.host.clone(), address.port)).await?;
            Ok(self.plug(stream, &address.host))
        })
    }

    fn bind<'a>(&'a self, address: &'a HostPort) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let listener = TcpListener::bind(("0.0.0.0", address.port)).await?;
            Ok(Box::new(Accepts { listener, network: self.clone() }) as Box<dyn Listener>)
        })
    }
}

struct Accepts {
    listener: TcpListener,
    network: SimNetwork,
}

impl std::fmt::Debug for Accepts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accepts").field("network", &self.network).finish()
    }
}

impl Listener for Accepts {
    fn accept(&self) -> BoxFuture<'_, io::Result<(BoxStream, SocketAddr)>> {
        Box::pin(async move {
            let (stream, peer) = self.listener.accept().await?;
            let there = turmoil::reverse_lookup(peer.ip()).unwrap_or_default();
            // Plugged at once: if the machine crashes meanwhile, the stream is taken from it in order.
            let stream = self.network.plug(stream, &there);
            while self.network.links.is_paused(&self.network.here) {
                tokio::time::sleep(DIAL_AGAIN).await;
            }
            Ok((stream, peer))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// One end of a connection.
#[derive(Debug)]
struct Plug {
    end: Arc<End>,
    there: String,
    pair: (String, String),
    links: Arc<Links>,
    outages: u64,
    deaths: u64,
    resets: u64,
    /// The last that arrived before the reset has been read.
    is_torn: bool,
}

/// How a connection stands.
enum Standing {
    Open,
    /// The process here stands still.
    Still,
    /// What the other side sends does not arrive.
    Held,
    /// The other side lost its power, and nobody told us.
    Forsaken {
        is_back: bool,
    },
    /// The process on the other side died.
    Ended,
    Reset,
}

impl Plug {
    fn standing(&self) -> Standing {
        let state = self.links.state.lock();
        if state.is_still(&self.end.here) {
            return Standing::Still;
        }
        if state.resets_of(&self.pair) != self.resets {
            return Standing::Reset;
        }
        if state.outages_of(&self.there) != self.outages {
            return Standing::Forsaken { is_back: state.power(&self.there) != Power::Off };
        }
        if state.is_cut(&self.there, &self.end.here) {
            return Standing::Held;
        }
        if state.deaths_of(&self.there) != self.deaths { Standing::Ended } else { Standing::Open }
    }
}

impl End {
    /// Runs `poll` on the stream. Whoever has lost it is about to be dropped.
    fn poll<T>(
        &self,
        poll: impl FnOnce(Pin<&mut TcpStream>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match &mut *self.stream.lock() {
            Some(stream) => poll(Pin::new(stream)),
            None => Poll::Pending,
        }
    }
}

impl Plug {
    /// Of what was under way when the connection was reset the first bytes have arrived: less than
    /// a frame.
    fn read_torn(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> bool {
        if std::mem::replace(&mut self.is_torn, true) {
            return false;
        }
        let mut bytes = [0; TORN_BYTES];
        let mut first = ReadBuf::new(&mut bytes);
        let read = self.end.poll(|stream| stream.poll_read(context, &mut first));
        let arrived = first.filled();
        let arrived = &arrived[..arrived.len().min(buffer.remaining())];
        buffer.put_slice(arrived);
        matches!(read, Poll::Ready(Ok(()))) && !arrived.is_empty()
    }
}

impl AsyncRead for Plug {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.end.reader.register(context.waker());
        match self.standing() {
            Standing::Open => self.end.poll(|stream| stream.poll_read(context, buffer)),
            Standing::Still | Standing::Held | Standing::Forsaken { .. } => Poll::Pending,
            Standing::Ended => Poll::Ready(Ok(())),
            Standing::Reset if self.read_torn(context, buffer) => Poll::Ready(Ok(())),
            Standing::Reset => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        }
    }
}

impl AsyncWrite for Plug {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.end.writer.register(context.waker());
        match self.standing() {
            Standing::Open => self.end.poll(|stream| stream.poll_write(context, bytes)),
            Standing::Held => match self.end.poll(|stream| stream.poll_write(context, bytes)) {
                // That the other side is gone would have to get through first.
                Poll::Ready(Err(_)) => Poll::Pending,
                other => other,
            },
            Standing::Still => Poll::Pending,
            // The kernel takes it and sends it again and again.
            Standing::Forsaken { is_back: false } => Poll::Ready(Ok(bytes.len())),
            Standing::Forsaken { is_back: true } | Standing::Ended | Standing::Reset => {
                self.resets = u64::MAX;
                self.end.reader.wake();
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end.poll(|stream| stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end.poll(|stream| stream.poll_shutdown(context))
    }
}

impl Drop for Plug {
    fn drop(&mut self) {
        // The list of ends must not keep it.
        drop(self.end.stream.lock().take());
    }
}
