//! Tokens made by other languages, and an application that decides in their place: the code of the guides
//! `docs/channels/tokens.md` and `authorize.md`, run as it stands there.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use sockeye_testing::eventually;
use sockeye_tests::curl::status;
use sockeye_tests::program::{Sockeye, run};
use sockeye_tests::script::folder;

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

#[test]
fn the_application_of_the_guide_decides() {
    let place = tempfile::tempdir().expect("a folder");
    let secret = place.path().join("webhook-secret");
    fs::write(&secret, "0123456789abcdef0123456789abcdef\n").expect("a file");
    let code =
        code_after("authorize.md", "The application, in Python, started in the same folder:");
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let port = port.expect("a free port").port();
    assert!(code.contains("3000"), "{code}");
    fs::write(place.path().join("app.py"), code.replace("3000", &port.to_string()))
        .expect("a file");
    let mut application = Command::new("python3");
    application.arg("app.py").current_dir(place.path()).stderr(Stdio::null());
    let mut application = application.spawn().expect("python3 is installed");
    let url = format!("http://127.0.0.1:{port}/sockeye");
    let secret = secret.to_str().expect("a UTF-8 path");
    let server = Sockeye::serve(&["--authorize-url", &url, "--authorize-secret", secret]);
    let (own, others) = (server.http("/c/orders:ann"), server.http("/c/orders:bob"));
    let ann = ["-H", "Cookie: session=8f3a"];
    eventually("the application decides", || status(&[&ann[..], &[&own]].concat()) == 200);
    let statuses = [
        status(&[&ann[..], &["-d", "hello", &own]].concat()),
        status(&[&ann[..], &[&others]].concat()),
        status(&[&server.http("/c/news")]),
    ];
    let _ = application.kill();
    let _ = application.wait();
    assert_eq!(statuses, [201, 403, 401]);
}
