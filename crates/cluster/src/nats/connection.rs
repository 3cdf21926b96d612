//! The connection to NATS: one, to whichever server there is, over which everything goes.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::{
    Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, ReconnectToServer, Server,
    ServerAddr, ServerInfo,
};
use futures_util::future::join_all;
use serde::Serialize;
use sockeye_hub::backplane::MAX_NODE_MESSAGE;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::nats::permissions::Forbidden;
use crate::nats::waiting::Waiting;
use crate::options::shown;
use crate::{ClusterOptions, StartError};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(2);
/// How often the server is asked whether it is there: two answers missing end a connection.
const PING: Duration = Duration::from_secs(1);
/// How long until the next server is tried, when one cannot be reached.
const PAUSE: Duration = Duration::from_millis(250);
/// How often it is told that none can be.
const TELL: u32 = 20;

/// The oldest server that knows all that is asked of it: batches of Direct Get, and the last messages of
/// many subjects at one moment (2.11), without their mistakes.
const OLDEST: (u64, u64) = (2, 12);
/// From this one on many messages share a sync.
const GROUPED_SYNC: (u64, u64) = (2, 15);

/// A client, and what tells of each new connection that it makes.
pub(crate) struct Connection {
    pub(crate) client: Client,
    /// How many there have been.
    pub(crate) connections: watch::Receiver<u64>,
    /// What the servers have forbidden.
    pub(crate) forbidden: Forbidden,
    /// How often a server has said that it is about to stop.
    pub(crate) stopping: watch::Receiver<u64>,
}

/// A server of NATS.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct ServerStatus {
    /// Its address, as it was given.
    pub address: String,
    /// Its name.
    pub name: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Why it does not answer.
    pub failure: Option<String>,
}

/// Connects, however long it takes.
///
/// # Errors
///
/// [`StartError`] if waiting does not help: a file that is missing, a user that is refused.
pub(crate) async fn connect(
    options: &ClusterOptions,
    waiting: &Waiting,
) -> Result<Connection, StartError> {
    let (count, connections) = watch::channel(0);
    let count = Arc::new(count);
    let (choice, forbidden) = (Choice::default(), Forbidden::new());
    let stops = Arc::new(watch::Sender::new(0));
    let mut tries = 0;
    loop {
        let (count, stops) = (Arc::clone(&count), Arc::clone(&stops));
        let stopping = stops.subscribe();
        let told = ConnectionEvents { count, stops, forbidden: forbidden.clone() };
        let settings = settings(options, told, choice.clone()).await?;
        match settings.connect(options.servers.addresses()).await {
            Ok(client) => return Ok(Connection { client, connections, forbidden, stopping }),
            Err(source) => match is_login(&source) {
                true => {
                    return Err(StartError::Login { server: options.servers.to_string(), source });
                }
                false => {
                    if tries % TELL == 0 {
                        tracing::warn!(servers = %options.servers, error = %source, "waiting for NATS");
                    }
                    let servers = &options.servers;
                    waiting.wait_for(format!("NATS cannot be reached at {servers}: {source}"));
                    tries += 1;
                    sleep(PAUSE).await;
                }
            },
        }
    }
}

/// Connects to each server by itself, and gives a client of one, with how each is.
///
/// # Errors
///
/// [`StartError`] if none can be connected to.
pub(crate) async fn connect_to_each(
    options: &ClusterOptions,
) -> Result<(Client, Vec<ServerStatus>), StartError> {
    let addresses = options.servers.addresses();
    let connects = addresses.iter().map(async |address| {
        let [count, stops] = [(); 2].map(|()| Arc::new(watch::Sender::new(0)));
        let told = ConnectionEvents { count, stops, forbidden: Forbidden::new() };
        let settings = settings(options, told, Choice::default()).await?;
        let connecting = settings.ignore_discovered_servers().connect(address.clone());
        let outcome = timeout(2 * CONNECT, connecting).await;
        Ok(outcome.map_err(|_| "it does not answer".to_owned()))
    });
    let (mut found, mut servers) = (None, Vec::new());
    let mut said = String::new();
    for (address, outcome) in addresses.iter().zip(join_all(connects).await) {
        let mut server = ServerStatus { address: shown(address), ..ServerStatus::default() };
        match outcome? {
            Ok(Ok(client)) => {
                let info = client.server_info();
                (server.name, server.version) = (Some(info.server_name), Some(info.version));
                found = found.or(Some(client));
            }
            Ok(Err(source)) if is_login(&source) => {
                return Err(StartError::Login { server: server.address, source });
            }
            Ok(Err(source)) => said = source.to_string(),
            Err(why) => said = why,
        }
        if server.version.is_none() {
            server.failure = Some(said.clone());
        }
        servers.push(server);
    }
    let unreachable = || StartError::Unreachable { server: options.servers.to_string(), said };
    found.map(|client| (client, servers)).ok_or_else(unreachable)
}

