//! The keys of an issuer: which of them counts, and what becomes of those that change.

use std::slice::from_ref;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Method, header};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{DecodingKey, EncodingKey, Header, encode};
use proptest::prelude::*;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};
use serde_json::{Value, json};
use sockeye_server::{Algorithm, AuthKey, KeySet, KeySetError, NumericDate, TokenError};
use tokio::time::timeout;

use super::{now, vectors};
use crate::client::{SOON, TestServer};

/// A key pair of the issuer, by its name.
struct Pair(KeyPair, &'static str);

impl Pair {
    fn ed25519(kid: &'static str) -> Self {
        Self(KeyPair::generate_for(&PKCS_ED25519).unwrap(), kid)
    }

    fn p256(kid: &'static str) -> Self {
        Self(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap(), kid)
    }

    fn jwk(&self) -> Value {
        let (raw, kid) = (self.0.public_key_raw(), self.1);
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match raw {
            [4, point @ ..] if point.len() == 64 => json!({"kty": "EC", "crv": "P-256", "kid": kid,
                "use": "sig", "x": text(&point[..32]), "y": text(&point[32..])}),
            _ => json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": text(raw)}),
        }
    }

    /// A token for an hour, signed with this key, that names a key.
    fn token(&self, kid: Option<&str>, more: &Value) -> String {
        let der = self.0.serialize_der();
        let (algorithm, key) = match self.jwk()["kty"] == "EC" {
            true => (jsonwebtoken::Algorithm::ES256, EncodingKey::from_ec_der(&der)),
            false => (jsonwebtoken::Algorithm::EdDSA, EncodingKey::from_ed_der(&der)),
        };
        let mut claims =
            json!({"sub": "ann", "exp": now() + 3600.0, "channels": {"chat": ["read"]}});
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(algorithm) };
        encode(&header, &claims, &key).unwrap()
    }

    fn own(&self) -> String {
        self.token(Some(self.1), &json!({}))
    }
}

fn set(keys: &[Value]) -> Vec<u8> {
    json!({ "keys": keys }).to_string().into_bytes()
}

fn verdict(key: &AuthKey, token: &str) -> Result<(), TokenError> {
    key.verify(token, NumericDate::now()).map(drop)
}

#[test]
fn a_token_is_verified_with_the_key_that_it_names_and_no_other() {
    let (one, two, three) = (Pair::ed25519("one"), Pair::ed25519("two"), Pair::p256("three"));
    let keys = KeySet::from_json(&set(&[one.jwk(), two.jwk(), three.jwk()])).unwrap();
    assert_eq!(keys.len(), 3);
    let key = AuthKey::from_set(keys);
    assert_eq!(key.algorithm(), None);
    for pair in [&one, &two, &three] {
        assert_eq!(verdict(&key, &pair.own()), Ok(()), "{}", pair.1);
        for kid in [None, Some("four"), Some(""), Some("ONE")] {
            let token = pair.token(kid, &json!({}));
            assert_eq!(verdict(&key, &token), Err(TokenError::UnknownKey), "{kid:?}");
        }
    }
    assert_eq!(verdict(&key, &one.token(Some("two"), &json!({}))), Err(TokenError::Signature));
    let other = one.token(Some("three"), &json!({}));
    assert_eq!(verdict(&key, &other), Err(TokenError::Algorithm(Algorithm::Es256)));
    for alg in ["none", "ES512", ""] {
        let header = super::encode(json!({"alg": alg, "kid": "one"}).to_string());
        let forged = format!("{header}.{}", one.own().split_once('.').unwrap().1);
        assert_eq!(verdict(&key, &forged), Err(TokenError::Algorithms), "{alg}");
    }
    // A secret that is the public key.
    let x = one.jwk()["x"].as_str().unwrap().to_owned();
    let secret = EncodingKey::from_secret(&URL_SAFE_NO_PAD.decode(&x).unwrap()).unwrap();
    let header = Header { kid: Some("one".to_owned()), ..Header::default() };
    let forged = encode(&header, &json!({"exp": now() + 60.0}), &secret).unwrap();
    assert_eq!(verdict(&key, &forged), Err(TokenError::Algorithm(Algorithm::EdDsa)));
}

#[test]
fn a_token_without_kid_means_the_only_key() {
    let pair = Pair::p256("one");
    let key = AuthKey::from_set(KeySet::from_json(&set(&[pair.jwk()])).unwrap());
    assert_eq!(verdict(&key, &pair.token(None, &json!({}))), Ok(()));
}

