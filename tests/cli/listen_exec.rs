//! `sockeye listen --exec`: a process for each client.

use std::fs;
use std::path::Path;

use rustix::process::{Pid, test_kill_process};
use sockeye_testing::eventually;
use sockeye_testing::frame::{BINARY, CLOSE, Frame, close_payload, masked};
use sockeye_testing::handshake::{request, request_with};
use sockeye_tests::peer::{Chunks, Peer};
use sockeye_tests::program::{Sockeye, assert_fails, run};
use tempfile::TempDir;

use crate::listen::{fill, heard, say};

/// `sockeye listen` with this command in a shell.
fn shell(command: &str, options: &[&str]) -> Sockeye {
    Sockeye::listen(&[&["--shell", "--exec", command], options].concat())
}

/// The Close that comes, with its reason; it is answered.
fn closed(peer: &mut Peer) -> (u16, String) {
    let frame: Frame = peer.read_past_pings();
    assert_eq!(frame.first, CLOSE, "{frame:?}");
    peer.send(&masked(CLOSE, &frame.payload), Chunks::Whole);
    let reason = String::from_utf8_lossy(&frame.payload[2..]).into_owned();
    (frame.close_code().expect("a code"), reason)
}

/// A folder, and a file in it.
fn scratch(name: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name).to_str().expect("a plain path").to_owned();
    (folder, path)
}

/// The number of a process that has written it there.
fn pid_in(file: &str) -> Pid {
    let read = || fs::read_to_string(file).ok()?.trim().parse().ok().and_then(Pid::from_raw);
    eventually("a process writes its number", read)
}

fn assert_gone(pid: Pid) {
    eventually("the process has ended", || test_kill_process(pid).is_err());
}

#[test]
fn each_client_has_a_process_of_its_own_a_line_for_a_message() {
    let server = Sockeye::listen(&["--exec", "cat"]);
    let (mut one, mut two) = (Peer::open(server.address(), "/"), Peer::open(server.address(), "/"));
    one.echo("first 🐟");
    two.echo("");
    one.echo("second");
    // Lines of a message are lines of the process.
    say(&mut two, "a\nb");
    assert_eq!((heard(&mut two), heard(&mut two)), ("a".to_owned(), "b".to_owned()));
}

#[test]
fn a_process_answers_what_it_read_before_the_client_closed() {
    let server = Sockeye::listen(&["--exec", "sort"]);
    let output = run(&["connect", &server.ws("/")], "pear\napple\n");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "apple\npear\n");
}

#[test]
fn binary_passes_bytes_on_as_they_are() {
    let server = Sockeye::listen(&["--binary", "--exec", "cat"]);
    let mut peer = Peer::open(server.address(), "/");
    peer.send(&masked(BINARY, b"\xff\n\0no end"), Chunks::Whole);
    let frame = peer.read();
    assert_eq!((frame.first, frame.payload), (BINARY, b"\xff\n\0no end".to_vec()));
}

#[test]
fn a_process_that_ends_closes_with_1000_or_with_1011_and_how_it_ended() {
    for (command, expected) in [
        ("echo bye", (1000, "")),
        ("echo bye; exit 3", (1011, "the process ended with 3")),
        ("echo bye; kill -9 $$", (1011, "the process was killed by signal 9")),
    ] {
        let server = shell(command, &[]);
        let mut peer = Peer::open(server.address(), "/");
        assert_eq!(heard(&mut peer), "bye", "{command}");
        assert_eq!(closed(&mut peer), (expected.0, expected.1.to_owned()), "{command}");
    }
}

#[test]
fn the_end_of_the_connection_ends_the_process_and_all_that_it_has_started() {
    let (_folder, file) = scratch("pid");
    // Neither takes notice of its input or of SIGTERM.
    let command = format!(
        "trap '' TERM; sh -c 'trap \"\" TERM; echo $$ > {file}; sleep 1000; sleep 1000' & sleep 1000; sleep 1000"
    );
    let server = shell(&command, &["--kill-after", "100ms"]);
    let mut peer = Peer::open(server.address(), "/");
    let pid = pid_in(&file);
    peer.send(&masked(CLOSE, &close_payload(1000, "")), Chunks::Whole);
    assert_eq!(peer.read().close_code(), Some(1000));
    assert_gone(pid);
    // The same where the client vanishes, and where the server stops.
    for stops in [false, true] {
        fs::remove_file(&file).expect("it is there");
        let server = shell(&command, &["--kill-after", "100ms"]);
        let peer = Peer::open(server.address(), "/");
        let pid = pid_in(&file);
        match stops {
            false => drop(peer),
            true => drop(server.stop()),
        }
        assert_gone(pid);
    }
}

