//! The server side: listeners, the connections that they accept, and an orderly end of both.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinSet;

pub use crate::net::admission::{Class, Refusal, ServerLimits};
pub use crate::net::service::{Answer, ClientSoftware, Handled, RequestContext, Service};

use crate::net::admission::{Admission, Place};
use crate::net::connection::{Connection, Ended, context};
use crate::net::frames::FrameBuffer;
use crate::net::transport::{BoxStream, Listener};
use crate::types::{Clock, watch};

mod rewound;
#[cfg(test)]
mod tests;

use rewound::Rewound;

/// The key that bounds a request, for the log.
const REQUEST_LIMIT: &str = "socket.request.max.bytes";

/// A broken `accept` (no file descriptors left, mostly) is tried again after this.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long connections may take to end once they have been told to.
const CLOSING_TIME: Duration = Duration::from_secs(2);

/// How far the server has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Connections are accepted and served.
    Running,
    /// What has begun is finished; nothing new begins.
    Draining,
    /// Connections end, whatever they wait for.
    Closing,
}

/// Listeners that share limits and stop together.
pub struct Server {
    admission: Arc<Admission>,
    stage: watch::Sender<Stage>,
    listeners: Mutex<JoinSet<()>>,
}

impl Server {
    /// A server without listeners.
    pub fn new(limits: ServerLimits, clock: Arc<dyn Clock>) -> Self {
        Self {
            admission: Admission::new(limits, clock),
            stage: watch::Sender::new(Stage::Running),
            listeners: Mutex::default(),
        }
    }

    /// Accepts what comes to `listener` and lets `service` answer it. `name` is the listener's, as
    /// in `listeners`.
    pub fn listen(
        &self,
        name: &str,
        class: Class,
        listener: Box<dyn Listener>,
        service: Arc<dyn Service>,
    ) {
        let door = Door {
            name: Arc::from(name),
            class,
            service,
            admission: Arc::clone(&self.admission),
            stage: self.stage.subscribe(),
        };
        self.listeners.lock().spawn(door.keep(listener));
    }

    /// Changes how many connections are taken; those that are too many now are told to end. The other
    /// limits are those that the server was made with.
    pub fn set_limits(&self, limits: ServerLimits) {
        self.admission.set_limits(limits);
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.admission.connections()
    }

    /// Stops accepting, lets the connections finish what has begun for up to `grace`, then ends
    /// them. A first phase that has begun is seen through even then.
    pub async fn shutdown(&self, grace: Duration) {
        self.stage.send_replace(Stage::Draining);
        let mut listeners = std::mem::take(&mut *self.listeners.lock());
        if tokio::time::timeout(grace, join_all(&mut listeners)).await.is_ok() {
            return;
        }
        tracing::info!(
            connections = self.connections(),
            "connections are cut off: {grace:?} are over"
        );
        self.stage.send_replace(Stage::Closing);
        if tokio::time::timeout(CLOSING_TIME, join_all(&mut listeners)).await.is_err() {
            tracing::warn!(
                connections = self.connections(),
                "requests are still being handled: their connections are left to themselves"
            );
        }
        // To abort them would drop a first phase half-way.
        listeners.detach_all();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stage.send_replace(Stage::Closing);
        self.listeners.lock().detach_all();
    }
}

async fn join_all(tasks: &mut JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        note_panic(ended);
    }
}

fn note_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task failed: this is a bug");
    }
}

/// One listener at work.
#[derive(Clone)]
struct Door {
    name: Arc<str>,
    class: Class,
    service: Arc<dyn Service>,
    admission: Arc<Admission>,
    stage: watch::Receiver<Stage>,
}

