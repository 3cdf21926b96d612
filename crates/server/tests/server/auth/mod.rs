//! Rights with an auth key.

mod expiry;
mod failures;
mod issuers;
mod keys;
mod revoke;
mod subjects;
mod tickets;
mod tokens;
mod transports;
mod vectors;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sockeye_server::{AuthKey, NumericDate};

use crate::client::TestServer;

const SECRET: &[u8] = b"a secret of thirty-two bytes, or more";
pub(crate) const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// A server with tokens signed with [`SECRET`].
pub(crate) async fn server() -> TestServer {
    TestServer::with(|options| options.channels.auth_key = Some(key())).await
}

pub(crate) fn key() -> AuthKey {
    AuthKey::from_bytes(SECRET).unwrap()
}

/// Signs any claims, without the server's own code.
pub(crate) fn sign(header: &str, claims: impl AsRef<[u8]>) -> String {
    let signed = format!("{}.{}", encode(header), encode(claims));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), signed.as_bytes());
    format!("{signed}.{}", encode(signature))
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A valid token of `ann` for an hour, with these channels.
pub(crate) fn token(channels: &str) -> String {
    token_until(now() + 3600.0, channels)
}

pub(crate) fn token_until(exp: f64, channels: &str) -> String {
    sign(HEADER, format!(r#"{{"sub":"ann","exp":{exp},"channels":{channels}}}"#))
}

/// The seconds that a token lasts which is to end during a test: enough to use it first on a busy
/// machine.
pub(crate) const LIFETIME: f64 = 1.0;

/// Waits until this time, in seconds since 1970: tokens are judged by the clock of the system, which no test
/// can turn.
pub(crate) async fn wait_until(time: f64) {
    while let Some(left) = Some(time - now()).filter(|&left| left > 0.0) {
        tokio::time::sleep(std::time::Duration::from_secs_f64(left)).await;
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> f64 {
    NumericDate::now().0.as_secs_f64()
}
