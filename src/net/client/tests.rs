//! The client against brokers that behave, and against some that do not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use futures::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

use super::*;
use crate::net::transport::{BoxStream, Listener, TcpNetwork};
use crate::protocol::header::{decode_request_header, encode_response_header};
use crate::protocol::messages::api_versions::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse,
};
use crate::protocol::{ApiKey, Writer};
use crate::types::ErrorCode;

fn options() -> ClientOptions {
    ClientOptions { connect_timeout: Duration::from_secs(5), ..ClientOptions::default() }
}

async fn bind() -> (Box<dyn Listener>, HostPort) {
    let listener = TcpNetwork.bind(&HostPort::new("127.0.0.1", 0)).await.unwrap();
    let address = HostPort::from(listener.local_addr().unwrap());
    (listener, address)
}

/// A broker that does with its one connection what `script` says.
async fn broker<F, Ended>(script: F) -> (HostPort, JoinHandle<()>)
where
    F: FnOnce(Scripted) -> Ended + Send + 'static,
    Ended: Future<Output = ()> + Send + 'static,
{
    let (listener, address) = bind().await;
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        script(Scripted(stream)).await;
    });
    (address, task)
}

struct Scripted(BoxStream);

impl Scripted {
    /// The next request: its version and correlation id.
    async fn request(&mut self) -> (i16, i32) {
        let mut frame = vec![0; usize::try_from(self.0.read_i32().await.unwrap()).unwrap()];
        self.0.read_exact(&mut frame).await.unwrap();
        let header = decode_request_header(&mut Reader::new(frame.into())).unwrap();
        assert_eq!(header.client_id.as_deref(), Some("ottla"));
        (header.api_version, header.correlation_id)
    }

    async fn frame(&mut self, body: &[u8]) {
        let length = i32::try_from(body.len()).unwrap().to_be_bytes();
        self.0.write_all(&[&length, body].concat()).await.unwrap();
    }

    /// Answers in `version`: ApiVersions is served up to `max_version`.
    async fn answer(&mut self, version: i16, correlation_id: i32, error: ErrorCode, max: i16) {
        let row = ApiVersion { api_key: 18, min_version: 0, max_version: max };
        let response = ApiVersionsResponse {
            error_code: error.code(),
            api_keys: vec![row],
            ..Default::default()
        };
        let mut writer = Writer::new();
        encode_response_header(ApiKey::ApiVersions, version, correlation_id, &mut writer);
        response.encode(&mut writer, version).unwrap();
        self.frame(&writer.into_bytes()).await;
    }

    async fn handshake(&mut self) {
        let (version, correlation_id) = self.request().await;
        self.answer(version, correlation_id, ErrorCode::None, 4).await;
    }
}

async fn connect(address: &HostPort, options: ClientOptions) -> Result<Connection, ClientError> {
    Connection::connect(&TcpNetwork, address, options).await
}

#[tokio::test]
async fn an_older_broker_is_asked_again_in_its_own_version() {
    let (address, broker) = broker(|mut it| async move {
        let (version, correlation_id) = it.request().await;
        assert_eq!(version, 4);
        it.answer(0, correlation_id, ErrorCode::UnsupportedVersion, 2).await;
        let (version, correlation_id) = it.request().await;
        assert_eq!(version, 2);
        it.answer(2, correlation_id, ErrorCode::None, 2).await;
    })
    .await;
    let connection = connect(&address, options()).await.unwrap();
    assert_eq!(connection.version_of::<ApiVersionsRequest>(), Ok(2));
    assert_eq!(connection.versions(), &BTreeMap::from([(18, 0..=2)]));
    broker.await.unwrap();
}

#[tokio::test]
async fn answers_find_their_requests_in_any_order() {
    let (address, broker) = broker(|mut it| async move {
        it.handshake().await;
        let mut requests = Vec::new();
        for _ in 0..50 {
            requests.push(it.request().await);
        }
        assert!(requests.is_sorted_by_key(|(_, correlation_id)| *correlation_id));
        for (place, (version, correlation_id)) in requests.into_iter().enumerate().rev() {
            it.answer(version, correlation_id, ErrorCode::None, i16::try_from(place).unwrap())
                .await;
        }
    })
    .await;
    let connection = connect(&address, options()).await.unwrap();
    let sent = (0..50).map(|_| connection.send(&ApiVersionsRequest::default()).unwrap());
    let answers = join_all(sent.collect::<Vec<_>>()).await;
    for (place, answer) in answers.into_iter().enumerate() {
        assert_eq!(usize::try_from(answer.unwrap().api_keys[0].max_version), Ok(place));
    }
    broker.await.unwrap();
}

