//! The program on a terminal: what a person types, and all that the terminal is told.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::num::NonZero;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::program::path;
use sockeye_testing::eventually;

/// A program whose outputs, and input unless it is given another, are a pseudo-terminal. Killed when
/// dropped.
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    keyboard: File,
    shown: Arc<Mutex<String>>,
    columns: u16,
    reader: Option<JoinHandle<()>>,
}

impl Terminal {
    /// Starts the program; what is typed goes to it.
    #[must_use]
    pub fn start(args: &[&str]) -> Self {
        Self::open(args, |screen| screen.into())
    }

    /// Starts the program with an empty input.
    #[must_use]
    pub fn start_without_input(args: &[&str]) -> Self {
        Self::open(args, |_| Stdio::null())
    }

    /// Starts a line of the shell as a person types it, in a session of its own: Ctrl-C and a new size
    /// are signals to what runs there. The program is `sockeye`.
    #[must_use]
    pub fn shell(line: &str) -> Self {
        let mut command = Command::new("setsid");
        // A shell of scripts would end with the signal; a person's goes on, with what the line ended with.
        command.args(["--ctty", "--wait", "sh", "-c", &format!("trap : INT; {line}")]);
        Self::spawn(command, |screen| screen.into())
    }

    fn open(args: &[&str], input: impl FnOnce(File) -> Stdio) -> Self {
        let mut command = Command::new(path());
        command.args(args);
        Self::spawn(command, input)
    }

    fn spawn(mut command: Command, input: impl FnOnce(File) -> Stdio) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
        grantpt(&master).expect("it is ours");
        unlockpt(&master).expect("it is ours");
        let name = ptsname(&master, Vec::new()).expect("it has a name");
        let name = name.to_str().expect("a plain name").to_owned();
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        std::os::unix::fs::OpenOptionsExt::custom_flags(
            &mut options,
            OFlags::NOCTTY.bits().cast_signed(),
        );
        let screen = || options.open(&name).expect("its other end");
        tcsetwinsize(&master, size(ROWS, COLUMNS)).expect("a size");
        command.env("PATH", path_of_shells()).env_remove("RUST_LOG").env("TERM", "xterm");
        command.stdin(input(screen())).stdout(screen()).stderr(screen());
        let child = command.spawn().expect("the program starts");
        // With the last of the other ends the terminal is over.
        drop(command);
        let keyboard = File::from(master);
        let shown = Arc::default();
        let reader = follow(keyboard.try_clone().expect("a second handle"), Arc::clone(&shown));
        Self { child, keyboard, shown, columns: COLUMNS, reader: Some(reader) }
    }

    /// Gives the terminal another width.
    pub fn resize(&mut self, columns: u16) {
        self.columns = columns;
        tcsetwinsize(&self.keyboard, size(ROWS, columns)).expect("a size");
    }

    /// The lines on the screen, as a person sees them, without blanks at their ends and empty lines below.
    #[must_use]
    pub fn screen(&self) -> Vec<String> {
        let (rows, columns) = (NonZero::new(ROWS), NonZero::new(self.columns));
        let (rows, columns) = rows.zip(columns).expect("a terminal has a size");
        let mut parser = vt100::Parser::new(rows, columns, 0);
        parser.process(self.shown().as_bytes());
        let lines = parser.screen().rows(0, self.columns).map(|line| line.trim_end().to_owned());
        let mut lines: Vec<_> = lines.collect();
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        lines
    }

    /// Waits until the screen is as it should be.
    #[track_caller]
    pub fn wait_for_screen(&self, is_right: impl Fn(&[String]) -> bool) {
        eventually("the screen is as it should be", || {
            let lines = self.screen();
            if is_right(&lines) { Ok(()) } else { Err(lines) }
        });
    }

    /// Types this.
    pub fn press(&mut self, keys: impl AsRef<[u8]>) {
        self.keyboard.write_all(keys.as_ref()).expect("the terminal takes it");
    }

    /// Types a text into a line editor, as a person does: one key after the other, each when the one before
    /// it is shown.
    #[track_caller]
    pub fn type_text(&mut self, text: &str) {
        for key in text.chars() {
            self.press_and_see(&key.to_string());
        }
    }

    /// Presses a key, and waits until it shows.
    #[track_caller]
    pub fn press_and_see(&mut self, key: &str) {
        let before = self.shown().len();
        self.press(key);
        self.wait_until(|shown| shown.len() > before);
    }

    /// Everything that was shown so far.
    #[must_use]
    pub fn shown(&self) -> String {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until this was shown.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        self.wait_until(|shown| shown.contains(text));
    }

    /// Waits until what was shown is as it should be.
    #[track_caller]
    pub fn wait_until(&self, is_done: impl Fn(&str) -> bool) {
        eventually("the terminal shows what it should", || {
            let shown = self.shown();
            if is_done(&shown) { Ok(()) } else { Err(shown) }
        });
    }

    /// Waits for the program's end, and gives all that was shown.
    #[must_use]
    pub fn finish(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().expect("it can be waited for");
        if let Some(reader) = self.reader.take() {
            reader.join().expect("reading does not fail");
        }
        (status, self.shown())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The size of a terminal at its start.
const ROWS: u16 = 24;
const COLUMNS: u16 = 80;

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

/// `PATH` with the folder of the program before all others.
#[must_use]
pub fn path_of_shells() -> std::ffi::OsString {
    let mut folders = vec![path().parent().expect("a folder").to_owned()];
    folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    std::env::join_paths(folders).expect("plain names")
}

/// Keeps what is shown until no process has the terminal open, which is an error to read (EIO).
fn follow(mut screen: File, shown: Arc<Mutex<String>>) -> JoinHandle<()> {
    thread::spawn(move || {
        let (mut buffer, mut bytes) = ([0; 4096], Vec::new());
        while let Ok(count @ 1..) = screen.read(&mut buffer) {
            bytes.extend_from_slice(&buffer[..count]);
            // A character may be cut; it is whole with the next read.
            let text = String::from_utf8_lossy(&bytes).into_owned();
            *shown.lock().unwrap_or_else(PoisonError::into_inner) = text;
        }
    })
}
