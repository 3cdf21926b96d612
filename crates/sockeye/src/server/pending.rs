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

/// How long a refused client may take to read its answer.
const LINGER: Duration = Duration::from_secs(2);
/// How much of what it still sends is read meanwhile.
const MAX_DISCARDED: u64 = 256 << 10;

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
                    io.shutdown().await?;
                    let rest = &mut (&mut io).take(MAX_DISCARDED);
                    tokio::io::copy(rest, &mut tokio::io::sink()).await
                };
                // A client that does not wait for its answer does not need it.
                let _ = timeout(LINGER, answer).await;
            }
            #[cfg(all(feature = "http2", feature = "tls"))]
            Self::Http2(answer, ..) => super::http2::refuse(answer, refusal),
        }
    }
}
