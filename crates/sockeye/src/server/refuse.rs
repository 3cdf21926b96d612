//! Answers to clients that get no WebSocket.

use std::time::Duration;

use http::{HeaderValue, StatusCode, header::RETRY_AFTER};
use sockeye_proto::handshake::Refusal;
use tokio::{io::AsyncWriteExt, time::timeout};

use crate::socket::Io;

/// How long a refused client may take to read its answer.
const LINGER: Duration = Duration::from_secs(2);

/// Sends the answer and ends the connection. What still comes is read and thrown away for a while: to
/// close at once would reset the connection, and the answer might never be seen.
pub(super) async fn refuse(mut io: Io, refusal: &Refusal) {
    let answer = async {
        io.write_all(&refusal.encode()).await?;
        io.shutdown().await?;
        tokio::io::copy(&mut io, &mut tokio::io::sink()).await
    };
    // A client that does not wait for its answer does not need it.
    let _ = timeout(LINGER, answer).await;
}

/// An answer that asks to come again after some time, in whole seconds.
pub(super) fn come_again(status: StatusCode, text: &str, after: Duration) -> Refusal {
    Refusal::new(status, text).header(RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)))
}
