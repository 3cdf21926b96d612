//! The same decision on every transport: each use of a channel, with each kind of token.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{HEADER, now, server, sign, token, token_until};
use crate::client::{SOON, TestServer};

/// One use of a channel, and the right that it needs.
struct Use {
    right: &'static str,
    method: &'static str,
    /// The path after the channel's name.
    rest: &'static str,
    headers: &'static str,
    /// The status when it is granted.
    granted: u16,
}

pub(super) const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

const V1: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                  Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                  Sec-WebSocket-Protocol: sockeye.v1\r\n";
const EVENTS: &str = "Accept: text/event-stream\r\n";
const LINES: &str = "Accept: application/x-ndjson\r\n";

/// Every use there is, live and from the history.
const USES: &[Use] = &[
    Use { right: "presence", method: "GET", rest: "/presence", headers: "", granted: 200 },
    Use { right: "presence", method: "HEAD", rest: "/presence", headers: "", granted: 200 },
    Use { right: "read", method: "GET", rest: "", headers: "", granted: 200 },
    Use { right: "read", method: "GET", rest: "?after=earliest", headers: "", granted: 200 },
    Use { right: "read", method: "HEAD", rest: "", headers: "", granted: 200 },
    Use { right: "read", method: "GET", rest: "?wait=0", headers: "", granted: 200 },
    Use {
        right: "read",
        method: "GET",
        rest: "?after=earliest",
        headers: "Prefer: wait=0\r\n",
        granted: 200,
    },
    Use { right: "read", method: "GET", rest: "", headers: EVENTS, granted: 200 },
    Use {
        right: "read",
        method: "GET",
        rest: "?after=earliest&meta=1",
        headers: EVENTS,
        granted: 200,
    },
    Use { right: "read", method: "GET", rest: "", headers: LINES, granted: 200 },
    Use { right: "read", method: "GET", rest: "?after=-10", headers: LINES, granted: 200 },
    Use { right: "read", method: "HEAD", rest: "", headers: EVENTS, granted: 200 },
    Use { right: "read", method: "GET", rest: "", headers: UPGRADE, granted: 101 },
    Use { right: "read", method: "GET", rest: "?after=-5", headers: V1, granted: 101 },
    Use { right: "read", method: "GET", rest: "?after=earliest", headers: UPGRADE, granted: 101 },
    Use {
        right: "write",
        method: "POST",
        rest: "",
        headers: "Content-Length: 0\r\n",
        granted: 201,
    },
    Use { right: "write", method: "DELETE", rest: "", headers: "", granted: 204 },
];

impl Use {
    /// The head of the response to this request, with further headers.
    async fn ask(&self, server: &TestServer, channel: &str, headers: &str) -> Head {
        let Self { method, rest, headers: own, .. } = self;
        let request = format!(
            "{method} /c/{channel}{rest} HTTP/1.1\r\nHost: localhost\r\n{own}{headers}\r\n"
        );
        head_of(server, &request).await
    }

    async fn ask_with(&self, server: &TestServer, channel: &str, token: &str) -> Head {
        self.ask(server, channel, &format!("Authorization: Bearer {token}\r\n")).await
    }
}

/// The head of the response to a request that is sent as it is.
pub(super) async fn head_of(server: &TestServer, request: &str) -> Head {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    let read = async {
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
    };
    timeout(SOON, read).await.expect("the server answers");
    Head(String::from_utf8(head).unwrap())
}

pub(super) struct Head(String);

