//! Signals that servers get beside those that stop them: SIGHUP reloads, and the others that would end a
//! program are ignored.

use std::{convert::Infallible, future::poll_fn, io, sync::Arc, task::Poll};

use rustix::process::Signal as Raw;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::spawn_blocking,
};

use crate::system::stop::Stop;

/// Signals whose default is to end the program, and that mean nothing to a server.
const IGNORED: &[(&str, Raw)] = &[
    ("SIGUSR1", Raw::USR1),
    ("SIGUSR2", Raw::USR2),
    ("SIGQUIT", Raw::QUIT),
    ("SIGALRM", Raw::ALARM),
    ("SIGVTALRM", Raw::VTALARM),
    ("SIGPROF", Raw::PROF),
    // A write past a limit of the system fails instead.
    ("SIGXFSZ", Raw::XFSZ),
    #[cfg(target_os = "linux")]
    ("SIGIO", Raw::IO),
    #[cfg(target_os = "linux")]
    ("SIGPWR", Raw::POWER),
];

/// All that a server listens for, from its creation on: before it has a runtime, and whatever it waits
/// for while it starts. A signal that comes before the runtime does is kept for it.
pub(crate) struct ServerSignals {
    /// The first request to stop.
    pub(crate) stop: Stop,
    /// The same requests, for the second of them.
    pub(crate) again: Stop,
    pub(crate) others: Signals,
}

impl ServerSignals {
    pub(crate) fn new() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let _inside = runtime.enter();
        Ok(Self { stop: Stop::new()?, again: Stop::new()?, others: Signals::new()? })
    }
}

/// Listens for these signals from its creation on; from then on none of them ends the program.
#[derive(Debug)]
pub(crate) struct Signals {
    hangup: Signal,
    ignored: Vec<(&'static str, Signal)>,
}

impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        let ignored = IGNORED.iter().map(|(name, raw)| {
            let heard = signal(SignalKind::from_raw(raw.as_raw()))?;
            Ok((*name, heard))
        });
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            ignored: ignored.collect::<io::Result<_>>()?,
        })
    }

    /// Does `reload` at each SIGHUP, one after the other, on a thread that may wait for a disk; says of the
    /// others that they are ignored.
    pub(crate) async fn heed(mut self, reload: impl Fn() + Send + Sync + 'static) -> Infallible {
        let reload = Arc::new(reload);
        loop {
            tokio::select! {
                _ = self.hangup.recv() => {
                    let reload = Arc::clone(&reload);
                    // A panic in it is in the log already.
                    let _ = spawn_blocking(move || reload()).await;
                }
                names = next(&mut self.ignored) => tracing::warn!(
                    "ignored: {}; SIGTERM stops the server, SIGHUP reads its configuration again",
                    names.join(" and ")
                ),
            }
        }
    }
}

/// The names of the next signals that come.
async fn next(signals: &mut [(&'static str, Signal)]) -> Vec<&'static str> {
    poll_fn(|cx| {
        // All are asked, so that each of them wakes this up.
        let come = signals.iter_mut().filter_map(|(name, heard)| match heard.poll_recv(cx) {
            Poll::Ready(_) => Some(*name),
            Poll::Pending => None,
        });
        let names: Vec<_> = come.collect();
        if names.is_empty() { Poll::Pending } else { Poll::Ready(names) }
    })
    .await
}