#[test]
fn an_rsa_key_verifies_too() {
    let pem = DecodingKey::from_rsa_pem(vectors::RS256_KEY.as_bytes()).unwrap();
    let jwk = Jwk::from_decoding_key(&pem, Some(jsonwebtoken::Algorithm::RS256)).unwrap();
    let json = set(&[serde_json::to_value(jwk).unwrap()]);
    let key = AuthKey::from_set(KeySet::from_json(&json).unwrap());
    let good = NumericDate(Duration::from_secs(vectors::EXP - 1));
    assert!(key.verify(vectors::RS256, good).is_ok());
}

#[test]
fn only_public_keys_for_signatures_by_our_algorithms_are_used() {
    let good = Pair::p256("good").jwk();
    let with = |name: &str, value: Value| {
        let mut key = good.clone();
        key[name] = value;
        key
    };
    let modulus = |bytes: usize| URL_SAFE_NO_PAD.encode(vec![0xff; bytes]);
    let rsa = |bytes: usize| json!({"kty": "RSA", "kid": "r", "e": "AQAB", "n": modulus(bytes)});
    for bad in [
        json!({"kty": "oct", "kid": "secret", "k": modulus(32)}),
        with("use", json!("enc")),
        with("alg", json!("ES384")),
        with("key_ops", json!(["sign"])),
        with("key_ops", json!([])),
        with("d", json!(modulus(32))),
        with("x", json!("AAAA")),
        with("crv", json!("P-384")),
        with("crv", json!("secp256k1")),
        rsa(255),
        rsa(1025),
        json!({"kty": "AKP", "kid": "later", "pub": "AA"}),
        json!({"kid": "nothing"}),
        json!([]),
        json!(7),
    ] {
        assert_eq!(
            KeySet::from_json(&set(from_ref(&bad))).unwrap_err(),
            KeySetError::NoKeys,
            "{bad}"
        );
        let keys = KeySet::from_json(&set(&[bad.clone(), good.clone()])).unwrap();
        assert_eq!(keys.len(), 1, "{bad}");
    }
    for good in
        [rsa(256), rsa(1024), with("alg", json!("ES256")), with("key_ops", json!(["verify"]))]
    {
        assert_eq!(KeySet::from_json(&set(from_ref(&good))).unwrap().len(), 1, "{good}");
    }
}