impl Head {
    pub(super) fn status(&self) -> u16 {
        self.0.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// Asserts a refusal with a challenge that contains this (RFC 6750 §3).
    #[track_caller]
    fn assert_refused(&self, status: u16, challenge: &str, wanted: &Use) {
        let Self(head) = self;
        assert_eq!(self.status(), status, "{} {}: {head}", wanted.method, wanted.rest);
        let line = head.lines().find_map(|line| line.strip_prefix("www-authenticate: "));
        let line = line.unwrap_or_else(|| panic!("no challenge: {head}"));
        assert!(line.starts_with("Bearer ") && line.contains(challenge), "{line}");
    }
}

#[tokio::test]
async fn without_a_token_nothing_can_be_done() {
    let server = server().await;
    let chat = "chat".parse().unwrap();
    let before = server.hub.position(&chat);
    for wanted in USES {
        let head = wanted.ask(&server, "chat", "").await;
        head.assert_refused(401, "realm", wanted);
        assert!(!head.0.contains("error="), "nothing was shown that could be wrong: {}", head.0);
        // Names and other schemes are not tokens.
        let rest = "Authorization: Basic YW5uOnNlY3JldA==\r\n";
        wanted.ask(&server, "chat", rest).await.assert_refused(401, "realm", wanted);
    }
    assert_eq!(server.get("/c/chat?as=ann").await.status, 401);
    assert_eq!(server.hub.position(&chat), before, "nothing was published");
}

#[tokio::test]
async fn a_token_gives_what_it_says_and_nothing_else() {
    let server = server().await;
    for right in ["read", "write", "presence"] {
        let token =
            token(&format!(r#"{{"chat":["{right}"],"other:*":["read","write","presence"]}}"#));
        for wanted in USES {
            let head = wanted.ask_with(&server, "chat", &token).await;
            if wanted.right == right {
                assert_eq!(
                    head.status(),
                    wanted.granted,
                    "{} {}: {}",
                    wanted.method,
                    wanted.rest,
                    head.0
                );
            } else {
                head.assert_refused(403, "error=\"insufficient_scope\"", wanted);
            }
        }
    }
}

#[tokio::test]
async fn channels_that_only_look_alike_are_others() {
    let server = server().await;
    let all = r#"["read","write","presence"]"#;
    let token = token(&format!(r#"{{"chat:*":{all},"a.b":{all}}}"#));
    for wanted in USES {
        for channel in ["chat", "chats", "Chat:a", "xchat:a", "a", "a.b.c", "axb", "a.B"] {
            let head = wanted.ask_with(&server, channel, &token).await;
            head.assert_refused(403, "insufficient_scope", wanted);
        }
        for channel in ["chat:a", "chat:a:b", "a.b", "%63hat:a", "chat%3Aa"] {
            let head = wanted.ask_with(&server, channel, &token).await;
            assert_eq!(head.status(), wanted.granted, "{channel}: {}", head.0);
        }
    }
}

#[tokio::test]
async fn an_invalid_token_is_refused_alike_everywhere() {
    let server = server().await;
    let all = r#"{"*":["read","write","presence"]}"#;
    let good = token(all);
    let (signed, _) = good.rsplit_once('.').unwrap();
    for bad in [
        token_until(now(), all),
        token_until(now() - 3600.0, all),
        format!("{signed}."),
        format!("{good}x"),
        sign(r#"{"alg":"none"}"#, format!(r#"{{"exp":4102444800,"channels":{all}}}"#)),
        sign(HEADER, format!(r#"{{"channels":{all}}}"#)),
        sign(HEADER, format!(r#"{{"exp":4102444800,"nbf":4102444000,"channels":{all}}}"#)),
        "x".to_owned(),
        "x".repeat(9000),
    ] {
        for wanted in USES {
            let head = wanted.ask_with(&server, "chat", &bad).await;
            head.assert_refused(401, "error=\"invalid_token\"", wanted);
        }
    }
    for wanted in USES {
        assert_eq!(wanted.ask_with(&server, "chat", &good).await.status(), wanted.granted);
    }
}

#[tokio::test]
async fn a_websocket_may_bring_its_token_as_a_subprotocol_that_is_never_echoed() {
    let server = server().await;
    let good = token(r#"{"chat":["read"]}"#);
    for wanted in USES {
        let offer = format!("Sec-WebSocket-Protocol: mine, bearer.{good}\r\n");
        let head = wanted.ask(&server, "chat", &offer).await;
        if wanted.headers.starts_with(UPGRADE) {
            assert_eq!(head.status(), 101, "{}", head.0);
            assert!(!head.0.contains("bearer") && !head.0.contains(&good), "{}", head.0);
            let bad = wanted.ask(&server, "chat", "Sec-WebSocket-Protocol: bearer.x\r\n").await;
            bad.assert_refused(401, "invalid_token", wanted);
        } else {
            // Elsewhere it is a header like any other.
            head.assert_refused(401, "realm", wanted);
        }
    }
}

#[tokio::test]
async fn two_tokens_are_one_too_many() {
    let server = server().await;
    let good = token(r#"{"chat":["read","write","presence"]}"#);
    let line = format!("Authorization: Bearer {good}\r\n");
    for wanted in USES {
        let head = wanted.ask(&server, "chat", &line.repeat(2)).await;
        assert_eq!(head.status(), 400, "{}", head.0);
    }
    let websocket = USES.iter().find(|wanted| wanted.headers == UPGRADE).unwrap();
    let both = format!("{line}Sec-WebSocket-Protocol: bearer.{good}\r\n");
    assert_eq!(websocket.ask(&server, "chat", &both).await.status(), 400);
}

#[tokio::test]
async fn without_an_auth_key_tokens_change_nothing() {
    let server = TestServer::start().await;
    for wanted in USES {
        for token in [token("{}"), "x".to_owned()] {
            assert_eq!(wanted.ask_with(&server, "chat", &token).await.status(), wanted.granted);
        }
    }
}

/// A client without rights learns neither what is in a channel nor how far it is.
#[tokio::test]
async fn a_refusal_tells_nothing_of_the_channel() {
    let server = server().await;
    let good = token(r#"{"chat":["read","write"]}"#);
    let publish = USES.iter().find(|wanted| wanted.method == "POST").unwrap();
    publish.ask_with(&server, "chat", &good).await;
    for wanted in USES {
        for token in [token(r#"{"other":["read","write"]}"#), "x".to_owned()] {
            for channel in ["chat", "nothing-here"] {
                let Head(head) = wanted.ask_with(&server, channel, &token).await;
                assert!(!head.contains("etag") && !head.contains("last-event-id"), "{head}");
            }
        }
    }
}

#[tokio::test]
async fn pages_read_why_they_were_refused() {
    let server = TestServer::with(|options| {
        options.channels.auth_key = Some(super::key());
        options.channels.allow_origin = vec!["https://app.example".parse().unwrap()];
    })
    .await;
    let page = "Origin: https://app.example\r\n";
    for wanted in USES {
        for headers in [page.to_owned(), format!("{page}Authorization: Bearer x\r\n")] {
            let head = wanted.ask(&server, "chat", &headers).await;
            way_refused(&head);
        }
        // A page that is not allowed is not even told that a token would help.
        let foreign = wanted.ask(&server, "chat", "Origin: https://evil.example\r\n").await;
        assert_eq!(foreign.status(), 403);
        assert!(!foreign.0.contains("www-authenticate"), "{}", foreign.0);
    }

    fn way_refused(head: &Head) {
        assert_eq!(head.status(), 401);
        assert!(
            head.0.contains("access-control-allow-origin: https://app.example\r\n"),
            "{}",
            head.0
        );
    }
}
