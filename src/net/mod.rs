//! Connections: the seam through which sockets come in, the server side of the Kafka protocol's
//! framing, and the client that brokers and tools use to call other brokers.
//!
//! - [`transport`]: [`Network`], its TCP implementation, host and port
//! - [`server`]: [`server::Server`], its listeners, limits and shutdown; [`server::Service`], which
//!   answers
//! - [`client`]: [`client::Connection`], typed requests to another broker
//! - `admission`: what a server takes on, what is in use of it; `pace`, how fast
//! - `service`: a request's context, its answer in two phases
//! - `connection`: the loop of one connection, between `frames` (bytes in), `answers` (in request
//!   order) and `output` (bytes out)

mod admission;
mod answers;
pub mod client;
mod connection;
#[doc(hidden)]
pub mod frames;
mod output;
mod pace;
pub mod server;
mod service;
pub mod transport;

pub use transport::{BoxStream, HostPort, Listener, Network, TcpNetwork};
