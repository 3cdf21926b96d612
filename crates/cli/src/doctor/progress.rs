//! What is being examined, on a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sockeye_doctor::ExamEvent;

/// How often the line moves.
const TICK: Duration = Duration::from_millis(100);

/// A line on stderr; nothing where that is not a terminal.
pub(super) struct Bar(ProgressBar);

impl Bar {
    pub(super) fn new(is_hidden: bool) -> Self {
        let target = match is_hidden {
            true => ProgressDrawTarget::hidden(),
            false => ProgressDrawTarget::stderr(),
        };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}, {elapsed}") {
            bar.set_style(style);
        }
        Self(bar)
    }

    pub(super) fn show(&self, told: &ExamEvent) {
        let ExamEvent::Begun(checks, waits) = told else { return };
        let names: Vec<_> = checks.iter().map(|check| check.name()).collect();
        let until = waits.map_or(String::new(), |time| format!(" for {} s", time.as_secs()));
        self.0.set_message(format!("{}{until}", names.join(", ")));
        self.0.reset_elapsed();
        self.0.enable_steady_tick(TICK);
    }

    /// Takes the line away while something is printed.
    pub(super) fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        self.0.suspend(print)
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
