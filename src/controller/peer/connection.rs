//! One connection as its opener sees it. A task of its own makes the connection and reads and
//! writes whole frames, so that a caller who gives up never leaves half a frame behind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::controller::peer::PeerError;
use crate::controller::peer::frame::{self, Greeting, Hello};
use crate::controller::peer::message::{PeerRequest, PeerResponse};
use crate::net::transport::{BoxStream, HostPort, Network};
use crate::types::{DirectoryId, watch};

/// So many requests may wait for the socket before callers wait too.
const QUEUE_FRAMES: usize = 64;

/// A connection on which so many requests in a row went unanswered is taken for dead.
const UNANSWERED_LIMIT: u32 = 10;

/// How a connection stands.
#[derive(Debug, Clone)]
enum Status {
    Connecting,
    Open(DirectoryId),
    Ended(PeerError),
}

/// A connection to a peer; requests on it are pipelined. Dropping it closes it.
#[derive(Debug)]
pub struct PeerConnection {
    target: String,
    frames: mpsc::Sender<Vec<u8>>,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    status: watch::Sender<Status>,
    pending: Mutex<BTreeMap<u64, oneshot::Sender<PeerResponse>>>,
    next_correlation_id: AtomicU64,
    unanswered: AtomicU32,
}

impl PeerConnection {
    /// Begins to connect, in the background; requests wait for the outcome.
    pub fn open(
        network: Arc<dyn Network>,
        target: HostPort,
        hello: Hello,
        connect_timeout: Duration,
    ) -> PeerConnection {
        let (frames, queue) = mpsc::channel(QUEUE_FRAMES);
        let shared = Arc::new(Shared {
            status: watch::Sender::new(Status::Connecting),
            pending: Mutex::default(),
            next_correlation_id: AtomicU64::new(0),
            unanswered: AtomicU32::new(0),
        });
        let name = target.to_string();
        let mut tasks = JoinSet::new();
        let end = EndsWhenDropped { shared: Arc::clone(&shared), target: name.clone() };
        tasks.spawn(async move {
            let connected =
                tokio::time::timeout(connect_timeout, connect(&*network, &target, &hello)).await;
            let error = match connected {
                Err(_) => PeerError::Unreachable {
                    target: end.target.clone(),
                    reason: "timed out".to_owned(),
                },
                Ok(Err(error)) => error,
                Ok(Ok((stream, directory_id))) => {
                    end.shared.status.send_replace(Status::Open(directory_id));
                    exchange(stream, queue, &end.shared).await;
                    PeerError::Closed { target: end.target.clone() }
                }
            };
            end.shared.status.send_replace(Status::Ended(error));
        });
        PeerConnection { target: name, frames, shared, _tasks: tasks }
    }

    /// Whether another connection should be made for the next request.
    pub fn is_ended(&self) -> bool {
        matches!(*self.shared.status.borrow(), Status::Ended(_))
            || self.shared.unanswered.load(Ordering::Relaxed) >= UNANSWERED_LIMIT
    }

    /// The peer's metadata directory, once it has welcomed us.
    pub async fn directory_id(&self) -> Result<DirectoryId, PeerError> {
        let mut status = self.shared.status.subscribe();
        let settled = status.wait_for(|status| !matches!(status, Status::Connecting)).await;
        match settled.map(|status| status.clone()) {
            Ok(Status::Open(directory_id)) => Ok(directory_id),
            Ok(Status::Ended(error)) => Err(error),
            Ok(Status::Connecting) | Err(_) => Err(self.closed()),
        }
    }

    /// Asks and awaits the answer. May be dropped at any point.
    pub async fn call(&self, request: &PeerRequest) -> Result<PeerResponse, PeerError> {
        self.directory_id().await?;
        let correlation_id = self.shared.next_correlation_id.fetch_add(1, Ordering::Relaxed);
        let frame = frame::frame(correlation_id, request).map_err(|error| {
            PeerError::Unexpected { target: self.target.clone(), what: error.to_string() }
        })?;
        let (answer, answered) = oneshot::channel();
        self.shared.pending.lock().insert(correlation_id, answer);
        let _forget = ForgetsWhenDropped { shared: &self.shared, correlation_id };
        self.frames.send(frame).await.map_err(|_| self.closed())?;
        // The end of the connection may have come between the look at its status and our entry
        // into the table, so that nobody would drop our sender: look again.
        if self.is_ended() {
            return Err(self.closed());
        }
        answered.await.map_err(|_| self.closed())
    }

    fn closed(&self) -> PeerError {
        PeerError::Closed { target: self.target.clone() }
    }
}

/// Marks the connection as ended however its task ends, so that nobody waits on.
struct EndsWhenDropped {
    shared: Arc<Shared>,
    target: String,
}

impl Drop for EndsWhenDropped {
    fn drop(&mut self) {
        self.shared.status.send_if_modified(|status| {
            let lives = !matches!(status, Status::Ended(_));
            if lives {
                *status = Status::Ended(PeerError::Closed { target: self.target.clone() });
            }
            lives
        });
        self.shared.pending.lock().clear();
    }
}

/// Takes a request out of the table when its caller has its answer or gives up.
struct ForgetsWhenDropped<'a> {
    shared: &'a Shared,
    correlation_id: u64,
}

impl Drop for ForgetsWhenDropped<'_> {
    fn drop(&mut self) {
        if self.shared.pending.lock().remove(&self.correlation_id).is_some() {
            self.shared.unanswered.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn connect(
    network: &dyn Network,
    target: &HostPort,
    hello: &Hello,
) -> Result<(BoxStream, DirectoryId), PeerError> {
    let unreachable = |error: std::io::Error| PeerError::Unreachable {
        target: target.to_string(),
        reason: error.to_string(),
    };
    let mut stream = network.connect(target).await.map_err(unreachable)?;
    frame::write_hello(&mut stream, hello).await.map_err(unreachable)?;
    match frame::read_greeting(&mut stream).await.map_err(unreachable)? {
        Greeting::Refused { reason } => {
            Err(PeerError::Refused { target: target.to_string(), reason })
        }
        Greeting::Welcome { directory_id, .. } => Ok((stream, directory_id)),
    }
}

/// Carries frames both ways until either side ends.
async fn exchange(stream: BoxStream, mut queue: mpsc::Receiver<Vec<u8>>, shared: &Shared) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let write = async {
        while let Some(frame) = queue.recv().await {
            if writer.write_all(&frame).await.is_err() || writer.flush().await.is_err() {
                return;
            }
        }
    };
    let read = async {
        while let Ok((correlation_id, body)) = frame::read_frame(&mut reader).await {
            shared.unanswered.store(0, Ordering::Relaxed);
            let Ok(response) = frame::decode::<PeerResponse>(&body) else {
                tracing::warn!("a peer sent an answer that cannot be read");
                return;
            };
            if let Some(answer) = shared.pending.lock().remove(&correlation_id) {
                // The caller may have given up in this moment; nobody else wants the answer.
                let _ = answer.send(response);
            }
        }
    };
    tokio::select! {
        biased;
        () = read => {}
        () = write => {}
    }
}
