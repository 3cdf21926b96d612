//! What a server says with a refusal: the body of a response that opens no WebSocket.

use bytes::{Bytes, BytesMut};
use http::{Response, header::CONTENT_LENGTH};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The largest body that is read, in bytes: explanations are short.
const MAX_BODY: usize = 64 << 10;

/// The body of a response that refuses a WebSocket over HTTP/1.1, among the
/// [extensions](Response::extensions) of [`ResponseError::Status`](crate::ResponseError::Status).
///
/// It is empty where the response has no `Content-Length`, or one above 64 KiB.
#[derive(Debug, Clone)]
pub struct RefusalBody(pub Bytes);

/// Reads the body of which `input` has the beginning. One that breaks off is as good as none.
pub(crate) async fn body(
    response: &Response<()>,
    stream: &mut (impl AsyncRead + Unpin),
    mut input: BytesMut,
) -> Bytes {
    let length = response.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let Some(length) = length.filter(|length| *length <= MAX_BODY) else { return Bytes::new() };
    while input.len() < length {
        match stream.read_buf(&mut input).await {
            Ok(1..) => {}
            _ => return Bytes::new(),
        }
    }
    input.split_to(length).freeze()
}