impl Door {
    /// Accepts until the server stops, then waits for the connections to end.
    async fn keep(mut self, listener: Box<dyn Listener>) {
        let mut connections = JoinSet::new();
        let mut full = false;
        loop {
            let accepted = tokio::select! {
                biased;
                _ = self.stage.wait_for(|stage| *stage != Stage::Running) => break,
                Some(ended) = connections.join_next() => {
                    note_panic(ended);
                    continue;
                }
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let Some(admitted) = self.admit(peer).await else { break };
                    match admitted {
                        Ok(place) => {
                            full = false;
                            connections.spawn(self.clone().serve(stream, peer, place));
                        }
                        Err(refusal) => self.note_refusal(&mut full, peer, refusal),
                    }
                }
                Err(error) => {
                    tracing::warn!(listener = %self.name, %error, "no connection could be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        join_all(&mut connections).await;
    }

    /// Waits for a place, and with that lets all wait who come after; none: the server stops.
    async fn admit(&mut self, peer: SocketAddr) -> Option<Result<Place, Refusal>> {
        if self.class == Class::Limited && self.admission.is_full() {
            let limit = self.admission.limits().max_connections;
            tracing::warn!(
                listener = %self.name, %peer,
                "accepts no connection until one ends: there are {limit} (max.connections)"
            );
        }
        let admission = Arc::clone(&self.admission);
        tokio::select! {
            biased;
            _ = self.stage.wait_for(|stage| *stage != Stage::Running) => None,
            admitted = admission.admit(peer.ip(), self.class) => Some(admitted),
        }
    }

    /// One line when refusals begin, not one for each of a thousand attempts.
    fn note_refusal(&self, full: &mut bool, peer: SocketAddr, refusal: Refusal) {
        if *full {
            tracing::debug!(listener = %self.name, %peer, "refused a connection: {refusal}");
        } else {
            tracing::warn!(listener = %self.name, %peer, "refused a connection: {refusal}");
        }
        *full = true;
    }

    async fn serve(mut self, mut stream: BoxStream, peer: SocketAddr, mut place: Place) {
        let limits = self.admission.limits();
        let mut frames = FrameBuffer::new(limits.socket_request_max_bytes, REQUEST_LIMIT);
        if let Some(magic) = self.service.peer_magic() {
            match self.sniff(&mut stream, &mut frames, magic, &mut place).await {
                Sniffed::Kafka => {}
                Sniffed::Nothing => return,
                Sniffed::Peer => {
                    let stream = Rewound::new(frames.take(), stream);
                    let served = self.service.serve_peer(Box::new(stream), peer);
                    tokio::select! {
                        biased;
                        () = served => {}
                        () = place.evicted() => {}
                        _ = self.stage.wait_for(|stage| *stage != Stage::Running) => {}
                    }
                    return;
                }
            }
        }
        let context = context(place.connection_id, peer, Arc::clone(&self.name));
        let Door { name, service, admission, stage, .. } = self;
        let connection = Connection::new(stream, frames, service, admission, context, stage, place);
        log_end(&name, peer, &connection.run().await);
    }

    /// Reads until it is clear whether the connection opens with `magic`.
    async fn sniff(
        &mut self,
        stream: &mut BoxStream,
        frames: &mut FrameBuffer,
        magic: &'static [u8],
        place: &mut Place,
    ) -> Sniffed {
        let idle = self.admission.limits().connections_max_idle.unwrap_or(Duration::MAX);
        loop {
            let received = frames.received();
            let compared = received.len().min(magic.len());
            if received[..compared] != magic[..compared] {
                return Sniffed::Kafka;
            }
            if compared == magic.len() {
                return Sniffed::Peer;
            }
            let read = tokio::select! {
                biased;
                _ = self.stage.wait_for(|stage| *stage != Stage::Running) => return Sniffed::Nothing,
                () = place.evicted() => return Sniffed::Nothing,
                read = tokio::time::timeout(idle, frames.read_from(stream)) => read,
            };
            if !matches!(read, Ok(Ok(1..))) {
                return Sniffed::Nothing;
            }
        }
    }
}

/// Who is at the other end.
enum Sniffed {
    /// A Kafka client, or somebody who will be found not to be one.
    Kafka,
    /// A peer of the quorum.
    Peer,
    /// Nobody any more.
    Nothing,
}

/// What people should hear about is what a client or its configuration does wrong.
fn log_end(listener: &str, peer: SocketAddr, ended: &Ended) {
    match ended {
        Ended::Frame(_) | Ended::Header(_) | Ended::Closed(_) | Ended::Stalled(_) => {
            tracing::warn!(listener, %peer, "closed the connection from {peer}: {ended}");
        }
        Ended::Truncated { .. } => {
            tracing::info!(listener, %peer, "the connection from {peer} ended: {ended}");
        }
        Ended::Idle(_) | Ended::Evicted | Ended::Io(_) | Ended::ServerStops | Ended::ByPeer => {
            tracing::debug!(listener, %peer, "the connection from {peer} ended: {ended}");
        }
    }
}
