//! The program as a person uses it on a terminal: typing, editing, Ctrl-C, Ctrl-D, another size of the
//! window, a pipe that is closed.

use std::net::TcpListener;

use sockeye_testing::eventually;
use sockeye_testing::frame::{BINARY, CLOSE, TEXT, close_payload, unmasked};
use sockeye_tests::curl::curl;
use sockeye_tests::peer::{Chunks, Peer};
use sockeye_tests::program::{Sockeye, run};
use sockeye_tests::terminal::Terminal;

const CTRL_C: &str = "\u{3}";
const CTRL_D: &str = "\u{4}";

fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("ws://{}/", listener.local_addr().expect("an address"));
    (listener, url)
}

/// A session with a hand-made server whose prompt is there.
fn connect(options: &str) -> (Terminal, Peer) {
    let (listener, url) = listen();
    let terminal = Terminal::shell(&format!("sockeye connect {options} {url}"));
    let peer = Peer::accept_open(&listener);
    terminal.wait_for("> ");
    (terminal, peer)
}

/// Ends the session from the server's side, in order.
fn end(terminal: Terminal, mut peer: Peer) -> String {
    peer.send(&unmasked(CLOSE, &close_payload(1000, b"")), Chunks::Whole);
    assert_eq!(peer.read().close_code(), Some(1000));
    drop(peer);
    let (status, shown) = terminal.finish();
    assert!(status.success(), "{shown:?}");
    shown
}

#[test]
fn what_comes_stands_above_the_line_that_is_being_typed() {
    let (mut terminal, mut peer) = connect("");
    terminal.type_text("hel");
    terminal.wait_for_screen(|lines| lines == ["> hel"]);
    peer.send(&unmasked(TEXT, b"news\nof two lines"), Chunks::Whole);
    terminal.wait_for_screen(|lines| lines == ["news", "of two lines", "> hel"]);
    peer.send(&unmasked(BINARY, b"\x00\xff"), Chunks::Whole);
    terminal.type_text("lo");
    terminal.wait_for_screen(|lines| lines == ["news", "of two lines", "2 bytes: 00ff", "> hello"]);
    terminal.press("\r");
    assert_eq!(peer.read().payload, b"hello");
    let _ = end(terminal, peer);
}

#[test]
fn a_line_is_edited_and_an_earlier_one_comes_back() {
    let (mut terminal, mut peer) = connect("");
    // Left over the o, and the x goes.
    terminal.type_text("helxo");
    terminal.press_and_see("\u{1b}[D");
    terminal.type_text("\u{7f}");
    terminal.wait_for_screen(|lines| lines == ["> helo"]);
    terminal.type_text("l\r");
    assert_eq!(peer.read().payload, b"hello");
    terminal.type_text("zwei 三 🐟\r");
    assert_eq!(peer.read().payload, "zwei 三 🐟".as_bytes());
    // Up, up.
    terminal.press("\u{1b}[A");
    terminal.wait_for_screen(|lines| lines.last().is_some_and(|line| line == "> zwei 三 🐟"));
    terminal.press("\u{1b}[A");
    terminal.wait_for_screen(|lines| lines.last().is_some_and(|line| line == "> hello"));
    terminal.press("\r");
    assert_eq!(peer.read().payload, b"hello");
    let _ = end(terminal, peer);
}

/// Some terminals mark what is pasted, some do not.
#[test]
fn what_is_pasted_is_sent_at_once() {
    let (mut terminal, mut peer) = connect("");
    terminal.press("one line\r");
    assert_eq!(peer.read().payload, b"one line");
    terminal.press("\u{1b}[200~three\u{1b}[201~");
    terminal.wait_for_screen(|lines| lines.last().is_some_and(|line| line == "> three"));
    terminal.press("\r");
    assert_eq!(peer.read().payload, b"three");
    let _ = end(terminal, peer);
}

/// Terminals that do not mark what is pasted type it, all at once.
#[test]
fn several_lines_pasted_at_once_are_all_sent() {
    let (mut terminal, mut peer) = connect("--wait 0s");
    terminal.press("one\rzwei\r三 🐟\rbegun");
    for line in ["one", "zwei", "三 🐟"] {
        assert_eq!(String::from_utf8_lossy(&peer.read().payload), line);
    }
    terminal.wait_for_screen(|lines| lines.last().is_some_and(|line| line == "> begun"));
    terminal.press(" and ended\rlast\r\u{4}");
    for line in ["begun and ended", "last"] {
        assert_eq!(String::from_utf8_lossy(&peer.read().payload), line);
    }
    assert_eq!(peer.read().close_code(), Some(1000));
    peer.send(&unmasked(CLOSE, &close_payload(1000, b"")), Chunks::Whole);
    drop(peer);
    assert!(terminal.finish().0.success());
}

