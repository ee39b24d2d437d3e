//! The `ottla` binary: hands the command line to the library.

use std::process::ExitCode;

/// Freed pages go back to the system sooner than with the system's allocator, and threads do not
/// wait for each other.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ottla::cli::run(std::env::args_os())
}
