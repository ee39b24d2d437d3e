//! The listener from start to stop.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::Sleep;

use crate::broker::health::Health;
use crate::http::routes::router;
use crate::net::HostPort;
use crate::net::transport::{BoxStream, Listener, Network};
use crate::types::watch;

/// Connections at one time; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 128;
/// A connection from which nothing came for so long is closed.
const IDLE: Duration = Duration::from_secs(30);
/// How long answers under way may take when the node stops.
const DRAIN: Duration = Duration::from_secs(1);
/// After an accept that failed (no descriptor left), so as not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why there is no HTTP listener.
#[derive(Debug, thiserror::Error)]
#[error("ottla.http.listener cannot listen on {address}: {error}; {advice}")]
pub struct BindError {
    address: HostPort,
    error: io::Error,
    advice: &'static str,
}

/// A bound listener that does not answer yet.
#[derive(Debug)]
pub struct BoundHttp {
    listener: Box<dyn Listener>,
    address: SocketAddr,
}

impl BoundHttp {
    /// Listens on `address`.
    ///
    /// # Errors
    /// Why not, with what to do about it.
    pub async fn bind(network: &dyn Network, address: &HostPort) -> Result<BoundHttp, BindError> {
        let failed = |error: io::Error| {
            let advice = match error.kind() {
                io::ErrorKind::AddrInUse => "stop what listens there or choose another port",
                io::ErrorKind::PermissionDenied => "use a port from 1024 on",
                io::ErrorKind::AddrNotAvailable => "use an address of this machine",
                _ => "check the key",
            };
            BindError { address: address.clone(), error, advice }
        };
        let listener = network.bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(BoundHttp { listener, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins to answer, by what `health` says each time.
    pub fn serve(self, health: impl Fn() -> Health + Send + Sync + 'static) -> HttpServer {
        let accepts = Accepts {
            listener: self.listener,
            connections: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        };
        let stop = watch::Sender::new(false);
        let mut stopped = stop.subscribe();
        let serving = axum::serve(accepts, router(Arc::new(health)));
        let serving = serving.with_graceful_shutdown(async move {
            // An error means that the server was dropped: the same.
            let _ = stopped.wait_for(|stopped| *stopped).await;
        });
        let task = tokio::spawn(async move { serving.await });
        HttpServer { stop, task }
    }
}

/// The HTTP listener of a node at work.
pub struct HttpServer {
    stop: watch::Sender<bool>,
    task: JoinHandle<io::Result<()>>,
}

impl HttpServer {
    /// Stops to answer.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        let abort = self.task.abort_handle();
        match tokio::time::timeout(DRAIN, self.task).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::warn!("the HTTP listener ended: {error}"),
            Ok(Err(error)) => tracing::error!("the HTTP listener failed: {error}"),
            Err(_) => abort.abort(),
        }
    }
}

struct Accepts {
    listener: Box<dyn Listener>,
    connections: Arc<Semaphore>,
}

impl axum::serve::Listener for Accepts {
    type Io = Guarded;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Guarded, SocketAddr) {
        loop {
            let Ok(permit) = Arc::clone(&self.connections).acquire_owned().await else {
                // Nobody closes the semaphore.
                return std::future::pending().await;
            };
            match self.listener.accept().await {
                Ok((stream, peer)) => return (Guarded::new(stream, permit), peer),
                Err(error) => {
                    tracing::warn!("an HTTP connection was not accepted: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that counts and does not wait for its peer for ever.
struct Guarded {
    stream: BoxStream,
    idle: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl Guarded {
    fn new(stream: BoxStream, permit: OwnedSemaphorePermit) -> Guarded {
        Guarded { stream, idle: Box::pin(tokio::time::sleep(IDLE)), _permit: permit }
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_ready() {
            self.idle = Box::pin(tokio::time::sleep(IDLE));
            return read;
        }
        match self.idle.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::broker::health::HealthState;
    use crate::http::client;
    use crate::net::transport::TcpNetwork;
    use crate::types::NodeId;

    fn health(state: HealthState) -> Health {
        Health { node_id: NodeId(7), roles: vec!["broker"], state, reason: "so".to_owned() }
    }

    async fn serve(state: HealthState) -> (HttpServer, HostPort) {
        let bound = BoundHttp::bind(&TcpNetwork, &HostPort::new("127.0.0.1", 0)).await.unwrap();
        let address = bound.address().into();
        (bound.serve(move || health(state)), address)
    }

    async fn exchange(address: &HostPort, request: &str) -> String {
        let mut stream = TcpNetwork.connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn each_path_and_method_has_its_answer() {
        let (server, address) = serve(HealthState::CatchingUp).await;
        for (line, status, says) in [
            ("GET /", "200", "\"paths\":[\"/health/live\",\"/health/ready\"]"),
            ("GET /health/live", "200", "\"state\":\"catching_up\""),
            ("GET /health/ready", "503", "\"reason\":\"so\""),
            ("GET /nothing", "404", "there is nothing at /nothing"),
            ("POST /health/ready", "405", "use GET"),
        ] {
            let request = format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            let answer = exchange(&address, &request).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{line}: {answer}");
            assert!(answer.contains(says), "{line}: {answer}");
            assert!(answer.contains("content-type: application/json"), "{line}: {answer}");
        }
        server.stop().await;
        let refused = TcpNetwork.connect(&address).await;
        assert!(refused.is_err(), "it still listens after stop");
    }

    #[tokio::test]
    async fn only_a_ready_node_is_ready() {
        for (state, status) in [
            (HealthState::Joining, 503),
            (HealthState::Unregistered, 503),
            (HealthState::Fenced, 503),
            (HealthState::CatchingUp, 503),
            (HealthState::Stopping, 503),
            (HealthState::Ready, 200),
        ] {
            let (server, address) = serve(state).await;
            let answer = client::get(&TcpNetwork, &address, "/health/ready").await.unwrap();
            assert_eq!(answer.status, status, "{state:?}");
            let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
            assert_eq!(body["state"], state.name());
            assert_eq!(body["node_id"], 7);
            assert_eq!(body["roles"][0], "broker");
            server.stop().await;
        }
    }

    #[tokio::test]
    async fn a_busy_port_is_told_in_one_line() {
        let (server, address) = serve(HealthState::Ready).await;
        let error = BoundHttp::bind(&TcpNetwork, &address).await.unwrap_err().to_string();
        assert!(error.starts_with("ottla.http.listener cannot listen on 127.0.0.1:"), "{error}");
        assert!(error.ends_with("stop what listens there or choose another port"), "{error}");
        assert_eq!(error.lines().count(), 1);
        server.stop().await;
    }
}
