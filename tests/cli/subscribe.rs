//! `sockeye subscribe`: a channel as lines, over whatever gets through.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sockeye_tests::program::{Running, Sockeye, assert_fails, path, run};
use sockeye_tests::tls::Certificates;

const TRANSPORTS: [&str; 5] = ["v1", "sse", "ndjson", "longpoll", "poll"];

/// A subscription under way, and its lines.
struct Subscription {
    program: Running,
    lines: BufReader<ChildStdout>,
}

impl Subscription {
    /// With these arguments; reading has begun when this returns.
    fn start(args: &[&str]) -> Self {
        let mut program = Running::start(&[&["subscribe"], args].concat());
        let lines = BufReader::new(program.stdout());
        Self { program, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("it prints");
        line
    }

    /// Its end, and what it said on stderr.
    fn stop(mut self) -> String {
        self.program.interrupt();
        let output = self.program.finish();
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8(output.stderr).expect("a text")
    }
}

/// Publishes a text and gives its position.
fn publish(url: &str, text: &str) -> String {
    let output = run(&["publish", url, text], "");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("a position").trim_end().to_owned()
}

#[test]
fn payloads_are_lines_the_same_by_every_transport() {
    let server = Sockeye::serve(&[]);
    let url = server.http("/c/chat");
    publish(&url, "text");
    assert!(run(&["publish", "--json", &url, "{\n\"a\": 1.0\n}"], "").status.success());
    for transport in TRANSPORTS {
        let args = ["--transport", transport, "--after", "earliest", "--interval", "10ms", &url];
        let mut subscription = Subscription::start(&args);
        assert_eq!(subscription.line(), "text\n", "{transport}");
        assert_eq!(subscription.line(), "{ \"a\": 1.0 }\n", "{transport}");
        publish(&server.http(&format!("/c/chat?by={transport}")), transport);
        let mut live = subscription.line();
        while live.trim_end() != transport {
            live = subscription.line();
        }
        assert_eq!(subscription.stop(), "", "{transport}");
    }
}

/// Their messages would come with the positions of other channels.
#[test]
fn several_channels_are_refused() {
    for name in ["a,b", "a%2Cb"] {
        let url = format!("http://127.0.0.1:9/c/{name}");
        for command in [vec!["subscribe", &url], vec!["publish", &url, "text"]] {
            let refused = run(&command, "");
            let said = String::from_utf8_lossy(&refused.stderr);
            assert_eq!(refused.status.code(), Some(2), "{said}");
            assert!(said.contains("names several channels: give one"), "{said}");
            assert!(said.contains("\nUsage: sockeye "), "{said}");
        }
    }
}

/// As `head` goes when it has seen enough.
#[test]
fn a_reader_that_has_gone_ends_it_without_another_message() {
    let server = Sockeye::serve(&[]);
    let url = server.http("/c/chat");
    publish(&url, "one");
    let mut subscribe = Command::new(path());
    let subscribe = subscribe.args(["subscribe", "--after", "earliest", &url]);
    let mut subscribe = subscribe.stdout(Stdio::piped()).spawn().expect("the program starts");
    let mut line = String::new();
    let mut output = BufReader::new(subscribe.stdout.take().expect("a pipe"));
    output.read_line(&mut line).expect("a line");
    assert_eq!(line, "one\n");
    drop(output);
    assert!(subscribe.wait().expect("it ends").success());
}

/// Live and for those that come later, by every transport.
#[test]
fn the_end_of_the_channel_is_the_end_of_the_program() {
    let server = Sockeye::serve(&[]);
    let mut all = Vec::new();
    for transport in TRANSPORTS {
        let url = server.http(&format!("/c/{transport}"));
        let args = ["--transport", transport, "--after", "earliest", "--interval", "10ms", &url];
        let mut live = Subscription::start(&args);
        publish(&url, "last words");
        assert_eq!(live.line(), "last words\n");
        all.push((url, live));
    }
    for (transport, (url, mut live)) in TRANSPORTS.into_iter().zip(all) {
        let closed = sockeye_tests::curl::curl(&["-X", "POST", &format!("{url}?close=1")]);
        assert_eq!(live.line(), "", "nothing more is printed");
        let output = live.program.finish();
        assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]), "{transport}");
        let args = ["subscribe", "--json", "--after", "earliest", "--transport", transport, &url];
        let late = run(&args, "");
        assert!(late.status.success(), "{late:?}");
        let lines = String::from_utf8(late.stdout).expect("a text");
        let (message, end) = lines.split_once('\n').expect("two lines");
        assert!(message.contains("last words"), "{message}");
        assert_eq!(end.trim_end(), closed, "{transport}");
    }
    let refused = run(&["publish", &server.http("/c/v1"), "more"], "");
    assert_fails(&refused, 1);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("ended"), "{refused:?}");
}

