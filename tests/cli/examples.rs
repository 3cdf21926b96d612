//! The examples of `--help` and the sessions in `docs/tools`, run as they stand there.
//!
//! An example is a line of the shell, in a folder that has the files which examples name. Only addresses and
//! processes are replaced, each test having servers of its own, and what `bench` would take long for. What an
//! example runs until Ctrl-C is in [`UNTIL`].

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use serde_json::Value;
use sockeye_testing::eventually;
use sockeye_tests::curl::curl;
use sockeye_tests::program::{Running, Sockeye, run};
use sockeye_tests::terminal::Terminal;
use sockeye_tests::tls::Certificates;

const CTRL_C: &str = "\u{3}";
const CTRL_D: &str = "\u{4}";
/// What is published until an example shows it.
const TICK: &str = "tick";

/// Examples that do not end by themselves: how they begin, what they show, and the key that ends them.
const UNTIL: &[(&str, &str, &str)] = &[
    ("sockeye connect ws://", "> ", CTRL_D),
    ("sockeye connect --reconnect ", "> ", CTRL_D),
    ("sockeye subscribe http://", TICK, CTRL_C),
    ("sockeye subscribe -v --transport sse ", TICK, CTRL_C),
    ("sockeye tap http://", TICK, CTRL_C),
    ("tail -f app.log ", ".", CTRL_C),
    ("sockeye serve", "listening on", CTRL_C),
    ("sockeye echo", "127.0.0.1:", CTRL_C),
];

/// The keys of an issuer: that of RFC 8037 §A.2.
const JWKS: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// The servers that examples speak to, and the folder that they run in.
struct World {
    serve: Sockeye,
    echo: Sockeye,
    secure: Sockeye,
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let certificates = Certificates::new();
        let flags = certificates.flags(true);
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        let world = Self {
            serve: Sockeye::serve(&[]),
            echo: Sockeye::echo(&[]),
            secure: Sockeye::serve(&flags),
            folder: tempfile::tempdir().expect("a folder"),
        };
        fs::copy(certificates.authority(), world.path("authority.pem")).expect("a file");
        fs::copy(certificates.certificate(), world.path("chain.pem")).expect("a file");
        fs::copy(certificates.key(), world.path("key.pem")).expect("a file");
        let messages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../benches/messages.jsonl");
        fs::create_dir(world.path("benches")).expect("a folder");
        fs::copy(messages, world.path("benches/messages.jsonl")).expect("a file");
        fs::write(world.path("secret"), "an example's secret of enough bytes").expect("a file");
        fs::write(world.path("app.log"), "started\nready\n").expect("a file");
        fs::write(world.path("jwks.json"), JWKS).expect("a file");
        fs::write(world.path("picture.png"), b"\x89PNG\r\n\x1a\n and no more").expect("a file");
        for number in 1..=9 {
            let _ = curl(&["-d", &format!("message {number}"), &world.serve.http("/c/chat")]);
        }
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The line with the addresses and processes of these servers.
    fn here(&self, line: &str) -> String {
        let secure = format!("localhost:{}", self.secure.address().port());
        let [serve, echo] = [&self.serve, &self.echo].map(|server| server.address().to_string());
        let process = self.echo.id().to_string();
        let admin = self.serve.operators();
        let admin = admin.trim_start_matches("http://");
        let here = [
            ("0.0.0.0:8080", "0.0.0.0:0"),
            ("127.0.0.1:9000", "127.0.0.1:0"),
            ("127.0.0.1:9002", "127.0.0.1:0"),
            ("127.0.0.1:8080", &serve),
            ("127.0.0.1:8081", admin),
            ("127.0.0.1:9001", &echo),
            ("localhost:9443", &secure),
            ("$(pgrep -xn sockeye)", &process),
            ("4711", &process),
            ("https://issuer.example.org/jwks.json", "jwks.json"),
        ];
        here.iter().fold(line.to_owned(), |line, (there, here)| line.replace(there, here))
    }

    /// What was printed, with the addresses that the documents have.
    fn there(&self, text: &str) -> String {
        let known = |address: SocketAddr| address.to_string();
        text.replace(&known(self.serve.address()), "127.0.0.1:8080")
            .replace(&known(self.echo.address()), "127.0.0.1:9001")
    }

    /// Begins a line of the shell, as a person types it.
    fn begin(&self, line: &str) -> Terminal {
        let folder = self.folder.path().display();
        // Servers that an example starts take ports that are free.
        let ports =
            "SOCKEYE_LISTEN=127.0.0.1:0 SOCKEYE_ADMIN=off; export SOCKEYE_LISTEN SOCKEYE_ADMIN";
        Terminal::shell(&format!("cd {folder}; {ports}; {}", self.here(line)))
    }

