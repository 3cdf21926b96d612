//! `sockeye serve --io`: which way is taken, and what is said where io_uring is forbidden.

use std::thread;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
use sockeye::SendRings;
use sockeye_testing::frame::TEXT;
use sockeye_tests::curl::curl;
use sockeye_tests::peer::Peer;
use sockeye_tests::program::{Sockeye, assert_fails, run};

/// Runs this in a thread whose programs may make no ring: what the filter of a container does.
fn where_it_is_forbidden(work: fn()) {
    const IO_URING_SETUP: i64 = 425;
    const EPERM: u32 = 1;
    let forbidden = thread::spawn(move || {
        let (allow, refuse) = (SeccompAction::Allow, SeccompAction::Errno(EPERM));
        let arch = TargetArch::try_from(std::env::consts::ARCH).expect("it is known");
        let rules = [(IO_URING_SETUP, Vec::new())].into();
        let filter = SeccompFilter::new(rules, allow, refuse, arch).expect("the rules are right");
        let filter = BpfProgram::try_from(filter).expect("it is short");
        seccompiler::apply_filter(&filter).expect("the system has filters");
        work();
    });
    forbidden.join().expect("it does not panic");
}

/// A message comes to enough clients for a group.
fn assert_serves(server: &Sockeye) {
    let mut peers: Vec<_> = (0..20).map(|_| Peer::open(server.address(), "/c/chat")).collect();
    let published = curl(&["--data", "hello", &server.http("/c/chat")]);
    assert!(published.contains("\"at\""), "{published}");
    for peer in &mut peers {
        let frame = peer.read();
        assert_eq!((frame.first, frame.payload.as_slice()), (TEXT, &b"hello"[..]));
    }
}

#[test]
fn without_io_uring_the_other_ways_serve_and_this_one_is_refused() {
    where_it_is_forbidden(|| {
        let args = ["serve", "--listen", "127.0.0.1:0", "--admin", "off", "--io", "uring"];
        let refused = run(&args, "");
        assert_fails(&refused, 1);
        let said = String::from_utf8_lossy(&refused.stderr);
        for part in ["kernel.io_uring_disabled", "container", "set --io to auto or epoll"] {
            assert!(said.contains(part), "{said}");
        }
        for io in ["auto", "epoll"] {
            assert_serves(&Sockeye::serve(&["--io", io]));
        }
    });
}

#[test]
fn with_io_uring_the_start_says_so() {
    if SendRings::new(1).is_err() {
        eprintln!("this system has no io_uring for us");
        return;
    }
    let server = Sockeye::serve(&["--io", "uring"]);
    server.wait_for("sending by io_uring");
    assert_serves(&server);
}
