//! `serve --authorize-url`: an application decides, on every transport.

mod app;
mod roads;

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;

use serde_json::{Value, json};
use sockeye_testing::eventually;
use sockeye_tests::curl::{Stream, curl, status};
use sockeye_tests::program::{Sockeye, assert_fails, run, run_with_env};
use sockeye_tests::tls::Certificates;
use sockeye_tests::webhook::Posted;
use sockeye_tests::websocket::WebSocket;

use self::app::{App, Mood};

const ANN: &str = "Cookie: session=ann";

fn serve(app: &App) -> Sockeye {
    Sockeye::serve(&["--authorize-url", &app.url()])
}

/// What has curl ask for a WebSocket.
const UPGRADE: [&str; 9] = [
    "--http1.1",
    "-H",
    "Connection: Upgrade",
    "-H",
    "Upgrade: websocket",
    "-H",
    "Sec-WebSocket-Version: 13",
    "-H",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

/// What a reader of `channel` gets on each transport that answers with a status.
fn statuses(server: &Sockeye, channel: &str, header: Option<&str>) -> Vec<(&'static str, u16)> {
    let path = format!("/c/{channel}");
    let header = header.map_or(vec![], |header| vec!["-H", header]);
    let ask = |path: &str, more: &[&str]| {
        let url = server.http(path);
        status(&[&[&*url], more, &header].concat())
    };
    vec![
        ("post", ask(&path, &["-d", "hello"])),
        ("poll", ask(&path, &[])),
        ("poll by HTTP/2", ask(&path, &["--http2-prior-knowledge"])),
        ("long poll", ask(&format!("{path}?wait=1"), &[])),
        ("head", ask(&path, &["-I"])),
        ("presence", ask(&format!("{path}/presence"), &[])),
        ("delete", ask(&path, &["-X", "DELETE"])),
        ("sse", ask(&format!("{path}?stream=sse"), &[])),
        ("ndjson", ask(&format!("{path}?stream=ndjson"), &[])),
        ("ws", ask(&path, &UPGRADE)),
    ]
}

#[test]
fn an_application_refuses_on_every_transport_what_it_does_not_allow() {
    let app = App::start(60.0);
    let server = serve(&app);
    for (channel, header, expected) in [
        ("orders:bob", Some(ANN), 403),
        ("orders:ann", None, 401),
        ("orders:ann", Some("Cookie: session=bad"), 401),
        ("orders:ann", Some("Authorization: Bearer bad-token"), 401),
    ] {
        for (transport, status) in statuses(&server, channel, header) {
            assert_eq!(status, expected, "{transport} of {channel} with {header:?}");
        }
    }
    let mut socket = WebSocket::open_with(
        &server,
        "/connect",
        &format!("{ANN}\r\nSec-WebSocket-Protocol: sockeye.v1\r\n"),
    );
    for command in [
        json!({"id": 1, "op": "sub", "ch": "orders:bob"}),
        json!({"id": 2, "op": "pub", "ch": "orders:bob", "data": "x"}),
        json!({"id": 3, "op": "read", "ch": "orders:bob"}),
    ] {
        socket.send(&command.to_string());
        let answer: Value =
            serde_json::from_str(&socket.until(&format!(r#""id":{}"#, command["id"])))
                .expect("JSON");
        assert_eq!(answer["err"]["code"], "forbidden", "{command}: {answer}");
    }
    // It may read here, and not write.
    let mut socket = WebSocket::open_with(&server, "/c/news", &format!("{ANN}\r\n"));
    socket.send("hello");
    socket.until("close 4403");
    assert_eq!(status(&[&server.http("/")]), 200);
}

#[test]
fn an_application_allows_on_every_transport_what_it_grants() {
    let app = App::start(60.0);
    app.set(Mood::NeedsCredentials);
    let server = serve(&app);
    let path = "/c/orders:ann";
    let url = server.http(path);
    let mut sse = Stream::open(&["-H", ANN, "-H", "Accept: text/event-stream", &url]);
    let token = "Authorization: Bearer ann-token";
    let ndjson = format!("{url}?stream=ndjson&presence=1");
    let mut ndjson = Stream::open(&["--http2-prior-knowledge", "-H", token, &ndjson]);
    let mut plain = WebSocket::open_with(&server, path, &format!("{ANN}\r\n"));
    let offer = "Sec-WebSocket-Protocol: sockeye.v1, bearer.ann-token\r\n";
    let mut v1 = WebSocket::open_with(&server, "/connect", offer);
    v1.send(r#"{"id":1,"op":"sub","ch":"orders:ann"}"#);
    v1.until(r#""id":1"#);
    let mut late = WebSocket::open_v1(&server, "/connect");
    late.send(r#"{"id":1,"op":"auth","token":"ann-token"}"#);
    assert!(!late.until(r#""id":1"#).contains("err"));
    late.send(r#"{"id":2,"op":"sub","ch":"orders:ann"}"#);
    late.until(r#""id":2"#);
    eventually("all of them listen", || {
        let present = curl(&["-H", ANN, &server.http("/c/orders:ann/presence")]);
        let present: Value = serde_json::from_str(&present).expect("JSON");
        if present["members"][0]["id"] == "ann" { Ok(()) } else { Err(present) }
    });
    assert_eq!(status(&["-H", ANN, "-d", "from curl", &url]), 201);
    plain.until("from curl");
    plain.send("from a page");
    for text in ["from curl", "from a page"] {
        sse.until(text);
        ndjson.until(text);
        v1.until(text);
        late.until(text);
    }
    plain.until("from a page");
    assert!(curl(&["-H", ANN, &url]).contains("from a page"));
    assert_eq!(status(&["-H", ANN, &server.http("/c/news")]), 200);
}

#[test]
fn an_application_may_know_callers_without_credentials() {
    let app = App::start(60.0);
    let server = serve(&app);
    assert_eq!(status(&[&server.http("/c/public")]), 200);
    assert_eq!(status(&[&server.http("/c/public"), "-d", "hello"]), 401);
    let asked: Vec<_> = app.asked().iter().map(Posted::json).collect();
    assert_eq!(asked[0], json!({"address": "127.0.0.1"}));
    let right = json!({"address": "127.0.0.1", "channel": "public", "right": "read"});
    assert_eq!(asked[1], right);
}

#[test]
fn an_application_is_told_the_address_that_a_trusted_proxy_names() {
    let app = App::start(60.0);
    let server = Sockeye::serve(&["--authorize-url", &app.url(), "--trust-proxy", "127.0.0.1"]);
    let forwarded = "X-Forwarded-For: 203.0.113.7";
    assert_eq!(status(&["-H", ANN, "-H", forwarded, &server.http("/c/news")]), 200);
    let asked = app.asked();
    assert!(asked.iter().all(|question| question.json()["address"] == "203.0.113.7"), "{asked:?}");
}

/// On one connection of the client, so that in a cluster one node answers.
#[test]
fn an_answer_is_used_again_and_a_connection_too() {
    let app = App::start(600.0);
    let server = serve(&app);
    let (own, news) = (server.http("/c/orders:ann"), server.http("/c/news"));
    let urls = [&*own, &own, &own, &news, &news, &own];
    let _ = curl(&[&["-H", ANN][..], &urls].concat());
    let asked: Vec<_> = app.asked().iter().map(Posted::json).collect();
    let who = json!({"cookie": "session=ann", "address": "127.0.0.1"});
    let may = |channel: &str| {
        json!({
            "cookie": "session=ann", "address": "127.0.0.1", "subject": "ann", "channel": channel,
            "right": "read"
        })
    };
    assert_eq!(asked, [who, may("orders:ann"), may("news")]);
    assert_eq!(app.connections(), 1);
    let head = &app.asked()[0].head;
    assert_eq!(head[0], "POST /decide?from=sockeye HTTP/1.1");
    assert!(head.contains(&"content-type: application/json".to_owned()), "{head:?}");
}

/// However many questions of others the application leaves without an answer: three times as many as it is asked at
/// once would take longer than a request may. On one server: each keeps its own answers.
#[test]
fn who_asks_from_elsewhere_or_has_an_answer_waits_for_no_question_of_others() {
    let (app, folder) = (App::start(600.0), tempfile::tempdir().expect("a folder"));
    let folder = folder.path().to_str().expect("UTF-8");
    let server = Sockeye::serve(&["--authorize-url", &app.url(), "--data", folder]);
    let url = server.http("/c/news");
    assert_eq!(status(&["-H", ANN, &url]), 200);
    app.set(Mood::LeavesStrangers);
    let _strangers: Vec<_> = (0..3 * 256)
        .map(|number| {
            let mut stranger = TcpStream::connect(server.address()).expect("a connection");
            let cookie = format!("Cookie: session=stranger-{number}");
            let request = format!("GET /c/news HTTP/1.1\r\nHost: localhost\r\n{cookie}\r\n\r\n");
            stranger.write_all(request.as_bytes()).expect("a request");
            stranger
        })
        .collect();
    eventually("as many are asked as may be", || app.asked().len() >= 2 + 128);
    assert_eq!(status(&["-H", ANN, &url]), 200);
    let from_elsewhere = ["--interface", "127.0.0.2", "-H", "Cookie: session=ben", &url];
    assert_eq!(status(&from_elsewhere), 200);
}

#[test]
fn what_is_open_ends_soon_after_the_application_says_no() {
    for (mood, expected) in
        [(Mood::Refuses, 403), (Mood::RefusesByStatus, 403), (Mood::KnowsNobody, 401)]
    {
        let app = App::start(1.0);
        let server = serve(&app);
        let url = server.http("/c/orders:ann");
        let mut sse = Stream::open(&["-H", ANN, "-H", "Accept: text/event-stream", &url]);
        sse.until(":");
        let plain = WebSocket::open_with(&server, "/c/orders:ann", &format!("{ANN}\r\n"));
        let offer = format!("{ANN}\r\nSec-WebSocket-Protocol: sockeye.v1\r\n");
        let mut v1 = WebSocket::open_with(&server, "/connect", &offer);
        v1.send(r#"{"id":1,"op":"sub","ch":"orders:ann"}"#);
        v1.until(r#""id":1"#);
        app.set(mood);
        v1.until("forbidden");
        plain.until("close 4403");
        sse.rest();
        eventually("the answer has lapsed", || status(&["-H", ANN, &url]) == expected);
    }
}

#[test]
fn credentials_that_become_those_of_another_are_refused() {
    let app = App::start(1.0);
    let server = serve(&app);
    let plain = WebSocket::open_with(&server, "/c/news", &format!("{ANN}\r\n"));
    app.set(Mood::SaysBob);
    plain.until("close 4403");
    let url = server.http("/c/news");
    eventually("bob reads", || status(&["-H", ANN, &url]) == 200);
}

#[test]
fn what_is_not_an_answer_is_a_no_for_now() {
    let moods = [
        Mood::Fails,
        Mood::Redirects,
        Mood::Babbles,
        Mood::TalksTooMuch,
        Mood::HangsUp,
        Mood::IsSilent,
    ];
    let app = App::start(60.0);
    let server = serve(&app);
    for mood in moods {
        app.set(mood);
        let cookie = format!("Cookie: session={mood:?}");
        let url = server.http(&format!("/c/orders:{mood:?}"));
        assert_eq!(status(&["-H", &cookie, &url]), 503, "{mood:?}");
        assert_eq!(status(&["-H", &cookie, "-d", "hello", &url]), 503, "{mood:?}");
        app.set(Mood::Answers);
        assert_eq!(status(&["-H", &cookie, "-d", "hello", &url]), 201, "{mood:?}");
    }
}

#[test]
fn without_its_application_a_server_starts_and_refuses() {
    // A port that nothing listens on.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr());
    let url = format!("http://ann:secret@{}/decide?key=secret", port.expect("a port"));
    let server = Sockeye::serve(&["--authorize-url", &url]);
    for (transport, status) in statuses(&server, "news", Some(ANN)) {
        assert_eq!(status, 503, "{transport}");
    }
    assert!(!server.log().contains("secret"), "{}", server.log());
}

#[test]
fn a_secret_signs_what_is_asked() {
    let app = App::start(60.0);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("secret");
    fs::write(&file, "0123456789abcdef0123456789abcdef\n").expect("a file");
    let path = file.to_str().expect("UTF-8");
    let server = Sockeye::serve(&["--authorize-url", &app.url(), "--authorize-secret", path]);
    assert_eq!(status(&["-H", ANN, &server.http("/c/news")]), 200);
    let asked = app.asked();
    assert!(asked.len() >= 2, "{asked:?}");
    for question in &asked {
        question.assert_signed("0123456789abcdef0123456789abcdef");
    }
    assert_ne!(asked[0].header("webhook-id"), asked[1].header("webhook-id"));
}

#[test]
fn the_certificate_of_the_application_is_checked() {
    let (own, others) = (Certificates::new(), Certificates::new());
    let app = App::with_tls(&own);
    for (certificates, expected) in [(Some(&own), 200), (Some(&others), 503), (None, 503)] {
        let authority = certificates.map(|it| it.authority().to_str().expect("UTF-8").to_owned());
        let url = app.url();
        let mut options = vec!["--authorize-url", &*url];
        if let Some(authority) = &authority {
            options.extend(["--authorize-cacert", authority]);
        }
        let server = Sockeye::serve(&options);
        assert_eq!(status(&["-H", ANN, &server.http("/c/news")]), expected);
    }
}

/// One line is not left out for the other.
#[test]
fn a_request_that_failed_is_logged_beside_the_answer_that_is_missing() {
    let app = App::start(60.0);
    app.set(Mood::Fails);
    let server = Sockeye::serve_logging("warn", &["--authorize-url", &app.url()]);
    assert_eq!(status(&["-H", ANN, &server.http("/c/news")]), 503);
    let log = server.stop();
    for line in ["the authoriser has no answer", "request failed method=\"GET\" path=\"/c/news\""] {
        assert!(log.contains(line), "{line}: {log}");
    }
}

/// Not even where the application repeats in its answer what it was asked.
#[test]
fn credentials_are_in_no_log() {
    let app = App::start(60.0);
    let server = Sockeye::serve_logging("trace", &["--authorize-url", &app.url()]);
    let url = server.http("/c/news");
    let (cookie, token) = ("Cookie: session=marmalade", "Authorization: Bearer marmalade-token");
    for mood in [Mood::Answers, Mood::Fails, Mood::Babbles, Mood::KnowsNobody] {
        app.set(mood);
        for header in [cookie, token] {
            let _ = status(&["-H", header, &format!("{url}{mood:?}")]);
        }
    }
    let log = server.stop();
    assert!(log.contains("the authoriser has no answer"), "{log}");
    for secret in ["session=marmalade", "marmalade-token"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[test]
fn wrong_usage_of_an_application_is_explained() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        fs::write(&path, content).expect("a file");
        path.to_str().expect("UTF-8").to_owned()
    };
    let (key, short) = (file("key", &"k".repeat(32)), file("short", "hunter2\n"));
    let serve = ["serve", "--listen", "127.0.0.1:0", "--admin", "off"];
    let url = ["--authorize-url", "http://127.0.0.1:1/"];
    for (options, why) in [
        (&["--auth-key", &key][..], "--auth-key and --authorize-url contradict each other"),
        (&["--authorize-secret", &short], "openssl rand -hex 32"),
        (&["--authorize-secret", "/nowhere/at/all"], "--authorize-secret /nowhere/at/all"),
        (&["--authorize-cacert", &short], "--authorize-cacert"),
    ] {
        let output = run(&[&serve[..], &url, options].concat(), "");
        assert_fails(&output, 1);
        assert!(String::from_utf8_lossy(&output.stderr).contains(why), "{output:?}");
    }
    for options in [
        &["--authorize-secret", &*key][..],
        &["--authorize-cacert", &key],
        &["--authorize-url", "app.example.org"],
        &["--authorize-url", "ws://app.example.org"],
    ] {
        let output = run(&[&serve[..], options].concat(), "");
        assert_eq!(output.status.code(), Some(2), "{options:?} {output:?}");
    }
    let output = run_with_env(&serve, &[("SOCKEYE_AUTHORIZE_URL", "")]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("SOCKEYE_AUTHORIZE_URL is empty"));
}

#[test]
fn with_an_application_a_public_address_needs_no_open() {
    let app = App::start(60.0);
    let server = Sockeye::serve(&["--authorize-url", &app.url(), "--listen", "0.0.0.0:0"]);
    let url = format!("http://127.0.0.1:{}/c/news", server.address().port());
    assert_eq!(status(&[&url, "-H", "Host: chat.example", "-H", ANN]), 200);
}
