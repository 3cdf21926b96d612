//! Questions, answers and how long they are kept, without a network.

use std::time::Duration;

use http::Request;
use sockeye_server::ClientAddress;
use sockeye_testing::assert_documented;
use tokio::time::advance;

use super::question::MAX_CREDENTIALS;
use super::*;

/// What is asked for a request with these headers.
fn asked(headers: &[(&str, &str)]) -> Result<String, AuthorizeError> {
    let request = Request::get("/c/news");
    let request =
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let (mut head, ()) = request.body(()).unwrap().into_parts();
    head.extensions.insert(ClientAddress([192, 0, 2, 7].into()));
    Ok(serde_json::to_string(&Caller::of(&head)?.who()).unwrap())
}

#[test]
fn a_question_has_the_credentials_wherever_a_client_may_put_them() {
    let address = r#""address":"192.0.2.7"}"#;
    let bearer = format!(r#"{{"authorization":"Bearer a.b",{address}"#);
    for (headers, question) in [
        (&[][..], format!("{{{address}")),
        (&[("authorization", "Bearer a.b")], bearer.clone()),
        (&[("sec-websocket-protocol", "sockeye.v1, bearer.a.b")], bearer),
        (&[("cookie", "a=1"), ("cookie", "b=2")], format!(r#"{{"cookie":"a=1; b=2",{address}"#)),
        (
            &[("authorization", "Basic YQ=="), ("cookie", "a=\"1\"")],
            format!(r#"{{"authorization":"Basic YQ==","cookie":"a=\"1\"",{address}"#),
        ),
    ] {
        assert_eq!(asked(headers).unwrap(), question);
    }
}

#[test]
fn credentials_that_are_ambiguous_or_too_long_are_not_good() {
    let (fits, long) = ("c".repeat(MAX_CREDENTIALS), "c".repeat(MAX_CREDENTIALS + 1));
    assert!(asked(&[("cookie", &fits)]).is_ok());
    for headers in [
        &[("authorization", "Bearer a"), ("authorization", "Bearer b")][..],
        &[("authorization", "Bearer a"), ("sec-websocket-protocol", "bearer.b")],
        &[("sec-websocket-protocol", "bearer.a, bearer.b")],
        &[("cookie", &long)],
    ] {
        assert!(matches!(asked(headers), Err(AuthorizeError::Invalid)), "{headers:?}");
    }
    for token in ["a b", "a\r\nx: y", "é", &long] {
        assert!(matches!(Caller::with_token(token), Err(AuthorizeError::Invalid)), "{token}");
    }
}

#[test]
fn an_answer_says_yes_or_no_and_for_how_long() {
    let of = |body: &str| Answer::of(body.as_bytes());
    let yes = of(r#"{"allow":true,"subject":"ann","good_for":1.5,"more":[]}"#).unwrap();
    assert!(yes.is_allowed);
    assert_eq!((yes.subject.as_deref(), yes.good_for), (Some("ann"), Duration::from_millis(1500)));
    assert_eq!(of(r#"{"allow":true}"#).unwrap().good_for, Duration::from_mins(1));
    assert_eq!(of(r#"{"allow":false}"#).unwrap(), Answer::no());
    assert_eq!(
        of(r#"{"allow":true,"good_for":1e300}"#).unwrap().good_for,
        Duration::from_hours(365 * 24)
    );
    for bad in [
        "",
        "yes",
        "{}",
        "[]",
        r#"{"allow":"true"}"#,
        r#"{"allow":1}"#,
        r#"{"allow":true,"good_for":-1}"#,
        r#"{"allow":true,"good_for":"60"}"#,
        r#"{"allow":true,"subject":7}"#,
        r#"{"allow":true,"allow":false}"#,
    ] {
        assert!(of(bad).is_err(), "{bad}");
    }
    let named = |length| format!(r#"{{"allow":true,"subject":"{}"}}"#, "a".repeat(length));
    assert!(of(&named(answer::MAX_SUBJECT)).is_ok());
    assert!(of(&named(answer::MAX_SUBJECT + 1)).is_err());
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_used_for_three_quarters_of_its_time() {
    let kept = Kept::default();
    let answer = Answer { good_for: Duration::from_secs(60), ..Answer::no() };
    kept.keep(key(b"question"), &answer);
    advance(Duration::from_secs(44)).await;
    let found = kept.find(&key(b"question")).unwrap();
    assert_eq!(found.good_for, Duration::from_secs(16));
    assert_eq!(kept.find(&key(b"another")), None);
    advance(Duration::from_secs(1)).await;
    assert_eq!(kept.find(&key(b"question")), None);
    kept.keep(key(b"question"), &answer);
    kept.forget(&key(b"question"));
    assert_eq!(kept.find(&key(b"question")), None);
    kept.keep(key(b"for no time"), &Answer::no());
    assert_eq!(kept.find(&key(b"for no time")), None);
}

#[test]
fn answers_are_forgotten_when_there_are_too_many() {
    let kept = Kept::default();
    let answer = Answer { good_for: Duration::from_hours(1), ..Answer::no() };
    let keys: Vec<_> = (0..40_000_u32).map(|number| key(&number.to_be_bytes())).collect();
    keys.iter().for_each(|key| kept.keep(*key, &answer));
    let known = keys.iter().filter(|key| kept.find(key).is_some()).count();
    assert!((16_384..=32_768).contains(&known), "{known}");
    assert!(kept.find(keys.last().unwrap()).is_some());
}

#[test]
fn the_guide_says_the_numbers_of_the_code() {
    let (timeout, credentials) = (application::TIMEOUT.as_secs(), MAX_CREDENTIALS >> 10);
    for sentence in [
        format!("nothing within {timeout} s"),
        format!("Credentials of more than {credentials} KiB"),
        format!("of more than {} KiB, nothing", sockeye_client::internals::MAX_ANSWER >> 10),
        format!(
            "asks {} questions at once at most, {} for one address",
            turns::AT_ONCE,
            turns::OF_ADDRESS
        ),
        format!("keeps {} answers at most", 2 * kept::GENERATION),
        format!("{} bytes or more, without the line break", webhook::MIN_SECRET),
        format!("1 to {} bytes", answer::MAX_SUBJECT),
        format!("{} for a yes if it is not there, 1 for a no", Decision::GOOD_FOR.as_secs()),
    ] {
        assert_documented("channels/authorize.md", &sentence);
    }
}
