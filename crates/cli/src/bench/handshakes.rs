//! `sockeye bench handshakes`: connections opened and closed again, as fast as it goes.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use clap::Args;
use futures_util::future::try_join_all;
use sockeye::CloseCode;

use super::Common;
use super::echo::positive;
use super::report::{HANDSHAKES, Report};
use super::run::{self, Start, Tally};

/// Open WebSockets and close them again
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sockeye bench handshakes ws://127.0.0.1:9001 --json
  sockeye bench handshakes wss://localhost:9443/c/chat --cacert authority.pem --in-flight 64")]
pub(super) struct Handshakes {
    /// How many handshakes are under way at once
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = positive)]
    in_flight: usize,

    #[command(flatten)]
    pub(super) common: Common,
}

impl Handshakes {
    pub(super) fn run(self) -> anyhow::Result<Report> {
        let threads = self.common.threads().min(self.in_flight);
        let watched = self.common.watched()?;
        let outcome =
            run::run(threads, self.common.window(), watched.as_ref(), |thread, start| {
                self.load(thread, threads, start)
            })?;
        let title = format!("handshakes: {} at once, each closed again", self.in_flight);
        Ok(Report::of(&HANDSHAKES, title, outcome))
    }

    async fn load(&self, thread: usize, threads: usize, start: Start) -> anyhow::Result<Tally> {
        let times = start.all_open().await?;
        let tally = Rc::new(RefCell::new(Tally::default()));
        let loads = (thread..self.in_flight).step_by(threads).map(|first| {
            let (times, tally) = (times.clone(), Rc::clone(&tally));
            async move {
                // Ports that were used wait for a minute: each turn takes another source address.
                let mut number = first;
                while Instant::now() < times.until {
                    let begun = Instant::now();
                    let mut socket = self.common.target.open(number).await?;
                    tally.borrow_mut().message(&times, begun, 0);
                    socket.close(CloseCode::NORMAL).await;
                    number = number.wrapping_add(10_007);
                }
                anyhow::Ok(())
            }
        });
        try_join_all(loads).await?;
        Ok(Rc::into_inner(tally).map(RefCell::into_inner).unwrap_or_default())
    }
}
