//! Frames of HTTP/2 (RFC 9113 §4), byte for byte, for clients that do what no library would.

use std::io::{self, Read};

/// What a client sends first (RFC 9113 §3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The kind of a frame with a part of a body.
pub const DATA: u8 = 0;
/// The kind of a frame with a head.
pub const HEADERS: u8 = 1;
/// The kind of a frame that ends one stream.
pub const RST_STREAM: u8 = 3;
/// The kind of a frame with settings.
pub const SETTINGS: u8 = 4;
/// The kind of a frame that asks for the same with [`ACK`].
pub const PING: u8 = 6;
/// The kind of a frame that ends the connection.
pub const GOAWAY: u8 = 7;
/// The kind of a frame that lets the peer send more.
pub const WINDOW_UPDATE: u8 = 8;
/// The kind of a frame that goes on with a head.
pub const CONTINUATION: u8 = 9;

/// The flag of a SETTINGS or a PING that answers one.
pub const ACK: u8 = 1;
/// The flag of a stream's last frame.
pub const END_STREAM: u8 = 1;
/// The flag of a head that is whole.
pub const END_HEADERS: u8 = 4;

/// A frame as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is, as [`DATA`].
    pub kind: u8,
    /// Its flags, as [`END_STREAM`].
    pub flags: u8,
    /// Its stream; 0 is the connection.
    pub stream: u32,
    /// What follows its header.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Reads a frame, and nothing beyond it.
    ///
    /// # Errors
    ///
    /// Those of the stream; its end is `UnexpectedEof`.
    pub fn read(from: &mut impl Read) -> io::Result<Self> {
        let mut header = [0; 9];
        from.read_exact(&mut header)?;
        let mut frame = Self::begun(header);
        from.read_exact(&mut frame.payload)?;
        Ok(frame)
    }

    /// Reads a frame, and nothing beyond it. A future that is dropped loses what it has read.
    ///
    /// # Errors
    ///
    /// Those of the stream; its end is `UnexpectedEof`.
    #[cfg(feature = "tokio")]
    pub async fn read_async(from: &mut (impl tokio::io::AsyncRead + Unpin)) -> io::Result<Self> {
        use tokio::io::AsyncReadExt as _;

        let mut header = [0; 9];
        from.read_exact(&mut header).await?;
        let mut frame = Self::begun(header);
        from.read_exact(&mut frame.payload).await?;
        Ok(frame)
    }

    /// The error code of a RST_STREAM or a GOAWAY.
    ///
    /// # Panics
    ///
    /// If the payload is too short for one.
    #[must_use]
    pub fn code(&self) -> u32 {
        let code = if self.kind == GOAWAY { &self.payload[4..] } else { &self.payload[..] };
        u32::from_be_bytes(*code.first_chunk().expect("a code"))
    }

    /// The identifiers and values of a SETTINGS.
    ///
    /// # Panics
    ///
    /// If the last of them is not whole.
    #[must_use]
    pub fn settings(&self) -> Vec<(u16, u32)> {
        let setting = |bytes: &[u8]| {
            let [a, b, value @ ..] = *bytes.first_chunk::<6>().expect("a whole setting");
            (u16::from_be_bytes([a, b]), u32::from_be_bytes(value))
        };
        self.payload.chunks(6).map(setting).collect()
    }

    /// The frame with this header, and room for its payload: 16 MiB at the most.
    fn begun([a, b, c, kind, flags, stream @ ..]: [u8; 9]) -> Self {
        let payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        Self { kind, flags, stream: u32::from_be_bytes(stream), payload }
    }
}

/// The bytes of a frame.
///
/// # Panics
///
/// If the payload is too long for one.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).ok().filter(|&length| length < 1 << 24);
    let length = length.expect("a payload of less than 16 MiB").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A head: literal fields without indexing (RFC 7541 §6.2.2).
///
/// # Panics
///
/// If a name or a value has more than 126 bytes.
#[must_use]
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            let length = u8::try_from(text.len()).ok().filter(|&length| length < 127);
            block.push(length.expect("a short name or value"));
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// The fields that ask for a WebSocket on a stream (RFC 8441 §5), for [`block`].
#[must_use]
pub fn websocket<'a>(path: &'a str, subprotocol: Option<&'a str>) -> Vec<(&'a str, &'a str)> {
    let mut fields = vec![
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("sec-websocket-version", "13"),
    ];
    fields.extend(subprotocol.map(|name| ("sec-websocket-protocol", name)));
    fields
}

/// The fields that ask for what is at a path, for [`block`].
#[must_use]
pub fn get<'a>(path: &'a str, accept: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        (":method", "GET"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("accept", accept),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_as_it_was_written() {
        let bytes = frame(HEADERS, END_HEADERS, 0x0102_0304, &block(&[("a", "bc")]));
        assert_eq!(bytes, b"\0\0\x06\x01\x04\x01\x02\x03\x04\0\x01a\x02bc");
        let mut rest = &[&bytes[..], b"more"].concat()[..];
        let read = Frame::read(&mut rest).unwrap();
        assert_eq!((read.kind, read.flags, read.stream), (HEADERS, END_HEADERS, 0x0102_0304));
        assert_eq!((read.payload, rest), (block(&[("a", "bc")]), &b"more"[..]));
    }

    #[test]
    fn codes_and_settings_are_read() {
        let read = |bytes: Vec<u8>| Frame::read(&mut &bytes[..]).unwrap();
        assert_eq!(read(frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])).code(), 8);
        assert_eq!(read(frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 2, b'x'])).code(), 2);
        let settings = read(frame(SETTINGS, 0, 0, &[0, 8, 0, 0, 0, 1, 0, 4, 0, 1, 0, 0]));
        assert_eq!(settings.settings(), [(8, 1), (4, 65_536)]);
    }

    #[cfg(feature = "tokio")]
    #[tokio::test]
    async fn a_frame_is_read_from_tokios_streams() {
        let mut bytes = &frame(PING, 0, 0, b"12345678")[..];
        let read = Frame::read_async(&mut bytes).await.unwrap();
        assert_eq!((read.kind, &read.payload[..]), (PING, &b"12345678"[..]));
        let error = Frame::read_async(&mut bytes).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
