//! Signals: SIGHUP reads the configuration, keys and certificates again, and no other than those that
//! stop the server ends it.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use sockeye_testing::PATIENCE;
use sockeye_testing::handshake::request;
use sockeye_tests::curl::curl;
use sockeye_tests::peer::{Chunks, Peer};
use sockeye_tests::program::{Sockeye, run};
use sockeye_tests::tls::Certificates;
use tempfile::TempDir;

fn signal(server: &Sockeye, signal: Signal) {
    let id = Pid::from_raw(server.id().cast_signed()).expect("a process");
    kill_process(id, signal).expect("it runs");
}

/// A configuration of files that change.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: &str) -> String {
        fs::write(self.path(name), content).expect("a file");
        self.path(name).to_str().expect("UTF-8").to_owned()
    }
}

/// A token for everything, signed with the secret in this file.
fn token(key: &str) -> String {
    let output = run(&["token", "--key", key, "--channel", "*=read,write"], "");
    String::from_utf8(output.stdout).expect("a token").trim().to_owned()
}

/// The status of a request with this token.
fn status(server: &Sockeye, token: &str) -> String {
    let (url, bearer) = (server.http("/c/chat"), format!("Authorization: Bearer {token}"));
    let output = std::process::Command::new("curl")
        .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", &bearer, &url])
        .output()
        .expect("curl");
    String::from_utf8(output.stdout).expect("a status")
}

const ONE: &str = "a secret of this test, with more than 32 bytes\n";
const OTHER: &str = "another secret of it, with more than 32 bytes\n";

#[test]
fn sighup_takes_another_key_and_what_is_open_stays_open() {
    let files = Files::new();
    let key = files.write("key", ONE);
    let server = Sockeye::serve(&["--auth-key", &key]);
    let old = token(&key);
    let mut peer = Peer::connect(server.address());
    let bearer = format!("\r\nAuthorization: Bearer {old}\r\n\r\n");
    peer.send(request("/c/chat").replacen("\r\n\r\n", &bearer, 1).as_bytes(), Chunks::Whole);
    assert_eq!(peer.read_head().status(), 101);
    assert_eq!(status(&server, &old), "200");

    files.write("key", OTHER);
    let new = token(&key);
    assert_eq!(status(&server, &new), "401", "it was not told that it changed");
    signal(&server, Signal::HUP);
    let told = server.wait_for("were read again");
    assert!(told.contains("content_of_auth_key=\"changed\""), "{told}");
    assert_eq!((status(&server, &old), status(&server, &new)), ("401".into(), "200".into()));
    peer.echo("the connection that the old token has opened goes on");

    signal(&server, Signal::HUP);
    server.wait_for("content_of_auth_key=\"unchanged\"");

    // A broken file changes nothing, and is told.
    files.write("key", "short\n");
    signal(&server, Signal::HUP);
    let told = server.wait_for("stay as they were");
    assert!(told.contains("--auth-key"), "{told}");
    assert_eq!(status(&server, &new), "200");
}

#[test]
fn sighup_reads_the_file_of_options_again() {
    let files = Files::new();
    let config = files.write("sockeye.toml", "log = \"warn\"\nhistory_count = 10\n");
    let server = Sockeye::serve(&["--config", &config]);
    let page = |origin: &str| {
        let origin = format!("Origin: {origin}");
        let args = ["-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", &origin];
        let mut command = std::process::Command::new("curl");
        let output = command.args(args).arg(server.http("/c/chat")).output().expect("curl");
        String::from_utf8(output.stdout).expect("a status")
    };
    assert_eq!(page("https://page.example"), "403");

    let content =
        "log = \"debug\"\nhistory_count = 20\nallow_origin = [\"https://page.example\"]\n";
    files.write("sockeye.toml", content);
    signal(&server, Signal::HUP);
    let told = server.wait_for("were read again");
    assert!(told.contains("allow_origin, log"), "{told}");
    let restart = server.wait_for("needs a restart");
    assert!(restart.contains("history_count"), "{restart}");
    assert_eq!(page("https://page.example"), "200");
    let _ = curl(&[&server.http("/c/at-debug")]);
    server.wait_for("/c/at-debug");

    files.write("sockeye.toml", "lisen = \"127.0.0.1:1\"\n");
    signal(&server, Signal::HUP);
    let told = server.wait_for("stay as they were");
    assert!(told.contains("sockeye.toml:1: unknown key `lisen`"), "{told}");
    assert_eq!(page("https://page.example"), "200");
}

