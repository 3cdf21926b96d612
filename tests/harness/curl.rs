//! curl, as a user has it: requests that are answered, and streams that go on.

use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use sockeye_testing::PATIENCE;

/// What curl prints for these arguments, which must be answered well and in time.
///
/// # Panics
///
/// When it fails.
#[must_use]
pub fn curl(args: &[&str]) -> String {
    let time = PATIENCE.as_secs().to_string();
    let output = Command::new("curl")
        .args(["-sS", "--fail-with-body", "--max-time", &time])
        .args(args)
        .output()
        .expect("`cargo xtask test` installs curl");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "curl {}: {why}{text}", args.join(" "));
    text
}

/// The status of the answer to a request with these arguments, which must come in time.
///
/// # Panics
///
/// When none comes.
#[must_use]
pub fn status(args: &[&str]) -> u16 {
    let time = PATIENCE.as_secs().to_string();
    let output = Command::new("curl")
        .args(["-sS", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", &time])
        .args(args)
        .output()
        .expect("`cargo xtask test` installs curl");
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "curl {}: {why}", args.join(" "));
    String::from_utf8_lossy(&output.stdout).parse().expect("a status")
}

/// `curl -N`: a stream, shown as it comes. It ends when dropped.
#[derive(Debug)]
pub struct Stream {
    child: Child,
    pieces: Receiver<String>,
    text: String,
}

impl Stream {
    /// Opens a stream with these arguments besides.
    #[must_use]
    pub fn open(args: &[&str]) -> Self {
        let mut command = Command::new("curl");
        command.args(["-sN"]).args(args).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("`cargo xtask test` installs curl");
        let mut output = child.stdout.take().expect("the output is piped");
        let (pass_on, pieces) = mpsc::channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                let _ = pass_on.send(String::from_utf8_lossy(&buffer[..count]).into_owned());
            }
        });
        Self { child, pieces, text: String::new() }
    }

    /// Waits until it has shown `wanted`; gives all it has shown.
    ///
    /// # Panics
    ///
    /// When that does not come.
    pub fn until(&mut self, wanted: &str) -> &str {
        self.until_within(PATIENCE, wanted)
    }

    /// The same for what takes its time.
    ///
    /// # Panics
    ///
    /// When that does not come.
    pub fn until_within(&mut self, time: Duration, wanted: &str) -> &str {
        let deadline = Instant::now() + time;
        while !self.text.contains(wanted) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.pieces.recv_timeout(left) {
                Ok(piece) => self.text.push_str(&piece),
                Err(why) => {
                    let curl = self.child.try_wait();
                    panic!("{why}: no {wanted:?} in {:?}; curl: {curl:?}", self.text);
                }
            }
        }
        &self.text
    }

    /// Waits for the end of the stream; gives all it has shown.
    ///
    /// # Panics
    ///
    /// When it does not end.
    pub fn rest(&mut self) -> &str {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.pieces.recv_timeout(left) {
                Ok(piece) => self.text.push_str(&piece),
                Err(RecvTimeoutError::Disconnected) => return &self.text,
                Err(RecvTimeoutError::Timeout) => panic!("it goes on: {:?}", self.text),
            }
        }
    }

    /// Whether it has ended, without waiting.
    pub fn has_ended(&mut self) -> bool {
        loop {
            match self.pieces.try_recv() {
                Ok(piece) => self.text.push_str(&piece),
                Err(why) => return why == TryRecvError::Disconnected,
            }
        }
    }

    /// What it has shown so far, without waiting.
    pub fn so_far(&mut self) -> &str {
        self.text.extend(self.pieces.try_iter());
        &self.text
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