/// Each line is answered while the next is read: neither side waits for the other.
#[test]
fn a_long_text_pasted_at_once_comes_back_whole() {
    let server = Sockeye::echo(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    let connect = format!("sockeye connect -n 500 --log {} {}", log.display(), server.ws("/"));
    let mut terminal = Terminal::shell(&connect);
    terminal.wait_for("> ");
    let lines: Vec<_> = (0..500).map(|number| format!("line {number}")).collect();
    terminal.press(lines.join("\r") + "\r");
    let (status, shown) = terminal.finish();
    assert!(status.success(), "{shown}");
    let log = std::fs::read_to_string(log).expect("a transcript");
    for kind in ["sent", "received"] {
        let began = format!("\"{kind}\":\"");
        let told = log.lines().filter_map(|line| line.split_once(&began)?.1.strip_suffix("\"}"));
        assert!(told.eq(lines.iter()), "{kind}: {log}");
    }
}

#[test]
fn the_terminal_is_afterwards_as_it_was_before() {
    let server = Sockeye::echo(&[]);
    let line = format!("stty -a > before; sockeye connect {}; stty -a > after", server.ws("/"));
    let folder = tempfile::tempdir().expect("a folder");
    let mut terminal = Terminal::shell(&format!("cd {}; {line}", folder.path().display()));
    terminal.wait_for("> ");
    terminal.type_text("hello\r");
    terminal.press(CTRL_D);
    assert!(terminal.finish().0.success());
    let read = |name| std::fs::read_to_string(folder.path().join(name)).expect("stty has told");
    assert_eq!(read("after"), read("before"));
    assert!(read("after").contains(" icanon ") && read("after").contains(" echo "), "a terminal");
}

#[test]
fn a_line_longer_than_the_window_is_whole_whatever_its_size_becomes() {
    let (mut terminal, mut peer) = connect("");
    let long = "a long line ".repeat(10);
    terminal.type_text(&long[..60]);
    terminal.wait_for("a long line");
    terminal.resize(30);
    peer.send(&unmasked(TEXT, b"news"), Chunks::Whole);
    terminal.wait_for("news");
    terminal.type_text(&long[60..]);
    terminal.press("\r");
    assert_eq!(String::from_utf8_lossy(&peer.read().payload), long);
    let _ = end(terminal, peer);
}

#[test]
fn ctrl_d_and_ctrl_c_close_with_1000_and_end_with_success() {
    for (key, option) in [(CTRL_D, "--wait 0s"), (CTRL_C, "--wait 1h")] {
        let (mut terminal, mut peer) = connect(option);
        // Ctrl-C gives up what is being typed.
        if key == CTRL_C {
            terminal.type_text("not sent");
        }
        terminal.press(key);
        assert_eq!(peer.read().close_code(), Some(1000), "{key:?}");
        peer.send(&unmasked(CLOSE, &close_payload(1000, b"")), Chunks::Whole);
        drop(peer);
        let (status, shown) = terminal.finish();
        assert!(status.success() && shown.ends_with('\n'), "{shown:?}");
    }
}

/// What waits for a server that has more and more to say is ended by Ctrl-C.
#[test]
fn ctrl_c_ends_what_ctrl_d_has_left_waiting() {
    let (mut terminal, mut peer) = connect("--wait 1h");
    terminal.press(CTRL_D);
    terminal.wait_until(|shown| shown.ends_with("\r\n"));
    terminal.press(CTRL_C);
    assert_eq!(peer.read().close_code(), Some(1000));
    peer.send(&unmasked(CLOSE, &close_payload(1000, b"")), Chunks::Whole);
    drop(peer);
    assert!(terminal.finish().0.success());
}

/// Presses Ctrl-C where one was pressed before, and sees that the program ends without waiting.
fn press_the_second(mut terminal: Terminal) {
    terminal.press(CTRL_C);
    let (status, shown) = terminal.finish();
    // It would say that no Close came.
    assert!(status.code() == Some(1) && !shown.contains("sockeye:"), "{status}: {shown}");
}

#[test]
fn a_second_ctrl_c_does_not_wait_for_the_server() {
    let (mut terminal, mut peer) = connect("");
    terminal.press(CTRL_C);
    assert_eq!(peer.read().close_code(), Some(1000));
    press_the_second(terminal);
}

#[test]
fn a_second_ctrl_c_does_not_wait_for_the_answer_to_a_close_that_was_typed() {
    let (mut terminal, mut peer) = connect("");
    terminal.type_text("/close\r");
    assert_eq!(peer.read().close_code(), Some(1000));
    // The editor reads the first one as a key; when it has ended the next one is a signal.
    let ended = |shown: &str| shown.matches("\u{1b}[?2004l").count();
    let before = ended(&terminal.shown());
    terminal.press(CTRL_C);
    terminal.wait_until(|shown| ended(shown) > before);
    press_the_second(terminal);
}

#[test]
fn ctrl_c_ends_what_waits_for_another_connection() {
    let (listener, url) = listen();
    let mut terminal = Terminal::shell(&format!("sockeye connect --reconnect {url}"));
    let peer = Peer::accept_open(&listener);
    terminal.wait_for("> ");
    drop((peer, listener));
    terminal.wait_for("connecting again");
    terminal.press(CTRL_C);
    terminal.wait_for("interrupted while there was no connection");
    assert_eq!(terminal.finish().0.code(), Some(1));
}

#[test]
fn commands_do_what_help_says_and_wrong_ones_say_what_to_do() {
    let server = Sockeye::echo(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("a file");
    std::fs::write(&file, "from a file").expect("a file");
    let mut terminal = Terminal::shell(&format!("sockeye connect {}", server.ws("/")));
    terminal.wait_for("> ");
    let mut type_and_see = |line: &str, expected: &str| {
        terminal.type_text(&format!("{line}\r"));
        terminal.wait_for(expected);
    };
    type_and_see("/help", "/send FILE");
    type_and_see("/ping", "* pong in ");
    type_and_see("/swim", "there is no command /swim");
    type_and_see("//slash", "[K/slash");
    type_and_see("/hex 00 fe", "2 bytes: 00fe");
    type_and_see("/hex 0", "a byte has two digits");
    type_and_see(&format!("/send {}", file.display()), "[Kfrom a file");
    type_and_see("/send /nowhere", "No such file");
    type_and_see("/close 99 no", "99 is not a code");
    terminal.type_text("/close 4000 bye\r");
    let (status, shown) = terminal.finish();
    assert!(status.success(), "{shown}");
}

#[test]
fn a_session_that_is_reconnected_keeps_the_line_that_is_being_typed() {
    let (listener, url) = listen();
    let mut terminal = Terminal::shell(&format!("sockeye connect --reconnect {url}"));
    let peer = Peer::accept_open(&listener);
    terminal.wait_for("> ");
    terminal.type_text("hel");
    terminal.wait_for_screen(|lines| lines == ["> hel"]);
    drop(peer);
    let mut peer = Peer::accept_open(&listener);
    terminal.wait_for_screen(|lines| {
        lines.concat().contains("connecting again")
            && lines.last().is_some_and(|line| line == "> hel")
    });
    terminal.type_text("lo\r");
    assert_eq!(peer.read().payload, b"hello");
    let _ = end(terminal, peer);
}

#[test]
fn a_pipe_that_is_closed_ends_it_with_success_and_without_a_word() {
    let server = Sockeye::serve(&[]);
    let commands = [
        format!("sockeye connect '{}?after=earliest'", server.ws("/c/a")),
        format!("sockeye subscribe --after earliest {}", server.http("/c/b")),
    ];
    for (command, channel) in commands.into_iter().zip(["/c/a", "/c/b"]) {
        let url = server.http(channel);
        assert!(run(&["publish", "--lines", &url], "one\ntwo\nthree\n").status.success());
        // What the program ends with is the shell's last word.
        let line = format!("{{ {command}; echo ended with $? >&2; }} | head -1");
        let terminal = Terminal::shell(&line);
        // It notices with the next message that it prints.
        eventually("the program has ended", || {
            let _ = curl(&["-d", "more", &url]);
            let shown = terminal.shown();
            if shown.contains("ended with") { Ok(()) } else { Err(shown) }
        });
        let (status, shown) = terminal.finish();
        assert!(status.success(), "{command}: {shown}");
        assert!(shown.contains("one\r\n") && shown.contains("ended with 0"), "{command}: {shown}");
        assert!(!shown.contains("sockeye:"), "{command}: {shown}");
    }
}

#[test]
fn ctrl_c_ends_what_runs_until_then_with_success() {
    let server = Sockeye::serve(&[]);
    let cases = [
        (format!("sockeye subscribe -v {}", server.http("/c/chat")), "reading"),
        ("sockeye echo --listen 127.0.0.1:0".to_owned(), "127.0.0.1:"),
        ("sockeye serve --listen 127.0.0.1:0 --admin off".to_owned(), "listening on"),
    ];
    for (line, begun) in cases {
        let mut terminal = Terminal::shell(&line);
        terminal.wait_for(begun);
        terminal.press(CTRL_C);
        let (status, shown) = terminal.finish();
        assert_eq!(status.code(), Some(0), "{line}: {shown}");
    }
}

#[test]
fn long_input_has_a_bar_where_stderr_is_a_terminal_and_stdout_is_not() {
    let server = Sockeye::serve(&[]);
    let publish = format!("sockeye publish --rate 1000 {} -", server.http("/c/chat"));
    let (status, shown) = Terminal::shell(&format!("seq 1500 | {publish} > /dev/null")).finish();
    assert!(status.success(), "{shown}");
    assert!(shown.contains(" messages, "), "{shown:?}");
    // It is gone at the end.
    assert!(!shown.trim_end().ends_with('s'), "{shown:?}");
    let (_, shown) = Terminal::shell(&format!("seq 1500 | {publish}")).finish();
    assert!(!shown.contains(" messages, "), "{shown:?}");
}

#[test]
fn wrong_usage_is_one_line_that_says_what_to_do_and_then_the_usage() {
    let cases: [(&[&str], &str); 25] = [
        (&[], "sockeye needs a command: serve, echo, "),
        (&["swim"], "'swim'"),
        (&["connect"], "<URL>"),
        (&["connect", "--bnary", "ws://127.0.0.1/"], "'--binary'"),
        (&["connect", "127.0.0.1"], "the scheme is missing: write ws://127.0.0.1"),
        (&["connect", "--transport", "sse", "http://127.0.0.1/c/a,b"], "several channels"),
        (&["subscribe"], "<URL>"),
        (&["subscribe", "ftp://127.0.0.1/c/a"], "write http://, https://, ws:// or wss://"),
        (&["publish"], "<URL>"),
        (&["publish", "--rate", "5", "http://127.0.0.1/c/a", "x"], "write - in the place of DATA"),
        (&["token"], "give --key FILE to make a token, or a TOKEN to look into"),
        (&["token", "--sub", "ann"], "give --key FILE to make a token, or a TOKEN to look into"),
        (&["token", "--channel", "chat=swim"], "swim"),
        (&["bench"], "sockeye bench needs a command: echo, fanout, connections or handshakes"),
        (&["bench", "swim"], "'swim'"),
        (&["bench", "echo", "ftp://127.0.0.1"], "write ws:// or wss://"),
        (&["check"], "<URL>"),
        (&["check", "--timeout", "0", "ws://127.0.0.1"], "write a time as 500ms"),
        (&["doctor", "x"], "the scheme is missing: write http://x"),
        (&["tap", "http://127.0.0.1:8081"], "<CHANNEL>"),
        (&["tap", "127.0.0.1", "chat"], "the scheme is missing: write http://127.0.0.1"),
        (&["tap", "http://127.0.0.1:8081", "a b"], "'a b'"),
        (&["completions", "ksh"], "bash"),
        (&["serve", "--listen", "somewhere"], "write an address as"),
        (&["echo", "--deflate", "perhaps"], "perhaps"),
    ];
    for (args, told) in cases {
        let output = run(args, "");
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(output.stdout.is_empty(), "{args:?}");
        let said = String::from_utf8(output.stderr).expect("a text");
        let (first, rest) = said.split_once("\n\n").expect("a line and more");
        assert!(first.starts_with("error: ") && first.lines().count() == 1, "{said}");
        assert!(first.contains(told), "{said}");
        let usage = match args.iter().take_while(|arg| !arg.starts_with('-')).next() {
            Some(command) if *command != "swim" => format!("Usage: sockeye {command}"),
            _ => "Usage: sockeye <COMMAND>".to_owned(),
        };
        assert!(rest.contains(&usage), "{said}");
    }
}
