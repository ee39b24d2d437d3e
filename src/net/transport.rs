//! The network as the rest of Ottla sees it: dial, listen, bytes both ways. Simulation puts
//! another [`Network`] in its place.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// How many connections the kernel holds for us until they are accepted.
const ACCEPT_BACKLOG: u32 = 1024;

/// A connection's bytes, both ways.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> ByteStream for T {}

/// A connection of any [`Network`].
pub type BoxStream = Box<dyn ByteStream>;

/// Where connections come from and go to.
pub trait Network: Send + Sync + fmt::Debug + 'static {
    /// Dials `address`. `ConnectionRefused` means that a host answered and nobody listens there,
    /// which failure detection tells apart from silence. Waits as long as the network does:
    /// callers set their own timeout.
    fn connect<'a>(&'a self, address: &'a HostPort) -> BoxFuture<'a, io::Result<BoxStream>>;

    /// Listens on `address`. An empty host means every interface; port 0 a free port.
    fn bind<'a>(&'a self, address: &'a HostPort) -> BoxFuture<'a, io::Result<Box<dyn Listener>>>;
}

/// A bound address that accepts connections until it is dropped.
pub trait Listener: Send + Sync + fmt::Debug + 'static {
    /// The next connection and who it comes from. May be dropped and called again.
    fn accept(&self) -> BoxFuture<'_, io::Result<(BoxStream, SocketAddr)>>;

    /// The address that is bound, with the port that was chosen if 0 was asked for.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// The machine's TCP: no Nagle delay, and a restarted broker gets its port back at once.
#[derive(Debug, Default, Clone, Copy)]
pub struct TcpNetwork;

impl Network for TcpNetwork {
    fn connect<'a>(&'a self, address: &'a HostPort) -> BoxFuture<'a, io::Result<BoxStream>> {
        Box::pin(async move {
            let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as BoxStream)
        })
    }

    fn bind<'a>(&'a self, address: &'a HostPort) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let mut last_error = None;
            for candidate in bind_candidates(address).await? {
                match listen(candidate) {
                    Ok(listener) => return Ok(Box::new(TcpAccepts(listener)) as Box<dyn Listener>),
                    // Another address of a busy host would hide that half of it is taken.
                    Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
                    Err(error) => last_error = Some(error),
                }
            }
            Err(last_error.unwrap_or_else(|| {
                io::Error::new(
                    io::ErrorKind::AddrNotAvailable,
                    format!("{address} has no address to listen on"),
                )
            }))
        })
    }
}

async fn bind_candidates(address: &HostPort) -> io::Result<Vec<SocketAddr>> {
    if address.host.is_empty() {
        // IPv6's wildcard takes IPv4 too, where the machine has IPv6 at all.
        let (v6, v4) = (std::net::Ipv6Addr::UNSPECIFIED, std::net::Ipv4Addr::UNSPECIFIED);
        return Ok(vec![(v6, address.port).into(), (v4, address.port).into()]);
    }
    Ok(tokio::net::lookup_host((address.host.as_str(), address.port)).await?.collect())
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if address.is_ipv6() {
        socket2::SockRef::from(&socket).set_only_v6(false)?;
    }
    // Connections of the previous process in TIME_WAIT must not keep the port from this one.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(ACCEPT_BACKLOG)
}

#[derive(Debug)]
struct TcpAccepts(TcpListener);