/// Whether the user is refused.
fn is_login(error: &ConnectError) -> bool {
    use ConnectErrorKind::{Authentication, AuthorizationViolation};
    matches!(error.kind(), Authentication | AuthorizationViolation)
}

/// How many messages of a subscription may wait: some at least, or no answer fits.
pub(crate) fn capacity(options: &ClusterOptions) -> usize {
    options.feed_capacity.max(16)
}

async fn settings(
    options: &ClusterOptions,
    told: ConnectionEvents,
    choice: Choice,
) -> Result<ConnectOptions, StartError> {
    let mut settings = ConnectOptions::new()
        .name("sockeye")
        .ping_interval(PING)
        .connection_timeout(CONNECT)
        .subscription_capacity(capacity(options))
        .require_tls(options.servers.any_tls())
        .event_callback(move |event| {
            told.heard(&event);
            std::future::ready(())
        })
        .reconnect_to_server_callback(move |servers, _| std::future::ready(choice.next(&servers)));
    if let Some(login) = options.servers.login() {
        settings = settings.user_and_password(login.user.clone(), login.password.clone());
    }
    let unusable =
        |flag, file: &Path, source| StartError::File { flag, file: file.to_owned(), source };
    if let Some(file) = &options.credentials {
        let read = settings.credentials_file(file).await;
        settings = read.map_err(|source| unusable("--cluster-creds", file, source))?;
    }
    if let Some(file) = &options.ca_certificate {
        std::fs::metadata(file).map_err(|source| unusable("--cluster-cacert", file, source))?;
        settings = settings.add_root_certificates(file.clone());
    }
    if let Some((certificate, key)) = &options.certificate {
        for (flag, file) in [("--cluster-cert", certificate), ("--cluster-key", key)] {
            std::fs::metadata(file).map_err(|source| unusable(flag, file, source))?;
        }
        settings = settings.add_client_certificate(certificate.clone(), key.clone());
    }
    Ok(settings)
}

/// What is told of a connection.
struct ConnectionEvents {
    count: Arc<watch::Sender<u64>>,
    stops: Arc<watch::Sender<u64>>,
    forbidden: Forbidden,
}

impl ConnectionEvents {
    fn heard(&self, event: &Event) {
        match event {
            Event::Connected => {
                tracing::info!("connected to NATS");
                self.count.send_modify(|count| *count += 1);
            }
            Event::Disconnected => tracing::warn!("the connection to NATS is gone"),
            Event::LameDuckMode => {
                tracing::info!("the server of NATS is about to stop");
                self.stops.send_modify(|count| *count += 1);
            }
            // What it dropped is found by its number, and fetched.
            Event::SlowConsumer(_) => tracing::debug!("messages come faster than they are taken"),
            Event::ServerError(error) => self.forbidden.heard(error),
            Event::ClientError(error) => tracing::warn!(%error, "the connection to NATS"),
            Event::Draining | Event::Closed => {}
        }
    }
}

/// Which server is next: one that has not failed, and another than the last, which may be cut off from
/// the rest without knowing it.
#[derive(Clone, Default)]
struct Choice(Arc<Mutex<Option<ServerAddr>>>);

