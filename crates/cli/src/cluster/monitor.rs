//! What a server of NATS shows under `/varz`: how often it syncs, and so what a 201 survives.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::{Request, header::HOST};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_util::task::AbortOnDropHandle;
use url::{Position, Url};

/// How long it may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The most that is read.
const MAX: usize = 1 << 20;

/// How a server of NATS writes to its disk.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sync {
    server: String,
    version: String,
    /// `None` is each message.
    interval: Option<Duration>,
}

/// The address of a monitor.
pub(super) fn monitor_url(text: &str) -> Result<Url, &'static str> {
    const HOW: &str = "write the address as http://10.0.0.1:8222";
    let url: Url = text.trim().parse().map_err(|_| HOW)?;
    match url.scheme() == "http" && url.has_host() {
        true => Ok(url),
        false => Err(HOW),
    }
}

/// Asks a server.
pub(super) async fn sync_of(url: &Url) -> anyhow::Result<Sync> {
    let asked = timeout(ANSWER_TIMEOUT, varz(url)).await;
    let body = asked.unwrap_or_else(|_| Err(anyhow::anyhow!("it does not answer")));
    let body = body.with_context(|| {
        format!("--monitor {url}: check that it is the http_port of a server of NATS")
    })?;
    read(&body).with_context(|| format!("--monitor {url} is not that of a server with JetStream"))
}

async fn varz(url: &Url) -> anyhow::Result<Bytes> {
    let address = url.socket_addrs(|| None)?;
    let stream = TcpStream::connect(&address[..]).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let _driver = AbortOnDropHandle::new(tokio::spawn(connection));
    let host = &url[Position::BeforeHost..Position::AfterPort];
    let path = format!("{}/varz", url.path().trim_end_matches('/'));
    let request = Request::get(path).header(HOST, host).body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    ensure!(response.status().is_success(), "it answers {}", response.status());
    let body = Limited::new(response.into_body(), MAX).collect().await;
    Ok(body.map_err(|error| anyhow::anyhow!(error))?.to_bytes())
}

fn read(varz: &[u8]) -> anyhow::Result<Sync> {
    #[derive(Deserialize)]
    struct Varz {
        server_name: String,
        version: String,
        jetstream: JetStream,
    }
    #[derive(Deserialize)]
    struct JetStream {
        config: Config,
    }
    #[derive(Deserialize)]
    struct Config {
        /// In nanoseconds.
        sync_interval: u64,
        #[serde(default)]
        sync_always: bool,
    }
    let Varz { server_name: server, version, jetstream } = serde_json::from_slice(varz)?;
    let Config { sync_interval, sync_always } = jetstream.config;
    let interval = (!sync_always).then(|| Duration::from_nanos(sync_interval));
    Ok(Sync { server, version, interval })
}

impl Sync {
    pub(super) fn json(&self) -> Value {
        let Self { server, version, interval } = self;
        let seconds = interval.map(|interval| interval.as_secs_f64());
        json!({ "server": server, "version": version, "always": interval.is_none(), "seconds": seconds })
    }

    /// What a 201 survives with this server.
    pub(super) fn in_words(&self) -> String {
        let Self { server, version, interval } = self;
        match interval {
            Some(interval) => format!(
                "{server} syncs its disk every {} s: a 201 survives the loss of one machine, not a power \
                 cut of two at once; `sync_interval: always` does",
                interval.as_secs()
            ),
            None if shares_syncs(version) => format!(
                "{server} syncs each message: a 201 survives a power cut of all machines, if disks keep \
                 what they have synced"
            ),
            None => format!(
                "{server} syncs each message by itself: a 201 survives a power cut, and nats-server 2.15 \
                 takes many times as many messages"
            ),
        }
    }
}

/// Whether messages share a sync: from 2.15 on.
fn shares_syncs(version: &str) -> bool {
    let mut numbers = version.split('.').map(str::parse::<u32>);
    let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
    (next(), next()) >= (2, 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_201_survives_follows_from_the_server() {
        let said = |version: &str, always: bool| {
            let config = json!({ "sync_interval": 120_000_000_000_u64, "sync_always": always });
            let varz = json!({ "server_name": "n1", "version": version, "jetstream": { "config": config } });
            read(varz.to_string().as_bytes()).unwrap().in_words()
        };
        assert!(said("2.15.1", false).contains("every 120 s: a 201 survives the loss of one"));
        assert!(said("2.15.1", true).contains("survives a power cut of all machines"));
        assert!(said("2.14.6", true).contains("by itself"));
        assert!(read(br#"{"server_name":"n1","version":"2.15.1","jetstream":{}}"#).is_err());
    }

    #[test]
    fn a_monitor_is_an_http_url() {
        assert!(monitor_url("http://127.0.0.1:8222").is_ok());
        for text in ["127.0.0.1:8222", "https://a", "nats://a:4222", ""] {
            assert!(monitor_url(text).is_err(), "{text}");
        }
    }
}
