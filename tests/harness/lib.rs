//! The harness of the whole-program tests: it starts the program `sockeye` and plays its peers,
//! hand-made ones byte for byte and real ones in other languages.
//!
//! `cargo xtask test` builds what the tests start. Nothing here uses the crates under test; frames and
//! handshakes are those of `sockeye-testing`.

pub mod away;
pub mod chaos;
pub mod curl;
pub mod cut;
pub mod foreign;
pub mod http2;
pub mod idle;
pub mod middlebox;
pub mod nats;
pub mod network;
pub mod peer;
pub mod program;
pub mod reverse_proxy;
pub mod script;
pub mod shell;
pub mod streams;
pub mod terminal;
pub mod tls;
pub mod websocket;

use std::path::PathBuf;

/// The directory `target/<profile>` that the running test was built in.
///
/// # Panics
///
/// When the system does not tell where the test is.
#[must_use]
pub fn build_directory() -> PathBuf {
    let mut path = std::env::current_exe().expect("a test knows its own path");
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    path
}
