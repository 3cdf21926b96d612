//! `sockeye echo`: every message back, unchanged.

use std::{
    convert::Infallible,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::anyhow;
use clap::Args;
use futures_util::future::join_all;
use sockeye::{
    Config, DeflateConfig, Incoming, Keepalive, Origins, Server, TrySendError, tls::ServerTls,
};
use tokio::{net::TcpListener, runtime::Runtime, sync::mpsc};
use tokio_util::sync::CancellationToken;

use crate::{
    flags::certificate::Certificate,
    flags::compression::Compression,
    flags::listening,
    flags::units::{Size, Switch, listen_address, number, some_size, time_or_off},
    system::processors,
    system::signals::ServerSignals,
    terminal::output::announce,
};

/// How long clients may take to answer the Close when the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Serve WebSockets that send every message back, unchanged
///
/// Text comes back as text, binary as binary. For trying out clients; pages of any origin may
/// connect.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sockeye echo
  sockeye echo --listen 127.0.0.1:9002 --max-message 16M
  sockeye echo --tls-cert chain.pem --tls-key key.pem
  sockeye connect ws://127.0.0.1:9001")]
pub(crate) struct Echo {
    /// Where to listen: an address, of a name all that it has, or :PORT for every address of this
    /// machine; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9001", value_parser = listen_address)]
    listen: String,

    #[command(flatten)]
    certificate: Certificate,

    /// Whether to compress messages where clients offer it (permessage-deflate); with takeover, a
    /// message may refer to earlier ones where clients allow it: smaller, for memory per connection
    #[arg(long, value_name = "on|off|takeover", default_value = "on")]
    deflate: Compression,

    /// How much memory messages of clients that refer to earlier ones may take in all: 32 KiB for each
    /// client that compresses so. Beyond it clients are asked not to
    #[arg(long, value_name = "SIZE", default_value = "64M")]
    max_deflate_memory: Size,

    /// The largest message, such as 64k or 16M; a larger one is answered with close code 1009
    #[arg(long, value_name = "SIZE", default_value = "1M", value_parser = some_size)]
    max_message: Size,

    /// The most frames that one message may come in
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = number::<usize>)]
    max_fragments: usize,

    /// Ping clients that are silent for this long, such as 25s; or off
    #[arg(long, value_name = "TIME", default_value = "25s", value_parser = time_or_off)]
    keepalive: Switch,

    /// How many threads serve connections [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = number::<u16>)]
    workers: Option<u16>,
}

impl Echo {
    pub(crate) fn run(self, signals: ServerSignals) -> anyhow::Result<()> {
        runtime()?.block_on(Arc::new(self).serve(signals))
    }

    /// Serves with this thread and as many others as are wanted, until asked to stop.
    ///
    /// Each has a runtime of its own, and sees the connections that it accepts to their end: none waits
    /// for another. They share the listening sockets, so that a second server on the port is refused.
    async fn serve(self: Arc<Self>, signals: ServerSignals) -> anyhow::Result<()> {
        let ServerSignals { stop: mut requests, others, .. } = signals;
        let tls = self.certificate.read()?;
        tokio::spawn(others.heed(self.certificate.reload(tls.clone())));
        let scheme = if tls.is_some() { "wss" } else { "ws" };
        let listeners = listening::bind(&self.listen).await?;
        let addresses = listeners.iter().map(std::net::TcpListener::local_addr);
        let greeting = addresses
            .map(|address| Ok(format!("listening on {scheme}://{}", address?)))
            .collect::<std::io::Result<Vec<_>>>()?
            .join("\n");
        let stop = CancellationToken::new();
        let (running, mut ended) = mpsc::channel::<Infallible>(1);
        let deflate = self.deflate.server(self.max_deflate_memory);
        let start = |_| {
            let deflate = deflate.clone();
            let (echo, tls, stop, running) =
                (self.clone(), tls.clone(), stop.clone(), running.clone());
            let listeners = duplicates(&listeners)?;
            Ok(thread::spawn(move || {
                // If one fails, all stop.
                let _until_the_end = (running, stop.clone().drop_guard());
                runtime()?.block_on(echo.work(listeners, tls, deflate, stop))
            }))
        };
        let others = (1..self.threads()).map(start).collect::<std::io::Result<Vec<_>>>()?;
        drop(running);
        announce(greeting);
        // In a task of its own: a connection that comes wakes nothing but that.
        let here = {
            let (echo, stop) = (self.clone(), stop.clone());
            tokio::spawn(async move { echo.work(listeners, tls, deflate, stop).await })
        };
        let work = async {
            here.await.map_err(|_| anyhow!("a thread panicked"))??;
            ended.recv().await;
            let mut results = others.into_iter().map(JoinHandle::join);
            results.try_for_each(|result| result.map_err(|_| anyhow!("a thread panicked"))?)
        };
        let second_request = async {
            requests.requested().await;
            stop.cancel();
            requests.requested().await;
        };
        tokio::select! {
            result = work => result,
            () = second_request => Ok(()),
        }
    }

    /// One thread's part.
    async fn work(
        &self,
        listeners: Vec<std::net::TcpListener>,
        tls: Option<ServerTls>,
        deflate: Option<DeflateConfig>,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let serve = |listener| {
            let server = Server::from_listener(TcpListener::from_std(listener)?)
                .origins(Origins::Any)
                .config(self.config())
                .deflate(deflate.clone())
                .shutdown_timeout(STOP_TIMEOUT);
            let server = match tls.clone() {
                Some(tls) => server.tls(tls),
                None => server,
            };
            Ok(server.run_until(stop.cancelled(), echo))
        };
        let servers = listeners.into_iter().map(serve).collect::<std::io::Result<Vec<_>>>()?;
        join_all(servers).await;
        Ok(())
    }

    fn threads(&self) -> usize {
        self.workers.map_or_else(processors::count, usize::from)
    }

    fn config(&self) -> Config {
        let keepalive = self.keepalive.0.map(|interval| {
            Keepalive::default().interval(interval).timeout(interval.min(Duration::from_secs(20)))
        });
        Config::default()
            .max_message_size(self.max_message.in_memory())
            .max_fragments(self.max_fragments)
            .keepalive(keepalive)
    }
}

/// The same sockets, for another thread.
fn duplicates(listeners: &[std::net::TcpListener]) -> std::io::Result<Vec<std::net::TcpListener>> {
    listeners.iter().map(std::net::TcpListener::try_clone).collect()
}

async fn echo(incoming: Incoming) -> anyhow::Result<()> {
    let mut socket = incoming.accept().await?;
    loop {
        // No `while let`: a task that waits would keep room for the message before.
        let Some(message) = socket.recv().await.transpose()? else { return Ok(()) };
        let waiting = match socket.try_send(message) {
            Ok(()) => continue,
            Err(TrySendError::Full(message)) => message,
            Err(TrySendError::Closed(_, error)) => return Err(error.into()),
        };
        // Boxed: it is slow to read, and all would have memory for the message.
        Box::pin(socket.send(waiting)).await?;
    }
}

fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a task of an echo holds while it waits: with what the server keeps beside it no more than 104.
    #[test]
    fn a_waiting_echo_has_room_for_its_socket_and_its_wait() {
        fn size<F>(_: impl Fn(Incoming) -> F) -> usize {
            size_of::<F>()
        }
        assert!(size(echo) <= 64, "{} bytes", size(echo));
    }
}
