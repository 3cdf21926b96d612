//! Outputs that a program may find instead of a terminal or a pipe that is read.

use std::fs::OpenOptions;
use std::io::{PipeReader, PipeWriter, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};

use crate::program;
use sockeye_testing::eventually;

/// What a pipe holds on Linux (pipe(7)).
const PIPE: usize = 64 << 10;

/// What stands behind a file descriptor of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Nothing: the descriptor is closed.
    Closed,
    /// A disk that is full.
    Full,
    /// A pipe whose reader is gone.
    Broken,
}

impl Output {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Closed, Self::Full, Self::Broken];

    fn stdio(self) -> Stdio {
        match self {
            // The shell closes it.
            Self::Closed => Stdio::inherit(),
            Self::Full => {
                OpenOptions::new().write(true).open("/dev/full").expect("/dev/full").into()
            }
            Self::Broken => std::io::pipe().expect("a pipe").1.into(),
        }
    }

    fn closing(self, descriptor: &'static str) -> &'static str {
        match self {
            Self::Closed => descriptor,
            _ => "",
        }
    }
}

/// The program with these arguments and these outputs, and without input; not yet started.
#[must_use]
pub fn command(args: &[&str], stdout: Output, stderr: Output) -> Command {
    let script = format!("exec \"$0\" \"$@\" {} {}", stdout.closing(">&-"), stderr.closing("2>&-"));
    let mut command = Command::new("sh");
    command.args(["-c", &script]).arg(program::path()).args(args).env_remove("RUST_LOG");
    command.stdin(Stdio::null()).stdout(stdout.stdio()).stderr(stderr.stdio());
    command
}

/// A pipe that takes no byte more until its reader reads.
///
/// # Panics
///
/// When there is no pipe.
#[must_use]
pub fn stuck_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    writer.write_all(&[b'\n'; PIPE]).expect("it has room for that");
    (reader, writer)
}

/// A started program, killed when dropped.
#[derive(Debug)]
pub struct Started(Child);

impl Started {
    /// Starts it.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[must_use]
    pub fn new(mut command: Command) -> Self {
        Self(command.spawn().expect("it starts"))
    }

    /// Sends it a signal.
    ///
    /// # Panics
    ///
    /// When it has ended.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(id, signal).expect("it runs");
    }

    /// Whether it still runs.
    #[must_use]
    pub fn is_running(&mut self) -> bool {
        self.0.try_wait().expect("it can be asked").is_none()
    }

    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// If it does not end.
    #[track_caller]
    #[must_use]
    pub fn end(&mut self) -> ExitStatus {
        eventually("the end of the program", || self.0.try_wait().expect("it can be asked"))
    }

    /// Waits until it accepts connections at this address.
    ///
    /// # Panics
    ///
    /// If it ends before that, or never listens.
    #[track_caller]
    pub fn wait_for_listener(&mut self, address: SocketAddr) {
        eventually(format!("a listener at {address}"), || {
            let listens = TcpStream::connect(address).is_ok();
            assert!(listens || self.is_running(), "it ended: {:?}", self.0.wait());
            listens
        });
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A loopback address whose port is free.
///
/// # Panics
///
/// When there is none.
#[must_use]
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address")
}