#[test]
fn json_prints_messages_and_they_are_the_same_by_every_transport() {
    let server = Sockeye::serve(&[]);
    let url = server.http("/c/chat");
    let at = publish(&url, "one");
    publish(&url, "two");
    let print = |transport: &str| {
        let args = ["subscribe", "--json", "--count", "2", "--after", "earliest", "--transport"];
        let output = run(&[&args[..], &[transport, &url]].concat(), "");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("a text")
    };
    let lines = print("v1");
    let first: Value = serde_json::from_str(lines.lines().next().expect("a line")).expect("JSON");
    assert_eq!((&first["at"], &first["data"]), (&json!(at), &json!("one")));
    for transport in TRANSPORTS {
        assert_eq!(print(transport), lines, "{transport}");
    }
}

/// The rest waits: nothing of it is lost.
#[test]
fn a_rate_bounds_how_fast_messages_are_printed_by_every_transport() {
    let server = Sockeye::serve(&[]);
    let url = server.http("/c/chat");
    let lines: String = (0..21).map(|number| format!("{number}\n")).collect();
    assert!(run(&["publish", "--lines", &url], &lines).status.success());
    for transport in TRANSPORTS {
        let args = ["--rate", "40", "-n", "21", "--after", "earliest", "--transport", transport];
        let begun = Instant::now();
        let output = run(&[&["subscribe"], &args[..], &[&url]].concat(), "");
        let took = begun.elapsed();
        assert_eq!(String::from_utf8_lossy(&output.stdout), lines, "{transport}");
        // Twenty steps of 25 ms, less what a timer may be late and be made up for.
        assert!(took > Duration::from_millis(470), "{transport}: {took:?}");
    }
}

#[test]
fn gaps_are_shown_beside_the_messages_or_with_json_among_them() {
    let server = Sockeye::serve(&["--history-count", "1"]);
    let url = server.http("/c/chat");
    let first = publish(&url, "one");
    let second = publish(&url, "two");
    publish(&url, "three");
    for transport in TRANSPORTS {
        let args = ["subscribe", "--count", "1", "--transport", transport, "--after", &first];
        let output = run(&[&args[..], &[&url]].concat(), "");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "three\n", "{transport}");
        let told = format!("sockeye: messages are missing after {first}: expired\n");
        assert_eq!(String::from_utf8_lossy(&output.stderr), told, "{transport}");
        let output = run(&[&args[..], &["--json", &url]].concat(), "");
        let gap = format!(
            "{{\"gap\":{{\"after\":\"{first}\",\"next\":\"{second}\",\"why\":\"expired\"}}}}\n"
        );
        assert!(output.stdout.starts_with(gap.as_bytes()), "{output:?}");
    }
}

#[test]
fn a_connection_that_is_cut_is_resumed_and_nothing_is_lost_or_repeated() {
    let server = Sockeye::serve(&[]);
    let url = server.http("/c/chat");
    for transport in TRANSPORTS {
        let proxy = Proxy::before(server.address(), |_| Treatment::Pass);
        publish(&url, "begin");
        let through = proxy.url("/c/chat");
        let args = ["--transport", transport, "--after", "-1", "--interval", "10ms", &through];
        let mut subscription = Subscription::start(&args);
        assert_eq!(subscription.line(), "begin\n");
        for round in 0..3 {
            proxy.cut();
            for number in 0..3 {
                let text = format!("{round}.{number}");
                publish(&url, &text);
                assert_eq!(subscription.line(), format!("{text}\n"), "{transport}");
            }
        }
        assert_eq!(subscription.stop(), "");
    }
}