    fn run_example(&self, line: &str) {
        let mut terminal = self.begin(line);
        if let Some((_, shows, key)) = UNTIL.iter().find(|(begin, ..)| line.starts_with(begin)) {
            eventually(format!("{line} shows {shows:?}"), || {
                if *shows == TICK {
                    let _ = curl(&["-d", TICK, &self.serve.http("/c/chat")]);
                }
                let shown = terminal.shown();
                if shown.contains(shows) { Ok(()) } else { Err(shown) }
            });
            terminal.press(key);
        }
        let (status, shown) = terminal.finish();
        assert!(status.success(), "{line}\n{status}: {shown}");
        assert!(!shown.contains("error:") && !shown.contains("sockeye: "), "{line}\n{shown}");
    }
}

/// The examples in a command's help, those that go on on a second line in one piece.
fn examples(command: &[&str]) -> Vec<String> {
    let output = run(&[command, &["--help"]].concat(), "");
    let help = String::from_utf8(output.stdout).expect("a text");
    let (_, after) = help.split_once("\nExamples:\n").expect("examples");
    let block = after.split("\n\n").next().unwrap_or_default();
    let block = block.replace("\\\n", " ");
    block.lines().map(|line| line.trim().to_owned()).collect()
}

/// Runs the examples of a command, one after the other.
fn run_examples(command: &str) {
    let world = World::new();
    let examples = examples(&[command]);
    assert!(examples.len() > 3, "{examples:?}");
    examples.iter().for_each(|line| world.run_example(line));
}

#[test]
fn examples_of_connect_work_as_pasted() {
    run_examples("connect");
}

#[test]
fn examples_of_subscribe_work_as_pasted() {
    run_examples("subscribe");
}

#[test]
fn examples_of_tap_work_as_pasted() {
    let world = World::new();
    let chat = world.serve.http("/c/chat");
    let _reader = Running::start(&["subscribe", &chat]);
    let id = eventually("a connection", || {
        let listed = world.serve.shows_operators("/connections");
        let listed: Value = serde_json::from_str(&listed).expect("JSON");
        listed["connections"][0]["id"].as_u64().ok_or(listed)
    });
    let examples = examples(&["tap"]);
    assert!(examples.len() > 3, "{examples:?}");
    let is_over = AtomicBool::new(false);
    /// Ends what publishes, also if an example fails.
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Relaxed);
        }
    }
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Relaxed) {
                let _ = curl(&["-d", TICK, &chat]);
            }
        });
        let _over = Over(&is_over);
        for line in examples {
            world.run_example(&line.replace("--connection 17", &format!("--connection {id}")));
        }
    });
}

#[test]
fn examples_of_publish_work_as_pasted() {
    run_examples("publish");
}

#[test]
fn examples_of_token_work_as_pasted() {
    run_examples("token");
}

#[test]
fn examples_of_echo_work_as_pasted() {
    run_examples("echo");
}

/// A cluster has tests of its own.
#[test]
fn examples_of_serve_work_as_pasted() {
    let world = World::new();
    let examples = examples(&["serve"]);
    assert!(examples.len() > 4, "{examples:?}");
    let alone = examples.iter().filter(|line| !line.contains("--cluster"));
    alone.for_each(|line| world.run_example(line));
}

/// With little load, for a short time.
fn in_short(line: &str) -> String {
    let mut short = line.to_owned();
    for (long, little) in [
        ("--connections 10000", "--connections 100"),
        ("--subscribers 1000", "--subscribers 100"),
        ("--rate 20000", "--rate 100"),
        (" --duration 30s", ""),
        (" --duration 60s", ""),
    ] {
        short = short.replace(long, little);
    }
    short + " --duration 100ms --warm-up 10ms"
}

/// Whether it needs no broker.
fn is_ours(line: &str) -> bool {
    !["nats", "mqtt", "http://127.0.0.1/pub"].iter().any(|broker| line.contains(broker))
}

#[test]
fn examples_of_bench_work_as_pasted() {
    let world = World::new();
    let loads = ["echo", "fanout", "connections", "handshakes"].map(|load| vec!["bench", load]);
    for command in [vec!["bench"]].into_iter().chain(loads) {
        let examples = examples(&command);
        assert!(examples.len() > 1, "{examples:?}");
        // Those of the protocols of brokers need one.
        examples
            .iter()
            .filter(|line| is_ours(line))
            .for_each(|line| world.run_example(&in_short(line)));
    }
}

