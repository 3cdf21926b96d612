//! The short form of `cargo xtask chaos`: no message is lost, repeated or out of order, though
//! readers hop between all transports and the server is killed.

use sockeye_tests::chaos::{self, Plan};

#[test]
fn hopping_readers_see_every_message_once_though_the_server_is_killed() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let plan = Plan {
        seed: rand::random(),
        messages: 3_000,
        kills: 3,
        publishers: 8,
        hoppers: 4,
        data: data.path().to_owned(),
    };
    let report = chaos::run(&plan);
    assert!(report.verdict.is_sound(), "{report}");
    let stretches = report.verdict.stretches;
    assert!(stretches.iter().all(|stretches| *stretches > 0), "{report}");
}