#[test]
fn a_second_ctrl_c_kills_at_once() {
    let (_folder, file) = scratch("pid");
    let server = shell(
        &format!("trap '' TERM; echo $$ > {file}; sleep 1000; sleep 1000"),
        &["--kill-after", "1h"],
    );
    let _peer = Peer::open(server.address(), "/");
    let pid = pid_in(&file);
    server.interrupt();
    eventually("it does not accept any more", || {
        std::net::TcpStream::connect(server.address()).is_err()
    });
    server.interrupt();
    let _ = server.ended();
    assert_gone(pid);
}

#[test]
fn what_it_says_on_stderr_is_passed_on_with_the_name_of_its_client() {
    let server = shell(
        "echo one >&2; printf 'no end' >&2; head -c 200000 /dev/zero | tr '\\0' x >&2; read x",
        &[],
    );
    let mut first = Peer::open(server.address(), "/");
    server.wait_for("@1 one");
    let _second = Peer::open(server.address(), "/");
    server.wait_for("@2 one");
    say(&mut first, "end");
    assert_eq!(closed(&mut first).0, 1000);
    let log = server.stop();
    assert!(log.contains("@1 no endxxx"), "{}", &log[..log.len().min(500)]);
}

#[test]
fn it_is_told_of_the_request_as_cgi_has_it_and_of_nothing_else() {
    let server = shell("env; echo end", &["--env", "ROOM=lobby"]);
    let mut peer = Peer::connect(server.address());
    let lines = "X-Room: bar\r\nAuthorization: Bearer secret\r\nProxy: http://evil.example\r\n\
                 User-Agent: () { :;}; echo shocked\r\n";
    peer.send(request_with("/a%20b?x=1&y=2", lines).as_bytes(), Chunks::Whole);
    assert_eq!(peer.read_head().status(), 101);
    let mut told = Vec::new();
    while told.last().is_none_or(|line| line != "end") {
        told.push(heard(&mut peer));
    }
    let port = server.address().port();
    for line in [
        "GATEWAY_INTERFACE=CGI/1.1",
        "REQUEST_METHOD=GET",
        "REQUEST_URI=/a%20b?x=1&y=2",
        "PATH_INFO=/a b",
        "QUERY_STRING=x=1&y=2",
        "REMOTE_ADDR=127.0.0.1",
        "SERVER_PROTOCOL=HTTP/1.1",
        &format!("SERVER_PORT={port}"),
        "HTTP_X_ROOM=bar",
        "ROOM=lobby",
    ] {
        assert!(told.iter().any(|told| told == line), "{line}: {told:#?}");
    }
    for name in ["HTTP_AUTHORIZATION", "HTTP_PROXY", "HTTP_USER_AGENT", "CARGO", "shocked"] {
        assert!(!told.iter().any(|told| told.contains(name)), "{name}: {told:#?}");
    }
}

#[test]
fn no_shell_reads_what_a_client_sends() {
    let server = Sockeye::listen(&["--exec", "printf '%s\\n' $HOME ;id"]);
    let mut peer = Peer::open(server.address(), "/");
    assert_eq!((heard(&mut peer), heard(&mut peer)), ("$HOME".to_owned(), ";id".to_owned()));
}

#[test]
fn there_are_no_more_processes_than_there_may_be() {
    let server = Sockeye::listen(&["--exec", "cat", "--max-processes", "2"]);
    let mut one = Peer::open(server.address(), "/");
    let two = Peer::open(server.address(), "/");
    let refused = || {
        let mut peer = Peer::connect(server.address());
        peer.send(request("/").as_bytes(), Chunks::Whole);
        peer.read_head().status() == 503
    };
    assert!(refused());
    one.echo("still here");
    drop(two);
    eventually("there is room", || !refused());
}

