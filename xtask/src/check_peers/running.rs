//! Programs that run for a check, and end with it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// A program that runs. Killed when dropped.
pub(super) struct Running {
    child: Child,
    /// The first number that a server has told: where it listens.
    port: Option<u16>,
    /// Held open: it may have more to say.
    _output: Vec<thread::JoinHandle<()>>,
}

impl Running {
    /// Starts it, with both outputs kept.
    pub(super) fn start(command: &mut Command) -> Result<Self> {
        let line = format!("{command:?}");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().with_context(|| format!("{line} did not start"))?;
        Ok(Self { child, port: None, _output: Vec::new() })
    }

    /// Starts a server that says in a line where it listens.
    pub(super) fn serve(command: &mut Command) -> Result<Self> {
        let mut running = Self::start(command)?;
        let output = running.child.stdout.take().context("the output is piped")?;
        let mut output = BufReader::new(output).lines();
        let told = output.find_map(|line| port(&line.ok()?)).context("it does not listen")?;
        running.port = Some(told);
        let stderr = running.child.stderr.take();
        running._output.push(thread::spawn(move || output.for_each(drop)));
        running._output.extend(stderr.map(|stderr| {
            // Complaints of a server are expected: it is sent what is wrong.
            thread::spawn(move || BufReader::new(stderr).split(b'\n').for_each(drop))
        }));
        Ok(running)
    }

    /// Where a server listens.
    pub(super) fn port(&self) -> u16 {
        self.port.unwrap_or_default()
    }

    /// The word on stderr that begins like this.
    pub(super) fn line_of_stderr(&mut self, begin: &str) -> Option<String> {
        let mut stderr = BufReader::new(self.child.stderr.take()?);
        let mut line = String::new();
        stderr.read_line(&mut line).ok()?;
        self._output.push(thread::spawn(move || stderr.lines().for_each(drop)));
        line.split([' ', ',']).find(|word| word.starts_with(begin)).map(str::to_owned)
    }

    /// All that it prints, when it ends within that time.
    pub(super) fn output(&mut self, within: Duration) -> Result<String> {
        let mut stdout = self.child.stdout.take().context("the output is piped")?;
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let mut text = String::new();
            // Without a receiver it took too long.
            let _ = sender.send(stdout.read_to_string(&mut text).map(|_| text));
        });
        Ok(receiver.recv_timeout(within).context("it takes too long")??)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The port in a line such as `{"port": 1234}` or `listening on 127.0.0.1:1234`.
fn port(line: &str) -> Option<u16> {
    line.rsplit(|c: char| !c.is_ascii_digit()).find(|digits| !digits.is_empty())?.parse().ok()
}
