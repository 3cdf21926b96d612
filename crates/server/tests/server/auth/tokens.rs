//! What makes a token valid.

use std::time::Duration;

use proptest::prelude::*;
use sockeye_server::{NumericDate, Right, TokenError};

use super::{HEADER, encode, key, sign};

/// The time at which these tests verify their tokens.
const NOW: u64 = 1_800_000_000;

fn verdict(token: &str) -> Result<(), TokenError> {
    key().verify(token, NumericDate(Duration::from_secs(NOW))).map(drop)
}

fn of_claims(claims: &str) -> Result<(), TokenError> {
    verdict(&sign(HEADER, claims))
}

#[test]
fn a_pattern_with_sub_in_it_is_of_the_token_s_own_subject() {
    let claims =
        r#"{"sub":"ann","exp":1900000000,"channels":{"user:{sub}:*":["read"],"u{sub}":[]}}"#;
    let verified = key().verify(&sign(HEADER, claims), NumericDate(Duration::from_secs(NOW)));
    let channels = verified.unwrap().channels;
    let may = |channel: &str| channels.allow(Right::Read, &channel.parse().unwrap());
    assert!(may("user:ann:inbox") && !may("user:anna:inbox") && !may("user:ben:inbox"));
    let whole = r#"{"sub":"ann","exp":1900000000,"channels":{"user:{sub}*":["read"]}}"#;
    assert!(matches!(of_claims(whole), Err(TokenError::Claims(_))));
}

