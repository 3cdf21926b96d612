//! `serve --events-url`: a program is told who comes and goes, whatever it answers.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use sockeye_testing::eventually;
use sockeye_tests::curl::{Stream as Curl, status};
use sockeye_tests::program::{Sockeye, assert_fails, run, run_with_env};
use sockeye_tests::tls::Certificates;
use sockeye_tests::webhook::{Posted, Stream, listen};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    /// With a success, and by this status.
    Answers(u16),
    /// With a success and a body without an end.
    Floods,
    Redirects,
    /// It is to be left alone for a second.
    IsBusy,
    /// Not in HTTP.
    Babbles,
    HangsUp,
    IsSilent,
}

const TAKES: Mood = Mood::Answers(204);

/// A program that is told.
struct Receiver {
    address: SocketAddr,
    secure: &'static str,
    inner: Arc<Inner>,
}

struct Inner {
    mood: Mutex<Mood>,
    posted: Mutex<Vec<(Mood, Posted)>>,
    connections: AtomicUsize,
}

impl Receiver {
    fn start(mood: Mood) -> Self {
        Self::serve(mood, None)
    }

    fn serve(mood: Mood, tls: Option<&Certificates>) -> Self {
        let (mood, posted) = (Mutex::new(mood), Mutex::default());
        let inner = Arc::new(Inner { mood, posted, connections: AtomicUsize::new(0) });
        let shared = Arc::clone(&inner);
        let address = listen(tls, move |stream| {
            shared.connections.fetch_add(1, Ordering::SeqCst);
            shared.answer_all(stream);
        });
        Self { address, secure: if tls.is_some() { "s" } else { "" }, inner }
    }

    fn url(&self) -> String {
        format!("http{}://{}/events?from=sockeye", self.secure, self.address)
    }

    fn set(&self, mood: Mood) {
        *lock(&self.inner.mood) = mood;
    }

    /// What was posted while it was in that mood.
    fn posted_in(&self, mood: Mood) -> Vec<Posted> {
        let posted = lock(&self.inner.posted);
        posted.iter().filter(|(in_mood, _)| *in_mood == mood).map(|(_, it)| it.clone()).collect()
    }

    /// The events of what it has taken, each once, in the order of their numbers, as `NAME CHANNEL MEMBER`.
    fn taken(&self) -> Vec<String> {
        let mut taken = BTreeMap::new();
        let posted = lock(&self.inner.posted).clone();
        let good = posted
            .iter()
            .filter(|(mood, _)| matches!(mood, Mood::Floods | Mood::Answers(200..=299)));
        for event in good.flat_map(|(_, posted)| events(posted)) {
            let number: u64 =
                id(&event).split_once('-').expect("RUN-NUMBER").1.parse().expect("a number");
            taken.insert(number, line(&event));
        }
        taken.into_values().collect()
    }

    /// Waits until it has taken these last.
    fn expect(&self, lines: &[&str]) {
        eventually(format!("{lines:?} are taken"), || {
            let taken = self.taken();
            if taken.ends_with(&lines.iter().map(ToString::to_string).collect::<Vec<_>>()) {
                Ok(())
            } else {
                Err(taken)
            }
        });
    }
}

