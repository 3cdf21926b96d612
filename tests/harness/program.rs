//! The program under test: found, started, watched, and stopped when dropped.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{
    Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Output, Stdio,
};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::build_directory;
use crate::curl::curl;
use crate::cut::Forwarder;
use crate::nats;
use sockeye_testing::{PATIENCE, eventually};

/// Where the program is: `SOCKEYE_BIN`, or beside the tests in the build directory.
///
/// # Panics
///
/// When there is none.
#[must_use]
pub fn path() -> PathBuf {
    let built = || build_directory().join("sockeye");
    let path = std::env::var_os("SOCKEYE_BIN").map_or_else(built, PathBuf::from);
    assert!(
        path.is_file(),
        "no program at {}: `cargo build` makes it, `cargo xtask test` does so by itself",
        path.display()
    );
    path
}

/// What a process that runs has taken of the processors, its threads that have ended included.
///
/// # Panics
///
/// When it does not run.
#[must_use]
pub fn cpu_time(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("it runs");
    // The name in parentheses may hold anything; utime and stime are fields 14 and 15.
    let fields = stat.rsplit_once(')').expect("a name").1.split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).map(|field| field.parse::<u64>().unwrap_or(0)).sum();
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// The program with these arguments, not yet started.
fn command(args: &[&str]) -> Command {
    let mut command = Command::new(path());
    command.args(args).env_remove("RUST_LOG");
    command
}

/// The program run with these arguments and this input, to its end.
#[must_use]
pub fn run(args: &[&str], input: &str) -> Output {
    let mut running = Running::start(args);
    let (mut stdin, input) = (running.stdin(), input.to_owned());
    // Beside the reading of the output, which the program may wait for. A program that fails at
    // once has ended before it reads.
    let writer = thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = running.finish();
    let _ = writer.join();
    output
}

/// The program run with these arguments and these variables in its environment, to its end.
#[must_use]
pub fn run_with_env(args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = command(args);
    command.envs(env.iter().copied()).stdin(Stdio::null());
    command.output().expect("the program runs")
}

/// The program with its input and both outputs piped to the test. Killed when dropped.
#[derive(Debug)]
pub struct Running(Option<Child>);

impl Running {
    /// Starts the program with these arguments.
    #[must_use]
    pub fn start(args: &[&str]) -> Self {
        let mut command = command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(Some(command.spawn().expect("the program starts")))
    }

    /// Its input, which ends when this is dropped.
    pub fn stdin(&mut self) -> ChildStdin {
        self.child().stdin.take().expect("the input was not taken before")
    }

    /// What it prints, while it runs; the pipe is closed when this is dropped.
    pub fn stdout(&mut self) -> ChildStdout {
        self.child().stdout.take().expect("the output was not taken before")
    }

    /// What it says on stderr, while it runs.
    pub fn stderr(&mut self) -> ChildStderr {
        self.child().stderr.take().expect("stderr was not taken before")
    }

    /// Writes a few lines to its input and reads them back; then the input ends.
    ///
    /// # Panics
    ///
    /// If anything else comes back.
    pub fn assert_echoed(&mut self) {
        let lines = "one\nzwei\n三 🐟\n";
        let (mut stdin, mut stdout) = (self.stdin(), self.stdout());
        stdin.write_all(lines.as_bytes()).expect("the program reads");
        let mut printed = vec![0; lines.len()];
        stdout.read_exact(&mut printed).expect("as much comes back");
        assert_eq!(String::from_utf8_lossy(&printed), lines);
    }

    /// Sends it what Ctrl-C sends.
    pub fn interrupt(&mut self) {
        interrupt(self.child());
    }

    /// Waits for its end, which is a success and prints no error.
    ///
    /// # Panics
    ///
    /// If it is another.
    pub fn assert_succeeds(self) {
        let output = self.finish();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        assert!(output.status.success());
    }

    /// Waits for its end, and gives what it printed and was not read.
    #[must_use]
    pub fn finish(mut self) -> Output {
        let child = self.0.take().expect("it is waited for once");
        child.wait_with_output().expect("the program can be waited for")
    }

