//! Servers and hostile clients over a real loopback socket, with a service that answers what it is
//! asked to.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::*;
use crate::net::transport::{HostPort, Network, TcpNetwork};
use crate::protocol::ApiKey;
use crate::protocol::header::RequestHeader;
use crate::types::clock::SystemClock;

/// How long anything here may take before it counts as never.
const SOON: Duration = Duration::from_secs(10);

/// Does what the first byte of the body says; the rest is what it answers.
#[derive(Default)]
struct Echo {
    begun: AtomicUsize,
    /// First phases that have been seen through.
    ended: AtomicUsize,
    /// Answers that wait (`w`) and first phases that wait (`p`), by what they answer.
    gates: Mutex<HashMap<Bytes, oneshot::Receiver<()>>>,
}

impl Echo {
    fn gate(&self, body: &'static str) -> oneshot::Sender<()> {
        let (open, gate) = oneshot::channel();
        self.gates.lock().insert(Bytes::from(body), gate);
        open
    }
}

struct EchoService(Arc<Echo>);

impl Service for EchoService {
    fn handle(
        &self,
        context: Arc<RequestContext>,
        header: RequestHeader,
        body: Bytes,
    ) -> BoxFuture<'static, Handled> {
        let echo = Arc::clone(&self.0);
        echo.begun.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            assert_eq!(&*context.listener, "PLAINTEXT");
            let rest = body.slice(1..);
            let correlation_id = Bytes::copy_from_slice(&header.correlation_id.to_be_bytes());
            let answer = Answer::Response(vec![correlation_id, rest.clone()]);
            let gate = echo.gates.lock().remove(&rest);
            let handled = match body[0] {
                b'n' => Handled::Now(answer),
                b'0' => Handled::Now(Answer::None),
                b'c' => Handled::Now(Answer::Close("asked to".to_owned())),
                b'b' => Handled::Now(Answer::Response(vec![vec![0; 4 << 20].into()])),
                b'w' => Handled::Later(Box::pin(async move {
                    let _ = gate.unwrap().await;
                    answer
                })),
                b'p' => {
                    let _ = gate.unwrap().await;
                    Handled::Now(answer)
                }
                other => panic!("what is {other}?"),
            };
            echo.ended.fetch_add(1, Ordering::SeqCst);
            handled
        })
    }

    fn peer_magic(&self) -> Option<&'static [u8]> {
        Some(&[0xff, b'O', b'T', b'T'])
    }

    fn serve_peer(&self, mut stream: BoxStream, _: SocketAddr) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let mut hello = [0; 6];
            stream.read_exact(&mut hello).await.unwrap();
            stream.write_all(&hello).await.unwrap();
        })
    }
}

struct Fixture {
    server: Arc<Server>,
    echo: Arc<Echo>,
    address: HostPort,
}

async fn start(limits: ServerLimits) -> Fixture {
    let listener = TcpNetwork.bind(&HostPort::new("127.0.0.1", 0)).await.unwrap();
    let address = HostPort::from(listener.local_addr().unwrap());
    let server = Arc::new(Server::new(limits, Arc::new(SystemClock::new())));
    let echo = Arc::new(Echo::default());
    let service = Arc::new(EchoService(Arc::clone(&echo)));
    server.listen("PLAINTEXT", Class::Limited, listener, service);
    Fixture { server, echo, address }
}

struct Client(BoxStream);

impl Fixture {
    async fn connect(&self) -> Client {
        Client(TcpNetwork.connect(&self.address).await.unwrap())
    }

