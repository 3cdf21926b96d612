//! Tickets, for clients that cannot send headers.

use http::{Method, StatusCode, header};
use sockeye_testing::eventually_async;

use super::{LIFETIME, key, now, server, token, token_until, wait_until};
use crate::client::{Answer, TestServer};

const ALL: &str = r#"{"*":["read","write","presence"]}"#;

async fn ask(server: &TestServer, token: &str, origin: Option<&str>) -> Answer {
    let mut request = server.request(Method::POST, "/tickets");
    request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    if let Some(origin) = origin {
        request = request.header(header::ORIGIN, origin);
    }
    server.send(request, "").await
}

async fn ticket(server: &TestServer, token: &str, origin: Option<&str>) -> String {
    let answer = ask(server, token, origin).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.json()["expires_in"], 60);
    answer.json()["ticket"].as_str().unwrap().to_owned()
}

/// The status of a request with a ticket. Streams are closed as soon as they begin.
async fn show(server: &TestServer, path: &str, ticket: &str, headers: &str) -> u16 {
    let line = format!("GET {path}?ticket={ticket} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
    super::transports::head_of(server, &line).await.status()
}

const EVENTS: &str = "Accept: text/event-stream\r\n";
const RESUMED: &str = "Accept: text/event-stream\r\nLast-Event-ID: ";

/// The headers of an `EventSource` that reconnects.
fn resumed(position: &str) -> String {
    format!("{RESUMED}{position}\r\n")
}

/// Publishes with a token; gives the position.
async fn publish(server: &TestServer, token: &str) -> String {
    let request = server.request(Method::POST, "/c/chat");
    let request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    server.send(request, "x").await.json()["at"].as_str().unwrap().to_owned()
}
const UPGRADE: &str = super::transports::UPGRADE;

#[tokio::test]
async fn a_ticket_opens_anything_once() {
    let server = server().await;
    let token = token(ALL);
    for headers in ["", EVENTS, UPGRADE, "Accept: application/x-ndjson\r\n", "Prefer: wait=0\r\n"] {
        let ticket = ticket(&server, &token, None).await;
        let opened = show(&server, "/c/chat", &ticket, headers).await;
        assert!([200, 101].contains(&opened), "{opened} {headers}");
        assert_eq!(show(&server, "/c/chat", &ticket, headers).await, 401, "{headers}");
        assert_eq!(show(&server, "/c/chat", &ticket, "").await, 401, "{headers}");
    }
}

#[tokio::test]
async fn of_two_that_show_it_at_once_one_gets_in() {
    let server = server().await;
    let ticket = ticket(&server, &token(ALL), None).await;
    let both = (0..8).map(|_| show(&server, "/c/chat", &ticket, ""));
    let statuses = futures_util::future::join_all(both).await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 401].contains(status)), "{statuses:?}");
}

#[tokio::test]
async fn an_event_source_that_was_cut_off_comes_back_with_it() {
    let server = server().await;
    let token = token(ALL);
    let ticket = ticket(&server, &token, None).await;
    let (before, began) = (publish(&server, &token).await, publish(&server, &token).await);
    // Not before it was used.
    assert_eq!(show(&server, "/c/chat", &ticket, EVENTS).await, 200);
    let (resumed_there, later) = (resumed(&began), publish(&server, &token).await);
    for position in [&began, &later, &began] {
        assert_eq!(show(&server, "/c/chat", &ticket, &resumed(position)).await, 200);
    }
    // Only for what it was used: the same URL, events, and a position to resume at.
    assert_eq!(show(&server, "/c/other", &ticket, &resumed_there).await, 401);
    assert_eq!(show(&server, "/c/chat", &ticket, EVENTS).await, 401);
    assert_eq!(
        show(&server, "/c/chat", &ticket, &format!("Last-Event-ID: {began}\r\n")).await,
        401
    );
    let websocket = format!("{UPGRADE}{resumed_there}");
    assert_eq!(show(&server, "/c/chat", &ticket, &websocket).await, 401);
    // Nothing before the beginning of its stream, by whatever name; and no position in the future,
    // which would give the whole history.
    let epoch = began.split_once('.').unwrap().0;
    let ahead = format!("{epoch}.1000");
    for position in [before.as_str(), "earliest", "-9", "10m", "now", "zzzz.1", &ahead] {
        assert_eq!(show(&server, "/c/chat", &ticket, &resumed(position)).await, 401, "{position}");
    }
    assert_eq!(show(&server, "/c/chat", &ticket, &resumed_there).await, 200);
}

#[tokio::test]
async fn a_token_has_a_limit_of_unused_tickets() {
    let server = server().await;
    let token = token(ALL);
    let mut first = None;
    // Each node counts its own, and each request goes to the next node.
    for _ in 0..64 * server.nodes() {
        first.get_or_insert(ticket(&server, &token, None).await);
    }
    let refused = ask(&server, &token, None).await;
    refused.assert_problem(429, "too_many");
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(show(&server, "/c/chat", &first.unwrap(), "").await, 200);
    // The node that gave it has room for another, once it has looked again whether one was used elsewhere.
    eventually_async("a ticket is given", async || {
        ask(&server, &token, None).await.status == StatusCode::CREATED
    })
    .await;
    for _ in 0..server.nodes() {
        ask(&server, &token, None).await.assert_problem(429, "too_many");
    }
}

