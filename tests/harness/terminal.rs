//! The program on a terminal: what a person types, and all that the terminal is told.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::PATIENCE;
use crate::program::path;

/// A program whose outputs, and input if nobody gives it another, are a pseudo-terminal. Killed when
/// dropped.
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    keyboard: File,
    shown: Arc<Mutex<String>>,
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

    fn open(args: &[&str], input: impl FnOnce(File) -> Stdio) -> Self {
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
        let mut command = Command::new(path());
        command.args(args).env_remove("RUST_LOG").env("TERM", "xterm");
        command.stdin(input(screen())).stdout(screen()).stderr(screen());
        let child = command.spawn().expect("the program starts");
        // With the last of the other ends the terminal is over.
        drop(command);
        let keyboard = File::from(master);
        let shown = Arc::default();
        let reader = follow(keyboard.try_clone().expect("a second handle"), Arc::clone(&shown));
        Self { child, keyboard, shown, reader: Some(reader) }
    }

    /// Types this.
    pub fn press(&mut self, keys: impl AsRef<[u8]>) {
        self.keyboard.write_all(keys.as_ref()).expect("the terminal takes it");
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
        let deadline = Instant::now() + PATIENCE;
        while !is_done(&self.shown()) {
            assert!(Instant::now() < deadline, "{:?} was shown", self.shown());
            thread::sleep(Duration::from_millis(10));
        }
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

/// Keeps what is shown until nobody has the terminal open any more, which is an error to read (EIO).
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