    fn child(&mut self) -> &mut Child {
        self.0.as_mut().expect("it was not waited for before")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Fails unless the program failed with this exit code and one line that says why.
pub fn assert_fails(output: &Output, code: i32) {
    let why = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "it said: {why}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    assert_eq!(why.trim_end().lines().count(), 1, "one line says why: {why}");
}

fn interrupt(child: &Child) {
    kill_process(Pid::from_child(child), Signal::INT).expect("the process runs");
}

/// How `sockeye listen` is started.
const LISTEN: [&str; 3] = ["listen", "--listen", "127.0.0.1:0"];

/// A running server: `sockeye echo`, `sockeye listen` or `sockeye serve`.
#[derive(Debug)]
pub struct Sockeye {
    child: Child,
    address: SocketAddr,
    /// `s` if it serves TLS.
    secure: &'static str,
    log: Log,
    /// They end with its output.
    readers: Vec<JoinHandle<()>>,
    /// If it stands for a cluster, the other nodes, and what gives each connection to the next.
    cluster: Option<(Vec<Self>, Forwarder)>,
}

/// `serve` on free ports.
const SERVE: [&str; 5] = ["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];

impl Sockeye {
    /// `sockeye echo` on a free port, with these options besides.
    #[must_use]
    pub fn echo(options: &[&str]) -> Self {
        Self::start(&[&["echo", "--listen", "127.0.0.1:0"], options].concat())
    }

    /// `sockeye listen` on a free port, with these options besides and no input.
    #[must_use]
    pub fn listen(options: &[&str]) -> Self {
        Self::start(&[&LISTEN, options].concat())
    }

    /// The same, with an input that ends when what is given beside it is dropped.
    #[must_use]
    pub fn listen_with_input(options: &[&str]) -> (Self, ChildStdin) {
        let args = [&LISTEN, options].concat();
        let mut listening = Self::spawn_with(command(&args), &args, Stdio::piped());
        let input = listening.child.stdin.take().expect("it is piped");
        (listening, input)
    }

    /// `sockeye serve` on free ports, with these options besides. Where servers of NATS are
    /// [given](nats::given) it is three nodes of a cluster, unless the options say where channels are.
    #[must_use]
    pub fn serve(options: &[&str]) -> Self {
        let is_decided = options.iter().any(|option| ["--data", "--cluster"].contains(option));
        match nats::given() {
            Some(urls) if !is_decided => Self::serve_as_cluster(&urls, options),
            _ => Self::start(&[&SERVE, options].concat()),
        }
    }

    fn serve_as_cluster(urls: &str, options: &[&str]) -> Self {
        let name = nats::unused_name();
        let cluster = ["--cluster", urls, "--cluster-name", &name, "--cluster-shards", "2"];
        let node = || Self::start(&[&SERVE, options, &cluster].concat());
        let (mut first, others) = (node(), vec![node(), node()]);
        let nodes = std::iter::once(&first).chain(&others);
        let balancer = Forwarder::to_each(nodes.map(Self::address).collect());
        first.address = balancer.address();
        first.cluster = Some((others, balancer));
        first
    }

    fn others(&mut self) -> impl Iterator<Item = &mut Self> {
        self.cluster.iter_mut().flat_map(|(others, _)| others)
    }

    /// `sockeye serve` started by another program, whose arguments end with the line for it.
    #[must_use]
    pub fn serve_by(program: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).env_remove("RUST_LOG");
        Self::spawn(command, arguments)
    }

    /// A server that this command starts, with these options of the program.
    #[must_use]
    pub fn start_with(command: Command, options: &[&str]) -> Self {
        Self::spawn(command, options)
    }

    /// `sockeye serve` on a socket that listens already, given to it as a service manager does.
    #[must_use]
    pub fn serve_on(socket: OwnedFd, options: &[&str]) -> Self {
        // The shell has the number of the process before the program has it.
        let given = r#"exec env LISTEN_FDS=1 LISTEN_PID=$$ "$0" serve --admin 127.0.0.1:0 "$@" 3<&0 </dev/null"#;
        let mut command = Command::new("sh");
        command.args(["-c", given]).arg(path()).args(options).env_remove("RUST_LOG");
        Self::spawn_with(command, options, socket.into())
    }

    /// `sockeye serve` that logs at this level, for tests that read the log.
    #[must_use]
    pub fn serve_logging(level: &str, options: &[&str]) -> Self {
        let args = [&SERVE, options].concat();
        let mut command = command(&args);
        command.env("RUST_LOG", level);
        Self::spawn(command, &args)
    }

    /// `sockeye serve` on this address, with these options besides.
    #[must_use]
    pub fn serve_at(address: SocketAddr, options: &[&str]) -> Self {
        let serve = ["serve", "--listen", &address.to_string(), "--admin", "off"];
        Self::start(&[&serve, options].concat())
    }

    fn start(args: &[&str]) -> Self {
        Self::spawn(command(args), args)
    }

    fn spawn(command: Command, args: &[&str]) -> Self {
        Self::spawn_with(command, args, Stdio::null())
    }

    fn spawn_with(mut command: Command, args: &[&str], input: Stdio) -> Self {
        command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let (lines, log) = (mpsc::channel(), Log::default());
        let readers = [
            log.follow(child.stdout.take(), lines.0.clone()),
            log.follow(child.stderr.take(), lines.0),
        ];
        match first_address(&lines.1) {
            Ok(address) => {
                let secure = if args.contains(&"--tls-cert") { "s" } else { "" };
                Self { child, address, secure, log, readers: readers.into(), cluster: None }
            }
            Err(why) => {
                let _ = child.kill();
                let _ = child.wait();
                panic!("sockeye {} {why}; it said:\n{}", args.join(" "), log.text());
            }
        }
    }

    /// The address it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The WebSocket URL of a path that begins with `/`.
    #[must_use]
    pub fn ws(&self, path: &str) -> String {
        format!("ws{}://{}{path}", self.secure, self.address)
    }

    /// The HTTP URL of a path that begins with `/`.
    #[must_use]
    pub fn http(&self, path: &str) -> String {
        format!("http{}://{}{path}", self.secure, self.address)
    }

    /// The memory the process holds, in bytes; without its program, which comes in piece by piece as it
    /// is used.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("the process runs");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).expect("a resident size");
        kib.trim().parse::<u64>().expect("a number of KiB") * 1024
    }

    /// The CPU time that the process has taken so far, of the user and of the system.
    #[must_use]
    pub fn cpu_time(&self) -> Duration {
        cpu_time(self.child.id())
    }

    /// The URL of its address for operators. For `serve` only.
    #[must_use]
    pub fn operators(&self) -> String {
        let line = self.wait_for("admin on ");
        line.split_once("admin on ").expect("it was found by that").1.trim().to_owned()
    }

    /// What it shows operators under this path: `/metrics`, for example. For `serve` only.
    #[must_use]
    pub fn shows_operators(&self, path: &str) -> String {
        curl(&[&format!("{}{path}", self.operators())])
    }

    /// What it answers to a `POST` of operators to this path. For `serve` only.
    #[must_use]
    pub fn takes_from_operators(&self, path: &str) -> String {
        curl(&["-X", "POST", &format!("{}{path}", self.operators())])
    }

    /// What it shows operators under this path, whatever the status is.
    #[must_use]
    pub fn shows_operators_at_all(&self, path: &str) -> String {
        let url = format!("{}{path}", self.operators());
        let output = Command::new("curl").args(["-sS", &url]).output();
        String::from_utf8_lossy(&output.expect("curl runs").stdout).into_owned()
    }

    /// The number of its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it what Ctrl-C sends.
    pub fn interrupt(&self) {
        interrupt(&self.child);
    }

    /// Has it end as an operator does, with SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Stops it in its tracks, until [`resume`](Self::resume).
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the process runs");
    }