#[tokio::test]
async fn who_sends_too_much_at_once_is_told_and_who_calls_waits() {
    let (address, broker) = broker(|mut it| async move {
        it.handshake().await;
        for _ in 0..3 {
            let (version, correlation_id) = it.request().await;
            it.answer(version, correlation_id, ErrorCode::None, 4).await;
        }
    })
    .await;
    let options = ClientOptions { max_in_flight: 1, ..options() };
    let connection = connect(&address, options).await.unwrap();
    let request = ApiVersionsRequest::default();
    let first = connection.send(&request).unwrap();
    let second = connection.send(&request).err().unwrap();
    assert_eq!(second, ClientError::TooManyInFlight(1));
    let (first, third, fourth) =
        tokio::join!(first, connection.call(&request), connection.call(&request));
    assert!(first.is_ok() && third.is_ok() && fourth.is_ok());
    broker.await.unwrap();
}

#[tokio::test]
async fn a_lost_broker_fails_all_that_is_under_way_and_all_that_follows() {
    let (address, broker) = broker(|mut it| async move {
        it.handshake().await;
        it.request().await;
        it.request().await;
    })
    .await;
    let connection = connect(&address, options()).await.unwrap();
    let request = ApiVersionsRequest::default();
    let (first, second) = tokio::join!(connection.call(&request), connection.call(&request));
    broker.await.unwrap();
    for error in
        [first.unwrap_err(), second.unwrap_err(), connection.call(&request).await.unwrap_err()]
    {
        assert!(matches!(error, ClientError::Closed { .. }), "{error}");
    }
    assert!(connection.is_closed());
    assert!(matches!(connection.closed().await, ClientError::Closed { .. }));
}

#[tokio::test]
async fn silence_is_a_timeout_and_ends_the_connection() {
    let (address, broker) = broker(|mut it| async move {
        it.handshake().await;
        it.request().await;
        assert_eq!(it.0.read(&mut [0; 1]).await.unwrap(), 0);
    })
    .await;
    let options = ClientOptions { request_timeout: Duration::from_millis(50), ..options() };
    let connection = connect(&address, options).await.unwrap();
    let error = connection.call(&ApiVersionsRequest::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::Timeout { .. }), "{error}");
    assert!(connection.is_closed());
    broker.await.unwrap();
}

#[tokio::test]
async fn a_dropped_connection_hangs_up() {
    let (address, broker) = broker(|mut it| async move {
        it.handshake().await;
        let (version, correlation_id) = it.request().await;
        it.answer(version, correlation_id, ErrorCode::None, 4).await;
        assert_eq!(it.0.read(&mut [0; 1]).await.unwrap(), 0);
    })
    .await;
    let connection = connect(&address, options()).await.unwrap();
    let answer = connection.send(&ApiVersionsRequest::default()).unwrap();
    drop(connection);
    assert!(answer.await.is_ok());
    broker.await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_read_is_malformed() {
    type Reply = fn(i32) -> Vec<u8>;
    let replies: [(&str, Reply); 6] = [
        ("2147483647 bytes", |_| vec![0x7f, 0xff, 0xff, 0xff]),
        ("-1 bytes", |_| vec![0xff; 4]),
        ("an answer of 2 bytes", |_| vec![0, 0, 0, 2, 0, 0]),
        ("to no request", |_| vec![0, 0, 0, 4, 0x01, 0, 0, 0]),
        ("HTTP", |_| b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        ("ApiVersions", |id| {
            // A count of two billion rows.
            let body = [&id.to_be_bytes()[..], &[0, 0, 0xff, 0xff, 0xff, 0xff, 0x07]].concat();
            [&i32::try_from(body.len()).unwrap().to_be_bytes()[..], &body].concat()
        }),
    ];
    for (part, reply) in replies {
        let (address, broker) = broker(move |mut it| async move {
            let (_, correlation_id) = it.request().await;
            it.0.write_all(&reply(correlation_id)).await.unwrap();
            let _ = it.0.read(&mut [0; 1]).await;
        })
        .await;
        let error = connect(&address, options()).await.unwrap_err();
        assert!(matches!(error, ClientError::Malformed { .. }), "{error}");
        assert!(error.to_string().contains(part), "{error}");
        broker.await.unwrap();
    }
}

#[tokio::test]
async fn an_api_that_is_not_served_is_named() {
    let (address, broker) = broker(|mut it| async move {
        let (version, correlation_id) = it.request().await;
        it.answer(version, correlation_id, ErrorCode::None, -1).await;
    })
    .await;
    let connection = connect(&address, options()).await.unwrap();
    let error = connection.call(&ApiVersionsRequest::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::UnsupportedVersion { api: ApiKey::ApiVersions, .. }));
    broker.await.unwrap();
}

#[tokio::test]
async fn a_dead_port_refuses_and_a_silent_one_times_out() {
    let (listener, address) = bind().await;
    let options = ClientOptions { connect_timeout: Duration::from_millis(50), ..options() };
    let error = connect(&address, options.clone()).await.unwrap_err();
    assert!(matches!(error, ClientError::Timeout { .. }), "{error}");
    drop(listener);
    let error = connect(&address, options).await.unwrap_err();
    assert_eq!(error, ClientError::Refused { address });
}
