//! `sockeye echo`: every message back, unchanged.

use std::time::Duration;

use anyhow::Context;
use clap::{ArgAction, Args};
use futures_util::{FutureExt as _, SinkExt as _};
use sockeye::{Config, DeflateConfig, Incoming, Keepalive, Origins, Server};

use crate::{
    certificate::Certificate,
    stop::Stop,
    units::{Size, Switch, listen_address, on_or_off, time_or_off},
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
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9001", value_parser = listen_address)]
    listen: String,

    #[command(flatten)]
    certificate: Certificate,

    /// Whether to compress messages where clients offer it (permessage-deflate)
    #[arg(long, value_name = "on|off", default_value = "on", value_parser = on_or_off, action = ArgAction::Set)]
    deflate: bool,

    /// The largest message, such as 64k or 16M; a larger one is answered with close code 1009
    #[arg(long, value_name = "SIZE", default_value = "1M")]
    max_message: Size,

    /// The most frames that one message may come in
    #[arg(long, value_name = "N", default_value_t = 1024)]
    max_fragments: usize,

    /// Ping clients that are silent for this long, such as 25s; or off
    #[arg(long, value_name = "TIME", default_value = "25s", value_parser = time_or_off)]
    keepalive: Switch,

    /// How many threads serve connections [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    workers: Option<u16>,
}

impl Echo {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        if let Some(workers) = self.workers {
            runtime.worker_threads(workers.into());
        }
        runtime.enable_all().build()?.block_on(self.serve())
    }

    async fn serve(self) -> anyhow::Result<()> {
        let tls = self.certificate.read()?;
        let scheme = if tls.is_some() { "wss" } else { "ws" };
        let server = Server::bind(&self.listen)
            .await
            .with_context(|| format!("cannot listen on {}", self.listen))?
            .origins(Origins::Any)
            .config(self.config())
            .deflate(self.deflate.then(DeflateConfig::default))
            .shutdown_timeout(STOP_TIMEOUT);
        let server = match tls {
            Some(tls) => server.tls(tls),
            None => server,
        };
        let (mut stop, mut now) = (Stop::new()?, Stop::new()?);
        print_line(&format!("listening on {scheme}://{}", server.local_addr()?))?;
        let second_request = async {
            now.requested().await;
            now.requested().await;
        };
        tokio::select! {
            () = server.run_until(stop.requested(), echo) => {}
            () = second_request => {}
        }
        Ok(())
    }

    fn config(&self) -> Config {
        let keepalive = self
            .keepalive
            .0
            .map(|interval| Keepalive { interval, timeout: interval.min(Duration::from_secs(20)) });
        Config::default()
            .max_message_size(self.max_message.in_memory())
            .max_fragments(self.max_fragments)
            .keepalive(keepalive)
    }
}

async fn echo(incoming: Incoming) -> anyhow::Result<()> {
    let mut socket = incoming.accept().await?;
    while let Some(message) = socket.recv().await {
        socket.feed(message?).await?;
        // All that came together goes back together: one write, however many messages.
        while let Some(Some(message)) = socket.recv().now_or_never() {
            socket.feed(message?).await?;
        }
        socket.flush().await?;
    }
    Ok(())
}

/// Prints a line at once, also into a pipe.
pub(crate) fn print_line(line: &str) -> std::io::Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