impl Inner {
    fn answer_all(&self, mut stream: BufReader<Box<dyn Stream>>) {
        while let Some(posted) = Posted::read(&mut stream) {
            let mood = *lock(&self.mood);
            lock(&self.posted).push((mood, posted));
            let answer = match mood {
                Mood::HangsUp => return,
                Mood::IsSilent => {
                    // Until the other side gives up.
                    let _ = stream.read(&mut [0]);
                    return;
                }
                Mood::Floods => {
                    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                    let mut goes_on = stream.get_mut().write_all(head).is_ok();
                    while goes_on {
                        let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
                        goes_on = stream.get_mut().write_all(chunk.as_bytes()).is_ok();
                    }
                    return;
                }
                Mood::Babbles => "220 mail.example ESMTP\r\n".to_owned(),
                Mood::Redirects => {
                    "HTTP/1.1 302 X\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n".to_owned()
                }
                Mood::IsBusy => {
                    "HTTP/1.1 503 X\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n".to_owned()
                }
                Mood::Answers(204) => "HTTP/1.1 204 X\r\n\r\n".to_owned(),
                Mood::Answers(status) => {
                    format!("HTTP/1.1 {status} X\r\nContent-Length: 9\r\n\r\nmarmalade")
                }
            };
            if stream.get_mut().write_all(answer.as_bytes()).is_err() {
                return;
            }
            let _ = stream.get_mut().flush();
        }
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

fn events(posted: &Posted) -> Vec<Value> {
    posted.json()["events"].as_array().expect("events").clone()
}

fn id(event: &Value) -> &str {
    event["id"].as_str().expect("an id")
}

fn line(event: &Value) -> String {
    let word = |key: &str| event[key].as_str().unwrap_or("").to_owned();
    format!("{} {} {}", word("event"), word("channel"), word("member")).trim_end().to_owned()
}

fn serve(receiver: &Receiver) -> Sockeye {
    Sockeye::serve(&["--events-url", &receiver.url()])
}

/// A file with the secret.
fn secret() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("secret");
    fs::write(&file, format!("{SECRET}\n")).expect("a file");
    let path = file.to_str().expect("UTF-8").to_owned();
    (folder, path)
}

/// Is present on the channel by a poll.
fn poll(server: &Sockeye, channel: &str) {
    let url = server.http(&format!("/c/{channel}?presence=1"));
    assert_eq!(status(&[&url]), 200, "{channel}");
}

#[test]
fn a_program_is_told_in_order_by_signed_requests_on_one_connection() {
    let (receiver, (_folder, file)) = (Receiver::start(TAKES), secret());
    let server = Sockeye::serve(&["--events-url", &receiver.url(), "--events-secret", &file]);
    receiver.expect(&["server.started"]);
    let mut ann = Curl::open(&["-N", &server.http("/c/chat?stream=sse&as=ann")]);
    ann.until("retry");
    receiver.expect(&["server.started", "channel.occupied chat", "member.joined chat ann"]);
    drop(ann);
    receiver.expect(&["member.left chat ann", "channel.vacated chat"]);
    let _ = server.stop();
    receiver.expect(&["server.stopped"]);
    let posted = receiver.posted_in(TAKES);
    let mut ids = Vec::new();
    for request in &posted {
        request.assert_signed(SECRET);
        assert_eq!(request.head[0], "POST /events?from=sockeye HTTP/1.1");
        assert_eq!(request.header("content-type"), Some("application/json"));
        let events = events(request);
        let own = format!("msg_{}", id(&events[0]));
        assert_eq!(request.header("webhook-id"), Some(&*own), "it is that of the first event");
        assert!(request.json()["lost"].is_null());
        assert!(events.iter().all(|event| event["at"].is_u64() && event["node"].is_null()));
        ids.extend(events.iter().map(|event| id(event).to_owned()));
    }
    let run = ids[0].strip_suffix("-1").expect("the first");
    let expected: Vec<_> = (1..=ids.len()).map(|number| format!("{run}-{number}")).collect();
    assert_eq!(ids, expected);
    assert_eq!(receiver.inner.connections.load(Ordering::SeqCst), 1);
}

#[test]
fn what_is_not_taken_is_sent_again_as_it_was() {
    let moods = [
        Mood::Answers(500),
        Mood::Answers(503),
        Mood::Answers(401),
        Mood::Answers(404),
        Mood::Answers(429),
        Mood::Redirects,
        Mood::Babbles,
        Mood::HangsUp,
    ];
    let (receiver, (_folder, file)) = (Receiver::start(TAKES), secret());
    let server = Sockeye::serve(&["--events-url", &receiver.url(), "--events-secret", &file]);
    receiver.expect(&["server.started"]);
    for (number, mood) in moods.into_iter().enumerate() {
        receiver.set(mood);
        poll(&server, &format!("c{number}"));
        eventually(format!("{mood:?} twice"), || receiver.posted_in(mood).len() >= 2);
        // What happens meanwhile comes behind it.
        poll(&server, &format!("d{number}"));
        receiver.set(TAKES);
        let (first, second) =
            (format!("channel.occupied c{number}"), format!("channel.occupied d{number}"));
        receiver.expect(&[&first, &second]);
        let refused = receiver.posted_in(mood);
        let webhook_id = refused[0].header("webhook-id");
        assert!(refused.iter().all(|it| it.body == refused[0].body), "{mood:?}");
        assert!(refused.iter().all(|it| it.header("webhook-id") == webhook_id), "{mood:?}");
        refused.iter().for_each(|it| it.assert_signed(SECRET));
    }
    let taken = receiver.taken();
    assert_eq!(taken.len(), 1 + 2 * moods.len(), "none is lost: {taken:?}");
    let log = server.stop();
    assert!(!log.contains("marmalade"), "what a program answers is in no log: {log}");
    assert_eq!(log.matches("events are not taken").count(), moods.len(), "{log}");
    assert!(log.contains("it answers 500"), "{log}");
}

#[test]
fn a_program_that_says_when_to_come_again_is_left_alone_until_then() {
    let receiver = Receiver::start(TAKES);
    let server = Sockeye::serve(&["--events-url", &receiver.url()]);
    receiver.expect(&["server.started"]);
    receiver.set(Mood::IsBusy);
    let begun = Instant::now();
    poll(&server, "chat");
    eventually("it is asked again", || receiver.posted_in(Mood::IsBusy).len() >= 2);
    // Without that it would have been within half a second.
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    receiver.set(TAKES);
    receiver.expect(&["channel.occupied chat"]);
}

#[test]
fn what_a_program_refuses_for_good_is_dropped_and_counted() {
    let receiver = Receiver::start(TAKES);
    let server = serve(&receiver);
    receiver.expect(&["server.started"]);
    for code in [400, 410, 413, 415, 422] {
        let mood = Mood::Answers(code);
        receiver.set(mood);
        poll(&server, &format!("refused{code}"));
        eventually("it is refused", || receiver.posted_in(mood).len() == 1);
        // The answer is on its way: what is sent next shows that it has come.
        receiver.set(TAKES);
        poll(&server, &format!("next{code}"));
        receiver.expect(&[&format!("channel.occupied next{code}")]);
        assert_eq!(receiver.posted_in(mood).len(), 1, "it is not sent again");
        let next = receiver.posted_in(TAKES).pop().expect("a request");
        assert_eq!(next.json()["lost"], 1, "{code}");
    }
    let metrics = server.shows_operators("/metrics");
    assert!(metrics.contains("sockeye_events_dropped_total 5\n"), "{metrics}");
}

#[test]
fn an_answer_without_an_end_keeps_nothing_up() {
    let receiver = Receiver::start(Mood::Floods);
    let server = serve(&receiver);
    receiver.expect(&["server.started"]);
    poll(&server, "one");
    receiver.expect(&["server.started", "channel.occupied one"]);
    receiver.set(TAKES);
    poll(&server, "two");
    receiver.expect(&["channel.occupied one", "channel.occupied two"]);
    assert_eq!(receiver.posted_in(Mood::Floods).len(), 2, "it was taken by its status");
}

#[test]
fn a_program_without_an_answer_is_left_and_nothing_else_waits_for_it() {
    let receiver = Receiver::start(Mood::IsSilent);
    let server = serve(&receiver);
    eventually("it is asked", || !receiver.posted_in(Mood::IsSilent).is_empty());
    let mut reader = Curl::open(&["-N", &server.http("/c/chat?stream=sse&as=ann")]);
    reader.until("retry");
    for number in 0..10 {
        assert_eq!(status(&["-d", "hello", &server.http("/c/chat")]), 201, "{number}");
    }
    reader.until("hello");
    assert_eq!(status(&[&server.http("/c/chat/presence")]), 200);
    assert!(receiver.taken().is_empty());
    assert!(server.shows_operators("/readyz").contains("ready"));
    receiver.set(TAKES);
    receiver.expect(&["server.started", "channel.occupied chat", "member.joined chat ann"]);
    let log = server.stop();
    assert_eq!(log.matches("events are not taken").count(), 1, "{log}");
    assert!(log.contains("it did not answer within 10 s"), "{log}");
}

#[test]
fn an_outage_is_logged_when_it_begins_and_when_it_is_over() {
    let receiver = Receiver::start(Mood::Answers(500));
    let arguments = ["--events-url", &receiver.url()];
    let server = Sockeye::serve_logging("info", &arguments);
    eventually("it fails often", || receiver.posted_in(Mood::Answers(500)).len() >= 4);
    receiver.set(TAKES);
    receiver.expect(&["server.started"]);
    server.wait_for("events are taken again");
    let log = server.stop();
    assert_eq!(log.matches("events are not taken").count(), 1, "{log}");
    assert_eq!(log.matches("events are taken again").count(), 1, "{log}");
}

#[test]
fn a_server_that_stops_tells_what_it_can_in_a_bounded_time() {
    let receiver = Receiver::start(TAKES);
    let server = serve(&receiver);
    let mut ann = Curl::open(&["-N", &server.http("/c/chat?stream=sse&as=ann")]);
    ann.until("retry");
    receiver.expect(&["channel.occupied chat", "member.joined chat ann"]);
    let _ = server.stop();
    receiver.expect(&["member.left chat ann", "channel.vacated chat", "server.stopped"]);

    receiver.set(Mood::IsSilent);
    let server = serve(&receiver);
    eventually("it is asked", || !receiver.posted_in(Mood::IsSilent).is_empty());
    let log = server.stop();
    assert!(log.contains("these events were not taken") && log.contains("events=2"), "{log}");
}

#[test]
fn a_server_that_was_killed_says_by_another_run_that_no_client_is_there() {
    let receiver = Receiver::start(TAKES);
    let mut server = serve(&receiver);
    poll(&server, "chat");
    receiver.expect(&["server.started", "channel.occupied chat"]);
    server.kill();
    server.wait();
    let _again = serve(&receiver);
    eventually("the next run has started", || {
        let posted = receiver.posted_in(TAKES);
        let all: Vec<_> = posted.iter().flat_map(events).collect();
        let runs: Vec<_> = all
            .iter()
            .filter(|event| event["event"] == "server.started")
            .map(|event| id(event).strip_suffix("-1").expect("the first").to_owned())
            .collect();
        if runs.len() == 2 && runs[0] != runs[1] { Ok(()) } else { Err(runs) }
    });
}

#[test]
fn the_certificate_of_the_program_is_checked() {
    let (own, others) = (Certificates::new(), Certificates::new());
    let receiver = Receiver::serve(TAKES, Some(&own));
    for certificates in [Some(&others), None, Some(&own)] {
        let is_own = certificates.is_some_and(|it| std::ptr::eq(it, &raw const own));
        let authority = certificates.map(|it| it.authority().to_str().expect("UTF-8").to_owned());
        let url = receiver.url();
        let mut options = vec!["--events-url", &*url];
        if let Some(authority) = &authority {
            options.extend(["--events-cacert", authority]);
        }
        let server = Sockeye::serve(&options);
        match is_own {
            true => receiver.expect(&["server.started"]),
            false => {
                server.wait_for("events are not taken");
                assert!(receiver.taken().is_empty());
            }
        }
    }
}

#[test]
fn a_password_is_sent_and_logged_nowhere() {
    let receiver = Receiver::start(Mood::Answers(500));
    let url = format!("http://ann:marmalade@{}/events?key=marmalade", receiver.address);
    let server = Sockeye::serve_logging("trace", &["--events-url", &url]);
    server.wait_for("events are not taken");
    let posted = receiver.posted_in(Mood::Answers(500));
    assert_eq!(posted[0].header("authorization"), Some("Basic YW5uOm1hcm1hbGFkZQ=="));
    assert!(posted[0].header("webhook-signature").is_none(), "there is no secret");
    assert!(!server.stop().contains("marmalade"));
}

#[test]
fn channels_are_left_out_by_a_rule() {
    let receiver = Receiver::start(TAKES);
    let rule = "quiet:* events=false";
    let server = Sockeye::serve(&["--events-url", &receiver.url(), "--channel", rule]);
    receiver.expect(&["server.started"]);
    poll(&server, "quiet:1");
    poll(&server, "loud");
    receiver.expect(&["server.started", "channel.occupied loud"]);
}

#[test]
fn wrong_usage_of_a_program_that_is_told_is_explained() {
    let folder = tempfile::tempdir().expect("a folder");
    let short = folder.path().join("short");
    fs::write(&short, "hunter2\n").expect("a file");
    let short = short.to_str().expect("UTF-8");
    let serve = ["serve", "--listen", "127.0.0.1:0", "--admin", "off"];
    let url = ["--events-url", "http://127.0.0.1:1/"];
    for (options, why) in [
        (["--events-secret", short], "openssl rand -hex 32"),
        (["--events-secret", "/nowhere/at/all"], "--events-secret /nowhere/at/all"),
        (["--events-cacert", short], "--events-cacert"),
    ] {
        let output = run(&[&serve[..], &url, &options].concat(), "");
        assert_fails(&output, 1);
        assert!(String::from_utf8_lossy(&output.stderr).contains(why), "{output:?}");
    }
    for options in [
        &["--events-secret", short][..],
        &["--events-cacert", short],
        &["--events-url", "app.example.org"],
        &["--events-url", "ws://app.example.org"],
    ] {
        let output = run(&[&serve[..], options].concat(), "");
        assert_eq!(output.status.code(), Some(2), "{options:?} {output:?}");
    }
    let output = run_with_env(&serve, &[("SOCKEYE_EVENTS_SECRET", "")]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("SOCKEYE_EVENTS_SECRET is empty"));
}
