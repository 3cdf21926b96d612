//! A line editor at the bottom of the terminal, with what arrives printed above it.

use std::{io, thread};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use rustyline::{DefaultEditor, ExternalPrinter, config::Configurer, error::ReadlineError};
use tokio::sync::mpsc;

use crate::output::complain;

/// A prompt that is open. When dropped, the terminal is as it was.
pub(crate) struct Prompt {
    printer: Box<dyn ExternalPrinter + Send>,
    terminal: Option<Termios>,
}

impl Prompt {
    /// Opens the prompt: lines come as they are typed, until Ctrl-D or Ctrl-C.
    pub(crate) fn open() -> anyhow::Result<(mpsc::Receiver<String>, Self)> {
        let terminal = tcgetattr(io::stdin()).ok();
        let mut editor = DefaultEditor::new()?;
        editor.set_auto_add_history(true);
        let printer = Box::new(editor.create_external_printer()?);
        let (sender, lines) = mpsc::channel(1);
        thread::spawn(move || read_lines(editor, &sender));
        Ok((lines, Self { printer, terminal }))
    }

    /// Prints a line above the one that is being typed.
    pub(crate) fn print(&mut self, line: String) -> anyhow::Result<()> {
        Ok(self.printer.print(line + "\n")?)
    }
}

impl Drop for Prompt {
    fn drop(&mut self) {
        // The editor's thread may be inside a line, and the terminal in its hands.
        if let Some(terminal) = &self.terminal {
            // There is nothing left to do where this fails.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, terminal);
        }
    }
}

fn read_lines(mut editor: DefaultEditor, sender: &mpsc::Sender<String>) {
    loop {
        match editor.readline("> ") {
            Ok(line) => {
                if sender.blocking_send(line).is_err() {
                    return;
                }
            }
            Err(ReadlineError::Eof | ReadlineError::Interrupted) => return,
            Err(error) => {
                complain(format_args!("sockeye: cannot read the terminal: {error}"));
                return;
            }
        }
    }
}
