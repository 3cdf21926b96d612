//! Every command ends with 0, 1 or 2, and a server serves, whatever stdout and stderr are: closed, on a
//! full disk, a pipe whose reader is gone, a pipe that is not read.

use std::process::{Command, Stdio};

use rustix::process::Signal;
use sockeye_testing::eventually;
use sockeye_tests::curl::curl;
use sockeye_tests::program::{self, Sockeye};
use sockeye_tests::streams::{Output, Started, command, free_address, stuck_pipe};

/// Runs a command with each pair of outputs, and checks the code that it ends with.
fn assert_codes(args: &[&str], expected: impl Fn(Output) -> i32) {
    for stdout in Output::ALL {
        for stderr in Output::ALL {
            let status = Started::new(command(args, stdout, stderr)).end();
            let told = format!("{args:?} with stdout {stdout:?} and stderr {stderr:?}: {status}");
            assert_eq!(status.code(), Some(expected(stdout)), "{told}");
        }
    }
}

/// For a command that prints something: only output that cannot be read later is a failure.
fn fails_on_a_full_disk(stdout: Output) -> i32 {
    i32::from(stdout == Output::Full)
}

#[test]
fn help_the_version_and_the_configuration_end_with_a_code_whatever_the_outputs_are() {
    for args in
        [&["--help"][..], &["--version"], &["serve", "--help"], &["serve", "--print-config"]]
    {
        assert_codes(args, fails_on_a_full_disk);
    }
    for wrong in [&[][..], &["swim"], &["serve", "--config", "/nowhere"]] {
        assert_codes(wrong, |_| 2);
    }
    assert_codes(&["serve", "--listen", "192.0.2.1:1", "--open"], |_| 1);
}

#[test]
fn clients_end_with_a_code_whatever_the_outputs_are() {
    let (server, echo) = (Sockeye::serve(&[]), Sockeye::echo(&[]));
    let channel = server.http("/c/news");
    let _ = curl(&["-d", "hello", &channel]);
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("key");
    std::fs::write(&key, [b'k'; 32]).expect("a file");
    let key = key.to_str().expect("UTF-8");
    let subscribe = ["subscribe", "-v", "--after", "earliest", "--count", "1", &channel];
    assert_codes(&subscribe, fails_on_a_full_disk);
    assert_codes(&["publish", &channel, "hello"], fails_on_a_full_disk);
    assert_codes(&["token", "--key", key], fails_on_a_full_disk);
    let listen = ["connect", "-v", "--wait", "10s", &server.ws("/c/news?after=earliest")];
    for stdout in [Output::Full, Output::Broken] {
        let status = Started::new(command(&listen, stdout, Output::Broken)).end();
        assert_eq!(status.code(), Some(fails_on_a_full_disk(stdout)));
    }
    assert_codes(&["connect", "-v", &echo.ws("/")], |_| 0);
    let bench = ["bench", "echo", &echo.ws("/"), "--duration", "50ms", "--warm-up", "10ms"];
    assert_codes(&bench, fails_on_a_full_disk);
    // What fails says so where it can, and fails.
    assert_codes(&["connect", "ws://127.0.0.1:1/"], |_| 1);
}

#[test]
fn servers_serve_and_end_well_whatever_the_outputs_are() {
    for stdout in Output::ALL {
        for stderr in Output::ALL {
            for server in ["serve", "echo"] {
                let address = free_address();
                let listen = address.to_string();
                let mut args = vec![server, "--listen", &listen];
                if server == "serve" {
                    args.extend(["--admin", "off", "--log", "debug"]);
                }
                let mut running = Started::new(command(&args, stdout, stderr));
                running.wait_for_listener(address);
                if server == "serve" {
                    let _ = curl(&[&format!("http://{address}/c/chat")]);
                }
                assert!(running.is_running());
                running.signal(Signal::TERM);
                let status = running.end();
                assert_eq!(status.code(), Some(0), "{args:?}: {stdout:?}, {stderr:?}: {status}");
            }
        }
    }
}

#[test]
fn a_write_to_a_full_disk_is_a_failure_in_one_line() {
    let mut command = Command::new(program::path());
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
    command.arg("--version").stdout(full).stderr(Stdio::piped());
    let output = command.output().expect("the program runs");
    let said = String::from_utf8(output.stderr).expect("a text");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("sockeye: cannot write the output: No space left"), "{said}");
}

#[test]
fn a_client_whose_output_is_stuck_ends_at_the_second_signal() {
    let server = Sockeye::serve(&[]);
    let channel = server.http("/c/news");
    let _ = curl(&["-d", "hello", &channel]);
    let (_reader, stdout) = stuck_pipe();
    let mut command = Command::new(program::path());
    command.args(["subscribe", "--after", "earliest", &channel]);
    command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::null());
    let mut running = Started::new(command);
    eventually("the client is connected", || {
        assert!(running.is_running());
        server.shows_operators("/connections").contains("\"count\":1")
    });
    // Told twice it ends at once, told once a few seconds later. Two signals that come together are one.
    eventually("it ends", || {
        running.signal(Signal::TERM);
        !running.is_running()
    });
    assert!(matches!(running.end().code(), Some(0 | 1)));
}
