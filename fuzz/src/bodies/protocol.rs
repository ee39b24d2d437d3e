//! Frames, requests and responses.

use bytes::Bytes;
use futures::FutureExt;
use ottla::net::frames::{FrameBuffer, Progress};
use ottla::protocol::header::{decode_request_header, decode_response_header, encode_request};
use ottla::protocol::{Message, Reader, Request, Writer, messages};

use super::draw;

/// What a connection takes, here: far above what a fuzzer writes.
const LIMIT: usize = 1 << 20;

/// The bytes as a connection receives them: frames, and requests in them.
pub fn frames(data: &Bytes) {
    let mut buffer = FrameBuffer::new(LIMIT, "socket.request.max.bytes");
    let mut stream = &data[..];
    loop {
        match buffer.next_frame() {
            Ok(Progress::Frame(frame)) => {
                assert!(frame.len() <= LIMIT);
                request(frame);
            }
            Ok(Progress::Partial(_) | Progress::Nothing) => {
                let received = buffer.read_from(&mut stream).now_or_never();
                if matches!(received, Some(Ok(0)) | Some(Err(_)) | None) {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}

/// The least and the greatest message that all versions of an API have, and everything of it.
macro_rules! table {
    ($($api:ident: $request:ident => $response:ident, $versions:expr;)*) => {
        fn request(frame: Bytes) {
            let mut reader = Reader::new(frame);
            let Ok(header) = decode_request_header(&mut reader) else { return };
            let (key, version) = (header.api_key, header.api_version);
            $({
                type Asked = messages::$api::$request;
                if key == Asked::API.code() && Asked::VERSIONS.contains(&version) {
                    again::<Asked>(reader.rest().clone(), version);
                }
            })*
        }

        const RESPONSES: &[fn(Bytes, i16)] = &[$(|bytes, version| {
            type Asked = messages::$api::$request;
            let version = version.rem_euclid(Asked::VERSIONS.end() + 1);
            if !Asked::VERSIONS.contains(&version) {
                return;
            }
            let mut reader = Reader::new(bytes);
            if decode_response_header(Asked::API, version, &mut reader).is_ok() {
                again::<messages::$api::$response>(reader.rest().clone(), version);
            }
        }),*];

        pub fn frame_seeds() -> Vec<Vec<u8>> {
            let mut seeds = Vec::new();
            $({
                type Asked = messages::$api::$request;
                let (first, last) = (*Asked::VERSIONS.start(), *Asked::VERSIONS.end());
                for version in [first, last] {
                    let message = Asked::sample(&mut draw(7), version);
                    let parts = encode_request(version, 1, Some("seed"), &message);
                    seeds.extend(parts.map(|parts| parts.concat()));
                }
            })*
            seeds
        }

        pub fn response_seeds() -> Vec<Vec<u8>> {
            let mut seeds = Vec::new();
            let mut number = 0_u8;
            $({
                type Asked = messages::$api::$request;
                let (first, last) = (*Asked::VERSIONS.start(), *Asked::VERSIONS.end());
                for version in [first, last] {
                    let message = messages::$api::$response::sample(&mut draw(7), version);
                    let mut writer = Writer::new();
                    ottla::protocol::header::encode_response_header(
                        Asked::API, version, 1, &mut writer,
                    );
                    if message.encode(&mut writer, version).is_ok() {
                        let mut bytes = vec![number, version as u8];
                        bytes.extend_from_slice(&writer.into_bytes());
                        seeds.push(bytes);
                    }
                }
                number += 1;
            })*
            assert_eq!(usize::from(number), RESPONSES.len());
            seeds
        }
    };
}
every_api!(table);

/// One byte tells the API, one the version; then a response.
pub fn responses(data: &Bytes) {
    let [api, version, ..] = data[..] else { return };
    let read = RESPONSES[usize::from(api) % RESPONSES.len()];
    read(data.slice(2..), i16::from(version));
}

/// Whatever can be read can be written, and is the same when it is read again.
fn again<M: Message>(bytes: Bytes, version: i16) {
    let Ok(message) = M::decode_all(bytes, version) else { return };
    let mut writer = Writer::new();
    if let Err(error) = message.encode(&mut writer, version) {
        panic!("{message:?} in version {version} was read and cannot be written: {error}");
    }
    let read = M::decode_all(writer.into_bytes(), version);
    assert_eq!(read.as_ref(), Ok(&message), "version {version}");
}
