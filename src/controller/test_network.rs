//! A network in memory whose links can be cut, in one direction or both.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::mpsc;

use crate::net::transport::{BoxStream, HostPort, Listener, Network};

/// What all nodes are plugged into. A node's host is its number.
#[derive(Debug, Default)]
pub struct Switch {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    listeners: BTreeMap<HostPort, mpsc::UnboundedSender<Plug>>,
    /// From, to: nothing gets through.
    cut: BTreeSet<(String, String)>,
    stalled: Vec<Waker>,
}

impl Switch {
    /// Nothing gets from one node to the other any more, until [`Switch::heal`].
    pub fn cut(&self, from: i32, to: i32) {
        self.state.lock().cut.insert((from.to_string(), to.to_string()));
    }

    /// All links work again.
    pub fn heal(&self) {
        let mut state = self.state.lock();
        state.cut.clear();
        state.stalled.drain(..).for_each(Waker::wake);
    }

    fn stalls(&self, from: &str, to: &str, context: &Context<'_>) -> bool {
        let mut state = self.state.lock();
        let cut = state.cut.contains(&(from.to_owned(), to.to_owned()));
        if cut {
            state.stalled.push(context.waker().clone());
        }
        cut
    }
}

/// One node's socket into the switch.
#[derive(Debug, Clone)]
pub struct NodeNetwork {
    pub switch: Arc<Switch>,
    pub host: String,
}

impl Network for NodeNetwork {
    fn connect<'a>(&'a self, address: &'a HostPort) -> BoxFuture<'a, io::Result<BoxStream>> {
        Box::pin(async move {
            let both = [(&self.host, &address.host), (&address.host, &self.host)];
            let cut = both.iter().any(|(from, to)| {
                let link = ((*from).clone(), (*to).clone());
                self.switch.state.lock().cut.contains(&link)
            });
            if cut {
                return std::future::pending().await;
            }
            let (ours, theirs) = tokio::io::duplex(64 << 10);
            let plug = |stream, here: &String, there: &String| Plug {
                stream,
                switch: Arc::clone(&self.switch),
                here: here.clone(),
                there: there.clone(),
            };
            let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
            let listener = self.switch.state.lock().listeners.get(address).cloned();
            let theirs = plug(theirs, &address.host, &self.host);
            listener.ok_or_else(refused)?.send(theirs).map_err(|_| refused())?;
            Ok(Box::new(plug(ours, &self.host, &address.host)) as BoxStream)
        })
    }

    fn bind<'a>(&'a self, address: &'a HostPort) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let (sender, receiver) = mpsc::unbounded_channel();
            self.switch.state.lock().listeners.insert(address.clone(), sender);
            Ok(Box::new(Accepts(tokio::sync::Mutex::new(receiver))) as Box<dyn Listener>)
        })
    }
}

#[derive(Debug)]
struct Accepts(tokio::sync::Mutex<mpsc::UnboundedReceiver<Plug>>);

impl Listener for Accepts {
    fn accept(&self) -> BoxFuture<'_, io::Result<(BoxStream, SocketAddr)>> {
        Box::pin(async move {
            let accepted = self.0.lock().await.recv().await.ok_or(io::ErrorKind::NotConnected)?;
            Ok((Box::new(accepted) as BoxStream, ([127, 0, 0, 1], 1).into()))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(([127, 0, 0, 1], 1).into())
    }
}

/// One end of a connection.
#[derive(Debug)]
struct Plug {
    stream: DuplexStream,
    switch: Arc<Switch>,
    here: String,
    there: String,
}

impl AsyncRead for Plug {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.switch.stalls(&self.there, &self.here, context) {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Plug {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.switch.stalls(&self.here, &self.there, context) {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
