//! The beginning of the body of a refusal: what a server says besides its status.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{
    Response,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::timeout,
};

/// How much of a body is kept, in bytes.
pub(crate) const MAX_BODY: usize = 8 << 10;
/// How long to wait for it: the status is known already.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(1);
/// How much is read for it at most: chunk sizes come in between.
const MAX_READ: usize = 2 * MAX_BODY;

/// Reads the beginning of the answer's body, of which `input` was received already. What does not arrive
/// within a second is left out.
pub(crate) async fn read_body(
    stream: &mut (impl AsyncRead + Unpin),
    mut input: BytesMut,
    head: &Response<Bytes>,
) -> Bytes {
    let framing = Framing::of(head);
    let reading = async {
        while !framing.is_enough(&input) && matches!(stream.read_buf(&mut input).await, Ok(1..)) {}
    };
    let _ = timeout(BODY_TIMEOUT, reading).await;
    let mut body = framing.decode(&input).0;
    body.truncate(MAX_BODY);
    Bytes::from(body)
}

/// How long a body is (RFC 9112 §6.3).
#[derive(Clone, Copy)]
enum Framing {
    Length(usize),
    Chunked,
    ToTheEnd,
}

impl Framing {
    fn of(head: &Response<Bytes>) -> Self {
        let header = |name| head.headers().get(name)?.to_str().ok();
        let is_empty =
            head.status().is_informational() || matches!(head.status().as_u16(), 204 | 304);
        if is_empty {
            return Self::Length(0);
        }
        if let Some(coding) = header(TRANSFER_ENCODING) {
            let last = coding.rsplit(',').next().unwrap_or_default().trim();
            return if last.eq_ignore_ascii_case("chunked") {
                Self::Chunked
            } else {
                Self::ToTheEnd
            };
        }
        let length = header(CONTENT_LENGTH).and_then(|length| length.trim().parse().ok());
        length.map_or(Self::ToTheEnd, Self::Length)
    }

    fn is_enough(self, input: &[u8]) -> bool {
        let (body, is_whole) = self.decode(input);
        is_whole || body.len() >= MAX_BODY || input.len() >= MAX_READ
    }

    /// What was received of the body, and whether that is all of it.
    fn decode(self, input: &[u8]) -> (Vec<u8>, bool) {
        match self {
            Self::Length(length) => {
                (input[..input.len().min(length)].to_vec(), input.len() >= length)
            }
            Self::Chunked => unchunk(input),
            Self::ToTheEnd => (input.to_vec(), false),
        }
    }
}

/// The chunks received (RFC 9112 §7.1). Invalid input ends them.
fn unchunk(mut input: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(end) = input.windows(2).position(|two| two == b"\r\n") else {
            return (body, false);
        };
        let line = std::str::from_utf8(&input[..end]).unwrap_or_default();
        let size = line.split(';').next().unwrap_or_default().trim();
        let Ok(size @ 1..) = usize::from_str_radix(size, 16) else { return (body, true) };
        input = &input[end + 2..];
        let chunk = &input[..input.len().min(size)];
        body.extend_from_slice(chunk);
        match input.get(size.saturating_add(2)..) {
            Some(rest) => input = rest,
            None => return (body, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_put_together_as_far_as_they_have_come() {
        let whole = b"3\r\nnot\r\n6;x=y\r\n today\r\n0\r\n\r\n";
        assert_eq!(unchunk(whole), (b"not today".to_vec(), true));
        assert_eq!(unchunk(&whole[..20]), (b"not toda".to_vec(), false));
        assert_eq!(unchunk(b"ffffffffffffffff\r\nx"), (b"x".to_vec(), false));
        assert_eq!(unchunk(b"no size\r\nx"), (Vec::new(), true));
        for cut in 0..whole.len() {
            assert!(b"not today".starts_with(&unchunk(&whole[..cut]).0));
        }
    }
}
