//! - `world`: an image that stands still, and a whole node in memory
//! - `answers`: what handlers tell of an image
//! - `dialogues`: what a node answers to those who talk to it
//! - `groups`: what it answers to those who form groups
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod answers;
mod dialogues;
mod groups;
pub(crate) mod world;
