//! A service manager such as systemd: it is told when the server is ready, reloads, lives and stops, and gives it
//! sockets that listen already.

use std::net::TcpListener;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use sockeye_testing::PATIENCE;
use sockeye_tests::curl::curl;
use sockeye_tests::program::{self, Sockeye};
use tempfile::TempDir;

/// What a service manager hears from its service (`sd_notify(3)`).
struct Manager {
    socket: UnixDatagram,
    folder: TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time above zero");
        Self { socket, folder }
    }

    /// `sockeye serve` with these variables, which tells this manager.
    fn serve(&self, variables: &[&str], options: &[&str]) -> Sockeye {
        let socket = format!("NOTIFY_SOCKET={}", self.folder.path().join("notify").display());
        let program = ["-u", "RUST_LOG", &socket].into_iter().chain(variables.iter().copied());
        let program: Vec<_> = program.collect();
        let path = program::path();
        let serve =
            [path.to_str().expect("UTF-8"), "serve", "--listen", "127.0.0.1:0", "--admin", "off"];
        Sockeye::serve_by("env", &[&program[..], &serve, options].concat())
    }

    /// The next message; its lines.
    fn hears(&self) -> Vec<String> {
        let mut message = [0; 4096];
        let length = self.socket.recv(&mut message).expect("the service tells something");
        let text = String::from_utf8_lossy(&message[..length]).into_owned();
        text.lines().map(str::to_owned).collect()
    }
}

fn signal(server: &Sockeye, signal: Signal) {
    let id = Pid::from_raw(server.id().cast_signed()).expect("a process");
    kill_process(id, signal).expect("it runs");
}

#[test]
fn the_manager_is_told_of_readiness_reload_and_stop() {
    let manager = Manager::new();
    let server = manager.serve(&[], &[]);
    let status = format!("STATUS=serving on http://{}", server.address());
    assert_eq!(manager.hears(), ["READY=1", &status]);
    let _ = curl(&["-d", "hello", &server.http("/c/chat")]);

    signal(&server, Signal::HUP);
    let reloading = manager.hears();
    assert_eq!(reloading[0], "RELOADING=1");
    assert!(reloading[1].starts_with("MONOTONIC_USEC="), "{reloading:?}");
    assert_eq!(manager.hears(), ["READY=1"]);

    signal(&server, Signal::TERM);
    assert_eq!(manager.hears()[0], "STOPPING=1");
    let _ = server.ended();
}

#[test]
fn a_failed_reload_is_over_too() {
    let manager = Manager::new();
    let config = manager.folder.path().join("sockeye.toml");
    std::fs::write(&config, "").expect("a file");
    let server = manager.serve(&[], &["--config", config.to_str().expect("UTF-8")]);
    assert_eq!(manager.hears()[0], "READY=1");
    std::fs::write(&config, "wrong = 1").expect("a file");
    signal(&server, Signal::HUP);
    assert_eq!(manager.hears()[0], "RELOADING=1");
    assert_eq!(manager.hears(), ["READY=1"]);
    server.wait_for("stay as they were");
}

#[test]
fn the_watchdog_is_fed_while_the_server_lives() {
    let manager = Manager::new();
    let server = manager.serve(&["WATCHDOG_USEC=40000"], &[]);
    assert_eq!(manager.hears()[0], "READY=1");
    for _ in 0..3 {
        assert_eq!(manager.hears(), ["WATCHDOG=1"]);
    }
    // One that hangs feeds it no more.
    server.pause();
    manager.socket.set_nonblocking(true).expect("a socket");
    while manager.socket.recv(&mut [0; 64]).is_ok() {}
    assert!(manager.socket.recv(&mut [0; 64]).is_err());
    server.resume();
    manager.socket.set_nonblocking(false).expect("a socket");
    assert_eq!(manager.hears(), ["WATCHDOG=1"]);
}

#[test]
fn a_watchdog_of_another_process_is_not_fed() {
    let manager = Manager::new();
    let server = manager.serve(&["WATCHDOG_USEC=1", "WATCHDOG_PID=1"], &[]);
    assert_eq!(manager.hears()[0], "READY=1");
    signal(&server, Signal::TERM);
    assert_eq!(manager.hears()[0], "STOPPING=1", "nothing came between");
}

#[test]
fn a_socket_that_listens_already_is_served_and_stays_open_over_a_restart() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let given = || listener.try_clone().expect("a descriptor").into();
    let server = Sockeye::serve_on(given(), &["--listen", "127.0.0.1:1"]);
    assert_eq!(server.address(), address, "--listen does not count");
    let _ = curl(&["-d", "one", &server.http("/c/chat")]);
    let _ = server.stop();
    // A client that comes between two servers waits for the second.
    let url = format!("http://{address}/c/chat?after=earliest");
    let client = Command::new("curl").args(["-sS", "--fail", &url]).spawn().expect("curl");
    let _second = Sockeye::serve_on(given(), &[]);
    assert!(client.wait_with_output().expect("curl ran").status.success());
}

#[test]
fn a_unix_socket_that_listens_already_is_served_and_its_file_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sockeye.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    let server = Sockeye::serve_on(listener.into(), &[]);
    let file = path.to_str().expect("UTF-8");
    server.wait_for(&format!("listening on unix:{file}"));
    let told = curl(&["--unix-socket", file, "-d", "hello", "http://localhost/c/chat"]);
    assert!(told.contains("\"at\""), "{told}");
    let _ = server.stop();
    assert!(path.exists(), "it is the manager's");
}

/// A socket of systemd may be reachable from other machines: the rule for `--listen` holds for it as well.
#[test]
fn a_socket_for_other_machines_needs_tokens_or_open() {
    let listener = TcpListener::bind("0.0.0.0:0").expect("a port");
    let given = r#"exec env LISTEN_FDS=1 LISTEN_PID=$$ "$0" serve --admin off 3<&0 </dev/null"#;
    let socket: std::os::fd::OwnedFd = listener.into();
    let mut command = Command::new("sh");
    let output = command.args(["-c", given]).arg(program::path()).stdin(socket).output();
    let output = output.expect("a shell");
    let why = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{why}");
    assert!(why.contains("is not a loopback address"), "{why}");
}
