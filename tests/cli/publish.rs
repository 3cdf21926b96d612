//! `sockeye publish`: arguments, pipes and lines into a channel.

use std::io::Write as _;
use std::net::TcpListener;

use serde_json::{Value, json};
use sockeye_tests::peer::{Pace, Peer};
use sockeye_tests::program::{Running, Sockeye, assert_fails, run};

/// What the program prints when it succeeds.
fn printed(args: &[&str], input: &str) -> String {
    let output = run(args, input);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
    String::from_utf8(output.stdout).expect("a text")
}

/// The messages of a channel, as JSON.
fn messages(url: &str, count: usize) -> Vec<Value> {
    let count = count.to_string();
    let args = ["subscribe", "--json", "--after", "earliest", "--count", &count, url];
    let lines = printed(&args, "");
    lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn it_prints_the_position_of_what_it_published() {
    let server = Sockeye::serve(&[]);
    let url = server.http("/c/chat");
    let at = printed(&["publish", &url, "hello"], "");
    let message = &messages(&url, 1)[0];
    assert_eq!((&message["at"], &message["data"]), (&json!(at.trim_end()), &json!("hello")));
}

#[test]
fn the_whole_input_is_one_message_or_with_lines_each_line_is_one() {
    let server = Sockeye::serve(&[]);
    let url = server.http("/c/chat");
    printed(&["publish", &url], "one\ntwo\n");
    let positions = printed(&["publish", "--lines", &url], "three\r\n\nfour");
    assert_eq!(positions.lines().count(), 3);
    let data: Vec<_> = messages(&url, 4).iter().map(|message| message["data"].clone()).collect();
    assert_eq!(data, ["one\ntwo\n", "three", "", "four"]);
}

#[test]
fn json_events_and_bytes_are_what_they_are_however_they_are_sent() {
    let server = Sockeye::serve(&[]);
    for transport in ["ws", "longpoll"] {
        let url = server.http(&format!("/c/{transport}"));
        let publish = ["publish", "--transport", transport];
        let json = [&publish[..], &["--json", "--event", "move", &url, "{\"x\": 1.50}"]].concat();
        printed(&json, "");
        let mut bytes = Running::start(&[&publish[..], &[&url]].concat());
        bytes.stdin().write_all(&[0xff, 0x00]).expect("it reads");
        assert!(bytes.finish().status.success());
        printed(&[&publish[..], &[&url, "text"]].concat(), "");
        let lines = printed(&["subscribe", "--json", "--after", "-3", "--count", "3", &url], "");
        let lines: Vec<_> = lines.lines().collect();
        assert!(lines[0].ends_with(r#""data":{"x": 1.50},"event":"move"}"#), "{lines:?}");
        assert!(lines[1].ends_with(r#""b64":"/wA="}"#), "{lines:?}");
        assert!(lines[2].ends_with(r#""data":"text"}"#), "{lines:?}");
    }
}

#[test]
fn a_token_headers_and_the_urls_own_name_go_with_the_request() {
    let cases: [(&[&str], &str, &str); 4] = [
        (&["--token", "t.o.k"], "", "Bearer t.o.k"),
        (&["--user", "ann:secret"], "", "Basic YW5uOnNlY3JldA=="),
        (&[], "ann:secret@", "Basic YW5uOnNlY3JldA=="),
        (&["-H", "Authorization: Other x"], "", "Other x"),
    ];
    for (args, user, credentials) in cases {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let url = format!("http://{user}{address}/c/chat?as=ann");
        let program = Running::start(&[&["publish"], args, &["--event", "e", &url, "hi"]].concat());
        let mut peer = Peer::accept(&listener);
        let head = peer.read_head();
        assert_eq!(head.first_line, "POST /c/chat?as=ann HTTP/1.1");
        assert_eq!(head.header("host"), Some(&*address.to_string()));
        assert_eq!(head.header("authorization"), Some(credentials));
        assert_eq!(head.header("sockeye-event"), Some("e"));
        assert!(head.header("idempotency-key").is_some_and(|key| key.len() > 16));
        let answer = "HTTP/1.1 201 Created\r\nContent-Length: 12\r\n\r\n{\"at\":\"k.1\"}";
        peer.send(answer.as_bytes(), Pace::Whole);
        assert_eq!(String::from_utf8_lossy(&program.finish().stdout), "k.1\n");
    }
}

/// One whose answer got lost is sent again, under the same key.
#[test]
fn a_message_that_is_not_acknowledged_is_sent_again_as_the_same() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/c/chat", listener.local_addr().expect("an address"));
    let program = Running::start(&["publish", &url, "hi"]);
    let lost = Peer::accept(&listener).read_head();
    let mut peer = Peer::accept(&listener);
    let again = peer.read_head();
    assert!(lost.header("idempotency-key").is_some());
    assert_eq!(lost.header("idempotency-key"), again.header("idempotency-key"));
    let answer = "HTTP/1.1 201 Created\r\nContent-Length: 12\r\n\r\n{\"at\":\"k.1\"}";
    peer.send(answer.as_bytes(), Pace::Whole);
    assert_eq!(String::from_utf8_lossy(&program.finish().stdout), "k.1\n");
}

#[test]
fn what_the_server_refuses_is_a_failure_that_says_why() {
    let server = Sockeye::serve(&["--max-message", "10"]);
    let url = server.http("/c/chat");
    for transport in ["ws", "poll"] {
        let publish = ["publish", "--transport", transport];
        let cases: [(&[&str], &str); 3] = [
            (&[&url, "much too large"], "too_large"),
            (&["--event", "gap", &url, "x"], "bad_event"),
            (&["--json", &url, "{"], "JSON"),
        ];
        for (args, why) in cases {
            let output = run(&[&publish[..], args].concat(), "");
            assert_fails(&output, 1);
            assert!(String::from_utf8_lossy(&output.stderr).contains(why), "{output:?}");
        }
    }
    let nobody = run(&["publish", "http://127.0.0.1:9/c/chat", "x"], "");
    assert_fails(&nobody, 1);
}

#[test]
fn what_is_no_channel_is_told_at_once() {
    let server = Sockeye::serve(&[]);
    let echo = Sockeye::echo(&[]);
    for (url, transport) in [
        (server.http("/"), "poll"),
        (server.http("/chat"), "poll"),
        (echo.http("/c/chat"), "poll"),
        (echo.http("/c/chat"), "ws"),
    ] {
        let output = run(&["publish", "--transport", transport, &url, "x"], "");
        assert_fails(&output, 1);
    }
    let answers = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "not a channel of Sockeye's"),
        ("HTTP/1.1 501 No\r\nContent-Length: 0\r\n\r\n", "not a channel of Sockeye's"),
        (
            "HTTP/1.1 301 No\r\nLocation: https://a.example/\r\nContent-Length: 0\r\n\r\n",
            "https://a.example/",
        ),
        ("SSH-2.0-OpenSSH_9.2\r\n", "does not answer in HTTP"),
    ];
    for (answer, expected) in answers {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}/c/chat", listener.local_addr().expect("an address"));
        let program = Running::start(&["publish", &url, "x"]);
        let mut peer = Peer::accept(&listener);
        peer.read_head();
        peer.send(answer.as_bytes(), Pace::Whole);
        let output = program.finish();
        assert_fails(&output, 1);
        let said = String::from_utf8(output.stderr).expect("a text");
        assert!(said.contains(expected), "{said}");
    }
}
