//! A request that waits for its answer, on a connection of its own or on a stream of HTTP/2.

use std::{io, time::Duration};

use bytes::BytesMut;
use http::Response;
use sockeye_proto::handshake::{Refusal, encode_response};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::socket::Io;

/// How long a refused client may take nothing of its answer, or send nothing while it is read to its
/// end; how long that takes at most; and how many bytes are read (RFC 9112 §9.6).
const SILENCE: Duration = Duration::from_secs(2);
const LINGER: Duration = Duration::from_secs(30);
const MAX_DISCARDED: usize = 64 << 20;

#[derive(Debug)]
pub(super) enum Pending {
    /// The connection, and what came on it behind the request.
    Http1(Io, BytesMut),
    /// Both directions of the stream, and how long the client may take nothing.
    #[cfg(all(feature = "http2", feature = "tls"))]
    Http2(h2::server::SendResponse<bytes::Bytes>, h2::RecvStream, Duration),
}

impl Pending {
    /// Gives the answer that opens the WebSocket; what is left is its transport, and what came on it
    /// already.
    pub(super) async fn accept(self, response: Response<()>) -> io::Result<(Io, BytesMut)> {
        match self {
            Self::Http1(mut io, input) => {
                io.write_all(&encode_response(&response.map(|()| ""))).await?;
                io.flush().await?;
                Ok((io, input))
            }
            #[cfg(all(feature = "http2", feature = "tls"))]
            Self::Http2(mut answer, receive, limit) => {
                let send = answer.send_response(response, false).map_err(crate::http2::io_error)?;
                let stream = crate::http2::Http2Stream::new(send, receive);
                let stream = crate::http2::WriteDeadline::new(stream, limit);
                Ok((Io::boxed(stream), BytesMut::new()))
            }
        }
    }

    /// Sends the answer and ends the connection, or the stream. On a connection what still comes is
    /// read and thrown away for a while: to close at once would reset it, and the answer might never
    /// be seen.
    pub(super) async fn refuse(self, refusal: &Refusal) {
        match self {
            Self::Http1(mut io, _) => {
                let answer = async {
                    io.write_all(&refusal.encode()).await?;
                    io.shutdown().await
                };
                // A client that does not wait for its answer does not need it.
                if matches!(timeout(SILENCE, answer).await, Ok(Ok(()))) {
                    let _ = timeout(LINGER, discard(&mut io)).await;
                }
            }
            #[cfg(all(feature = "http2", feature = "tls"))]
            Self::Http2(answer, ..) => super::http2::refuse(answer, refusal),
        }
    }
}

/// Reads to the client's end, or until nothing comes any more, or too much.
async fn discard(io: &mut Io) {
    let (mut buffer, mut discarded) = (BytesMut::with_capacity(8 << 10), 0);
    while discarded <= MAX_DISCARDED
        && let Ok(Ok(read @ 1..)) = timeout(SILENCE, io.read_buf(&mut buffer)).await
    {
        buffer.clear();
        discarded += read;
    }
}
