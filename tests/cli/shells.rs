//! `sockeye completions` and `sockeye man`, as shells and man(1) read them.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use sockeye_tests::program::{path, run};

/// All commands with a page of their own.
const COMMANDS: [&str; 12] = [
    "serve",
    "echo",
    "connect",
    "listen",
    "subscribe",
    "publish",
    "tap",
    "bench",
    "check",
    "token",
    "completions",
    "man",
];

/// What the program prints with these arguments.
fn printed(args: &[&str]) -> String {
    let output = run(args, "");
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).expect("it is text")
}

/// A program of the system, with nothing of this user's configuration.
fn system(program: &str, args: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(args).env("HOME", "/nonexistent").stdin(Stdio::null());
    command.output().unwrap_or_else(|error| panic!("{program}: {error}"))
}

/// What bash offers for the last of these words.
fn completed_by_bash(words: &[&str]) -> Vec<String> {
    let script = printed(&["completions", "bash"]);
    let (last, before) = (words[words.len() - 1], words.get(words.len().wrapping_sub(2)));
    let ask = format!(
        "{script}\nCOMP_WORDS=({}); COMP_CWORD={}\n_sockeye sockeye '{last}' '{}'\nprintf '%s\\n' \
         \"${{COMPREPLY[@]}}\"",
        words.join(" "),
        words.len() - 1,
        before.unwrap_or(&""),
    );
    let output = system("bash", &["--norc", "-c", &ask]);
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_options_and_values() {
    assert_eq!(completed_by_bash(&["sockeye", "ech"]), ["echo"]);
    assert_eq!(completed_by_bash(&["sockeye", "echo", "--max-m"]), ["--max-message"]);
    assert_eq!(completed_by_bash(&["sockeye", "completions", "fi"]), ["fish"]);
    assert!(completed_by_bash(&["sockeye", "bench", "fan"]).contains(&"fanout".to_owned()));
    assert!(completed_by_bash(&["sockeye", "serve", "--nothing"]).iter().all(String::is_empty));
}

#[test]
fn zsh_and_fish_take_their_scripts_without_a_word() {
    let folder = tempfile::tempdir().expect("a folder");
    for (shell, check) in [("zsh", "-n"), ("fish", "--no-execute"), ("bash", "-n")] {
        let script = folder.path().join(shell);
        fs::write(&script, printed(&["completions", shell])).expect("it can be written");
        let output = system(shell, &[check, script.to_str().expect("a plain path")]);
        assert!(output.status.success() && output.stderr.is_empty(), "{shell}: {output:?}");
    }
}

#[test]
fn fish_completes_commands() {
    let ask =
        format!("{}\ncomplete --do-complete 'sockeye ech'", printed(&["completions", "fish"]));
    let output = system("fish", &["--no-config", "--command", &ask]);
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("echo\t"), "{output:?}");
}

#[test]
fn powershell_gets_a_script_that_names_the_commands() {
    let script = printed(&["completions", "powershell"]);
    assert!(script.contains("Register-ArgumentCompleter") && script.contains("'echo'"), "{script}");
}

#[test]
fn a_shell_that_is_not_known_is_wrong_usage() {
    for args in [&["completions", "cmd.exe"][..], &["completions"]] {
        assert_eq!(run(args, "").status.code(), Some(2), "{args:?}");
    }
}

/// What mandoc says of a page: nothing, if it is right.
fn lint(page: &Path) -> String {
    let output = system("mandoc", &["-T", "lint", "-W", "warning", page.to_str().expect("a path")]);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn each_command_has_a_page_that_mandoc_renders_without_a_warning() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("man1");
    let output = run(&["man", "--dir", dir.to_str().expect("a plain path")], "");
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    let mut pages: Vec<_> =
        fs::read_dir(&dir).expect("it is there").map(|page| page.expect("a file").path()).collect();
    pages.sort();
    for page in &pages {
        assert_eq!(lint(page), "");
        // Of anything else troff warns where the locale has no UTF-8.
        assert!(fs::read(page).expect("it can be read").is_ascii(), "{}", page.display());
    }
    let names = ["sockeye.1".to_owned(), "sockeye-bench-fanout.1".to_owned()];
    for name in names.into_iter().chain(COMMANDS.map(|name| format!("sockeye-{name}.1"))) {
        assert!(pages.contains(&dir.join(&name)), "{name}: {pages:?}");
    }
}

#[test]
fn a_page_has_the_options_and_the_examples_as_they_are_typed() {
    let folder = tempfile::tempdir().expect("a folder");
    let page = folder.path().join("page.1");
    fs::write(&page, printed(&["man", "echo"])).expect("it can be written");
    let output = system("mandoc", &["-T", "ascii", page.to_str().expect("a plain path")]);
    let shown = String::from_utf8_lossy(&output.stdout);
    let plain: String = strip_overstrikes(&shown);
    assert!(plain.contains("--max-message <SIZE>"), "{plain}");
    assert!(plain.contains("sockeye echo --listen 127.0.0.1:9002 --max-message 16M\n"), "{plain}");
    let nested = printed(&["man", "bench", "echo"]);
    assert!(nested.contains("sockeye-bench-echo"), "{nested}");
}

/// A character, a backspace and the character again is a bold one.
fn strip_overstrikes(text: &str) -> String {
    let mut plain = String::new();
    for char in text.chars() {
        match char {
            '\u{8}' => drop(plain.pop()),
            char => plain.push(char),
        }
    }
    plain
}

#[test]
fn a_page_of_a_command_that_is_not_there_is_wrong_usage() {
    let output = run(&["man", "swim"], "");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.starts_with("error: sockeye has no command swim\n"), "{said}");
    assert_eq!(run(&["man", "--dir", "a", "echo"], "").status.code(), Some(2));
}

#[test]
fn a_closed_pipe_is_quiet() {
    let command = "sockeye completions bash | head -n 1; test ${PIPESTATUS[0]} = 0";
    let ask = command.replace("sockeye", path().to_str().expect("a plain path"));
    let output = system("bash", &["--norc", "-c", &ask]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}
