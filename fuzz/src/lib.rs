//! What is fuzzed. `cargo test --test protocol fuzzed` runs the same on the corpus and on changes of it;
//! `scripts/fuzz.sh` looks for what is new.

#[macro_use]
#[path = "../../tests/protocol/every_api.rs"]
mod every_api;

pub mod bodies;
