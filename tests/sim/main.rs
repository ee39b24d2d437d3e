//! A whole cluster in simulation, and the checker of what its clients saw.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod checker;
