//! The harness of the whole-program tests: it starts the program `sockeye` and plays its peers,
//! hand-made ones byte for byte and real ones in other languages.
//!
//! `cargo xtask test` builds what the tests start. Nothing here uses the crates under test; frames and
//! handshakes are those of `sockeye-testing`.
//!
//! | folder or file | |
//! |---|---|
//! | [`program`], [`shell`], [`terminal`], [`streams`] | the program: started and stopped, as a guide types it, on a terminal, with odd outputs |
//! | [`curl`], [`websocket`], [`http2`] | clients: curl, a WebSocket that is read, HTTP/2 frame by frame |
//! | [`peer`], [`script`], [`foreign`] | other peers: byte for byte, and in other languages |
//! | [`cut`], [`middlebox`], [`reverse_proxy`] | what is in between: connections that are cut or changed, real proxies |
//! | [`nats`], [`network`], [`away`] | a cluster: servers of NATS, hosts that are cut off, and what clients see meanwhile |
//! | [`chaos`] | messages, readers and faults at once, and a checker |
//! | [`idle`], [`tls`] | very many idle connections; certificates |
//! | [`webhook`] | a program that the server sends JSON to |
//! | [`dashboard`] | the dashboard for Grafana |

pub mod away;
pub mod chaos;
pub mod curl;
pub mod cut;
pub mod dashboard;
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
pub mod webhook;
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
