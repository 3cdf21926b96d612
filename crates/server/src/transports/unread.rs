//! Counts what the answers of polls hold: each from when it is made until its client has taken all of it, or
//! has left.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, HttpBody};
use axum::response::Response;
use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::metrics::Metrics;
use crate::transports::poll::length;

/// The response, counted as long as its body is there.
pub(crate) fn counted(response: Response, metrics: &Arc<Metrics>) -> Response {
    let bytes = length(&response);
    if bytes == 0 {
        return response;
    }
    let held = Held { metrics: Arc::clone(metrics), bytes: bytes as i64 };
    metrics.answers_hold(held.bytes);
    response.map(|body| Body::new(CountedBody { body, held: Some(held) }))
}

struct CountedBody {
    body: Body,
    held: Option<Held>,
}

/// The last piece of a body: it is written, and freed, after all others.
struct LastPiece {
    piece: Bytes,
    _held: Option<Held>,
}

impl AsRef<[u8]> for LastPiece {
    fn as_ref(&self) -> &[u8] {
        &self.piece
    }
}

struct Held {
    metrics: Arc<Metrics>,
    bytes: i64,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.metrics.answers_hold(-self.bytes);
    }
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(context)) else {
            return Poll::Ready(None);
        };
        // The connection takes pieces ahead of the client, and with the last one the body is gone.
        let is_last = self.body.is_end_stream();
        Poll::Ready(Some(frame.map(|frame| match is_last {
            true => {
                frame.map_data(|piece| {
                    Bytes::from_owner(LastPiece { piece, _held: self.held.take() })
                })
            }
            false => frame,
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
