//! What holds for every command: help, wrong usage, ports in use, Ctrl-C.

use std::net::TcpListener;

use sockeye_tests::program::{Sockeye, run};

#[test]
fn help_of_every_command_has_examples() {
    for command in
        ["serve", "echo", "connect", "subscribe", "publish", "token", "check", "doctor", "tap"]
    {
        let output = run(&[command, "--help"], "");
        let help = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{command}");
        assert!(help.contains("Examples"), "{help}");
        assert!(help.contains(&format!("sockeye {command}")), "{help}");
    }
}

#[test]
fn version_is_printed() {
    let output = run(&["--version"], "");
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("sockeye "));
}

#[test]
fn wrong_usage_exits_with_2_and_begins_with_a_line_that_says_what_is_wrong() {
    let wrong: [&[&str]; 8] = [
        &["swim"],
        &["echo", "--upstream"],
        &["echo", "--listen", "somewhere"],
        &["echo", "--max-message", "large"],
        &["echo", "--deflate", "perhaps"],
        &["serve", "--listen", "127.0.0.1:99999"],
        &["connect"],
        &["connect", "not a url"],
    ];
    for args in wrong {
        let output = run(args, "");
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(output.stdout.is_empty(), "{args:?}");
        assert!(output.stderr.starts_with(b"error: "), "{args:?}: {output:?}");
    }
}

#[test]
fn a_port_in_use_is_a_failure_that_names_it() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = holder.local_addr().expect("an address").to_string();
    for command in ["serve", "echo", "listen"] {
        let output = run(&[command, "--listen", &address], "");
        sockeye_tests::program::assert_fails(&output, 1);
        assert!(String::from_utf8_lossy(&output.stderr).contains(&address), "{output:?}");
    }
}

#[test]
fn ctrl_c_ends_a_server_with_success() {
    for mut server in [Sockeye::echo(&[]), Sockeye::serve(&[]), Sockeye::listen(&[])] {
        server.interrupt();
        assert!(server.wait().success());
    }
}
