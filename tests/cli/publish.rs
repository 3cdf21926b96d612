//! `sockeye publish`: arguments, pipes and lines into a channel.

use std::io::Write as _;
use std::net::TcpListener;
use std::thread;

use serde_json::{Value, json};
use sockeye_testing::eventually;
use sockeye_tests::cut::Forwarder;
use sockeye_tests::peer::{Chunks, Peer};
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
    for transport in ["v1", "ws", "longpoll"] {
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
        peer.send(answer.as_bytes(), Chunks::Whole);
        assert_eq!(String::from_utf8_lossy(&program.finish().stdout), "k.1\n");
    }
}

/// A message whose answer was lost is sent again, under the same key.
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
    peer.send(answer.as_bytes(), Chunks::Whole);
    assert_eq!(String::from_utf8_lossy(&program.finish().stdout), "k.1\n");
}

#[test]
fn what_the_server_refuses_is_a_failure_that_says_why() {
    let server = Sockeye::serve(&["--max-message", "10"]);
    let url = server.http("/c/chat");
    for transport in ["v1", "poll"] {
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
    let unreachable = run(&["publish", "http://127.0.0.1:9/c/chat", "x"], "");
    assert_fails(&unreachable, 1);
}

#[test]
fn what_is_not_a_channel_is_refused_at_once() {
    let server = Sockeye::serve(&[]);
    let echo = Sockeye::echo(&[]);
    for (url, transport) in [
        (server.http("/"), "poll"),
        (server.http("/chat"), "poll"),
        (echo.http("/c/chat"), "poll"),
        (echo.http("/c/chat"), "v1"),
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
        peer.send(answer.as_bytes(), Chunks::Whole);
        let output = program.finish();
        assert_fails(&output, 1);
        let said = String::from_utf8(output.stderr).expect("a text");
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn many_lines_are_published_in_their_order_and_each_position_is_printed() {
    let server = Sockeye::serve(&["--history-count", "3000"]);
    let numbers: Vec<_> = (1..=3000).map(|number: u32| number.to_string()).collect();
    for (channel, extra) in [("a", &[][..]), ("b", &["--in-flight", "1"])] {
        let url = server.http(&format!("/c/{channel}"));
        let input = numbers.join("\n");
        let positions = printed(&[&["publish", &url, "-"], extra].concat(), &input);
        let kept = messages(&url, 3000);
        let data: Vec<_> = kept.iter().map(|message| message["data"].clone()).collect();
        assert!(data == numbers, "the order is another");
        let at: Vec<_> = kept.iter().map(|message| message["at"].clone()).collect();
        assert!(positions.lines().eq(at), "positions are printed in the order of the lines");
    }
}

#[test]
fn lines_that_are_refused_are_told_with_their_numbers_and_the_others_go_on() {
    let server = Sockeye::serve(&["--max-message", "10"]);
    for transport in [&[][..], &["--transport", "poll"]] {
        let url = server.http(&format!("/c/of-{}", transport.len()));
        let args = [&["publish", "--json", &url, "-"], transport].concat();
        let output = run(&args, "1\n{\n\"much too large\"\n4\n");
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 2, "{output:?}");
        let said = String::from_utf8(output.stderr).expect("a text");
        let said: Vec<_> = said.lines().collect();
        assert!(said[0].starts_with("sockeye: line 2: ") && said[0].contains("JSON"), "{said:?}");
        assert!(said[1].starts_with("sockeye: line 3: too_large: "), "{said:?}");
        assert_eq!(said[2..], ["sockeye: 2 of 4 lines were not published"]);
        let data: Vec<_> = messages(&url, 2).iter().map(|it| it["data"].clone()).collect();
        assert_eq!(data, [1, 4]);
    }
}

#[test]
fn what_every_line_would_be_refused_for_ends_it_at_the_first() {
    let server = Sockeye::serve(&[]);
    let url = server.http("/c/chat");
    let output = run(&["publish", "--event", "gap", &url, "-"], &"x\n".repeat(1000));
    assert_fails(&output, 1);
    assert!(String::from_utf8_lossy(&output.stderr).contains("bad_event"), "{output:?}");
}

#[test]
fn a_rate_is_held_and_is_for_lines() {
    let server = Sockeye::serve(&[]);
    let url = server.http("/c/chat");
    let begun = std::time::Instant::now();
    let positions = printed(&["publish", "--rate", "50", &url, "-"], &"x\n".repeat(50));
    assert_eq!(positions.lines().count(), 50);
    assert!(begun.elapsed().as_millis() > 900, "{:?}", begun.elapsed());
    let wrong = run(&["publish", "--rate", "50", &url, "x"], "");
    assert_eq!(wrong.status.code(), Some(2));
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(said.starts_with("error: --rate is for lines"), "{said}");
}

#[test]
fn lines_that_were_not_answered_are_sent_again_in_order_and_published_once() {
    let server = Sockeye::serve(&["--history-count", "6000"]);
    let cut = Forwarder::to(server.address());
    let mut client = Running::start(&["publish", &cut.url("http", "/c/chat"), "-"]);
    let mut stdin = client.stdin();
    let numbers: Vec<_> = (1..=6000).map(|number: u32| number.to_string()).collect();
    let input = numbers.join("\n");
    let writer = thread::spawn(move || stdin.write_all(input.as_bytes()));
    let cutter = thread::spawn(move || {
        for id in [500, 2000, 4000] {
            eventually("the line is answered", || {
                if cut.answered(&format!("{{\"id\":{id},")) { Ok(()) } else { Err(id) }
            });
            cut.cut();
            cut.mend();
        }
        cut
    });
    let output = client.finish();
    let _ = (writer.join(), cutter.join().expect("no panic"));
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 6000);
    let kept = messages(&server.http("/c/chat"), 6000);
    let data: Vec<_> = kept.iter().map(|message| message["data"].clone()).collect();
    assert!(data == numbers, "the order is another, or a line is there twice");
}