#[test]
fn a_page_that_is_refused_starts_no_process() {
    let (_folder, file) = scratch("started");
    let server = Sockeye::listen(&["--exec", &format!("touch {file}")]);
    let mut peer = Peer::connect(server.address());
    peer.send(request_with("/", "Origin: https://evil.example\r\n").as_bytes(), Chunks::Whole);
    assert_eq!(peer.read_head().status(), 403);
    let _ = server.stop();
    assert!(!Path::new(&file).exists());
}

#[test]
fn lines_that_are_not_text_or_too_long_close_with_1011() {
    for (command, why) in [
        ("printf '\\377\\n'; read x", "is not UTF-8: --binary sends bytes"),
        (
            "head -c 2000 /dev/zero | tr '\\0' x; read x",
            "has more than 1024 bytes: see --max-message",
        ),
    ] {
        let server = shell(command, &["--max-message", "1k", "--kill-after", "100ms"]);
        let mut peer = Peer::open(server.address(), "/");
        let (code, reason) = closed(&mut peer);
        assert!(code == 1011 && reason.contains(why), "{code} {reason}");
        server.wait_for(why);
    }
}

#[test]
fn a_client_that_reads_slowly_slows_its_process_and_one_that_reads_nothing_is_cut_off() {
    let (_folder, file) = scratch("pid");
    let command = format!("echo $$ > {file}; exec yes");
    let server =
        shell(&command, &["--write-timeout", "300ms", "--deflate", "off", "--kill-after", "100ms"]);
    let _peer = Peer::open(server.address(), "/");
    let pid = pid_in(&file);
    server.wait_for("@1 reads too slowly: cut off");
    assert_gone(pid);
    assert!(server.resident_bytes() < 64 << 20, "{}", server.resident_bytes());
}

#[test]
fn a_process_that_reads_nothing_slows_its_client_and_is_ended_in_time() {
    let (_folder, file) = scratch("pid");
    let command = format!("echo $$ > {file}; exec sleep 1000");
    let server = shell(&command, &["--read-timeout", "2s", "--kill-after", "100ms"]);
    let peer = Peer::open(server.address(), "/");
    let pid = pid_in(&file);
    fill(&peer);
    assert!(server.resident_bytes() < 64 << 20, "{}", server.resident_bytes());
    // Whether the client is still there or not.
    drop(peer);
    server.wait_for("@1 the process reads nothing: see --read-timeout");
    assert_gone(pid);
}

#[test]
fn a_process_that_closes_its_outputs_is_served_on() {
    let (_folder, file) = scratch("input");
    let server = shell(&format!("exec >&- 2>&-; cat > {file}"), &[]);
    let mut peer = Peer::open(server.address(), "/");
    say(&mut peer, "to a file");
    peer.send(&masked(CLOSE, &close_payload(1000, "")), Chunks::Whole);
    assert_eq!(closed(&mut peer).0, 1000);
    eventually("it was written", || {
        fs::read_to_string(&file).is_ok_and(|text| text == "to a file\n")
    });
}

#[test]
fn wrong_commands_are_told_at_once() {
    for (args, why) in [
        (&["--exec", "no-such-program"][..], "--shell"),
        (&["--exec", "/etc/passwd"], "cannot be executed"),
        (&["--exec", "./no-such-program"], "./no-such-program: No such file"),
        (&["--exec", "'open"], "a quote"),
        (&["--exec", ""], "name a program"),
        (&["--static", "/no/such/folder"], "--static"),
    ] {
        let output = run(&[&["listen", "--listen", "127.0.0.1:0"], args].concat(), "");
        assert_fails(&output, 1);
        assert!(String::from_utf8_lossy(&output.stderr).contains(why), "{args:?}: {output:?}");
    }
    for wrong in [&["--shell"][..], &["--env", "A=b"], &["--json", "--exec", "cat"]] {
        let output = run(&[&["listen"], wrong].concat(), "");
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
    }
}
