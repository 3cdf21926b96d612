//! The short form of `cargo xtask chaos`: no message is lost, repeated or out of order, though
//! readers hop between all transports and the server is killed.

use sockeye_tests::chaos::{self, Ground, Plan};

#[test]
fn hopping_readers_see_every_message_once_though_the_server_is_killed() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let ground = Ground::Disk { data: data.path().to_owned(), kills: 3 };
    let report = chaos::run(&Plan::short(ground));
    assert!(report.findings.is_sound(), "{report}");
    let stretches = report.findings.stretches;
    // Polls, long polls, event streams, WebSockets, the client for Rust.
    assert!(stretches[..5].iter().all(|stretches| *stretches > 0), "{report}");
}

/// To so many WebSockets the server writes by groups, by epoll or, where the environment says so, by io_uring.
const AUDIENCE: u64 = 24;

#[test]
fn an_audience_hears_every_message_once_though_the_server_is_killed() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let ground = Ground::Disk { data: data.path().to_owned(), kills: 3 };
    let report = chaos::run(&Plan { audience: AUDIENCE, ..Plan::short(ground) });
    assert!(report.findings.is_sound(), "{report}");
}
