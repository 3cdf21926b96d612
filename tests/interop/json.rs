//! The most deeply nested JSON that a channel takes, read by the JSON parsers of other languages:
//! in a page of messages it stands a few levels deeper still.

use std::fs;
use std::process::Command;

use sockeye_tests::curl::curl;
use sockeye_tests::program::Sockeye;

/// The deepest message, in the deepest answer that carries it: `read` of `sockeye.v1`.
fn deepest_answer() -> String {
    let server = Sockeye::serve(&[]);
    let deepest = format!("{}\"\\ud83d\\udc1f\"{}", "[{\"a\":".repeat(50), "}]".repeat(50));
    let chat = server.http("/c/chat");
    let _ = curl(&["--json", &deepest, &chat]);
    let page = curl(&[&chat]);
    assert!(page.contains(&deepest), "{page}");
    format!("{{\"id\":1,\"ok\":{page}}}")
}

fn is_read_by(program: &str, flag: &str, code: &str) {
    let place = tempfile::tempdir().expect("a folder");
    fs::write(place.path().join("answer.json"), deepest_answer()).expect("a file");
    let output = Command::new(program).args([flag, code]).current_dir(place.path()).output();
    let output = output.expect("`cargo xtask test interop` installs its programs");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "1", "the message is read");
}

#[test]
fn node_reads_the_deepest_json() {
    let code = "const { ok } = JSON.parse(require('fs').readFileSync('answer.json', 'utf8'));
        console.log(ok.messages.length)";
    is_read_by("node", "-e", code);
}

#[test]
fn python_reads_the_deepest_json() {
    let code = "import json\nprint(len(json.load(open('answer.json'))['ok']['messages']))";
    is_read_by("python3", "-c", code);
}
