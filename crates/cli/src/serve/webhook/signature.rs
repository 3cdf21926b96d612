//! What a program recognises this server by: a signature of what it is sent, as Standard Webhooks 1.0 says
//! (<https://www.standardwebhooks.com>), for which there are libraries in most languages.

use std::{
    fs,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, anyhow, ensure};
use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue};

/// The shortest secret, in bytes.
pub(in crate::serve) const MIN_SECRET: usize = 24;
/// What a secret in base64 begins with.
const PREFIX: &str = "whsec_";
const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// A secret that the program has too.
pub(in crate::serve) struct Secret(hmac::Key);

impl Secret {
    /// The secret in a file: see [`from_bytes`](Self::from_bytes).
    pub(super) fn from_file(file: &Path) -> anyhow::Result<Self> {
        Self::from_bytes(&fs::read(file)?)
    }

    /// `whsec_` and base64, or the bytes of the secret themselves; a line break at the end does not belong to
    /// it.
    fn from_bytes(content: &[u8]) -> anyhow::Result<Self> {
        let content = content.strip_suffix(b"\n").unwrap_or(content);
        let content = content.strip_suffix(b"\r").unwrap_or(content);
        let secret = match content.strip_prefix(PREFIX.as_bytes()) {
            Some(encoded) => {
                STANDARD.decode(encoded).context("what follows whsec_ is not base64")?
            }
            None => content.to_vec(),
        };
        ensure!(
            secret.len() >= MIN_SECRET,
            "the secret has {} bytes and needs {MIN_SECRET}: make one with `openssl rand -hex 32`",
            secret.len()
        );
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &secret)))
    }

    /// The headers that sign this body, now, under this id or a random one.
    pub(in crate::serve) fn sign(
        &self,
        id: Option<String>,
        body: &[u8],
    ) -> anyhow::Result<HeaderMap> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let id = match id {
            Some(id) => id,
            None => random_id()?,
        };
        self.headers(&id, now, body)
    }

    fn headers(&self, id: &str, now: u64, body: &[u8]) -> anyhow::Result<HeaderMap> {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(format!("{id}.{now}.").as_bytes());
        context.update(body);
        let signature = format!("v1,{}", STANDARD.encode(context.sign()));
        let headers = [(ID, id.to_owned()), (TIMESTAMP, now.to_string()), (SIGNATURE, signature)];
        headers.into_iter().map(|(name, value)| Ok((name, HeaderValue::try_from(value)?))).collect()
    }
}

fn random_id() -> anyhow::Result<String> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)
        .map_err(|error| anyhow!("the system provides no random bytes: {error}"))?;
    Ok(format!("msg_{:032x}", u128::from_be_bytes(random)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification.
    #[test]
    fn a_signature_is_that_of_the_specification() {
        let secret = Secret::from_bytes(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
        let body = br#"{"test": 2432232314}"#;
        let headers = secret.headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body).unwrap();
        assert_eq!(headers["webhook-id"], "msg_p5jXN8AQM9LWM0D4loKWxJek");
        assert_eq!(headers["webhook-timestamp"], "1614265330");
        assert_eq!(headers["webhook-signature"], "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_is_long_enough_and_readable() {
        for good in [&b"0123456789abcdef01234567"[..], b"0123456789abcdef01234567\r\n"] {
            assert!(Secret::from_bytes(good).is_ok());
        }
        for bad in [&b""[..], b"hunter2\n", b"0123456789abcdef0123456\n", b"whsec_", b"whsec_%%%"] {
            assert!(Secret::from_bytes(bad).is_err(), "{bad:?}");
        }
    }
}