#[test]
fn where_websockets_are_blocked_or_cut_it_reads_by_something_else() {
    let server = Sockeye::serve(&[]);
    let url = server.http("/c/chat");
    publish(&url, "hello");
    let obstacles: [(&[&str], &str); 2] = [
        (&["upgrade: websocket"], "sse"),
        (&["upgrade: websocket", "text/event-stream"], "longpoll"),
    ];
    for how in [Treatment::Refuse, Treatment::Cut] {
        for (blocked, expected) in obstacles {
            let verdict = move |head: &str| {
                let head = head.to_ascii_lowercase();
                if blocked.iter().any(|sign| head.contains(sign)) { how } else { Treatment::Pass }
            };
            let proxy = Proxy::before(server.address(), verdict);
            let through = proxy.url("/c/chat");
            let mut subscription = Subscription::start(&["-v", "--after", "-1", &through]);
            assert_eq!(subscription.line(), "hello\n");
            let said = subscription.stop();
            let at_once = format!("; by {expected} in 0.0 s\n");
            assert!(said.contains(&at_once), "{said}");
            assert!(said.trim_end().ends_with(&format!("({expected}), after -1")), "{said}");
        }
    }
}

#[test]
fn what_the_server_refuses_is_a_failure_that_says_why() {
    let server = Sockeye::serve(&[]);
    let cases = [
        ("/c/chat", "--after=yesterday", "bad_position"),
        ("/c/-chat", "--after=now", "bad_channel"),
        ("/nowhere", "--after=now", "not_found"),
        // The console.
        ("/", "--after=now", "/ is not a channel: its path would be /c/NAME"),
    ];
    for (path, after, why) in cases {
        let output = run(&["subscribe", after, &server.http(path)], "");
        assert_fails(&output, 1);
        assert!(String::from_utf8_lossy(&output.stderr).contains(why), "{output:?}");
        for transport in TRANSPORTS {
            let args = ["subscribe", after, "--transport", transport, &server.http(path)];
            assert_fails(&run(&args, ""), 1);
        }
    }
    for transport in TRANSPORTS {
        let args = ["subscribe", "--transport", transport, "http://127.0.0.1:9/c/chat"];
        assert_fails(&run(&args, ""), 1);
    }
}

#[test]
fn over_tls_it_trusts_the_given_authority_by_every_transport() {
    let certificates = Certificates::new();
    let flags = certificates.flags(true);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let server = Sockeye::serve(&flags);
    let url = server.http("/c/chat").replace("http://", "https://");
    let authority = certificates.authority();
    let trust = ["--cacert", authority.to_str().expect("a UTF-8 path")];
    let published = run(&[&["publish"], &trust[..], &[&url, "secret"]].concat(), "");
    assert!(published.status.success(), "{published:?}");
    for transport in TRANSPORTS {
        let args = ["subscribe", "--after", "-1", "--count", "1", "--transport", transport];
        let output = run(&[&args, &trust[..], &[&url]].concat(), "");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "secret\n", "{transport}: {output:?}");
        assert_fails(&run(&[&args, &[&*url][..]].concat(), ""), 1);
    }
    assert_fails(&run(&["publish", &url, "to none"], ""), 1);
}

#[test]
fn a_token_opens_what_it_grants_by_every_transport() {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "a secret of this test, with more than 32 bytes\n").expect("a file");
    let secret = secret.to_str().expect("a UTF-8 path");
    let server = Sockeye::serve(&["--auth-key", secret]);
    let grant = ["token", "--key", secret, "--sub", "ann", "--channel", "chat=read,write"];
    let output = run(&grant, "");
    assert!(output.status.success(), "{output:?}");
    let token = String::from_utf8(output.stdout).expect("a token");
    let url = server.http("/c/chat");
    let show = ["--token", token.trim_end()];
    let published = run(&[&["publish"], &show[..], &[&url, "for ann"]].concat(), "");
    assert!(published.status.success(), "{published:?}");
    for transport in TRANSPORTS {
        let args = ["subscribe", "--after", "-1", "--count", "1", "--transport", transport];
        let output = run(&[&args, &show[..], &[&url]].concat(), "");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "for ann\n", "{transport}: {output:?}");
        assert_fails(&run(&[&args, &[&*url][..]].concat(), ""), 1);
    }
    let refused = run(&["subscribe", &url], "");
    assert_fails(&refused, 1);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("unauthorized"), "{refused:?}");
}

