//! What the program prints: results on stdout, complaints on stderr. Neither ends it by a panic.
//!
//! `println!` and `eprintln!` panic when the other end of a pipe is gone or a disk is full, so that the
//! lints `print_stdout` and `print_stderr` forbid them.

use std::{
    fmt,
    future::pending,
    io::{self, IsTerminal, Write},
    sync::mpsc,
    thread,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};
use tokio::sync::oneshot;

use crate::terminal::visible;

/// How long the last line of the program waits for a stderr that takes nothing.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Stdout does not take what is printed.
#[derive(Debug)]
pub(crate) struct OutputError(io::Error);

impl OutputError {
    /// The reader of the output has closed it.
    pub(crate) fn closed() -> Self {
        Self(io::ErrorKind::BrokenPipe.into())
    }

    /// Whether the reader of the output has closed it, as `head` does: no failure.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.kind() == io::ErrorKind::BrokenPipe
    }
}

impl fmt::Display for OutputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot write the output: {}", self.0)
    }
}

impl std::error::Error for OutputError {}

impl From<io::Error> for OutputError {
    fn from(error: io::Error) -> Self {
        Self(error)
    }
}

/// Prints a line at once, also into a pipe.
///
/// # Errors
///
/// Whatever the system says of the write; the caller decides whether that matters.
pub(crate) fn print_line(line: &str) -> Result<(), OutputError> {
    print_with(|out| out.write_all(line.as_bytes()))
}

/// Prints what `write` writes, as a line, at once. On a terminal control characters are written out:
/// peers have chosen much of it.
///
/// # Errors
///
/// As those of [`print_line`].
pub(crate) fn print_with(
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), OutputError> {
    print_ended(b'\n', write)
}

/// The same with another byte at its end.
///
/// # Errors
///
/// As those of [`print_line`].
pub(crate) fn print_ended(
    end: u8,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), OutputError> {
    let mut out = io::stdout().lock();
    if out.is_terminal() {
        let mut text = Vec::new();
        write(&mut text)?;
        out.write_all(visible::lines(&String::from_utf8_lossy(&text)).as_bytes())?;
    } else {
        write(&mut out)?;
    }
    out.write_all(&[end])?;
    Ok(out.flush()?)
}

/// Prints this and nothing behind it. On a terminal its control characters have to be our own.
///
/// # Errors
///
/// As those of [`print_line`].
pub(crate) fn print_as_it_is(text: impl AsRef<[u8]>) -> Result<(), OutputError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_ref())?;
    Ok(out.flush()?)
}

/// Tells when the reader of a pipe that stdout is has closed it, as `head` does: nothing more is worth waiting for. A
/// write would tell it, and may be long in coming.
#[derive(Debug)]
pub(crate) struct OutputReader(Option<oneshot::Receiver<()>>);

impl OutputReader {
    /// Watches it from now on, by a thread that lasts as long as the program.
    pub(crate) fn watch() -> Self {
        let (gone, is_gone) = oneshot::channel();
        // Without a thread the next write tells it.
        let _ = thread::Builder::new().spawn(move || {
            let stdout = io::stdout();
            loop {
                // With no events asked for, it returns for errors alone.
                let mut polled = [PollFd::new(&stdout, PollFlags::empty())];
                match poll(&mut polled, None) {
                    Ok(_) if polled[0].revents().contains(PollFlags::ERR) => {
                        return gone.send(()).ok();
                    }
                    Err(Errno::INTR) => {}
                    Ok(_) | Err(_) => return None,
                }
            }
        });
        Self(Some(is_gone))
    }

    /// Ready once, when it has gone. Never ready for anything else.
    pub(crate) async fn gone(&mut self) {
        let is_told = match &mut self.0 {
            Some(is_gone) => is_gone.await.is_ok(),
            None => false,
        };
        self.0 = None;
        if !is_told {
            pending().await
        }
    }
}

/// Ready when the reader of the output has gone, for a command that waits for it once.
pub(crate) async fn reader_gone() {
    OutputReader::watch().gone().await;
}

/// Prints what a server says of itself when it begins. Clients are served whether or not stdout takes it,
/// so that a thread waits for that.
pub(crate) fn announce(text: String) {
    // Without a thread nothing is printed, and the server serves.
    let _ = thread::Builder::new().spawn(move || print_line(&text));
}

/// Says a line on stderr, if stderr takes it. Control characters are written out: a peer may have chosen
/// them.
pub(crate) fn complain(line: impl fmt::Display) {
    // In one write, so that lines of several threads do not mix.
    let line = format!("{}\n", visible::line(&line.to_string()));
    let _ = io::stderr().write_all(line.as_bytes());
}

/// The same for the line that the program ends with: a stderr that takes nothing does not keep the
/// program from its end.
pub(crate) fn complain_at_the_end(line: impl fmt::Display) {
    let line = line.to_string();
    let (done, written) = mpsc::channel();
    // Without a thread the line waits like any other.
    let spawned = thread::Builder::new().spawn({
        let line = line.clone();
        move || {
            complain(line);
            let _ = done.send(());
        }
    });
    match spawned {
        Ok(_) => drop(written.recv_timeout(LAST_WORDS)),
        Err(_) => complain(line),
    }
}

/// The error and its causes, each said once: some errors quote their cause, some do not.
pub(crate) fn in_one_line(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |line, cause| {
        match (line.is_empty(), line.contains(&cause)) {
            (true, _) => cause,
            (false, true) => line,
            (false, false) => format!("{line}: {cause}"),
        }
    })
}
