//! Tokens made by other languages: the code of the guide `docs/channels/tokens.md`, run as it stands there.

use std::fs;
use std::process::Command;

use sockeye_tests::program::run;
use sockeye_tests::script::folder;

/// The first block of code after this line of the guide.
fn code_after(line: &str) -> String {
    let guide = fs::read_to_string(folder().join("../docs/channels/tokens.md")).expect("the guide");
    let (_, after) = guide.split_once(&format!("\n{line}\n")).expect("the line is in the guide");
    let mut code = after.lines().skip_while(|line| !line.starts_with("```")).skip(1);
    code.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect()
}

/// Runs the code where there is a secret, and has what it prints checked.
fn prints_a_valid_token(line: &str, program: &str, file: &str) {
    let place = tempfile::tempdir().expect("a folder");
    let secret = place.path().join("secret");
    fs::write(&secret, "0123456789abcdef0123456789abcdef\n").expect("a file");
    fs::write(place.path().join(file), code_after(line)).expect("a file");
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
