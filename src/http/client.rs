//! One GET, for `ottla health`: the connection is closed behind it.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::net::HostPort;
use crate::net::transport::Network;

/// No answer of ours comes near it.
const MAX_ANSWER_BYTES: u64 = 64 * 1024;

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body, as text.
    pub body: String,
}

/// Asks the node at `address` for `path`. Waits as long as the network does: callers set their own
/// timeout.
///
/// # Errors
/// What the network says, or `InvalidData` for what is no HTTP answer.
pub async fn get(network: &dyn Network, address: &HostPort, path: &str) -> io::Result<Answer> {
    let mut stream = network.connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer).await?;
    read(&String::from_utf8_lossy(&answer))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "what answers is not HTTP"))
}

fn read(answer: &str) -> Option<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let (version, status) = head.lines().next()?.split_once(' ')?;
    if !version.starts_with("HTTP/1.") {
        return None;
    }
    let status = status.split(' ').next()?.parse().ok()?;
    Some(Answer { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn what_is_no_http_is_refused() {
        for (text, status) in [
            ("HTTP/1.1 200 OK\r\na: b\r\n\r\n{}", Some(200)),
            ("HTTP/1.1 503\r\n\r\n", Some(503)),
            ("HTTP/1.1 200 OK\r\n", None),
            ("SSH-2.0 200\r\n\r\n", None),
            ("HTTP/1.1 x\r\n\r\n", None),
            ("", None),
        ] {
            assert_eq!(read(text).map(|answer| answer.status), status, "{text:?}");
        }
    }
}
