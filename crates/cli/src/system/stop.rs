//! How a person, or the system, asks the program to stop.

use std::{io, process, thread, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

use crate::terminal::prompt;

/// How long a client may take to end after it was asked to.
const DEADLINE: Duration = Duration::from_secs(10);

/// Listens for Ctrl-C and SIGTERM, from its creation on: create it before it is said that the
/// program runs.
pub(crate) struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The same for a client, which ends by itself soon after it was asked to. It may be unable to: it
    /// prints, and waits for an output that takes nothing. Then it ends at the second request, or a few
    /// seconds after the first.
    pub(crate) fn with_deadline() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut watched = {
            let _inside = runtime.enter();
            Requests::new()?
        };
        thread::Builder::new().name("stop".to_owned()).spawn(move || {
            runtime.block_on(async {
                watched.next().await;
                // The result makes no difference: both end it.
                let _ = tokio::time::timeout(DEADLINE, watched.next()).await;
            });
            prompt::restore();
            process::exit(1);
        })?;
        Self::new()
    }

    /// Ready when the program is asked to stop; again when it is asked again.
    pub(crate) async fn requested(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// The same, and Ctrl-C that is read as a key. Two signals that come before a thread has run are one to it: a key that
/// is counted stays apart from the signal of the next one.
struct Requests {
    stop: Stop,
    typed: watch::Receiver<u64>,
    /// How many of the keys were told.
    told: u64,
}

impl Requests {
    fn new() -> io::Result<Self> {
        let typed = prompt::interrupts();
        let told = *typed.borrow();
        Ok(Self { stop: Stop::new()?, typed, told })
    }

    async fn next(&mut self) {
        tokio::select! {
            () = self.stop.requested() => {}
            // The sender is never gone.
            _ = self.typed.wait_for(|count| *count > self.told) => self.told += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    #[tokio::test]
    async fn a_key_and_the_signal_after_it_are_two_requests_however_late_they_are_seen() {
        let mut requests = Requests::new().expect("it listens");
        prompt::count_interrupt();
        kill_process(getpid(), Signal::INT).expect("it is ours");
        requests.next().await;
        requests.next().await;
    }
}
