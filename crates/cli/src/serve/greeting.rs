//! What a server says when it listens.

use std::{net::SocketAddr, path::Path};

use sockeye_server::{Algorithm, AuthKey, Io, LocalAddress, Server};

/// What there is to tell of a server beside its addresses.
pub(super) enum Hints {
    /// Every client may do anything.
    Open,
    /// Tokens are asked for, and this command makes one.
    Token(String),
    /// Tokens are asked for, of the issuer with these keys.
    Issuer(String),
    /// The application there decides.
    Application(String),
}

/// Where the server listens, and what to do with it, ready to paste.
pub(super) fn greeting(server: &Server, shown: &Hints) -> String {
    let listening = server.local_addrs().iter().map(|address| format!("listening on {address}"));
    let admin = server.admin_addr().map(|address| format!("admin on {address}"));
    let hints = server.local_addrs().first().map(|address| match shown {
        Hints::Open => hints(address),
        Hints::Token(token) => hints_with_token(address, token),
        Hints::Issuer(keys) => format!("\n  tokens     signed with the keys of {keys}\n"),
        Hints::Application(name) => format!("\n  rights     decided by {name}\n"),
    });
    let io = (server.channels().io() == Io::Uring).then(|| "sending by io_uring".to_owned());
    listening.chain(admin).chain(io).chain(hints).collect::<Vec<_>>().join("\n")
}

/// Where the server listens, in a line.
pub(super) fn serving(server: &Server) -> String {
    let addresses: Vec<_> = server.local_addrs().iter().map(ToString::to_string).collect();
    format!("serving on {}", addresses.join(" and "))
}

/// The command that makes a token for this key, which was read from this file.
pub(super) fn make_token(
    key: &AuthKey,
    file: &Path,
    audience: Option<&str>,
    issuer: Option<&str>,
) -> String {
    let file = match key.algorithm() {
        Some(Algorithm::Hs256) => file.display().to_string(),
        // The server has the public half, which signs nothing.
        _ => "PRIVATE_KEY.pem".to_owned(),
    };
    let aud = audience.map(|name| format!(" --aud '{name}'")).unwrap_or_default();
    let iss = issuer.map(|name| format!(" --iss '{name}'")).unwrap_or_default();
    format!(
        "export SOCKEYE_TOKEN=$(sockeye token --key '{file}' --channel 'chat=read,write'{aud}{iss})"
    )
}

fn hints(address: &LocalAddress) -> String {
    match address {
        LocalAddress::Tcp(_) | LocalAddress::Tls(_) => format!(
            "
{chat}  publish    curl -d 'hello' {http}/c/chat
  read       curl {http}/c/chat
  listen     sockeye subscribe {http}/c/chat
  in a page  new WebSocket(\"{ws}/c/chat\")
",
            http = url("http", address),
            ws = url("ws", address),
            chat = match cfg!(feature = "console") {
                true =>
                    format!("  chat       {}/ in two windows of a browser\n", url("http", address)),
                false => String::new(),
            },
        ),
        LocalAddress::Unix(path) => format!(
            "
  publish    curl --unix-socket {path} -d 'hello' http://localhost/c/chat
  read       curl --unix-socket {path} http://localhost/c/chat
",
            path = path.display()
        ),
    }
}

fn hints_with_token(address: &LocalAddress, token: &str) -> String {
    const CURL: &str = "curl -H \"Authorization: Bearer $SOCKEYE_TOKEN\"";
    match address {
        LocalAddress::Tcp(_) | LocalAddress::Tls(_) => format!(
            "
  token      {token}
  publish    {CURL} -d 'hello' {http}/c/chat
  read       {CURL} {http}/c/chat
  listen     sockeye subscribe {http}/c/chat
  in a page  new WebSocket(\"{ws}/c/chat\", [\"sockeye.v1\", `bearer.${{token}}`])
",
            http = url("http", address),
            ws = url("ws", address),
        ),
        LocalAddress::Unix(path) => format!(
            "
  token      {token}
  publish    {CURL} --unix-socket {path} -d 'hello' http://localhost/c/chat
  read       {CURL} --unix-socket {path} http://localhost/c/chat
",
            path = path.display()
        ),
    }
}

/// The URL of a server there, without a path.
fn url(scheme: &str, address: &LocalAddress) -> String {
    let s = if matches!(address, LocalAddress::Tls(_)) { "s" } else { "" };
    format!("{scheme}{s}://{}", address.tcp().as_ref().map(named).unwrap_or_default())
}

/// What means every address is none to connect to.
fn named(address: &SocketAddr) -> String {
    match address.ip().is_unspecified() {
        true => format!("localhost:{}", address.port()),
        false => address.to_string(),
    }
}