#[test]
fn exp_is_needed_and_exact() {
    assert_eq!(of_claims("{}"), Err(TokenError::NoExpiry));
    assert_eq!(of_claims(r#"{"exp":null}"#), Err(TokenError::NoExpiry));
    for (exp, expected) in [
        ("1800000001", Ok(())),
        ("1800000000.001", Ok(())),
        ("1.8e9", Err(TokenError::Expired)),
        ("1800000000", Err(TokenError::Expired)),
        ("1799999999.999", Err(TokenError::Expired)),
        ("0", Err(TokenError::Expired)),
        ("-1", Err(TokenError::Expired)),
        ("-1e300", Err(TokenError::Expired)),
        ("18446744073709551615", Ok(())),
        ("1e300", Ok(())),
    ] {
        assert_eq!(of_claims(&format!("{{\"exp\":{exp}}}")), expected, "{exp}");
    }
    for exp in ["\"1900000000\"", "true", "[1900000000]", "{}", "1e999"] {
        let refused = of_claims(&format!("{{\"exp\":{exp}}}")).unwrap_err();
        assert!(matches!(refused, TokenError::Claims(_)), "{exp}: {refused:?}");
    }
}

#[test]
fn nbf_and_iat_have_a_minute_of_grace() {
    for claim in ["nbf", "iat"] {
        for (date, expected) in
            [(0, Ok(())), (NOW, Ok(())), (NOW + 60, Ok(())), (NOW + 61, Err(TokenError::NotYet))]
        {
            let claims = format!(r#"{{"exp":{},"{claim}":{date}}}"#, NOW + 3600);
            assert_eq!(of_claims(&claims), expected, "{claims}");
        }
    }
}

#[test]
fn a_token_for_another_audience_is_not_for_us() {
    let of = |aud: &str| sign(HEADER, format!(r#"{{"exp":1900000000{aud}}}"#));
    let theirs = key().for_audience("live");
    let now = NumericDate(Duration::from_secs(NOW));
    for (aud, without, with) in [
        ("", true, false),
        (r#","aud":[]"#, true, false),
        (r#","aud":"live""#, false, true),
        (r#","aud":["shop","live"]"#, false, true),
        (r#","aud":"shop""#, false, false),
        (r#","aud":"Live""#, false, false),
        (r#","aud":7"#, false, false),
    ] {
        assert_eq!(key().verify(&of(aud), now).is_ok(), without, "{aud}");
        assert_eq!(theirs.verify(&of(aud), now).is_ok(), with, "{aud}");
    }
}

#[test]
fn a_subject_is_a_name() {
    let of = |sub: &str| of_claims(&format!(r#"{{"exp":1900000000,"sub":{sub}}}"#));
    for sub in ["\"ann\"", "\"Ann Müller\"", "null", &format!("\"{}\"", "a".repeat(255))] {
        assert_eq!(of(sub), Ok(()), "{sub}");
    }
    for sub in ["\"\"", "\"a\\u0000\"", "\"a\\nb\"", &format!("\"{}\"", "a".repeat(256))] {
        assert_eq!(of(sub), Err(TokenError::Subject), "{sub}");
    }
    for char in "\u{7f}\u{85}\u{61c}\u{200e}\u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\
                 \u{2066}\u{2067}\u{2068}\u{2069}\u{2028}\u{2029}"
        .chars()
    {
        let sub = format!("\"a{char}b\"");
        assert_eq!(of(&sub), Err(TokenError::Subject), "{}", char.escape_unicode());
    }
    // Scripts that are written from right to left need none of them; joiners are part of words.
    for sub in ["\"שלום\"", "\"می\u{200c}خواهم\"", "\"👩\u{200d}🔬\""] {
        assert_eq!(of(sub), Ok(()), "{sub}");
    }
    assert!(matches!(of("7"), Err(TokenError::Claims(_))));
}

#[test]
fn claims_that_are_given_twice_or_are_no_claims_are_refused() {
    for claims in [
        r#"{"exp":1,"exp":1900000000}"#,
        r#"{"exp":1900000000,"channels":{},"channels":{"*":["read"]}}"#,
        r#"{"exp":1900000000,"channels":["*"]}"#,
        r#"{"exp":1900000000,"channels":{"chat":["admin"]}}"#,
        r#"{"exp":1900000000"#,
        r#"{"exp":1900000000}{}"#,
        r#"["ann",1900000000]"#,
        r#"[{"exp":1900000000}]"#,
        "",
        "null",
        "1900000000",
    ] {
        let refused = of_claims(claims).unwrap_err();
        assert!(matches!(refused, TokenError::Claims(_)), "{claims}: {refused:?}");
    }
    let unknown = r#"{"exp":1900000000,"iss":"us","jti":"7","roles":[["admin"]]}"#;
    assert_eq!(of_claims(unknown), Ok(()));
}

#[test]
fn a_token_has_8_kib_at_most() {
    let of_length = |length: usize| {
        let with_padding =
            |n: usize| sign(HEADER, format!(r#"{{"exp":1900000000,"x":"{}"}}"#, "x".repeat(n)));
        (0..length).rev().map(with_padding).find(|token| token.len() <= length).unwrap()
    };
    let longest = of_length(8192);
    assert!(longest.len() > 8188, "{}", longest.len());
    assert_eq!(verdict(&longest), Ok(()));
    let too_long = sign(HEADER, format!(r#"{{"exp":1900000000,"x":"{}"}}"#, "x".repeat(8192)));
    assert_eq!(verdict(&too_long), Err(TokenError::TooLong));
}

#[test]
fn what_must_be_understood_is_not() {
    let claims = r#"{"exp":1900000000}"#;
    let critical = sign(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, claims);
    assert_eq!(verdict(&critical), Err(TokenError::Critical));
    // Keys in a token, or their URLs, are ignored.
    for header in [
        r#"{"alg":"HS256","kid":"../../dev/null","jku":"http://127.0.0.1:1/","x5u":"http://127.0.0.1:1/"}"#,
        r#"{"alg":"HS256","jwk":{"kty":"oct","k":"AAAA"}}"#,
    ] {
        assert_eq!(verdict(&sign(header, claims)), Ok(()), "{header}");
    }
    for header in [
        r#"{"alg":"HS256","alg":"none"}"#,
        r#"{"typ":"JWT"}"#,
        r#"{"alg":["HS256"]}"#,
        r#"["HS256"]"#,
        "",
        "[]",
    ] {
        assert_eq!(verdict(&sign(header, claims)), Err(TokenError::Malformed), "{header}");
    }
}

#[test]
fn a_token_has_one_spelling() {
    let good = sign(HEADER, r#"{"exp":1900000000}"#);
    assert_eq!(verdict(&good), Ok(()));
    for bad in [
        format!("{good}="),
        format!("{good}."),
        format!(".{good}"),
        format!(" {good}"),
        format!("{good}\n"),
        good.replace('.', ".."),
        good.replace(".", ""),
        good.rsplit_once('.').unwrap().0.to_owned(),
        String::new(),
        "..".to_owned(),
    ] {
        assert!(verdict(&bad).is_err(), "{bad:?}");
    }
}

proptest! {
    #[test]
    fn no_text_is_a_valid_token(text in "\\PC*", parts in "[A-Za-z0-9_-]{0,40}(\\.[A-Za-z0-9_-]{0,40}){0,4}") {
        prop_assert!(verdict(&text).is_err());
        prop_assert!(verdict(&parts).is_err());
    }

    #[test]
    fn any_change_makes_a_token_bad(at in any::<prop::sample::Index>(), with in "[ -~]") {
        let good = sign(HEADER, r#"{"exp":1900000000,"channels":{"chat":["read"]}}"#);
        let at = at.index(good.len());
        let changed = format!("{}{with}{}", &good[..at], &good[at + 1..]);
        prop_assert_eq!(verdict(&changed).is_ok(), changed == good);
    }

    /// Whatever the claims are, signed or not: they are refused, or they are what was written.
    #[test]
    fn any_signed_claims_are_read_or_refused(claims in prop::collection::vec(any::<u8>(), 0..200), json in "[\\[\\]{}:,\"a-z0-9.*-]{0,60}") {
        let _ = verdict(&sign(HEADER, &claims));
        let _ = verdict(&sign(HEADER, format!(r#"{{"exp":1900000000,"channels":{json}}}"#)));
    }

    /// A pattern never grants a channel of another: names are compared as they are.
    #[test]
    fn only_what_begins_like_the_pattern_matches(prefix in "[a-z][a-z:.@~_-]{0,5}", name in "[a-z][a-z:.@~_-]{0,9}") {
        let claims = format!(r#"{{"exp":1900000000,"channels":{{"{prefix}*":["read"],"{prefix}":["write"]}}}}"#);
        let claims = key().verify(&sign(HEADER, claims), NumericDate(Duration::from_secs(NOW))).unwrap();
        let channel = name.parse().unwrap();
        prop_assert_eq!(claims.channels.allow(Right::Read, &channel), name.starts_with(&prefix));
        prop_assert_eq!(claims.channels.allow(Right::Write, &channel), name == prefix);
        prop_assert!(!claims.channels.allow(Right::Presence, &channel));
    }
}

#[test]
fn an_encoded_claim_is_the_one_that_was_signed() {
    let [header, _, signature] =
        [encode(HEADER), String::new(), sign(HEADER, r#"{"exp":1900000000}"#)];
    let (_, signature) = signature.rsplit_once('.').unwrap();
    let other = encode(r#"{"exp":1900000000,"channels":{"*":["read"]}}"#);
    assert_eq!(verdict(&format!("{header}.{other}.{signature}")), Err(TokenError::Signature));
}
