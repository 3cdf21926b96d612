//! `sockeye serve --otlp`: traces of publications, at a collector of the test's own.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use opentelemetry_proto::tonic::common::v1::{AnyValue as Any, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::Value;
use sockeye_testing::{PATIENCE, eventually};
use sockeye_tests::curl::{curl, status};
use sockeye_tests::program::{Sockeye, path, run};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// How a collector answers.
#[derive(Clone, Copy)]
enum Answers {
    Well,
    With500,
    Never,
}

/// A collector, and what it was sent.
struct Collector {
    address: SocketAddr,
    requests: Receiver<ExportTraceServiceRequest>,
    spans: Vec<Span>,
    resources: Vec<HashMap<String, String>>,
}

impl Collector {
    fn start(answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let (sender, requests) = mpsc::channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, sender) = (stream.expect("a connection"), sender.clone());
                thread::spawn(move || serve(&stream, answers, &sender));
            }
        });
        Self { address, requests, spans: Vec::new(), resources: Vec::new() }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits for a span that is so.
    fn until(&mut self, is_it: impl Fn(&Span) -> bool) -> Span {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(span) = self.spans.iter().find(|span| is_it(span)) {
                return span.clone();
            }
            let left = end.saturating_duration_since(Instant::now());
            let request = self.requests.recv_timeout(left);
            let request = request.unwrap_or_else(|_| panic!("no such span in {:#?}", self.spans));
            for resource in request.resource_spans {
                let attributes = resource.resource.expect("a resource").attributes;
                self.resources.push(attributes.iter().map(text_of).collect());
                for scope in resource.scope_spans {
                    self.spans.extend(scope.spans);
                }
            }
        }
    }

    /// The spans of a publication with this payload's size: `publish` and `store`.
    fn publication(&mut self, channel: &str, transport: &str) -> (Span, Span) {
        let publish = self.until(|span| {
            attribute(span, "messaging.destination.name").as_deref() == Some(channel)
                && attribute(span, "sockeye.transport").as_deref() == Some(transport)
        });
        let id = publish.span_id.clone();
        let store = self.until(|span| span.name == "store" && span.parent_span_id == id);
        (publish, store)
    }
}

/// Reads requests, and answers them.
fn serve(stream: &TcpStream, answers: Answers, sender: &Sender<ExportTraceServiceRequest>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).is_ok_and(|count| count > 0) && line != "\r\n" {
                head.push(line.to_ascii_lowercase());
                continue;
            }
            break;
        }
        let Some(first) = head.first() else { return };
        assert!(first.starts_with("post /v1/traces http/1.1"), "{first}");
        let header = |name: &str| {
            let line = head.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.map(|value| value.trim().to_owned())
        };
        assert_eq!(header("content-type").as_deref(), Some("application/x-protobuf"));
        let length = header("content-length").expect("a length").parse().expect("a number");
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("the body");
        let request = ExportTraceServiceRequest::decode(&*body).expect("protobuf");
        let answer = match answers {
            Answers::Well => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            Answers::With500 => "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
            Answers::Never => "",
        };
        let _ = sender.send(request);
        if (&mut &*stream).write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// A name and a value as text.
fn text_of(attribute: &KeyValue) -> (String, String) {
    let text = match &attribute.value {
        Some(Any { value: Some(AnyValue::StringValue(text)) }) => text.clone(),
        Some(Any { value: Some(AnyValue::IntValue(number)) }) => number.to_string(),
        other => format!("{other:?}"),
    };
    (attribute.key.clone(), text)
}

fn attribute(span: &Span, name: &str) -> Option<String> {
    span.attributes.iter().map(text_of).find_map(|(key, value)| (key == name).then_some(value))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A server that sends each batch soon.
fn serve_with(options: &[&str], environment: &[(&str, &str)]) -> Sockeye {
    let mut command = Command::new(path());
    command.args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]).args(options);
    command.env("OTEL_BSP_SCHEDULE_DELAY", "20").envs(environment.iter().copied());
    Sockeye::start_with(command, options)
}

fn sampled(flag: &str) -> String {
    format!("traceparent: 00-{TRACE}-{PARENT}-{flag}")
}

