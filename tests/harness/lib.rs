//! The harness of the whole-program tests: it starts the program `sockeye` and plays its peers,
//! hand-made ones byte for byte and real ones in other languages.
//!
//! `cargo xtask test` builds what the tests start. Nothing here trusts the crates under test.

pub mod chaos;
pub mod curl;
pub mod cut;
pub mod foreign;
pub mod frame;
pub mod idle;
pub mod peer;
pub mod program;
pub mod reverse_proxy;
pub mod script;
pub mod streams;
pub mod terminal;
pub mod tls;

use std::path::PathBuf;
use std::time::Duration;

/// How long the harness waits for something that should come at once, on a busy machine too.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The directory `target/<profile>` that the running test was built in.
fn build_directory() -> PathBuf {
    let mut path = std::env::current_exe().expect("a test knows its own path");
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    path
}