impl Listener for TcpAccepts {
    fn accept(&self) -> BoxFuture<'_, io::Result<(BoxStream, SocketAddr)>> {
        Box::pin(async move {
            let (stream, peer) = self.0.accept().await?;
            // Fails only if the peer is gone already, which the first read will tell.
            let _ = stream.set_nodelay(true);
            Ok((Box::new(stream) as BoxStream, peer))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// A host, by name or address, and a port. Read and shown as `host:port`, with IPv6 addresses in
/// brackets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HostPort {
    /// A name or an address without brackets; empty means every interface when listening.
    pub host: String,
    /// The TCP port; 0 means a free one when listening.
    pub port: u16,
}

impl HostPort {
    /// `port` on `host`.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port }
    }
}

impl From<SocketAddr> for HostPort {
    fn from(address: SocketAddr) -> Self {
        Self::new(address.ip().to_string(), address.port())
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// A text that is not a host and a port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostPortError {
    /// There is no `:port` at the end.
    #[error("'{0}' has no port: write it as host:port")]
    NoPort(String),
    /// What follows the last colon is not a port.
    #[error("'{0}' does not end in a port from 0 to 65535")]
    BadPort(String),
    /// An IPv6 address without brackets, or with unbalanced ones.
    #[error("'{0}' is not a host and a port: write an IPv6 address in brackets, as [::1]:9092")]
    BadHost(String),
}

impl FromStr for HostPort {
    type Err = HostPortError;

    fn from_str(text: &str) -> Result<Self, HostPortError> {
        let (host, port) =
            text.rsplit_once(':').ok_or_else(|| HostPortError::NoPort(text.to_owned()))?;
        let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let host = match bracketed {
            Some(inside) => inside,
            None if host.contains([':', '[', ']']) => {
                return Err(HostPortError::BadHost(text.to_owned()));
            }
            None => host,
        };
        // `parse` would take "+1".
        let port =
            if port.bytes().all(|byte| byte.is_ascii_digit()) { port.parse().ok() } else { None };
        let port = port.ok_or_else(|| HostPortError::BadPort(text.to_owned()))?;
        Ok(Self::new(host, port))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn host_and_port_are_read_and_shown_alike() {
        for (text, host, port) in [
            ("localhost:9092", "localhost", 9092),
            ("127.0.0.1:0", "127.0.0.1", 0),
            ("[::1]:9092", "::1", 9092),
            (":9092", "", 9092),
        ] {
            let parsed: HostPort = text.parse().unwrap();
            assert_eq!(parsed, HostPort::new(host, port));
            assert_eq!(parsed.to_string(), text);
        }
    }

    #[test]
    fn what_is_not_a_host_and_a_port_says_why() {
        for (text, part) in [
            ("localhost", "has no port"),
            ("localhost:", "does not end in a port"),
            ("localhost:+1", "does not end in a port"),
            ("localhost:65536", "does not end in a port"),
            ("::1:9092", "brackets"),
            ("[::1:9092", "brackets"),
        ] {
            let message = text.parse::<HostPort>().unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    #[tokio::test]
    async fn bytes_go_both_ways_over_loopback() {
        let listener = TcpNetwork.bind(&HostPort::new("127.0.0.1", 0)).await.unwrap();
        let address = HostPort::from(listener.local_addr().unwrap());
        let mut here = TcpNetwork.connect(&address).await.unwrap();
        let (mut there, peer) = listener.accept().await.unwrap();
        assert!(peer.ip().is_loopback());
        here.write_all(b"ping").await.unwrap();
        let mut read = [0; 4];
        there.read_exact(&mut read).await.unwrap();
        there.write_all(&read).await.unwrap();
        here.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"ping");
    }

    #[tokio::test]
    async fn an_empty_host_listens_on_every_interface() {
        let listener = TcpNetwork.bind(&":0".parse().unwrap()).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        TcpNetwork.connect(&HostPort::new("127.0.0.1", port)).await.unwrap();
    }

    #[tokio::test]
    async fn a_busy_port_and_a_dead_one_have_their_own_kinds() {
        let listener = TcpNetwork.bind(&HostPort::new("127.0.0.1", 0)).await.unwrap();
        let address = HostPort::from(listener.local_addr().unwrap());
        let busy = TcpNetwork.bind(&address).await.unwrap_err();
        assert_eq!(busy.kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        let refused = TcpNetwork.connect(&address).await.err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }
}