    /// Waits for its end, which is a success, and gives everything that it has printed.
    #[must_use]
    pub fn ended(mut self) -> String {
        assert!(self.wait().success());
        for reader in self.readers.drain(..) {
            reader.join().expect("reading does not fail");
        }
        self.log.text()
    }

    /// Ends it with SIGKILL: it has no time to do anything.
    pub fn kill(&mut self) {
        self.child.kill().expect("the process runs");
        let _ = self.child.wait();
    }

    /// Waits for it to end by itself.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("the process can be waited for")
    }

    /// Everything it has printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// Stops it as Ctrl-C does, and gives everything that it has printed.
    #[must_use]
    pub fn stop(self) -> String {
        self.interrupt();
        self.ended()
    }

    /// Waits until it has printed a line with this text, and gives the line.
    #[track_caller]
    pub fn wait_for(&self, text: &str) -> String {
        eventually(format!("{text:?} in the log"), || {
            let log = self.log.text();
            let whole = &log[..log.rfind('\n').map_or(0, |end| end + 1)];
            let line = whole.lines().find(|line| line.contains(text)).map(str::to_owned);
            line.ok_or(log)
        })
    }

    /// Fails the test if the server ended or a part of it panicked.
    pub fn assert_sound(&mut self) {
        self.others().for_each(Self::assert_sound);
        let ended = self.child.try_wait().expect("the process can be asked");
        let log = self.log.text();
        assert!(ended.is_none(), "the server ended: {ended:?}\n{log}");
        assert!(!log.contains("panicked"), "the server panicked:\n{log}");
    }
}

impl Drop for Sockeye {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Everything a program has printed so far.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<String>>);

impl Log {
    /// Keeps what comes from `output`, and passes it on line by line while there is a listener.
    fn follow(
        &self,
        output: Option<impl Read + Send + 'static>,
        lines: Sender<String>,
    ) -> JoinHandle<()> {
        let (log, output) = (self.clone(), output.expect("the output is piped"));
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                *log.0.lock().unwrap_or_else(PoisonError::into_inner) += &format!("{line}\n");
                let _ = lines.send(line);
            }
        })
    }

    fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Waits for the line in which the server names the address it listens on.
fn first_address(lines: &Receiver<String>) -> Result<SocketAddr, &'static str> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let line = lines.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        match line {
            Ok(line) => {
                if let Some(address) = address_in(&line) {
                    return Ok(address);
                }
            }
            Err(RecvTimeoutError::Timeout) => return Err("named no address in time"),
            Err(RecvTimeoutError::Disconnected) => return Err("ended before it listened"),
        }
    }
}

/// The address in a line: where `serve` listens, or the first `127.0.0.1:PORT`.
fn address_in(line: &str) -> Option<SocketAddr> {
    let listens = line.split_once("listening on http").and_then(|(_, url)| url.split_once("://"));
    if let Some(address) = listens.and_then(|(_, address)| address.trim().parse().ok()) {
        return Some(address);
    }
    let (_, after) = line.split_once("127.0.0.1:")?;
    let digits = after.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok().map(|port: u16| SocketAddr::from(([127, 0, 0, 1], port)))
}
