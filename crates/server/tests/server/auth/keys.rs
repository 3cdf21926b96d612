//! The kinds of keys, and that a key accepts only tokens of its own algorithm.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sockeye_server::{Algorithm, AuthKey, Claims, KeyError, NumericDate, SigningKey, TokenError};

use super::{encode, vectors};

/// Every key with its algorithm, and a token that it has signed.
fn pairs() -> [(AuthKey, Algorithm, &'static str); 4] {
    let secret = URL_SAFE_NO_PAD.decode(vectors::HS256_KEY).unwrap();
    let key = |bytes: &[u8]| AuthKey::from_bytes(bytes).unwrap();
    [
        (key(&secret), Algorithm::Hs256, vectors::HS256),
        (key(vectors::RS256_KEY.as_bytes()), Algorithm::Rs256, vectors::RS256),
        (key(vectors::ES256_KEY.as_bytes()), Algorithm::Es256, vectors::ES256),
        (key(vectors::EDDSA_KEY.as_bytes()), Algorithm::EdDsa, vectors::EDDSA),
    ]
}

fn while_good() -> NumericDate {
    NumericDate(Duration::from_secs(vectors::EXP - 1))
}

#[test]
fn tokens_that_others_made_are_good() {
    for (key, algorithm, token) in pairs() {
        assert_eq!(key.algorithm(), Some(algorithm));
        let claims = key.verify(token, while_good()).unwrap();
        assert_eq!(claims.exp, Some(NumericDate(Duration::from_secs(vectors::EXP))), "{algorithm}");
    }
}

#[test]
fn a_key_takes_the_tokens_of_its_own_algorithm_alone() {
    for (key, algorithm, _) in pairs() {
        for (_, other, token) in pairs() {
            let result = key.verify(token, while_good()).map(drop);
            let expected =
                if other == algorithm { Ok(()) } else { Err(TokenError::Algorithm(algorithm)) };
            assert_eq!(result, expected, "{other} for {algorithm}");
        }
    }
}

#[test]
fn no_token_names_its_own_algorithm() {
    for (key, algorithm, token) in pairs() {
        let [_, claims, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!() };
        for name in
            ["none", "None", "NONE", "", "HS384", "HS512", "RS512", "ES384", "PS256", "hs256"]
        {
            let header = encode(format!(r#"{{"alg":"{name}"}}"#));
            for signature in ["", signature] {
                let forged = format!("{header}.{claims}.{signature}");
                let refused = key.verify(&forged, while_good()).unwrap_err();
                assert_eq!(refused, TokenError::Algorithm(algorithm), "{name}");
            }
        }
        // The right name, and still not the right signature.
        let header = encode(format!(r#"{{"alg":"{algorithm}"}}"#));
        for signature in ["", signature] {
            let forged = format!("{header}.{claims}.{signature}x");
            assert!(key.verify(&forged, while_good()).is_err(), "{algorithm}");
        }
    }
}

/// A public key must never be accepted as the secret of an HMAC: it is public.
#[test]
fn a_public_key_is_not_a_secret() {
    for public in [vectors::RS256_KEY, vectors::ES256_KEY, vectors::EDDSA_KEY] {
        let key = AuthKey::from_bytes(public.as_bytes()).unwrap();
        for secret in [public, public.trim_end()] {
            let secret = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
            let signed = format!(
                "{}.{}",
                encode(super::HEADER),
                encode(r#"{"exp":4102444800,"channels":{"*":["read"]}}"#)
            );
            let signature = aws_lc_rs::hmac::sign(&secret, signed.as_bytes());
            let forged = format!("{signed}.{}", encode(signature));
            let refused = key.verify(&forged, while_good()).unwrap_err();
            assert_eq!(refused, TokenError::Algorithm(key.algorithm().unwrap()));
        }
    }
}

#[test]
fn what_is_pem_is_never_taken_for_a_secret() {
    let private = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let refused = AuthKey::from_bytes(private.as_bytes()).unwrap_err();
    assert!(matches!(refused, KeyError::Private), "{refused}");
    let broken = vectors::RS256_KEY.replace("-----END PUBLIC KEY-----", "");
    let two = format!("{}{}", vectors::RS256_KEY, vectors::EDDSA_KEY);
    let damaged = vectors::ES256_KEY.replace("MFkw", "MFkx");
    let words = format!("our key:\n{}", vectors::EDDSA_KEY.replace("MCow", "!!!!"));
    let mut bad = vec![broken, two, damaged, words, vectors::RSA_PKCS1.to_owned()];
    bad.extend(vectors::OTHER_KEYS.map(str::to_owned));
    bad.push(rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap().cert.pem());
    for pem in bad {
        let refused = AuthKey::from_bytes(pem.as_bytes()).unwrap_err();
        assert!(matches!(refused, KeyError::Unsupported), "{refused}: {pem}");
    }
}

/// A set of keys that is public, or a public key of OpenSSH: all who have it could sign tokens.
#[test]
fn what_others_may_know_is_never_taken_for_a_secret() {
    let set = r#" {"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    let ssh = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDEuN1d2 ann@app.example\n";
    for known in [set, ssh, "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTY= ann\n"] {
        let refused = AuthKey::from_bytes(known.as_bytes()).unwrap_err();
        assert!(matches!(refused, KeyError::NoSecret), "{refused}: {known}");
    }
}

#[test]
fn a_secret_has_32_bytes_without_the_line_break_of_a_text_file() {
    let length = |bytes: &[u8]| match AuthKey::from_bytes(bytes) {
        Err(KeyError::Short { length }) => Some(length),
        Err(other) => panic!("{other}"),
        Ok(_) => None,
    };
    assert_eq!(length(b""), Some(0));
    assert_eq!(length(&[b'a'; 31]), Some(31));
    assert_eq!(length(&[b'a'; 32]), None);
    for (text, length_of_it) in [("\n", 31), ("\r\n", 31), ("\n\n", 33)] {
        let text = format!("{}{text}", "a".repeat(31));
        let expected = (length_of_it < 32).then_some(length_of_it);
        assert_eq!(length(text.as_bytes()), expected, "{text:?}");
    }
    // Random bytes that happen to end with a line break.
    let mut random = [0xf7; 32];
    random[31] = b'\n';
    assert_eq!(length(&random), None);
    let refused = AuthKey::from_bytes(b"short").unwrap_err().to_string();
    assert!(refused.contains("32") && refused.contains("openssl rand -hex 32"), "{refused}");
}

#[test]
fn a_text_files_secret_is_the_line_in_it() {
    let secret = "0123456789abcdef0123456789abcdef";
    let token = SigningKey::from_bytes(secret.as_bytes()).unwrap().sign(&claims()).unwrap();
    for file in ["", "\n", "\r\n"].map(|end| format!("{secret}{end}")) {
        let key = AuthKey::from_bytes(file.as_bytes()).unwrap();
        assert!(key.verify(&token, while_good()).is_ok(), "{file:?}");
    }
}

#[test]
fn what_a_private_key_signs_its_public_half_checks() {
    let pairs = [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ED25519]
        .map(|kind| rcgen::KeyPair::generate_for(kind).unwrap());
    for pair in &pairs {
        let signing = SigningKey::from_bytes(pair.serialize_pem().as_bytes()).unwrap();
        let token = signing.sign(&claims()).unwrap();
        let public = AuthKey::from_bytes(pair.public_key_pem().as_bytes()).unwrap();
        assert_eq!(public.algorithm(), Some(signing.algorithm()));
        assert!(public.verify(&token, while_good()).is_ok());
        assert!(signing.auth_key().verify(&token, while_good()).is_ok());
        let refused = SigningKey::from_bytes(pair.public_key_pem().as_bytes()).unwrap_err();
        assert!(matches!(refused, KeyError::Public), "{refused}");
    }
    let [p256, ed25519] =
        pairs.map(|pair| AuthKey::from_bytes(pair.public_key_pem().as_bytes()).unwrap());
    assert_eq!(
        (p256.algorithm(), ed25519.algorithm()),
        (Some(Algorithm::Es256), Some(Algorithm::EdDsa))
    );
}

#[test]
fn a_key_does_not_show_its_secret() {
    let secret = b"thirty-two bytes of the best luck";
    let shown = format!(
        "{:?} {:?}",
        AuthKey::from_bytes(secret).unwrap(),
        SigningKey::from_bytes(secret).unwrap()
    );
    assert!(!shown.contains("thirty") && !shown.contains("116, 104, 105"), "{shown}");
}

fn claims() -> Claims {
    let mut claims = Claims::default();
    claims.exp = Some(NumericDate(Duration::from_secs(vectors::EXP)));
    claims
}