#[test]
fn a_closed_pipe_is_quiet() {
    let server = Sockeye::serve(&[]);
    let url = server.http("/c/chat");
    publish(&url, "first");
    let Subscription { program, mut lines } = Subscription::start(&["--after", "-1", &url]);
    let mut line = String::new();
    lines.read_line(&mut line).expect("it prints");
    drop(lines);
    publish(&url, "this is not read");
    let output = program.finish();
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}

/// What becomes of a request.
#[derive(Clone, Copy)]
enum Treatment {
    Pass,
    /// It is answered with 502.
    Refuse,
    /// It is passed on, and the connection is cut with the first bytes of the answer.
    Cut,
}

/// Stands between client and server.
struct Proxy {
    address: SocketAddr,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    fn before(
        server: SocketAddr,
        verdict: impl Fn(&str) -> Treatment + Clone + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let open = Arc::<Mutex<Vec<TcpStream>>>::default();
        let kept = Arc::clone(&open);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (verdict, kept) = (verdict.clone(), Arc::clone(&kept));
                thread::spawn(move || pass(client, server, verdict, &kept));
            }
        });
        Self { address, open }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Ends every connection.
    fn cut(&self) {
        for stream in self.open.lock().expect("no thread failed").drain(..) {
            // It may have ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Passes one connection on, as its first request deserves.
fn pass(
    mut client: TcpStream,
    server: SocketAddr,
    verdict: impl Fn(&str) -> Treatment,
    open: &Mutex<Vec<TcpStream>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if !client.read(&mut byte).is_ok_and(|count| count == 1) {
            return;
        }
        head.push(byte[0]);
    }
    let verdict = verdict(&String::from_utf8_lossy(&head));
    if let Treatment::Refuse = verdict {
        let refusal = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let _ = client.write_all(refusal);
        return;
    }
    let Ok(mut upstream) = TcpStream::connect(server) else { return };
    if upstream.write_all(&head).is_err() {
        return;
    }
    let both = [&client, &upstream].map(|stream| stream.try_clone().expect("a handle"));
    open.lock().expect("no thread failed").extend(both);
    let (mut from, mut to) =
        (client.try_clone().expect("a handle"), upstream.try_clone().expect("a handle"));
    thread::spawn(move || std::io::copy(&mut from, &mut to));
    if let Treatment::Cut = verdict {
        let mut first = [0; 64];
        let _ = upstream.read(&mut first);
    } else {
        let _ = std::io::copy(&mut upstream, &mut client);
    }
    for stream in [client, upstream] {
        let _ = stream.shutdown(Shutdown::Both);
    }
}

#[test]
fn a_file_comes_back_byte_for_byte() {
    let server = Sockeye::serve(&[]);
    let url = server.http("/c/files");
    for file in ["\u{0}\n.", "ended\n"] {
        let published = run(&["publish", &url], file);
        assert!(published.status.success(), "{published:?}");
        let output = run(&["subscribe", "--after", "-1", "-n", "1", "--whole", &url], "");
        assert_eq!(output.stdout, file.as_bytes());
    }
}

#[test]
fn verbose_says_where_it_reads_and_how() {
    let server = Sockeye::serve(&[]);
    let url = server.http("/c/chat");
    let at = publish(&url, "one");
    for (transport, how) in [
        ("v1", "sockeye.v1 (v1)"),
        // An earlier word for it.
        ("ws", "sockeye.v1 (v1)"),
        ("ndjson", "JSON lines (ndjson)"),
        ("sse", "Server-Sent Events (sse)"),
        ("longpoll", "long polling (longpoll)"),
        ("poll", "polling (poll)"),
    ] {
        let secret = url.replace("http://", "http://ann:secret@");
        let args = ["subscribe", "-v", "--after", "-1", "-n", "1", "--transport", transport];
        let output = run(&[&args[..], &[&secret]].concat(), "");
        let said = String::from_utf8(output.stderr).expect("a text");
        assert_eq!(said.trim_end(), format!("* reading {url} by {how}, after -1"));
    }
    let output = run(&["subscribe", "-v", "--after", &at, "ftp://localhost/c/chat"], "");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).expect("a text");
    assert!(said.contains("ftp:// is not how a channel is reached: write http://"), "{said}");
}
