//! Requests as real clients sent them: each is read to its last byte and written again as it was.
//!
//! `captured/` has a file for each client, a line for each request: API, version, frame in hex (without
//! its length).

use bytes::Bytes;

use ottla::protocol::header::{RequestHeader, decode_request_header, encode_request};
use ottla::protocol::messages;
use ottla::protocol::{Reader, Request};

const CLIENTS: [(&str, &str); 4] = [
    ("aiokafka", include_str!("captured/aiokafka.txt")),
    ("confluent-kafka", include_str!("captured/confluent-kafka.txt")),
    ("kafka-python", include_str!("captured/kafka-python.txt")),
    ("kcat", include_str!("captured/kcat.txt")),
];

/// What every client needs for the simplest of uses.
const NEEDED: [&str; 5] = ["Produce", "Fetch", "ListOffsets", "Metadata", "InitProducerId"];

fn read_and_write_again<R: Request>(header: &RequestHeader, mut body: Reader, what: &str) -> Bytes {
    let request = R::decode(&mut body, header.api_version).unwrap_or_else(|error| {
        panic!("{what}: {error}");
    });
    assert_eq!(body.remaining(), 0, "{what}: bytes are left of {request:?}");
    let client_id = header.client_id.as_deref();
    let parts = encode_request(header.api_version, header.correlation_id, client_id, &request);
    let frame = parts.unwrap_or_else(|error| panic!("{what}: {error}")).concat();
    Bytes::from(frame).slice(4..)
}

macro_rules! by_key {
    ($($api:ident: $request:ident => $response:ident, $versions:expr;)*) => {
        fn by_key(header: &RequestHeader, body: Reader, what: &str) -> (String, Bytes) {
            $(if header.api_key == messages::$api::$request::API as i16 {
                let name = format!("{:?}", messages::$api::$request::API);
                return (name, read_and_write_again::<messages::$api::$request>(header, body, what));
            })*
            panic!("{what}: no message has the key {}", header.api_key)
        }
    };
}
every_api!(by_key);

fn from_hex(hex: &str) -> Bytes {
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

#[test]
fn captured_requests_are_read_fully_and_written_again_byte_for_byte() {
    for (client, text) in CLIENTS {
        let mut seen = Vec::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let [api, version, hex] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("{client}: not a request: {line}");
            };
            let what = format!("{client}: {api} {version}");
            let frame = from_hex(hex);
            let mut reader = Reader::new(frame.clone());
            let header = decode_request_header(&mut reader).unwrap();
            assert_eq!(header.api_version.to_string(), version, "{what}");
            let (name, written) = by_key(&header, reader, &what);
            assert_eq!(name, api, "{what}");
            assert_eq!(written, frame, "{what}");
            seen.push(name);
        }
        for api in NEEDED {
            assert!(seen.iter().any(|name| name == api), "{client} sent no {api}: {seen:?}");
        }
    }
}
