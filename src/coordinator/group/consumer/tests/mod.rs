//! Groups of the consumer protocol through the machine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod classic;
mod dialogues;
mod random;
mod refusals;
mod world;