#[test]
fn a_publication_is_a_span_below_that_of_its_client_by_every_road() {
    let mut collector = Collector::start(Answers::Well);
    let server = serve_with(&["--otlp", &collector.url()], &[]);
    let published = curl(&["-H", &sampled("01"), "-d", "hello", &server.http("/c/chat")]);
    let at: Value = serde_json::from_str(&published).expect("JSON");
    let (publish, store) = collector.publication("chat", "http");
    assert_eq!((publish.name.as_str(), publish.kind), ("publish", 2), "SERVER");
    assert_eq!(
        (hex(&publish.trace_id), hex(&publish.parent_span_id)),
        (TRACE.to_owned(), PARENT.to_owned())
    );
    assert_eq!(store.trace_id, publish.trace_id);
    assert!(publish.start_time_unix_nano <= store.start_time_unix_nano);
    assert!(store.end_time_unix_nano <= publish.end_time_unix_nano);
    assert!(publish.events.iter().any(|event| event.name == "authorized"), "{publish:#?}");
    for (name, value) in [
        ("messaging.system", "sockeye"),
        ("messaging.operation.name", "publish"),
        ("messaging.operation.type", "send"),
        ("messaging.message.body.size", "5"),
        ("messaging.message.id", at["at"].as_str().expect("a position")),
    ] {
        assert_eq!(attribute(&publish, name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(collector.resources[0]["service.name"], "sockeye");

    let lines = "{\"ch\":\"bulk\",\"data\":1}\n";
    let kind = "Content-Type: application/x-ndjson";
    let _ =
        curl(&["-H", &sampled("01"), "-H", kind, "--data-binary", lines, &server.http("/publish")]);
    let (publish, _) = collector.publication("bulk", "http");
    assert_eq!(hex(&publish.parent_span_id), PARENT);

    let output = run(&["publish", "--transport", "v1", &server.http("/c/two"), "x"], "");
    assert!(output.status.success(), "{output:?}");
    let (publish, _) = collector.publication("two", "v1");
    assert!(publish.parent_span_id.is_empty());
    let output = run(&["connect", &server.ws("/c/three")], "x\n");
    assert!(output.status.success(), "{output:?}");
    let (publish, _) = collector.publication("three", "ws");
    assert_eq!(attribute(&publish, "messaging.message.body.size").as_deref(), Some("1"));
}

#[test]
fn a_refusal_is_a_span_with_its_code() {
    let mut collector = Collector::start(Answers::Well);
    let server = serve_with(&["--otlp", &collector.url(), "--max-message", "4"], &[]);
    let output =
        Command::new("curl").args(["-sS", "-d", "hello", &server.http("/c/chat")]).output();
    assert!(output.expect("curl runs").status.success());
    let refused = collector.until(|span| attribute(span, "error.type").is_some());
    assert_eq!(attribute(&refused, "error.type").as_deref(), Some("too_large"));
    assert_eq!(attribute(&refused, "messaging.destination.name").as_deref(), Some("chat"));
}

#[test]
fn what_is_traced_is_decided_by_the_client_and_else_by_the_part() {
    let mut collector = Collector::start(Answers::Well);
    let server = serve_with(&["--otlp", &collector.url(), "--otlp-sample", "0"], &[]);
    let url = server.http("/c/chat");
    let _ = curl(&["-d", "not traced", &url]);
    let _ = curl(&["-H", &sampled("00"), "-d", "not traced", &url]);
    let _ = curl(&["-H", "traceparent: nonsense", "-d", "not traced", &url]);
    let _ = curl(&["-H", &sampled("01"), "-d", "traced", &url]);
    collector.publication("chat", "http");
    // What is sent at the end is all there is.
    let _ = server.stop();
    while let Ok(request) = collector.requests.try_recv() {
        let spans = request.resource_spans.iter().flat_map(|spans| &spans.scope_spans);
        assert_eq!(spans.map(|scope| scope.spans.len()).sum::<usize>(), 0);
    }
    assert_eq!(collector.spans.len(), 2);
}

#[test]
fn a_client_that_may_not_publish_does_not_decide_what_is_traced() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("secret");
    std::fs::write(&key, "a secret of this test, with more than 32 bytes\n").expect("a file");
    let key = key.to_str().expect("a UTF-8 path");
    let mut collector = Collector::start(Answers::Well);
    let options = ["--otlp", &collector.url(), "--otlp-sample", "0", "--auth-key", key];
    let server = serve_with(&options, &[]);
    let (one, many) = (server.http("/c/chat"), server.http("/publish"));
    let line = "{\"ch\":\"chat\",\"data\":1}\n";
    let lines = ["-H", "Content-Type: application/x-ndjson", "--data-binary", line, &many];
    for refused in [&["-d", "x", &one][..], &lines] {
        let _ = status(&[&["-H", &sampled("01")], refused].concat());
    }
    let output = run(&["token", "--key", key, "--channel", "chat=write"], "");
    let token = String::from_utf8(output.stdout).expect("a token");
    let bearer = format!("Authorization: Bearer {}", token.trim_end());
    let _ = curl(&["-H", &sampled("01"), "-H", &bearer, "-d", "traced", &one]);
    let (publish, _) = collector.publication("chat", "http");
    assert!(attribute(&publish, "error.type").is_none(), "the one before it: {publish:#?}");
}

#[test]
fn variables_of_opentelemetry_count() {
    let mut collector = Collector::start(Answers::Well);
    let variables =
        [("OTEL_SERVICE_NAME", "push"), ("OTEL_RESOURCE_ATTRIBUTES", "deployment=test")];
    let server = serve_with(&["--otlp", &collector.url()], &variables);
    let _ = curl(&["-d", "hello", &server.http("/c/chat")]);
    collector.publication("chat", "http");
    assert_eq!(collector.resources[0]["service.name"], "push");
    assert_eq!(collector.resources[0]["deployment"], "test");
}

#[test]
fn the_last_spans_are_sent_when_the_server_ends() {
    let mut collector = Collector::start(Answers::Well);
    let delay = [("OTEL_BSP_SCHEDULE_DELAY", "3600000")];
    let server = serve_with(&["--otlp", &collector.url()], &delay);
    let _ = curl(&["-d", "hello", &server.http("/c/chat")]);
    let _ = server.stop();
    collector.publication("chat", "http");
}

#[test]
fn a_collector_that_does_not_take_them_is_logged_once_and_holds_up_nothing() {
    let absent = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("it");
    let (failing, silent) = (Collector::start(Answers::With500), Collector::start(Answers::Never));
    for url in [format!("http://{absent}"), failing.url(), silent.url()] {
        let server = serve_with(&["--otlp", &url], &[]);
        let is_silent = url == silent.url();
        for _ in 0..3 {
            let published = curl(&["-d", "hello", &server.http("/c/chat")]);
            assert!(published.contains("\"at\""), "{published}");
            if !is_silent {
                server.wait_for("traces are dropped");
            }
        }
        if is_silent {
            // It has the request, and says nothing.
            let _ = silent.requests.recv_timeout(PATIENCE).expect("a batch");
        }
        let begun = Instant::now();
        let log = server.stop();
        // Less than a collector may take to answer.
        assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
        let told = log.matches("traces are dropped").count();
        assert!(told <= 1 && (is_silent || told == 1), "{log}");
    }
}

#[test]
fn a_collector_that_comes_back_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it");
    drop(listener);
    let server = serve_with(&["--otlp", &format!("http://{address}")], &[]);
    let _ = curl(&["-d", "hello", &server.http("/c/chat")]);
    server.wait_for("traces are dropped");
    let listener = TcpListener::bind(address).expect("the same port");
    let (sender, _requests) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            serve(&stream.expect("a connection"), Answers::Well, &sender);
        }
    });
    eventually("traces are taken again", || {
        let _ = curl(&["-d", "hello", &server.http("/c/chat")]);
        server.log().contains("traces are taken again")
    });
}

#[test]
fn a_wrong_url_or_part_is_wrong_usage() {
    for (args, told) in [
        (["--otlp", "127.0.0.1:4318"], "write http://"),
        (["--otlp", "ws://127.0.0.1:4318"], "write http://"),
    ] {
        let output = run(&[&["serve"], &args[..]].concat(), "");
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(told), "{said}");
    }
    for part in ["1.1", "-1", "NaN", "half"] {
        let part = format!("--otlp-sample={part}");
        let output = run(&["serve", "--otlp", "http://127.0.0.1:4318", &part], "");
        assert_eq!(output.status.code(), Some(2), "{part}");
    }
}