#[tokio::test]
async fn what_was_no_event_source_does_not_become_one() {
    let server = server().await;
    for headers in ["", UPGRADE] {
        let ticket = ticket(&server, &token(ALL), None).await;
        show(&server, "/c/chat", &ticket, headers).await;
        let resumed = resumed(&publish(&server, &token(ALL)).await);
        assert_eq!(show(&server, "/c/chat", &ticket, &resumed).await, 401, "{headers}");
    }
}

#[tokio::test]
async fn a_ticket_gives_no_more_than_its_token() {
    let server = server().await;
    let reader = token(r#"{"chat":["read"]}"#);
    for (path, status) in [("/c/chat", 200), ("/c/other", 403), ("/c/chat/presence", 403)] {
        let ticket = ticket(&server, &reader, None).await;
        assert_eq!(show(&server, path, &ticket, "").await, status, "{path}");
    }
    let ticket = ticket(&server, &reader, None).await;
    let posted = server.post(&format!("/c/chat?ticket={ticket}"), "text/plain", "x").await;
    posted.assert_problem(403, "forbidden");
}

#[tokio::test]
async fn a_ticket_ends_with_its_token() {
    let server = server().await;
    let until = now() + LIFETIME;
    let position = publish(&server, &token(ALL)).await;
    let ticket = ticket(&server, &token_until(until, ALL), None).await;
    assert_eq!(show(&server, "/c/chat", &ticket, EVENTS).await, 200);
    wait_until(until).await;
    assert_eq!(show(&server, "/c/chat", &ticket, &resumed(&position)).await, 401);
}

#[tokio::test]
async fn a_ticket_is_issued_for_a_valid_token_alone() {
    let server = server().await;
    server.post("/tickets", "text/plain", "").await.assert_problem(401, "unauthorized");
    ask(&server, "x", None).await.assert_problem(401, "unauthorized");
    ask(&server, &token_until(now(), ALL), None).await.assert_problem(401, "unauthorized");
    let ticket = ticket(&server, &token(ALL), None).await;
    let another = server.post(&format!("/tickets?ticket={ticket}"), "text/plain", "").await;
    another.assert_problem(401, "unauthorized");
    let both = server.request(Method::POST, &format!("/tickets?ticket={ticket}"));
    let both = both.header(header::AUTHORIZATION, format!("Bearer {}", token(ALL)));
    server.send(both, "").await.assert_problem(400, "bad_request");
    server.get("/tickets").await.assert_problem(405, "method_not_allowed");
}

#[tokio::test]
async fn a_ticket_is_valid_for_the_pages_that_asked() {
    let (ours, theirs) = ("https://app.example", "https://partner.example");
    let server = TestServer::with(|options| {
        options.channels.auth_key = Some(key());
        options.channels.allow_origin = [ours, theirs].map(|origin| origin.parse().unwrap()).into();
    })
    .await;
    let from = |origin: &str| format!("Origin: {origin}\r\n{EVENTS}");
    let of_ours = ticket(&server, &token(ALL), Some(ours)).await;
    assert_eq!(show(&server, "/c/chat", &of_ours, &from(theirs)).await, 401);
    assert_eq!(show(&server, "/c/chat", &of_ours, &from("https://evil.example")).await, 403);
    assert_eq!(show(&server, "/c/chat", &of_ours, &from(ours)).await, 200);
    // A GET to a page's own origin has no `Origin`, and a program sends none.
    let of_ours = ticket(&server, &token(ALL), Some(ours)).await;
    assert_eq!(show(&server, "/c/chat", &of_ours, EVENTS).await, 200);
    // A program requests a ticket for a page that it makes.
    let of_program = ticket(&server, &token(ALL), None).await;
    assert_eq!(show(&server, "/c/chat", &of_program, &from(theirs)).await, 200);
    ask(&server, &token(ALL), Some("https://evil.example")).await.assert_problem(403, "bad_origin");
}

#[tokio::test]
async fn tickets_are_long_and_never_the_same() {
    let server = server().await;
    let token = token(ALL);
    let mut seen = std::collections::HashSet::new();
    for _ in 0..20 {
        let ticket = ticket(&server, &token, None).await;
        assert!(
            ticket.len() >= 40
                && ticket.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        );
        assert!(seen.insert(ticket));
    }
}

#[tokio::test]
async fn without_an_auth_key_there_are_none_and_none_is_needed() {
    let server = TestServer::start().await;
    ask(&server, "x", None).await.assert_problem(404, "not_found");
    assert_eq!(show(&server, "/c/chat", "anything", "").await, 200);
}