    /// Waits until as many first phases have begun.
    async fn begun(&self, count: usize) {
        until("requests to begin", || self.echo.begun.load(Ordering::SeqCst) >= count).await;
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let waited = timeout(SOON, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited for {what} in vain");
}

/// A Heartbeat request of version 0 as far as its header goes: the plain kind.
fn request(correlation_id: i32, body: &[u8]) -> Vec<u8> {
    let mut frame = ApiKey::Heartbeat.code().to_be_bytes().to_vec();
    frame.extend_from_slice(&0_i16.to_be_bytes());
    frame.extend_from_slice(&correlation_id.to_be_bytes());
    frame.extend_from_slice(&(-1_i16).to_be_bytes());
    frame.extend_from_slice(body);
    let mut bytes = i32::try_from(frame.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend(frame);
    bytes
}

impl Client {
    async fn send(&mut self, bytes: &[u8]) {
        timeout(SOON, self.0.write_all(bytes)).await.expect("sending took too long").unwrap();
    }

    async fn receive(&mut self) -> (i32, String) {
        let read = async {
            let mut frame = vec![0; usize::try_from(self.0.read_i32().await.unwrap()).unwrap()];
            self.0.read_exact(&mut frame).await.unwrap();
            let correlation_id = i32::from_be_bytes(frame[..4].try_into().unwrap());
            (correlation_id, String::from_utf8(frame[4..].to_vec()).unwrap())
        };
        timeout(SOON, read).await.expect("an answer took too long")
    }

    /// What comes before the server closes the connection.
    async fn closed(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let end = timeout(SOON, self.0.read_to_end(&mut bytes)).await;
        // A reset is an end as well: the server had not read all that was sent.
        let _ = end.expect("the connection was not closed");
        bytes
    }
}

#[tokio::test]
async fn answers_leave_in_request_order_while_waits_run_side_by_side() {
    let fixture = start(ServerLimits::default()).await;
    let (slow, slower) = (fixture.echo.gate("slow"), fixture.echo.gate("slower"));
    let mut client = fixture.connect().await;
    let bodies: [&[u8]; 5] = [b"wslower", b"wslow", b"nfast", b"0", b"nlast"];
    let requests = bodies.iter().zip(1..).flat_map(|(body, id)| request(id, body));
    client.send(&requests.collect::<Vec<_>>()).await;
    fixture.begun(5).await;
    slow.send(()).unwrap();
    slower.send(()).unwrap();
    for expected in [(1, "slower"), (2, "slow"), (3, "fast"), (5, "last")] {
        assert_eq!(client.receive().await, (expected.0, expected.1.to_owned()));
    }
}

#[tokio::test]
async fn the_next_request_begins_after_the_first_phase_of_the_one_before() {
    let fixture = start(ServerLimits::default()).await;
    let first = fixture.echo.gate("first");
    let mut client = fixture.connect().await;
    client.send(&[request(1, b"pfirst"), request(2, b"nsecond")].concat()).await;
    fixture.begun(1).await;
    // Another connection is not held up, and shows that the server had time to go on.
    let mut other = fixture.connect().await;
    other.send(&request(1, b"nother")).await;
    assert_eq!(other.receive().await, (1, "other".to_owned()));
    assert_eq!(fixture.echo.begun.load(Ordering::SeqCst), 2);
    first.send(()).unwrap();
    assert_eq!(client.receive().await, (1, "first".to_owned()));
    assert_eq!(client.receive().await, (2, "second".to_owned()));
}

#[tokio::test]
async fn a_lost_connection_drops_waits_but_no_first_phase() {
    let fixture = start(ServerLimits::default()).await;
    let wait = fixture.echo.gate("wait");
    let phase = fixture.echo.gate("phase");
    let mut client = fixture.connect().await;
    client.send(&[request(1, b"wwait"), request(2, b"pphase")].concat()).await;
    fixture.begun(2).await;
    drop(client);
    phase.send(()).unwrap();
    until("the first phase", || fixture.echo.ended.load(Ordering::SeqCst) == 2).await;
    until("the wait to be dropped", || wait.is_closed()).await;
    until("the connection to end", || fixture.server.connections() == 0).await;
}

#[tokio::test]
async fn requests_sent_before_the_client_hung_up_are_handled() {
    let fixture = start(ServerLimits::default()).await;
    let mut client = fixture.connect().await;
    let requests: Vec<u8> = (0..1_000).flat_map(|id| request(id, b"0produce")).collect();
    client.send(&requests).await;
    drop(client);
    fixture.begun(1_000).await;
}

#[tokio::test]
async fn strangers_and_impossible_frames_end_the_connection() {
    let fixture = start(ServerLimits::default()).await;
    let cases: [&[u8]; 9] = [
        &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc],
        b"GET / HTTP/1.1\r\nHost: localhost:9092\r\n\r\n",
        b"POST /topics/orders HTTP/1.1\r\n\r\n",
        &[0xff, 0xff, 0xff, 0xff],
        &[0x80, 0, 0, 0],
        &[0, 0, 0, 0],
        &[0x7f, 0xff, 0xff, 0xff],
        // A frame that is too short for its header.
        &[0, 0, 0, 3, 1, 2, 3],
        // A client id that is longer than its frame.
        &[0, 0, 0, 10, 0, 12, 0, 0, 0, 0, 0, 1, 0x7f, 0xff],
    ];
    for bytes in cases {
        let mut client = fixture.connect().await;
        client.send(bytes).await;
        assert_eq!(client.closed().await, b"", "{bytes:?}");
    }
    let mut client = fixture.connect().await;
    client.send(&request(7, b"nstill here")).await;
    assert_eq!(client.receive().await, (7, "still here".to_owned()));
}

#[tokio::test]
async fn what_was_answered_before_the_garbage_still_arrives() {
    let fixture = start(ServerLimits::default()).await;
    for last in [request(3, b"c"), vec![0xff; 4]] {
        let mut client = fixture.connect().await;
        client.send(&[request(1, b"nfirst"), last].concat()).await;
        assert_eq!(client.receive().await, (1, "first".to_owned()));
        assert_eq!(client.closed().await, b"");
    }
}

#[tokio::test]
async fn a_client_that_takes_no_answers_is_not_read_further() {
    let fixture = start(ServerLimits::default()).await;
    let mut client = fixture.connect().await;
    let requests: Vec<u8> = (0..200).flat_map(|id| request(id, b"b")).collect();
    client.send(&requests).await;
    fixture.begun(1).await;
    let mut other = fixture.connect().await;
    for id in 0..20 {
        other.send(&request(id, b"nx")).await;
        other.receive().await;
    }
    // The kernel's buffers take a few answers of 4 MiB; 200 of them would be 800 MiB.
    let begun = fixture.echo.begun.load(Ordering::SeqCst) - 20;
    assert!(begun < 20, "{begun} answers of 4 MiB are held for a client that takes none");
    drop(client);
    until("the connections to end", || fixture.server.connections() == 1).await;
}

#[tokio::test]
async fn large_requests_wait_for_their_share_and_small_ones_do_not() {
    let limits = ServerLimits { queued_max_request_bytes: Some(1 << 20), ..Default::default() };
    let fixture = start(limits).await;
    let mut large = b"nlarge".to_vec();
    large.resize(800 << 10, b'.');
    let large = request(1, &large);
    // The first announces itself and takes the share.
    let mut first = fixture.connect().await;
    first.send(&large[..1000]).await;
    let mut second = fixture.connect().await;
    second.send(&request(1, b"nsmall")).await;
    assert_eq!(second.receive().await.1, "small");
    let (mut reader, mut writer) = tokio::io::split(second.0);
    let sending = tokio::spawn({
        let large = large.clone();
        async move { writer.write_all(&large).await }
    });
    first.send(&large[1000..]).await;
    assert_eq!(first.receive().await.1.len(), (800 << 10) - 1);
    timeout(SOON, reader.read_i32()).await.expect("the second never got its share").unwrap();
    sending.await.unwrap().unwrap();
    // One that is larger than everything is allowed when it is alone.
    let mut huge = b"nhuge".to_vec();
    huge.resize(3 << 20, b'.');
    let mut third = fixture.connect().await;
    third.send(&request(1, &huge)).await;
    assert_eq!(third.receive().await.1.len(), (3 << 20) - 1);
}

#[tokio::test]
async fn connections_over_the_limit_wait_until_there_is_room() {
    let fixture = start(ServerLimits { max_connections: 2, ..Default::default() }).await;
    let (first, mut second) = (fixture.connect().await, fixture.connect().await);
    until("both to be there", || fixture.server.connections() == 2).await;
    let mut third = fixture.connect().await;
    third.send(&request(1, b"nthird")).await;
    // Others go on, and show that the server had time to let it in.
    for id in 0..20 {
        second.send(&request(id, b"nx")).await;
        second.receive().await;
    }
    assert_eq!((fixture.server.connections(), fixture.echo.begun.load(Ordering::SeqCst)), (2, 20));
    drop(first);
    assert_eq!(third.receive().await, (1, "third".to_owned()));
}

#[tokio::test]
async fn a_connection_over_the_limit_of_its_address_is_closed_at_once() {
    let fixture = start(ServerLimits { max_connections_per_ip: 1, ..Default::default() }).await;
    let first = fixture.connect().await;
    until("it to be there", || fixture.server.connections() == 1).await;
    assert_eq!(fixture.connect().await.closed().await, b"");
    drop(first);
    until("its place to come back", || fixture.server.connections() == 0).await;
    let mut third = fixture.connect().await;
    third.send(&request(2, b"ny")).await;
    assert_eq!(third.receive().await, (2, "y".to_owned()));
}

#[tokio::test]
async fn a_broker_takes_the_place_of_the_client_that_was_silent_longest() {
    let fixture = start(ServerLimits { max_connections: 2, ..Default::default() }).await;
    let listener = TcpNetwork.bind(&HostPort::new("127.0.0.1", 0)).await.unwrap();
    let address = HostPort::from(listener.local_addr().unwrap());
    let service = Arc::new(EchoService(Arc::clone(&fixture.echo)));
    fixture.server.listen("PLAINTEXT", Class::Exempt, listener, service);
    let mut silent = fixture.connect().await;
    until("the first to be there", || fixture.server.connections() == 1).await;
    let mut busy = fixture.connect().await;
    busy.send(&request(1, b"nx")).await;
    busy.receive().await;
    let mut broker = Client(TcpNetwork.connect(&address).await.unwrap());
    broker.send(&request(3, b"nbroker")).await;
    assert_eq!(broker.receive().await, (3, "broker".to_owned()));
    assert_eq!(silent.closed().await, b"");
    busy.send(&request(4, b"nstill here")).await;
    assert_eq!(busy.receive().await, (4, "still here".to_owned()));
}

#[tokio::test]
async fn a_server_that_is_full_still_stops() {
    let fixture = start(ServerLimits { max_connections: 1, ..Default::default() }).await;
    let mut first = fixture.connect().await;
    until("it to be there", || fixture.server.connections() == 1).await;
    let mut waiting = fixture.connect().await;
    timeout(SOON, fixture.server.shutdown(SOON)).await.expect("the server did not stop");
    assert_eq!((first.closed().await, waiting.closed().await), (vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn silent_and_dribbling_connections_are_closed_and_waiting_ones_are_not() {
    let limits = ServerLimits {
        connections_max_idle: Some(Duration::from_secs(60)),
        queued_max_request_bytes: Some(1 << 20),
        ..Default::default()
    };
    let fixture = start(limits).await;
    let wait = fixture.echo.gate("wait");
    let mut waiting = fixture.connect().await;
    waiting.send(&request(1, b"wwait")).await;
    let mut silent = fixture.connect().await;
    let mut half = fixture.connect().await;
    half.send(&request(1, b"nhalf")[..5]).await;
    // Announces 900 KiB, sends some, and keeps others from their share.
    let mut dribbling = fixture.connect().await;
    dribbling.send(&request(1, &vec![b'n'; 900 << 10])[..5_000]).await;
    fixture.begun(1).await;
    // Time is paused: it moves on when all tasks wait.
    for client in [&mut silent, &mut half, &mut dribbling] {
        let mut bytes = Vec::new();
        let _ = timeout(Duration::from_secs(100), client.0.read_to_end(&mut bytes))
            .await
            .expect("it was not closed");
    }
    wait.send(()).unwrap();
    assert_eq!(waiting.receive().await, (1, "wait".to_owned()));
}

#[tokio::test]
async fn a_shutdown_finishes_what_has_begun_and_takes_nothing_new() {
    let fixture = start(ServerLimits::default()).await;
    let wait = fixture.echo.gate("wait");
    let mut client = fixture.connect().await;
    client.send(&request(1, b"wwait")).await;
    fixture.begun(1).await;
    let mut idle = fixture.connect().await;
    let server = Arc::clone(&fixture.server);
    let stopping = tokio::spawn(async move { server.shutdown(SOON).await });
    assert_eq!(idle.closed().await, b"");
    assert!(TcpNetwork.connect(&fixture.address).await.is_err());
    assert!(!stopping.is_finished());
    wait.send(()).unwrap();
    assert_eq!(client.receive().await, (1, "wait".to_owned()));
    assert_eq!(client.closed().await, b"");
    timeout(SOON, stopping).await.expect("the server did not stop").unwrap();
}

#[tokio::test]
async fn a_shutdown_cuts_waits_off_when_its_time_is_over() {
    let fixture = start(ServerLimits::default()).await;
    let _wait = fixture.echo.gate("wait");
    let mut client = fixture.connect().await;
    client.send(&request(1, b"wwait")).await;
    fixture.begun(1).await;
    let stopping = fixture.server.shutdown(Duration::from_millis(20));
    timeout(SOON, stopping).await.expect("the server did not stop");
    assert_eq!(client.closed().await, b"");
    assert_eq!(fixture.server.connections(), 0);
}

#[tokio::test]
async fn peers_are_known_by_their_first_bytes() {
    let fixture = start(ServerLimits::default()).await;
    let mut peer = fixture.connect().await;
    for byte in [0xff, b'O', b'T', b'T', 0, 1] {
        peer.send(&[byte]).await;
    }
    assert_eq!(peer.closed().await, [0xff, b'O', b'T', b'T', 0, 1]);
}

/// A generator that needs no seed from outside: the same garbage in every run.
fn garbage(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    });
    next.take(length).collect()
}

#[tokio::test]
async fn garbage_ends_its_connection_and_harms_nobody() {
    let fixture = start(ServerLimits::default()).await;
    for seed in 0..200 {
        let mut client = fixture.connect().await;
        let mut bytes = garbage(seed, 2_000);
        if seed % 2 == 0 {
            // A plausible length, so that the header's bytes are garbage too.
            bytes[..4].copy_from_slice(&1_000_i32.to_be_bytes());
            // Not one of the requests that the service understands.
            bytes[12..14].copy_from_slice(&0x7fff_i16.to_be_bytes());
        }
        let _ = client.0.write_all(&bytes).await;
        let _ = client.0.shutdown().await;
        client.closed().await;
    }
    until("the connections to end", || fixture.server.connections() == 0).await;
    let mut client = fixture.connect().await;
    client.send(&request(1, b"nalive")).await;
    assert_eq!(client.receive().await.1, "alive");
}