#[test]
fn commands_of_the_guide_to_bench_work_as_pasted() {
    let world = World::new();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/tools/measuring.md");
    let text = fs::read_to_string(path).expect("the document");
    let blocks = text.split("```sh\n").skip(1).filter_map(|block| block.split("```").next());
    let lines: Vec<_> = blocks.flat_map(str::lines).filter(|line| !line.starts_with('#')).collect();
    assert!(lines.len() > 6, "{lines:?}");
    lines.iter().filter(|line| is_ours(line)).for_each(|line| world.run_example(&in_short(line)));
}

/// The sessions of a document: blocks marked `console`, whose lines behind `$ ` are commands, behind `> `
/// are typed, and whose other lines are what is shown.
fn run_sessions(document: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/tools").join(document);
    let text = fs::read_to_string(&path).expect("the document");
    let world = World::new();
    let blocks: Vec<_> = text.split("```console\n").skip(1).collect();
    assert!(!blocks.is_empty(), "{document} has a session");
    for block in blocks {
        let block = block.split("```").next().unwrap_or_default();
        for session in block.split("$ ").skip(1) {
            let (line, expected) = session.split_once('\n').unwrap_or((session, ""));
            let shown = world.follow(line, expected);
            let alike = if line.starts_with("sockeye bench ") { same_figures } else { same };
            let expected: Vec<_> = expected.trim_end().lines().map(alike).collect();
            let shown = world.there(&shown);
            let shown: Vec<_> = shown.trim_end().lines().map(alike).collect();
            assert_eq!(shown, expected, "{document}: {line}");
        }
    }
}

impl World {
    /// Runs a line, types what is to be typed, and gives what is shown in the end.
    fn follow(&self, line: &str, expected: &str) -> String {
        let mut terminal = self.begin(line);
        if !line.starts_with("sockeye connect ws") {
            let (_, shown) = terminal.finish();
            return shown.replace("\r\n", "\n");
        }
        let typed = expected.trim_end().lines().enumerate();
        let expected: Vec<_> = expected.trim_end().lines().map(same).collect();
        let begins = |lines: &[String], count: usize| {
            lines.len() >= count
                && lines[..count]
                    .iter()
                    .map(|line| same(&self.there(line)))
                    .eq(expected[..count].iter().cloned())
        };
        for (index, line) in typed {
            if let Some(typed) = line.strip_prefix("> ") {
                terminal.wait_for_screen(|lines| lines.len() > index && begins(lines, index));
                terminal.type_text(&format!("{typed}\r"));
            }
        }
        terminal.wait_for_screen(|lines| begins(lines, expected.len()));
        let shown = terminal.screen()[..expected.len()].join("\n");
        terminal.press(CTRL_D);
        let _ = terminal.finish();
        shown
    }
}

/// A line without what is another each time: numbers, positions, tokens, keys, dates.
fn same(line: &str) -> String {
    for varying in ["> Sec-WebSocket-Key:", "< sec-websocket-accept:", "< date:"] {
        if line.starts_with(varying) {
            return varying.to_owned();
        }
    }
    let is_part = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '_' | '-');
    let (mut same, mut word) = (String::new(), String::new());
    for char in line.chars().chain(['\n']) {
        if is_part(char) {
            word.push(char);
            continue;
        }
        same.push_str(&kind(&word));
        word.clear();
        same.push(char);
    }
    same.trim_end().to_owned()
}

/// The same of a table of figures: their units and the room for them differ, too, and a line that is shown meanwhile
/// is gone (erase in line).
fn same_figures(line: &str) -> String {
    let line = line.rsplit("\u{1b}[K").next().unwrap_or(line);
    let words: Vec<_> = line.split_whitespace().map(same).collect();
    let is_time = |word: &str| ["0µs", "0ms", "0s"].contains(&word);
    words.iter().map(|word| if is_time(word) { "0s" } else { word }).collect::<Vec<_>>().join(" ")
}

/// What a word is, if it is another each time; else the word, with 0 for each number.
fn kind(word: &str) -> String {
    let is_offset = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match word.rsplit_once('.') {
        Some((epoch, offset)) if epoch.len() >= 4 && is_offset(offset) && !is_offset(epoch) => {
            return "POSITION".to_owned();
        }
        _ if word.starts_with("eyJ") => return "TOKEN".to_owned(),
        _ => {}
    }
    let mut kind = String::new();
    for char in word.chars() {
        let is_more = char.is_ascii_digit() || char == '.';
        match char {
            _ if is_more && kind.ends_with('0') => {}
            char if char.is_ascii_digit() => kind.push('0'),
            char => kind.push(char),
        }
    }
    kind
}

#[test]
fn sessions_of_the_guides_are_as_recorded() {
    for document in ["connect.md", "subscribe.md", "publish.md", "token.md", "measuring.md"] {
        run_sessions(document);
    }
}