#[test]
fn a_set_has_100_keys_and_256_kib_at_most() {
    assert_eq!((KeySet::MAX_KEYS, KeySet::MAX_BYTES), (100, 256 << 10));
    let key = Pair::ed25519("one").jwk();
    let of = |count: usize| KeySet::from_json(&set(&vec![key.clone(); count]));
    assert_eq!(of(100).unwrap().len(), 100);
    assert_eq!(of(101).unwrap_err(), KeySetError::TooManyKeys);
    let padded = |length: usize| {
        let mut json = set(from_ref(&key));
        json.resize(length, b' ');
        KeySet::from_json(&json)
    };
    assert!(padded(256 << 10).is_ok());
    assert_eq!(padded((256 << 10) + 1).unwrap_err(), KeySetError::TooLarge);
    for json in ["", "[]", "{}", r#"{"keys":{}}"#, r#"[[]]"#, r#"{"keys":[],"keys":[]}"#, "<html>"]
    {
        let refused = KeySet::from_json(json.as_bytes()).unwrap_err();
        assert!(matches!(refused, KeySetError::Malformed(_)), "{json}: {refused}");
    }
}

#[test]
fn other_keys_take_the_place_of_those_that_are_there_and_rubbish_does_not() {
    let (old, new) = (Pair::ed25519("old"), Pair::ed25519("new"));
    let keys = KeySet::from_json(&set(&[old.jwk()])).unwrap();
    let key = AuthKey::from_set(keys.clone());
    assert_eq!(keys.replace(&set(&[old.jwk()])), Ok(false));
    for rubbish in [&b"<html>"[..], br#"{"keys":[]}"#] {
        assert!(keys.replace(rubbish).is_err());
        assert_eq!(verdict(&key, &old.own()), Ok(()));
    }
    assert_eq!(keys.replace(&set(&[old.jwk(), new.jwk()])), Ok(true));
    assert_eq!((verdict(&key, &old.own()), verdict(&key, &new.own())), (Ok(()), Ok(())));
    assert_eq!(keys.replace(&set(&[new.jwk()])), Ok(true));
    assert_eq!(verdict(&key, &old.own()), Err(TokenError::UnknownKey));
}

#[test]
fn one_of_the_audiences_and_one_of_the_issuers_is_enough() {
    let pair = Pair::ed25519("one");
    let keys = KeySet::from_json(&set(&[pair.jwk()])).unwrap();
    let key = AuthKey::from_set(keys).for_audience("live").for_audience("live-2");
    let key = key.from_issuer("https://a.example").from_issuer("https://b.example");
    let verdict = |more: Value| verdict(&key, &pair.token(None, &more));
    for (aud, iss, expected) in [
        (json!("live"), json!("https://a.example"), Ok(())),
        (json!(["shop", "live-2"]), json!("https://b.example"), Ok(())),
        (json!("live"), json!("https://c.example"), Err(TokenError::Issuer)),
        (json!("live"), json!("https://a.example/"), Err(TokenError::Issuer)),
        (json!("live"), json!(["https://a.example"]), Err(TokenError::Issuer)),
        (json!("live"), json!(7), Err(TokenError::Issuer)),
        (json!("shop"), json!("https://a.example"), Err(TokenError::Audience)),
    ] {
        assert_eq!(verdict(json!({"aud": aud, "iss": iss})), expected, "{aud} {iss}");
    }
    assert_eq!(verdict(json!({"aud": "live"})), Err(TokenError::Issuer));
    assert_eq!(verdict(json!({"iss": "https://a.example"})), Err(TokenError::Audience));
}

async fn status(server: &TestServer, token: &str) -> u16 {
    let request = server.request(Method::GET, "/c/chat");
    let request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    server.send(request, "").await.status.as_u16()
}

#[tokio::test]
async fn a_token_with_a_missing_key_waits_until_the_keys_are_fetched_once() {
    let (old, new) = (Pair::ed25519("old"), Pair::ed25519("new"));
    let keys = KeySet::from_json(&set(&[old.jwk()])).unwrap();
    let in_force = keys.clone();
    let server = TestServer::with(|options| {
        options.channels.auth_key = Some(AuthKey::from_set(in_force));
    })
    .await;
    // No task fetches them.
    assert_eq!((status(&server, &old.own()).await, status(&server, &new.own()).await), (200, 401));
    let (both, fetching) = (set(&[old.jwk(), new.jwk()]), keys.clone());
    let fetched = tokio::spawn(async move {
        fetching.missed().await;
        fetching.replace(&both).unwrap();
        // A second time is too soon.
        timeout(KeySet::BETWEEN_SEARCHES / 10, fetching.missed()).await.is_err()
    });
    tokio::task::yield_now().await;
    let token = new.own();
    assert_eq!(tokio::join!(status(&server, &token), status(&server, &token)), (200, 200));
    assert_eq!(status(&server, &Pair::ed25519("third").own()).await, 401);
    assert!(timeout(SOON, fetched).await.unwrap().unwrap(), "it was not asked again");
}

#[tokio::test(start_paused = true)]
async fn searches_for_keys_are_seconds_apart_and_end_in_time() {
    let (old, new) = (Pair::ed25519("old"), Pair::ed25519("new"));
    let keys = KeySet::from_json(&set(&[old.jwk()])).unwrap();
    let key = AuthKey::from_set(keys.clone());
    let authorizer = |token: String| {
        let key = key.clone();
        async move { sockeye_server::Authorizer::authenticate(&key, &token).await.is_ok() }
    };
    let fetching = keys.clone();
    let fetches = tokio::spawn(async move {
        let began = tokio::time::Instant::now();
        fetching.missed().await;
        fetching.keep();
        fetching.missed().await;
        // It never comes.
        began.elapsed()
    });
    tokio::task::yield_now().await;
    assert!(!authorizer(new.own()).await, "it could not be fetched");
    for _ in 0..100 {
        assert!(!authorizer(new.own()).await, "it is too soon");
    }
    assert!(!fetches.is_finished());
    tokio::time::advance(KeySet::BETWEEN_SEARCHES).await;
    let began = tokio::time::Instant::now();
    assert!(!authorizer(new.own()).await);
    assert_eq!(began.elapsed(), KeySet::SEARCH_TIMEOUT);
    assert!(fetches.await.unwrap() >= KeySet::BETWEEN_SEARCHES);
}

proptest! {
    #[test]
    fn any_bytes_are_a_set_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), kty in "RSA|EC|OKP|oct|x", crv in "P-256|Ed25519|P-384|x", text in "[A-Za-z0-9_=+-]{0,90}") {
        let _ = KeySet::from_json(&bytes);
        let key = json!({"kty": kty, "crv": crv, "x": text, "y": text, "n": text, "e": text, "k": text});
        prop_assert!(KeySet::from_json(&set(&[key])).is_err());
    }
}
