//! A WebSocket over HTTP/2 (RFC 8441), as browsers open one where the server says that it may be.

use sockeye::{ConnectError, ResponseError, http2::Connection};
use tokio::time::{Instant, timeout};

use crate::{
    exam::Exam,
    finding::{Check, Finding},
    span::{millis, span},
};

/// Negotiated with TLS; without it by prior knowledge, which only a server of Sockeye's is tried for.
pub(crate) async fn http2(exam: &Exam<'_>, is_sockeye: bool) {
    exam.begin(Check::Http2);
    let is_secure = exam.target.address.is_secure();
    let finding = if is_secure || is_sockeye {
        let limit = exam.options.timeout;
        timeout(limit, attempt(exam)).await.unwrap_or_else(|_| {
            let late = format!("no WebSocket was opened over HTTP/2 in {}", span(limit));
            fail(late)
        })
    } else {
        Finding::skip(Check::Http2, "browsers negotiate HTTP/2 with TLS alone")
    };
    exam.found(finding);
}

async fn attempt(exam: &Exam<'_>) -> Finding {
    let is_secure = exam.target.address.is_secure();
    let client = exam.target.client.clone();
    let begun = Instant::now();
    let transport = match client.http2_transport().await {
        Ok(transport) => transport,
        Err(ConnectError::NoExtendedConnect) => {
            let figure =
                "the server negotiates no HTTP/2: each WebSocket has a connection of its own";
            return Finding::skip(Check::Http2, figure);
        }
        Err(error) => return Finding::fail(Check::Http2, (exam.target.explain)(error)),
    };
    let connection = match Connection::over(transport).await {
        Ok(connection) => connection,
        Err(ConnectError::NoExtendedConnect) => {
            let figure = "the server has HTTP/2, and no WebSockets over it: browsers use HTTP/1.1";
            return Finding::skip(Check::Http2, figure);
        }
        Err(_) if !is_secure => {
            return Finding::skip(
                Check::Http2,
                "no HTTP/2 without TLS: something in between has none",
            );
        }
        Err(error) => return fail(error.to_string()),
    };
    match connection.open(client).await {
        Ok(mut opened) => {
            let took = begun.elapsed();
            let pinged = opened.socket.ping().await;
            opened.socket.close(None).await;
            match pinged {
                Ok(_) => Finding::ok(Check::Http2, format!("opens over HTTP/2 in {}", span(took)))
                    .value("ms", millis(took)),
                Err(error) => fail(format!("opens over HTTP/2, and no Pong comes: {error}")),
            }
        }
        Err(ConnectError::Response(ResponseError::Status(response))) => {
            fail(format!("the handshake over HTTP/2 is answered {}", response.status().as_u16()))
        }
        Err(error) => fail(error.to_string()),
    }
}

fn fail(figure: String) -> Finding {
    Finding::fail(Check::Http2, figure).advice(
        "the server says that it has WebSockets over HTTP/2 (RFC 8441), and browsers believe it: mend \
         that, or switch it off",
    )
}
