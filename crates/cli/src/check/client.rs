//! A client that connects again and again: each connection is the next case.

use std::{
    convert::Infallible,
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::Context as _;
use sockeye::tls::ServerTls;
use sockeye_check::{Accepted, Connections, Report, check_client};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    time::{sleep, timeout},
};

use super::{Check, progress::Bar};
use crate::{flags::listening, system::stop::Stop, terminal::output::complain};

pub(super) async fn check(check: &Check, address: &str) -> anyhow::Result<(String, Report)> {
    let mut stop = Stop::new()?;
    let tls = check.certificate.read()?;
    // Without a host, every address of this machine.
    let bound =
        if address.starts_with(':') { format!("[::]{address}") } else { address.to_owned() };
    let listener = TcpListener::bind(&bound).await;
    let listener = listener
        .map_err(listening::advised)
        .with_context(|| format!("cannot listen on {address}"))?;
    let scheme = if tls.is_some() { "wss" } else { "ws" };
    let url = format!("{scheme}://{}", listener.local_addr()?);
    let options = check.options();
    let count = options.cases(sockeye_check::Role::Client).len();
    complain(format_args!(
        "{count} cases: connect to {url} again and again, several times at once if you like, and send \
         every message back, until connections are refused. Ctrl-C ends it with what was found"
    ));
    let (sender, mut connections) = Connections::new();
    let bar = Bar::new();
    let show = |progress| bar.show(progress);
    let accepting = Accepting {
        tls,
        sender,
        deadline: check.timeout.0,
        has_failed: Arc::default(),
        waiting: Arc::new(Semaphore::new(WAITING)),
    };
    tokio::select! {
        report = check_client(&mut connections, &options, &show, stop.requested()) => {
            Ok((format!("the client of {url}"), report?))
        }
        never = accepting.accept(&listener) => match never {},
    }
}

/// How many connections that are no case yet are accepted; others wait in the system's queue.
const WAITING: usize = 64;

/// How long to wait when no connection can be accepted: there are no descriptors, say.
const PAUSE: Duration = Duration::from_millis(50);

/// What becomes of connections.
#[derive(Clone)]
struct Accepting {
    tls: Option<ServerTls>,
    sender: mpsc::Sender<Accepted>,
    /// How long a client may take to agree on TLS.
    deadline: Duration,
    /// Whether a client has failed to agree on TLS, which is told once.
    has_failed: Arc<AtomicBool>,
    /// Held while a connection is no case yet.
    waiting: Arc<Semaphore>,
}

impl Accepting {
    /// Gives away every connection.
    async fn accept(self, listener: &TcpListener) -> Infallible {
        let mut is_told = false;
        loop {
            let place = Arc::clone(&self.waiting).acquire_owned().await;
            match listener.accept().await {
                Ok((stream, _)) => {
                    // Without it, small frames wait for acknowledgements.
                    let _ = stream.set_nodelay(true);
                    let giving = self.clone().give(stream);
                    tokio::spawn(async move {
                        let _place = place;
                        giving.await;
                    });
                }
                // What was found until now is worth more than this connection.
                Err(error) => {
                    if !mem::replace(&mut is_told, true) {
                        complain(format_args!("cannot accept a connection: {error}"));
                    }
                    sleep(PAUSE).await;
                }
            }
        }
    }

    async fn give(self, stream: TcpStream) {
        let accepted = match &self.tls {
            None => Accepted(Box::pin(stream)),
            Some(tls) => match timeout(self.deadline, tls.accept(stream)).await {
                Ok(Ok(stream)) => Accepted(Box::pin(stream)),
                Ok(Err(error)) => return self.fails(&error.to_string()),
                Err(_) => return self.fails("it takes too long"),
            },
        };
        // When all cases are judged, it is dropped.
        let _ = self.sender.send(accepted).await;
    }

    fn fails(&self, why: &str) {
        if !self.has_failed.swap(true, Relaxed) {
            complain(format_args!("a client does not agree on TLS: {why}"));
        }
    }
}
