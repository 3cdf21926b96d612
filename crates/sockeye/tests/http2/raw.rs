//! A peer that writes HTTP/2 frame by frame, and so can do what no library does.

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const CANCEL: u32 = 8;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

/// `:status: 200` and `:status: 400` in HPACK (RFC 7541, appendix A).
pub(crate) const STATUS_200: u8 = 0x88;
pub(crate) const STATUS_400: u8 = 0x8c;

pub(crate) const ENABLE_CONNECT_PROTOCOL: u16 = 8;

#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The error code of RST_STREAM, or of GOAWAY.
    pub(crate) fn code(&self) -> u32 {
        let code = if self.kind == GOAWAY { &self.payload[4..8] } else { &self.payload[..4] };
        u32::from_be_bytes(code.try_into().unwrap())
    }

    /// The settings, each with its value.
    pub(crate) fn settings(&self) -> Vec<(u16, u32)> {
        let setting = |bytes: &[u8]| {
            let id = u16::from_be_bytes([bytes[0], bytes[1]]);
            (id, u32::from_be_bytes(bytes[2..6].try_into().unwrap()))
        };
        self.payload.chunks(6).map(setting).collect()
    }
}

pub(crate) struct RawPeer<S = TcpStream> {
    stream: S,
}

impl RawPeer {
    /// A client over TCP.
    pub(crate) async fn client(address: std::net::SocketAddr, settings: &[(u16, u32)]) -> Self {
        Self::client_over(TcpStream::connect(address).await.unwrap(), settings).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> RawPeer<S> {
    /// A client: sends the preface and its settings.
    pub(crate) async fn client_over(mut stream: S, settings: &[(u16, u32)]) -> Self {
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let mut peer = Self { stream };
        peer.send_settings(settings).await;
        peer
    }

    /// A server: awaits the preface, sends its settings.
    pub(crate) async fn server(mut stream: S, settings: &[(u16, u32)]) -> Self {
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).await.unwrap();
        assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        let mut peer = Self { stream };
        peer.send_settings(settings).await;
        peer
    }

    async fn send_settings(&mut self, settings: &[(u16, u32)]) {
        let mut payload = Vec::new();
        for (id, value) in settings {
            payload.extend_from_slice(&id.to_be_bytes());
            payload.extend_from_slice(&value.to_be_bytes());
        }
        self.send(SETTINGS, 0, 0, &payload).await;
    }

    pub(crate) async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.send_raw(&frame(kind, flags, stream, payload)).await;
    }

    pub(crate) async fn send_raw(&mut self, frames: &[u8]) {
        // A peer that has closed does not need it.
        let _ = self.stream.write_all(frames).await;
        let _ = self.stream.flush().await;
    }

    /// Sends a request's head.
    pub(crate) async fn send_request(&mut self, stream: u32, fields: &[(&str, &str)]) {
        self.send(HEADERS, END_HEADERS, stream, &block(fields)).await;
    }

    /// The next frame; `None` when the peer has closed the connection.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).await.ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.stream.read_exact(&mut payload).await.ok()?;
        if kind == SETTINGS && flags & ACK == 0 {
            self.send(SETTINGS, ACK, 0, &[]).await;
        }
        Some(Frame { kind, flags, stream: u32::from_be_bytes(stream), payload })
    }

    /// As a server: answers pings, and requests with 200 up to the one on stream `last`.
    pub(crate) async fn answer_until(&mut self, last: u32) {
        while let Some(frame) = self.next().await {
            match frame.kind {
                PING if frame.flags & ACK == 0 => self.send(PING, ACK, 0, &frame.payload).await,
                HEADERS => {
                    self.send(HEADERS, END_HEADERS, frame.stream, &[STATUS_200]).await;
                    if frame.stream == last {
                        return;
                    }
                }
                _ => {}
            }
        }
    }

    /// The next frame of this stream.
    pub(crate) async fn next_of(&mut self, stream: u32) -> Frame {
        loop {
            let frame = self.next().await.expect("the connection has ended");
            if frame.stream == stream {
                return frame;
            }
        }
    }
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// Literal fields, none indexed (RFC 7541 §6.2.2).
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// The head of a request that opens a WebSocket.
pub(crate) const REQUEST: [(&str, &str); 6] = [
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "http"),
    (":path", "/chat"),
    (":authority", "example.org"),
    ("sec-websocket-version", "13"),
];

/// The same with a field replaced, or further fields added.
pub(crate) fn request_with<'a>(fields: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut request: Vec<_> = REQUEST.to_vec();
    for &(name, value) in fields {
        match request.iter_mut().find(|(known, _)| *known == name) {
            Some(known) => known.1 = value,
            None => request.push((name, value)),
        }
    }
    request
}

/// The same without a field.
pub(crate) fn request_without(name: &str) -> Vec<(&'static str, &'static str)> {
    REQUEST.into_iter().filter(|(known, _)| *known != name).collect()
}
