//! What the guides and the help show, pasted into a shell.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use sockeye_testing::eventually;
use sockeye_tests::program::{path, run};
use sockeye_tests::tls::Certificates;
use tempfile::TempDir;

/// The address in the guides, and the files in the examples.
const ADDRESS: &str = "127.0.0.1:9001";

/// A command of bash in this folder, whose processes can be ended together.
fn bash(folder: &Path, script: &str) -> Command {
    let program = path();
    let folders = std::env::var("PATH").expect("a path");
    let mut command = Command::new("bash");
    command.args(["--norc", "-c", script]).current_dir(folder).env_remove("RUST_LOG");
    let beside = program.parent().expect("it is in a folder").display().to_string();
    let bin = folder.join("bin").display().to_string();
    command.env("PATH", format!("{bin}:{beside}:{folders}")).env("HOME", folder).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The blocks of commands in a guide that are followed by what they print, and that.
fn sessions(guide: &str) -> Vec<(String, String)> {
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(guide));
    let text = text.expect("the guide");
    let after = text.split("```sh\n").skip(1);
    let pairs = after.filter_map(|rest| rest.split_once("```\n\n```text\n"));
    let printed = |rest: &str| rest.split("```").next().expect("an end").to_owned();
    let has_no_end = |commands: &str| !commands.contains("```");
    let sessions = pairs.filter(|(commands, _)| has_no_end(commands));
    sessions.map(|(commands, rest)| (commands.to_owned(), printed(rest))).collect()
}

/// Runs the commands of a session on a port of its own, pasted as one, and compares what they print.
fn assert_prints_as_recorded(commands: &str, printed: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let port =
        TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("it").port();
    let own = format!("127.0.0.1:{port}");
    let listen = format!("sockeye listen --quiet --listen {own}");
    let commands = commands.replace(ADDRESS, &own).replace("sockeye listen", &listen);
    let script = format!("trap 'kill $(jobs -p) 2> /dev/null; wait' EXIT\n{commands}");
    let output = bash(folder.path(), &script).output().expect("bash runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), printed, "{commands}\n{output:?}");
    // Attempts that come before the server listens are told.
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.lines().all(|line| line.contains("connecting again")), "{commands}\n{told}");
}

#[test]
fn the_sessions_in_the_guide_to_listen_print_what_they_show() {
    let sessions = sessions("tools/listen.md");
    assert_eq!(sessions.len(), 3);
    for (commands, printed) in sessions {
        assert_prints_as_recorded(&commands, &printed);
    }
}

/// The examples in the help of a command.
fn examples(command: &str) -> Vec<String> {
    let help = run(&[command, "--help"], "").stdout;
    let help = String::from_utf8(help).expect("text");
    let examples = help.split("Examples:\n").nth(1).expect("examples").to_owned();
    examples.lines().map(|line| line.trim().to_owned()).collect()
}

/// A folder with what the examples of `listen` name, and a `sockeye` that listens on a free port.
fn stage() -> (TempDir, Certificates) {
    let (folder, certificates) = (tempfile::tempdir().expect("a folder"), Certificates::new());
    let at = |name: &str| folder.path().join(name);
    for name in ["bin", "public"] {
        fs::create_dir(at(name)).expect("a folder");
    }
    fs::copy(certificates.certificate(), at("chain.pem")).expect("a file");
    fs::copy(certificates.key(), at("key.pem")).expect("a file");
    let program = path();
    let sockeye = format!(
        "#!/bin/bash\nset -- \"${{@//#:9001/127.0.0.1:0}}\"\n[[ \"$*\" == *--listen* ]] || set -- \"$@\" \
         --listen 127.0.0.1:0\nexec {} \"$@\"\n",
        program.display()
    );
    for (name, text) in [("bin/sockeye", sockeye.as_str()), ("game.py", "#!/bin/sh\ncat\n")] {
        fs::write(at(name), text).expect("a file");
        fs::set_permissions(at(name), fs::Permissions::from_mode(0o755)).expect("it is ours");
    }
    // jq reads to the end of its input; what it does there is not shown here.
    fs::write(at("bin/jq"), "#!/bin/sh\ncat\n").expect("a file");
    fs::set_permissions(at("bin/jq"), fs::Permissions::from_mode(0o755)).expect("it is ours");
    (folder, certificates)
}

/// A command with all that it has started: killed when dropped.
struct Group(Child);

impl Group {
    fn start(mut command: Command) -> Self {
        Self(command.spawn().expect("bash runs"))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.wait();
    }
}

#[test]
fn the_examples_of_listen_listen() {
    let (folder, _certificates) = stage();
    let examples = examples("listen");
    assert!(examples.len() > 5, "{examples:?}");
    for example in examples {
        let log = folder.path().join("log");
        let running = Group::start(bash(folder.path(), &format!("{{ {example}\n}} 2> log")));
        eventually(format!("`{example}` listens"), || {
            let log = fs::read_to_string(&log).unwrap_or_default();
            if log.contains("listening on ws") { Ok(()) } else { Err(log) }
        });
        drop(running);
        fs::remove_file(log).expect("it is there");
    }
}

#[test]
fn the_examples_of_completions_and_man_work() {
    for command in ["completions", "man"] {
        for example in examples(command).iter().filter(|line| !line.contains("PowerShell")) {
            let folder = tempfile::tempdir().expect("a folder");
            for name in
                [".local/share/bash-completion/completions", ".zfunc", ".config/fish/completions"]
            {
                fs::create_dir_all(folder.path().join(name)).expect("a folder");
            }
            let output = bash(folder.path(), &format!("set -eo pipefail; {example}")).output();
            let output = output.expect("bash runs");
            assert!(output.status.success(), "{example}: {output:?}");
            assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{example}");
        }
    }
}
