//! Real WebSocket clients and servers in other languages: the scripts in `interop/`.
//!
//! A script prints one JSON object per line, and exits with a failure when a check does not hold.

use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::build_directory;
use crate::tls::Certificates;
use sockeye_testing::PATIENCE;

/// The languages that scripts come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Node.js, with `ws`.
    Node,
    /// Python, with `websockets`.
    Python,
}

/// A running script.
#[derive(Debug)]
pub struct Script {
    child: Child,
    lines: Receiver<String>,
}

impl Script {
    /// Starts `interop/<name>.py` or `interop/<name>.mjs`, which trusts the authority of these
    /// certificates, besides or instead of the system's.
    #[must_use]
    pub fn start(language: Language, name: &str, args: &[&str], trusted: &Certificates) -> Self {
        let (program, file) = match language {
            Language::Node => (PathBuf::from("node"), format!("interop/{name}.mjs")),
            Language::Python => (python(), format!("interop/{name}.py")),
        };
        let mut command = Command::new(program);
        for name in ["NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE"] {
            command.env(name, trusted.authority());
        }
        command.arg(folder().join(file)).args(args);
        Self::spawn(&mut command)
    }

    /// Starts a program that reports as scripts do.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[must_use]
    pub fn spawn(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("`cargo xtask test interop` installs its programs");
        let output = BufReader::new(child.stdout.take().expect("the output is piped"));
        let (pass_on, lines) = mpsc::channel();
        thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|line| pass_on.send(line))
        });
        Self { child, lines }
    }

    /// Waits for the next thing it reports; `None` when it has no more to say.
    ///
    /// # Panics
    ///
    /// When it says nothing in time.
    pub fn report(&mut self) -> Option<Value> {
        let line = match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => panic!("the script says nothing"),
        };
        Some(serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}")))
    }

    /// The next thing it reports, if that comes within this time.
    ///
    /// # Errors
    ///
    /// When it is not JSON, or the script has ended.
    pub fn report_within(&mut self, time: Duration) -> io::Result<Option<Value>> {
        match self.lines.recv_timeout(time) {
            Ok(line) => Ok(Some(serde_json::from_str(&line)?)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Waits for its end, which must be a success.
    pub fn finish(mut self) {
        let status = self.child.wait().expect("the script can be waited for");
        assert!(status.success(), "the script failed: {status}");
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The folder of this crate.
#[must_use]
pub fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Python of the environment that `cargo xtask test` makes.
#[must_use]
pub fn python() -> PathBuf {
    let python = build_directory().with_file_name("python").join("bin/python");
    assert!(
        python.exists(),
        "no Python environment at {}: `cargo xtask test interop` makes it",
        python.display()
    );
    python
}
