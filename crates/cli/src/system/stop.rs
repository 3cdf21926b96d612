//! How a person, or the system, asks the program to stop.

use std::{io, process, thread, time::Duration};

use rustix::process::{Signal as Number, getpid, kill_process};
use tokio::signal::unix::{Signal, SignalKind, signal};

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
            Self::new()?
        };
        thread::Builder::new().name("stop".to_owned()).spawn(move || {
            runtime.block_on(async {
                watched.requested().await;
                // The result makes no difference: both end it.
                let _ = tokio::time::timeout(DEADLINE, watched.requested()).await;
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

/// Counts a Ctrl-C that the line editor has read as a key, which is no signal then: after the next one the program
/// does not wait for anything.
pub(crate) fn ctrl_c_was_typed() {
    // There is nothing to do where it fails: the program ends by itself, a little later.
    let _ = kill_process(getpid(), Number::INT);
}
