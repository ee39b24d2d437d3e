//! One connection as its acceptor sees it.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::controller::peer::frame::{self, Greeting, Hello};
use crate::controller::peer::message::{PeerRequest, PeerResponse};

/// So many requests of one connection are worked on at a time; then its frames wait.
const IN_FLIGHT: usize = 256;

/// How long a peer may take over its opening words.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// What answers peers.
pub trait PeerService: Send + Sync + 'static {
    /// Welcomes a peer or refuses it.
    fn greet(&self, hello: &Hello) -> Greeting;
    /// Answers one request. Dropped when the connection ends.
    fn handle(&self, peer: Arc<Hello>, request: PeerRequest) -> BoxFuture<'static, PeerResponse>;
    /// The connection of that peer has ended.
    fn closed(&self, peer: &Hello);
}

/// Serves one connection until it ends or `stop` does. The stream begins with the magic.
pub async fn serve_peer<S>(
    mut stream: S,
    service: Arc<dyn PeerService>,
    stop: impl Future<Output = ()>,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let opening = tokio::time::timeout(HELLO_TIMEOUT, frame::read_hello(&mut stream)).await;
    let greeted = opening.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let hello = match greeted {
        Ok(hello) => hello,
        Err(reason) => {
            return frame::write_greeting(&mut stream, &Greeting::Refused { reason }).await;
        }
    };
    let greeting = service.greet(&hello);
    frame::write_greeting(&mut stream, &greeting).await?;
    if let Greeting::Refused { reason } = greeting {
        tracing::warn!(node = %hello.node_id, directory = %hello.directory_id, "refused a peer: {reason}");
        return Ok(());
    }
    let hello = Arc::new(hello);
    let result = tokio::select! {
        biased;
        () = stop => Ok(()),
        result = exchange(stream, &service, &hello) => result,
    };
    service.closed(&hello);
    result
}

async fn exchange<S>(
    stream: S,
    service: &Arc<dyn PeerService>,
    hello: &Arc<Hello>,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut reader, mut writer) = tokio::io::split(stream);
    let (answers, mut queue) = mpsc::channel::<Vec<u8>>(IN_FLIGHT);
    let write = async {
        while let Some(frame) = queue.recv().await {
            writer.write_all(&frame).await?;
            writer.flush().await?;
        }
        io::Result::Ok(())
    };
    let read = async {
        let permits = Arc::new(Semaphore::new(IN_FLIGHT));
        let mut handlers = JoinSet::new();
        loop {
            let (correlation_id, body) = frame::read_frame(&mut reader).await?;
            let request = frame::decode::<PeerRequest>(&body)?;
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
                return io::Result::Ok(());
            };
            while let Some(ended) = handlers.try_join_next() {
                if let Err(error) = ended {
                    tracing::error!(node = %hello.node_id, "a peer's request failed: {error}");
                }
            }
            let handling = service.handle(Arc::clone(hello), request);
            let answers = answers.clone();
            handlers.spawn(async move {
                let response = handling.await;
                match frame::frame(correlation_id, &response) {
                    // The connection may have ended meanwhile; the peer asks again on the next.
                    Ok(frame) => drop(answers.send(frame).await),
                    Err(error) => tracing::error!("an answer cannot be sent: {error}"),
                }
                drop(permit);
            });
        }
    };
    tokio::select! {
        biased;
        result = read => match result {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
            other => other,
        },
        result = write => result,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use tokio::sync::Notify;

    use super::*;
    use crate::controller::peer::{Kind, PeerClient, PeerClientOptions, PeerError};
    use crate::net::transport::{HostPort, Network, TcpNetwork};
    use crate::types::{DirectoryId, ErrorCode, NodeId};

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Welcomes node 1, answers pings, and holds a bind until it is let go.
    #[derive(Debug, Default)]
    struct Answers {
        let_go: Notify,
        closed: Notify,
    }

    struct Service(Arc<Answers>);

    impl PeerService for Service {
        fn greet(&self, hello: &Hello) -> Greeting {
            match hello.node_id {
                NodeId(1) => {
                    Greeting::Welcome { node_id: NodeId(2), directory_id: DirectoryId::from(2) }
                }
                _ => Greeting::Refused { reason: "not you".to_owned() },
            }
        }

        fn handle(&self, _: Arc<Hello>, request: PeerRequest) -> BoxFuture<'static, PeerResponse> {
            let answers = Arc::clone(&self.0);
            Box::pin(async move {
                match request {
                    PeerRequest::Bind { .. } => {
                        answers.let_go.notified().await;
                        PeerResponse::Bind(Ok(()))
                    }
                    PeerRequest::DescribeQuorum => {
                        PeerResponse::DescribeQuorum(Err(ErrorCode::NotController))
                    }
                    _ => PeerResponse::Pong,
                }
            })
        }

        fn closed(&self, _: &Hello) {
            self.0.closed.notify_one();
        }
    }

    async fn serve(answers: Arc<Answers>) -> (HostPort, JoinSet<()>) {
        let listener = TcpNetwork.bind(&HostPort::new("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap().into();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let service = Arc::new(Service(Arc::clone(&answers)));
                connections.spawn(serve_peer(stream, service, std::future::pending()));
            }
        });
        (address, tasks)
    }

    fn client(node_id: i32, address: &HostPort) -> PeerClient {
        let options = PeerClientOptions {
            network: Arc::new(TcpNetwork),
            node_id: NodeId(node_id),
            directory_id: DirectoryId::from(1),
            cluster_id: Default::default(),
            connect_timeout: PATIENCE,
        };
        PeerClient::new(Arc::new(options), address.clone(), None, Kind::Requests)
    }

    #[tokio::test]
    async fn answers_overtake_each_other_and_a_dropped_call_leaves_no_trace() {
        let answers = Arc::new(Answers::default());
        let (address, _server) = serve(Arc::clone(&answers)).await;
        let client = client(1, &address);
        assert_eq!(client.directory_id(PATIENCE).await, Ok(DirectoryId::from(2)));
        let bind = PeerRequest::Bind { cluster_id: "c".to_owned() };
        for _ in 0..3 {
            let gave_up = client.call(&bind, Duration::from_millis(1)).await;
            assert!(matches!(gave_up, Err(PeerError::TimedOut { .. })), "{gave_up:?}");
        }
        let held = client.call(&bind, PATIENCE);
        let overtaking = async {
            let pong = client.call(&PeerRequest::Ping, PATIENCE).await;
            assert!(matches!(pong, Ok(PeerResponse::Pong)), "{pong:?}");
            answers.let_go.notify_waiters();
        };
        let (bound, ()) = tokio::join!(held, overtaking);
        assert!(matches!(bound, Ok(PeerResponse::Bind(Ok(())))), "{bound:?}");
    }

    #[tokio::test]
    async fn a_refusal_says_why_and_an_end_is_noticed() {
        let answers = Arc::new(Answers::default());
        let (address, server) = serve(Arc::clone(&answers)).await;
        let refused = client(9, &address).call(&PeerRequest::Ping, PATIENCE).await;
        assert!(matches!(&refused, Err(PeerError::Refused { reason, .. }) if reason == "not you"));
        let first = client(1, &address);
        first.call(&PeerRequest::Ping, PATIENCE).await.unwrap();
        drop(first);
        tokio::time::timeout(PATIENCE, answers.closed.notified())
            .await
            .expect("the service to be told of the end");
        drop(server);
        let second = client(1, &address);
        let gone = second.call(&PeerRequest::Ping, PATIENCE).await;
        assert!(matches!(gone, Err(PeerError::Unreachable { .. })), "{gone:?}");
    }
}
