//! How far something long is, on a terminal.

use std::{
    io::{self, IsTerminal},
    time::{Duration, Instant},
};

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use rustix::fs::{FileType, fstat};

/// What is over sooner shows no bar.
const LONG: Duration = Duration::from_millis(500);
/// How often the bar moves.
const STEP: Duration = Duration::from_millis(100);

/// A bar on stderr, where that is a terminal and stdout is not: what is printed there shows how far it is.
pub(crate) struct Progress {
    bar: ProgressBar,
    begun: Instant,
    /// When it is drawn next; `None` where it never is.
    next: Option<Instant>,
    is_shown: bool,
}

impl Progress {
    /// Of something that has that many steps, if that is known: bytes, or messages.
    pub(crate) fn new(length: Option<u64>) -> Self {
        let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::hidden());
        let template = match length {
            Some(_) => "{wide_bar} {percent}% {msg}, {elapsed} of {duration}",
            None => "{spinner} {msg}, {elapsed}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        let begun = Instant::now();
        let is_wanted = io::stderr().is_terminal() && !io::stdout().is_terminal();
        Self { bar, begun, next: is_wanted.then(|| begun + LONG), is_shown: false }
    }

    /// Shows that this many steps are done, and this many messages.
    pub(crate) fn show(&mut self, done: u64, messages: u64) {
        let now = Instant::now();
        let Some(next) = self.next.as_mut().filter(|next| **next <= now) else { return };
        *next = now + STEP;
        let elapsed = self.begun.elapsed();
        if !std::mem::replace(&mut self.is_shown, true) {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        let rate = messages as f64 / elapsed.as_secs_f64();
        let (messages, rate) = (HumanCount(messages), HumanCount(rate as u64));
        self.bar.set_message(format!("{messages} messages, {rate}/s"));
        self.bar.set_position(done);
    }

    /// Does something that writes to stderr, with no bar in its way.
    pub(crate) fn beside(&self, write: impl FnOnce()) {
        self.bar.suspend(write);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// The length of the input, where it is a file.
pub(crate) fn input_length() -> Option<u64> {
    let stat = fstat(io::stdin()).ok()?;
    let is_file = FileType::from_raw_mode(stat.st_mode).is_file();
    is_file.then(|| u64::try_from(stat.st_size).ok()).flatten()
}