impl Choice {
    fn next(&self, servers: &[Server]) -> Option<ReconnectToServer> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let after = servers.iter().position(|server| Some(&server.addr) == last.as_ref());
        let begin = after.map_or_else(random, |index| index + 1);
        let in_turn = servers.iter().cycle().skip(begin % servers.len().max(1)).take(servers.len());
        // The last one comes at the end of its turn; of equal ones `min_by_key` takes the first.
        let chosen = in_turn.min_by_key(|server| server.failed_attempts)?;
        *last = Some(chosen.addr.clone());
        let delay = if chosen.failed_attempts > 0 { PAUSE } else { Duration::ZERO };
        Some(ReconnectToServer { addr: chosen.addr.clone(), delay: Some(delay) })
    }
}

/// Nodes that start together take different servers.
fn random() -> usize {
    let mut byte = [0];
    // Without randomness each takes the first.
    let _ = getrandom::fill(&mut byte);
    usize::from(byte[0])
}

/// Whether the server can do what a cluster needs.
pub(crate) fn check_server(client: &Client, options: &ClusterOptions) -> Result<(), StartError> {
    let info = client.server_info();
    if let Some(why) = unfit(&info, options) {
        return Err(why);
    }
    if version(&info.version).is_some_and(|version| version < GROUPED_SYNC) {
        tracing::warn!(
            version = info.version,
            "nats-server 2.15 or newer takes many times as many messages when each is synced to disk"
        );
    }
    Ok(())
}

/// What the server that a client is connected to lacks for a cluster: each connection may be to another one, or to one
/// that has another configuration by now.
pub(crate) fn unfit(info: &ServerInfo, options: &ClusterOptions) -> Option<StartError> {
    let server = format!("{} ({})", options.servers, info.server_name);
    if version(&info.version).is_none_or(|version| version < OLDEST) {
        return Some(StartError::Version { server, version: info.version.clone() });
    }
    let (needed, max_payload) = (options.max_message_size(), info.max_payload);
    if max_payload >= needed.max(MAX_NODE_MESSAGE) {
        return None;
    }
    Some(match needed > MAX_NODE_MESSAGE {
        true => StartError::MaxPayload { server, max_payload, needed },
        false => StartError::MaxPayloadOfNodes { server, max_payload, needed: MAX_NODE_MESSAGE },
    })
}

/// The first two numbers of a version such as `2.15.1` or `2.16.0-dev`.
fn version(text: &str) -> Option<(u64, u64)> {
    let mut numbers = text.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(addr: &str, failed_attempts: usize) -> Server {
        let (did_connect, is_discovered, last_error) = (true, false, None);
        Server {
            addr: addr.parse().unwrap(),
            failed_attempts,
            did_connect,
            is_discovered,
            last_error,
        }
    }

    #[test]
    fn each_connection_is_to_another_server() {
        let choice = Choice::default();
        let servers = ["nats://a", "nats://b", "nats://c"].map(|addr| server(addr, 0));
        let chosen: Vec<_> = (0..6).map(|_| choice.next(&servers).unwrap().addr).collect();
        assert!(
            chosen
                .windows(3)
                .all(|three| three[0] != three[1] && three[1] != three[2] && three[0] != three[2])
        );
        assert!(choice.next(&[]).is_none());
        assert!(choice.next(&servers[..1]).is_some());
    }

    #[test]
    fn a_server_that_cannot_be_reached_comes_last() {
        let choice = Choice::default();
        let servers = [server("nats://a", 3), server("nats://b", 0), server("nats://c", 3)];
        for _ in 0..3 {
            let next = choice.next(&servers).unwrap();
            assert_eq!((next.addr.host(), next.delay), ("b", Some(Duration::ZERO)));
        }
    }

    #[test]
    fn versions_compare_by_their_numbers() {
        assert_eq!(version("2.9.10"), Some((2, 9)));
        assert!(version("2.9.10") < Some(OLDEST) && version("2.12.0").unwrap() >= OLDEST);
        assert_eq!(version("3.0.0-beta.1"), Some((3, 0)));
        assert_eq!((version(""), version("2"), version("v2.1")), (None, None, None));
    }
}
