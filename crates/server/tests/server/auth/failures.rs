//! Clients that guess tokens are slowed down, and no others.

use http::{Method, StatusCode, header};

use super::{key, token};
use crate::client::{Answer, TestServer};

async fn show(server: &TestServer, path: &str, token: &str) -> Answer {
    let request = server.request(Method::GET, path);
    server.send(request.header(header::AUTHORIZATION, format!("Bearer {token}")), "").await
}

#[tokio::test]
async fn many_invalid_tokens_get_429_and_valid_ones_are_accepted() {
    let server = TestServer::with(|options| {
        options.channels.auth_key = Some(key());
        options.channels.max_bad_tokens_per_address = Some(1);
    })
    .await;
    let good = token(r#"{"chat":["read"]}"#);
    let mut slowed = None;
    for number in 0..100 {
        // Guessed tickets count like tokens.
        let answer = match number % 2 {
            0 => show(&server, "/c/chat", &format!("{good}x")).await,
            _ => server.get("/c/chat?ticket=AAAA").await,
        };
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            slowed = Some(answer);
            break;
        }
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    }
    let slowed = slowed.expect("a hundred at once are too many");
    slowed.assert_problem(429, "too_many");
    assert_eq!(slowed.header("retry-after"), "1");
    assert_eq!(slowed.header("connection"), "close");
    assert_eq!(show(&server, "/c/chat", &good).await.status, StatusCode::OK);
    // A request without a token is not a guess.
    assert_eq!(server.get("/c/chat").await.status, StatusCode::UNAUTHORIZED);
}
