//! A line editor at the bottom of the terminal, with what arrives printed above it.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use rustyline::{DefaultEditor, ExternalPrinter, config::Configurer, error::ReadlineError};
use tokio::sync::mpsc;

/// A prompt that is open. When dropped, the terminal is as it was.
pub(crate) struct Prompt {
    printer: Box<dyn ExternalPrinter + Send>,
    terminal: Option<Termios>,
    /// Whether a line is being typed.
    is_reading: Arc<AtomicBool>,
}

impl Prompt {
    /// Opens the prompt: lines come as they are typed, until Ctrl-D. Ctrl-C is the error `Interrupted`.
    pub(crate) fn open() -> anyhow::Result<(mpsc::Receiver<io::Result<Vec<u8>>>, Self)> {
        let terminal = tcgetattr(io::stdin()).ok();
        let mut editor = DefaultEditor::new()?;
        editor.set_auto_add_history(true);
        let printer = Box::new(editor.create_external_printer()?);
        let (sender, lines) = mpsc::channel(1);
        let is_reading = Arc::new(AtomicBool::new(true));
        thread::spawn({
            let is_reading = Arc::clone(&is_reading);
            move || {
                read_lines(editor, &sender);
                is_reading.store(false, Ordering::Relaxed);
            }
        });
        Ok((lines, Self { printer, terminal, is_reading }))
    }

    /// Prints a line above the one that is being typed.
    pub(crate) fn print(&mut self, line: String) -> anyhow::Result<()> {
        Ok(self.printer.print(line + "\n")?)
    }
}

impl Drop for Prompt {
    fn drop(&mut self) {
        if self.is_reading.load(Ordering::Relaxed) {
            // What comes next, the shell's own prompt, does not stand behind ours.
            let _ = io::stdout().write_all(b"\r\n");
        }
        // The editor's thread may be inside a line, and the terminal in its hands.
        if let Some(terminal) = &self.terminal {
            // There is nothing left to do where this fails.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, terminal);
        }
    }
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
