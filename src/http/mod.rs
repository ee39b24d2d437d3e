//! What a node answers over HTTP: today, whether it is well.
//!
//! - [`server`]: [`HttpServer`], the listener from start to stop, and its limits
//! - `routes`: the paths and their answers
//! - [`address`]: how `ottla.http.listener` and URLs are read
//! - [`client`]: the one request that `ottla health` makes
//!
//! It is off unless `ottla.http.listener` is set. It only looks: nothing here changes a node.

pub mod address;
pub mod client;
mod routes;
pub mod server;

pub use server::HttpServer;
