//! Tokens made by other languages, an application that decides in their place, and one that is told who comes and goes:
//! the code of the guides `docs/channels/tokens.md`, `authorize.md` and `events.md`, run as it stands there.

use std::fs::{self, File};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use sockeye_testing::eventually;
use sockeye_tests::curl::{Stream, status};
use sockeye_tests::program::{Sockeye, run};
use sockeye_tests::script::folder;
use tempfile::TempDir;

/// The first block of code after this line of the guide.
fn code_after(guide: &str, line: &str) -> String {
    let guide = folder().join("../docs/channels").join(guide);
    let guide = fs::read_to_string(guide).expect("the guide");
    let (_, after) = guide.split_once(&format!("\n{line}\n")).expect("the line is in the guide");
    let mut code = after.lines().skip_while(|line| !line.starts_with("```")).skip(1);
    code.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect()
}

/// Runs the code where there is a secret, and has what it prints checked.
fn prints_a_valid_token(line: &str, program: &str, file: &str) {
    let place = tempfile::tempdir().expect("a folder");
    let secret = place.path().join("secret");
    fs::write(&secret, "0123456789abcdef0123456789abcdef\n").expect("a file");
    fs::write(place.path().join(file), code_after("tokens.md", line)).expect("a file");
    let output = Command::new(program).arg(file).current_dir(place.path()).output();
    let output = output.expect("`cargo xtask test interop` installs its programs");
    assert!(output.status.success(), "{output:?}");
    let token = String::from_utf8(output.stdout).expect("a text");
    let secret = secret.to_str().expect("a UTF-8 path");
    let checked = run(&["token", token.trim(), "--key", secret], "");
    assert!(checked.status.success(), "{token}: {checked:?}");
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    for word in ["ann", "chat:*", "read", "write"] {
        assert!(said.contains(word), "{said}");
    }
}

#[test]
fn node_makes_a_valid_token() {
    prints_a_valid_token("Node.js:", "node", "token.mjs");
}

#[test]
fn python_makes_a_valid_token() {
    prints_a_valid_token("Python:", "python3", "token.py");
}

#[test]
fn a_shell_makes_a_valid_token() {
    prints_a_valid_token("A shell:", "sh", "token.sh");
}

/// A program of a guide in Python, on a port of its own, with the secret beside it.
struct Application {
    child: Child,
    url: String,
    secret: String,
    place: TempDir,
}

impl Application {
    fn start(guide: &str, line: &str) -> Self {
        let place = tempfile::tempdir().expect("a folder");
        let secret = place.path().join("webhook-secret");
        fs::write(&secret, "0123456789abcdef0123456789abcdef\n").expect("a file");
        let secret = secret.to_str().expect("a UTF-8 path").to_owned();
        let code = code_after(guide, line);
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = port.expect("a free port").port();
        assert!(code.contains("3000"), "{code}");
        fs::write(place.path().join("app.py"), code.replace("3000", &port.to_string()))
            .expect("a file");
        let output = File::create(place.path().join("output")).expect("a file");
        let mut python = Command::new("python3");
        python.arg("app.py").current_dir(place.path()).stdout(output).stderr(Stdio::null());
        let child = python.spawn().expect("python3 is installed");
        Self { child, url: format!("http://127.0.0.1:{port}/sockeye"), secret, place }
    }

    fn printed(&self) -> String {
        fs::read_to_string(self.place.path().join("output")).expect("a file")
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_application_of_the_guide_decides() {
    let line = "The application, in Python, started in the same folder:";
    let app = Application::start("authorize.md", line);
    let server = Sockeye::serve(&["--authorize-url", &app.url, "--authorize-secret", &app.secret]);
    let (own, others) = (server.http("/c/orders:ann"), server.http("/c/orders:bob"));
    let ann = ["-H", "Cookie: session=8f3a"];
    eventually("the application decides", || status(&[&ann[..], &[&own]].concat()) == 200);
    let statuses = [
        status(&[&ann[..], &["-d", "hello", &own]].concat()),
        status(&[&ann[..], &[&others]].concat()),
        status(&[&server.http("/c/news")]),
    ];
    assert_eq!(statuses, [201, 403, 401]);
}

#[test]
fn the_program_of_the_guide_is_told_who_comes_and_goes() {
    let line = "The program that is told, in Python, started in the same folder:";
    let app = Application::start("events.md", line);
    let server = Sockeye::serve(&["--events-url", &app.url, "--events-secret", &app.secret]);
    let mut ann = Stream::open(&["-N", &server.http("/c/chat?stream=sse&as=ann")]);
    ann.until("retry");
    let until = |last: &str| {
        eventually(format!("it prints {last}"), || {
            let printed = app.printed();
            if printed.contains(last) { Ok(()) } else { Err(printed) }
        });
    };
    until("member.joined chat ann");
    drop(ann);
    until("member.left chat ann");
    let _ = server.stop();
    until("server.stopped");
    let printed = app.printed();
    let lines: Vec<_> = printed.lines().map(str::trim_end).collect();
    assert_eq!(
        lines,
        [
            "server.started",
            "channel.occupied chat",
            "member.joined chat ann",
            "member.left chat ann",
            "channel.vacated chat",
            "server.stopped"
        ]
    );
    // What is not signed is not believed.
    let body = r#"{"events":[{"id":"0-1","event":"server.started"}]}"#;
    assert_eq!(status(&["-d", body, &app.url]), 401);
    assert_eq!(app.printed(), printed);
}