#[test]
fn sighup_limits_requests_from_then_on() {
    let files = Files::new();
    let config = files.write("sockeye.toml", "");
    let server = Sockeye::serve(&["--config", &config]);
    files.write("sockeye.toml", "max_requests_per_address = 1\n");
    signal(&server, Signal::HUP);
    server.wait_for("were read again");
    let statuses: Vec<String> = (0..5).map(|_| status(&server, "")).collect();
    assert!(statuses.contains(&"429".to_owned()), "{statuses:?}");
}

#[test]
fn sighup_reads_certificates_at_once() {
    for echo in [false, true] {
        let (mine, renewed) = (Certificates::new(), Certificates::new());
        let flags = mine.flags(true);
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let server = if echo { Sockeye::echo(&flags) } else { Sockeye::serve(&flags) };
        let trusts = |authority: &PathBuf| {
            let authority = authority.to_str().expect("UTF-8");
            let mut command = std::process::Command::new("curl");
            command.args(["-s", "-o", "/dev/null", "--cacert", authority, &server.http("/")]);
            command.status().expect("curl").success()
        };
        assert!(trusts(&mine.authority()) && !trusts(&renewed.authority()));
        for (to, from) in [(mine.certificate(), renewed.certificate()), (mine.key(), renewed.key())]
        {
            fs::copy(from, to).expect("the file can be copied");
        }
        signal(&server, Signal::HUP);
        server.wait_for("read again");
        assert!(trusts(&renewed.authority()), "echo: {echo}");
        fs::write(mine.key(), "no key").expect("a file");
        signal(&server, Signal::HUP);
        server.wait_for(if echo { "as it was" } else { "as they were" });
        assert!(trusts(&renewed.authority()), "echo: {echo}");
    }
}

#[test]
fn other_signals_do_not_end_a_server_even_while_it_drains() {
    let signals = [
        Signal::USR1,
        Signal::USR2,
        Signal::QUIT,
        Signal::PIPE,
        Signal::ALARM,
        Signal::VTALARM,
        Signal::PROF,
        Signal::XFSZ,
        Signal::HUP,
    ];
    for mut server in [Sockeye::serve(&["--drain", "60s"]), Sockeye::echo(&[])] {
        for sent in signals {
            signal(&server, sent);
        }
        for name in ["SIGUSR1", "SIGUSR2", "SIGQUIT", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGXFSZ"]
        {
            server.wait_for(name);
        }
        let mut peer = Peer::open(server.address(), "/c/chat");
        peer.echo("it still serves");
        // One that does not answer its Close holds the server.
        let begun = Instant::now();
        signal(&server, Signal::TERM);
        assert!(peer.read().close_code().is_some());
        for sent in signals {
            signal(&server, sent);
        }
        server.assert_sound();
        signal(&server, Signal::TERM);
        assert!(server.wait().success());
        assert!(begun.elapsed() < PATIENCE);
    }
}

/// The programs wait for a file that is a pipe when the signal comes: they have hardly begun.
#[test]
fn a_signal_at_the_very_start_ends_a_server_well() {
    let files = Files::new();
    let pipe = files.path("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo");
    assert!(made.success());
    let path = pipe.to_str().expect("UTF-8");
    let certificates = Certificates::new();
    let key = certificates.key();
    let commands: [&[&str]; 3] = [
        &["serve", "--listen", "127.0.0.1:0", "--admin", "off", "--config", path],
        &["serve", "--listen", "127.0.0.1:0", "--admin", "off", "--auth-key", path],
        &["echo", "--listen", "127.0.0.1:0", "--tls-cert", path, "--tls-key", &key],
    ];
    for command in commands {
        for sent in [Signal::TERM, Signal::INT] {
            let mut program = std::process::Command::new(sockeye_tests::program::path());
            program.args(command).stdout(Stdio::piped()).stderr(Stdio::piped());
            let child = program.spawn().expect("the program starts");
            // It opens when the program does.
            let mut writer = fs::OpenOptions::new().write(true).open(&pipe).expect("a reader");
            kill_process(Pid::from_child(&child), sent).expect("it runs");
            let content = match command[0] {
                "echo" => fs::read(certificates.certificate()).expect("a file"),
                _ if command.contains(&"--config") => Vec::new(),
                _ => ONE.as_bytes().to_vec(),
            };
            // One that has ended by then reads nothing.
            let _ = writer.write_all(&content);
            drop(writer);
            let output = child.wait_with_output().expect("it can be waited for");
            assert_eq!(output.status.code(), Some(0), "{command:?}, {sent:?}: {output:?}");
        }
    }
}
