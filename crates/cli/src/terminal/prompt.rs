//! A line editor at the bottom of the terminal, with what arrives printed above it.
//!
//! The editor has the terminal only while it reads a line. In between, keys are kept for the next line as they were
//! pressed: neither shown by the terminal itself nor taken for its own commands, by which Ctrl-D would be lost.

use std::{
    io::{self, Write},
    sync::{
        Arc, LazyLock, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use rustix::termios::{InputModes, LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use rustyline::{DefaultEditor, ExternalPrinter, config::Configurer, error::ReadlineError};
use tokio::sync::{Semaphore, mpsc, watch};

/// How the terminal was before there was a prompt, while there is one.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// How often Ctrl-C was read as a key.
static INTERRUPTS: LazyLock<watch::Sender<u64>> = LazyLock::new(|| watch::Sender::new(0));

/// A prompt that is open. When dropped, the terminal is as it was.
pub(crate) struct Prompt {
    printer: Box<dyn ExternalPrinter + Send>,
    /// Whether a line is being typed.
    is_reading: Arc<AtomicBool>,
}

impl Prompt {
    /// Opens the prompt: lines come as they are typed, until Ctrl-D. Ctrl-C is the error `Interrupted`.
    pub(crate) fn open() -> anyhow::Result<(mpsc::Receiver<io::Result<Vec<u8>>>, Self)> {
        let mut editor = DefaultEditor::new()?;
        editor.set_auto_add_history(true);
        let printer = Box::new(editor.create_external_printer()?);
        keep_keys();
        // The editor waits for nothing, whatever was pasted: printing waits for it, and what takes the lines may print.
        let (sender, lines) = mpsc::channel(Semaphore::MAX_PERMITS);
        let is_reading = Arc::new(AtomicBool::new(true));
        thread::spawn({
            let is_reading = Arc::clone(&is_reading);
            move || {
                read_lines(editor, &sender);
                is_reading.store(false, Ordering::Relaxed);
            }
        });
        Ok((lines, Self { printer, is_reading }))
    }

    /// Prints a line above the one that is being typed.
    pub(crate) fn print(&mut self, line: String) -> anyhow::Result<()> {
        let line = line + "\n";
        match self.printer.print(line.clone()) {
            Ok(()) => Ok(()),
            // The editor has ended meanwhile.
            Err(_) => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(line.as_bytes())?;
                Ok(stdout.flush()?)
            }
        }
    }
}

impl Drop for Prompt {
    fn drop(&mut self) {
        if self.is_reading.load(Ordering::Relaxed) {
            // What comes next, the shell's own prompt, does not stand behind ours.
            let _ = io::stdout().write_all(b"\r\n");
        }
        // The editor's thread may be inside a line, and the terminal in its hands.
        restore();
    }
}

/// Leaves the keys that are pressed between two lines to the editor.
fn keep_keys() {
    let Ok(before) = tcgetattr(io::stdin()) else { return };
    let mut kept = before.clone();
    kept.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::IEXTEN);
    kept.input_modes.remove(InputModes::ICRNL | InputModes::IXON);
    // Where this fails the terminal is as before.
    let _ = tcsetattr(io::stdin(), OptionalActions::Now, &kept);
    *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
}

/// Gives the terminal back as it was, if there is a prompt: also for a program that ends at once.
pub(crate) fn restore() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(before) = before {
        // There is nothing left to do where this fails.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
    }
}

/// How often Ctrl-C was read as a key, which is no signal then.
pub(crate) fn interrupts() -> watch::Receiver<u64> {
    INTERRUPTS.subscribe()
}

/// Counts Ctrl-C.
pub(crate) fn count_interrupt() {
    INTERRUPTS.send_modify(|count| *count += 1);
}

fn read_lines(mut editor: DefaultEditor, sender: &mpsc::Sender<io::Result<Vec<u8>>>) {
    loop {
        match editor.readline("> ") {
            Ok(line) => {
                if sender.blocking_send(Ok(line.into_bytes())).is_err() {
                    return;
                }
            }
            Err(ReadlineError::Eof) => return,
            Err(ReadlineError::Interrupted) => {
                // Also where no line is taken any more.
                count_interrupt();
                let _ = sender.blocking_send(Err(io::ErrorKind::Interrupted.into()));
                return;
            }
            Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
                let wrong = "what was typed is not UTF-8: --binary sends bytes, from a pipe";
                let _ = sender.blocking_send(Err(io::Error::other(wrong)));
                return;
            }
            Err(error) => {
                // The receiver may be gone.
                let _ = sender.blocking_send(Err(io::Error::other(error)));
                return;
            }
        }
    }
}
