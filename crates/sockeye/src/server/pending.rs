//! A request that waits for its answer, on a connection of its own or on a stream of HTTP/2.

use std::io;
#[cfg(all(feature = "http2", feature = "tls"))]
use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use sockeye_proto::handshake::Refusal;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::{
    net::{
        self,
        defaults::{LINGER, LINGER_SILENCE, MAX_LINGER_BYTES},
    },
    socket::ByteStream,
};

#[derive(Debug)]
pub(super) enum Pending {
    /// The connection, and what came on it behind the request.
    Http1(ByteStream, BytesMut),
    /// What shows that the connection is in use, both directions of the stream, and how long the client may
    /// take nothing. In this order: what is dropped after the mark wakes the task that looks for it.
    #[cfg(all(feature = "http2", feature = "tls"))]
    Http2(Arc<()>, h2::server::SendResponse<Bytes>, h2::RecvStream, Duration),
}

/// The answer that opens a WebSocket.
pub(super) enum Answer {
    Http1(Bytes),
    #[cfg(all(feature = "http2", feature = "tls"))]
    Http2(http::Response<()>),
}

impl Pending {
    /// Gives the answer that opens the WebSocket; what is left is its transport, and what came on it
    /// already.
    pub(super) async fn accept(self, answer: Answer) -> io::Result<(ByteStream, BytesMut)> {
        match (self, answer) {
            (Self::Http1(mut io, input), Answer::Http1(bytes)) => {
                io.write_all(&bytes).await?;
                io.flush().await?;
                Ok((io, input))
            }
            #[cfg(all(feature = "http2", feature = "tls"))]
            (Self::Http2(in_use, mut answer, receive, limit), Answer::Http2(response)) => {
                let send = answer.send_response(response, false).map_err(net::http2::io_error)?;
                let stream = net::http2::Http2Stream::new(send, receive, Some(in_use));
                let stream = net::http2::WriteDeadline::new(stream, limit);
                Ok((ByteStream::boxed(stream), BytesMut::new()))
            }
            #[cfg(all(feature = "http2", feature = "tls"))]
            _ => Err(io::Error::other("the answer is of another version of HTTP")),
        }
    }

    /// Sends the answer and ends the connection, or the stream. On a connection what still comes is
    /// read and thrown away for a while: to close at once would reset it, and the answer might never
    /// be seen. Meanwhile the connection may be evicted.
    pub(super) async fn refuse(self, refusal: &Refusal, connection: &net::Pending) {
        match self {
            Self::Http1(mut io, _) => {
                let answer = async {
                    io.write_all(&refusal.encode()).await?;
                    io.shutdown().await
                };
                // A client that does not wait for its answer does not need it.
                if matches!(timeout(LINGER_SILENCE, answer).await, Ok(Ok(()))) {
                    connection.linger();
                    let _ = connection.or_evicted(timeout(LINGER, discard(&mut io))).await;
                }
            }
            #[cfg(all(feature = "http2", feature = "tls"))]
            Self::Http2(in_use, answer, ..) => {
                drop(in_use);
                super::http2::refuse(answer, refusal);
            }
        }
    }
}

/// Reads to the client's end, or until nothing comes any more, or too much.
async fn discard(io: &mut ByteStream) {
    let (mut buffer, mut discarded) = (BytesMut::with_capacity(8 << 10), 0);
    while discarded <= MAX_LINGER_BYTES
        && let Ok(Ok(read @ 1..)) = timeout(LINGER_SILENCE, io.read_buf(&mut buffer)).await
    {
        buffer.clear();
        discarded += read;
    }
}
