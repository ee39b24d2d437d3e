//! - `world`: an image that stands still, and a whole node in memory
//! - `answers`: what handlers tell of an image
//! - `configs`: what it answers to those who configure it
//! - `dialogues`: what a node answers to those who talk to it
//! - `disks`: a node with two disks, of which one fails
//! - `deleting`: what it answers to those who delete records
//! - `groups`: what it answers to those who form groups
//! - `scrubbing`: segments are verified, now and then and on demand
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod answers;
mod configs;
mod deleting;
mod dialogues;
mod disks;
mod groups;
mod scrubbing;
pub(crate) mod world;
