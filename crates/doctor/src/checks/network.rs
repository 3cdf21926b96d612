//! From a name to a connection: the proxy, the addresses of the name, each address.

use std::{
    env,
    io::{self, ErrorKind},
    net::SocketAddr,
    time::Duration,
};

use futures_util::future::join_all;
use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, timeout},
};

use crate::{
    exam::Exam,
    finding::{Check, Finding, Verdict},
    span::{millis, span},
    target::Via,
};

/// The most addresses of a name that are tried.
const MOST_ADDRESSES: usize = 16;

/// Variables of the environment that name a proxy.
const VARIABLES: [&str; 9] = [
    "wss_proxy",
    "WSS_PROXY",
    "https_proxy",
    "HTTPS_PROXY",
    "ws_proxy",
    "WS_PROXY",
    "http_proxy",
    "all_proxy",
    "ALL_PROXY",
];

/// Which proxy is used.
pub(crate) fn proxy(exam: &Exam<'_>) {
    let finding = match &exam.target.via {
        Via::Proxy { proxy, is_of_environment } => {
            let of = if *is_of_environment { "the environment names" } else { "--proxy names" };
            Finding::ok(Check::Proxy, format!("{of} {proxy}")).value("proxy", proxy.as_str())
        }
        Via::UnixSocket(path) => {
            Finding::skip(Check::Proxy, format!("the Unix socket {} is used", path.display()))
        }
        Via::Nothing => {
            let set: Vec<_> =
                VARIABLES.into_iter().filter(|name| env::var_os(name).is_some()).collect();
            match set.is_empty() {
                true => Finding::ok(Check::Proxy, "none: the environment names no proxy"),
                false => Finding::ok(
                    Check::Proxy,
                    format!(
                        "none: {} is set, and not for {}",
                        set.join(", "),
                        exam.target.address.host()
                    ),
                ),
            }
        }
    };
    exam.found(finding);
}

/// The addresses and the connections to them. `false` if there is no way to the server.
pub(crate) async fn connect(exam: &Exam<'_>) -> bool {
    match &exam.target.via {
        Via::Nothing => match resolve(exam).await {
            Some(addresses) => connect_each(exam, addresses).await,
            None => false,
        },
        Via::Proxy { .. } => {
            let proxied = "the proxy is given the name, or its address by this machine";
            exam.found(Finding::skip(Check::Resolve, proxied));
            connect_once(exam, "through the proxy").await
        }
        Via::UnixSocket(_) => connect_once(exam, "to the Unix socket").await,
    }
}

/// All addresses of the name, of both families.
async fn resolve(exam: &Exam<'_>) -> Option<Vec<SocketAddr>> {
    exam.begin(Check::Resolve);
    let (host, port) = (exam.target.host(), exam.target.address.port());
    let begun = Instant::now();
    let found = timeout(exam.options.timeout, lookup_host((host.as_str(), port))).await;
    let took = begun.elapsed();
    let mut addresses: Vec<SocketAddr> = match found {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) => {
            let why = match error.to_string() {
                text if text.contains("lookup") => {
                    text.rsplit(": ").next().unwrap_or_default().to_owned()
                }
                text => text,
            };
            exam.found(
                Finding::fail(Check::Resolve, format!("{host} has no address: {why}"))
                    .advice("look whether the name is right, and at the resolver of this machine"),
            );
            return None;
        }
        Err(_) => {
            let late = format!("the resolver has not answered in {}", span(took));
            let advice = "look at the resolver of this machine (/etc/resolv.conf)";
            exam.found(Finding::fail(Check::Resolve, late).advice(advice));
            return None;
        }
    };
    addresses.dedup();
    let shown: Vec<String> =
        addresses.iter().take(MOST_ADDRESSES).map(|address| address.ip().to_string()).collect();
    let (count, all) = (addresses.len(), shown.join(", "));
    addresses.truncate(MOST_ADDRESSES);
    let figure = match (count, host.parse::<std::net::IpAddr>()) {
        (_, Ok(_)) => "the URL has an address".to_owned(),
        (1, _) => format!("1 address in {}: {all}", span(took)),
        _ => format!("{count} addresses in {}: {all}", span(took)),
    };
    let is_slow = took > Duration::from_secs(1);
    let verdict = if is_slow { Finding::warn } else { Finding::ok };
    let mut finding =
        verdict(Check::Resolve, figure).value("ms", millis(took)).value("addresses", shown);
    if is_slow {
        finding = finding.advice("the resolver is slow: each new connection waits for it");
    }
    match addresses.is_empty() {
        true => {
            exam.found(Finding::fail(Check::Resolve, format!("{host} has no address")));
            None
        }
        false => {
            exam.found(finding);
            Some(addresses)
        }
    }
}

/// A connection to each address, all at once.
async fn connect_each(exam: &Exam<'_>, addresses: Vec<SocketAddr>) -> bool {
    exam.begin(Check::Connect);
    let limit = exam.options.timeout;
    let attempts = addresses.iter().map(|address| async move {
        let begun = Instant::now();
        let connected = timeout(limit, TcpStream::connect(address)).await;
        let result = connected.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()));
        (*address, result.map(|_| begun.elapsed()))
    });
    let results = join_all(attempts).await;
    let told = results.iter().map(|(address, result)| match result {
        Ok(took) => format!("{address} in {}", span(*took)),
        Err(error) => format!("{address} {}", why(error, limit)),
    });
    let figure = told.collect::<Vec<_>>().join(", ");
    let failed = results.iter().filter(|(_, result)| result.is_err()).count();
    let refused = results.iter().any(|(_, result)| {
        result.as_ref().is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    });
    let finding = match failed {
        0 => Finding::ok(Check::Connect, figure),
        _ if failed < results.len() => Finding::warn(Check::Connect, figure).advice(
            "clients that try the failing address first wait for it: have the server listen there, or \
             take the address out of the name's records",
        ),
        _ => Finding::fail(Check::Connect, figure).advice(match refused {
            true => "is the server running there, and is the port right?",
            false => "look whether a firewall or the network's routes let connections there through",
        }),
    };
    let times = results
        .iter()
        .map(|(address, result)| (address.to_string(), result.as_ref().ok().copied().map(millis)));
    let times = serde_json::Map::from_iter(times.map(|(address, time)| (address, time.into())));
    exam.found(finding.value("ms", times)) != Verdict::Fail
}

/// Why an address is not reached.
fn why(error: &io::Error, limit: Duration) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => "refuses connections".to_owned(),
        ErrorKind::TimedOut => format!("has not answered in {}", span(limit)),
        ErrorKind::NetworkUnreachable => "is not reached: this machine has no route".to_owned(),
        _ => format!("is not reached: {error}"),
    }
}

/// A connection the only way there is.
async fn connect_once(exam: &Exam<'_>, how: &str) -> bool {
    exam.begin(Check::Connect);
    let begun = Instant::now();
    let connected = exam.target.client.raw_transport().await;
    let took = begun.elapsed();
    let finding = match connected {
        Ok(_) => Finding::ok(Check::Connect, format!("{how} in {}", span(took)))
            .value("ms", millis(took)),
        Err(error) => Finding::fail(Check::Connect, (exam.target.explain)(error)),
    };
    exam.found(finding) != Verdict::Fail
}
