//! A peer that writes HTTP/2 frame by frame, and so can do what no library does.

use sockeye_testing::http2::PREFACE;
pub(crate) use sockeye_testing::http2::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PING, RST_STREAM,
    SETTINGS, block, frame,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const CANCEL: u32 = 8;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

/// `:status: 200` and `:status: 400` in HPACK (RFC 7541, appendix A).
pub(crate) const STATUS_200: u8 = 0x88;
pub(crate) const STATUS_400: u8 = 0x8c;

pub(crate) const ENABLE_CONNECT_PROTOCOL: u16 = 8;

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
        stream.write_all(PREFACE).await.unwrap();
        let mut peer = Self { stream };
        peer.send_settings(settings).await;
        peer
    }

    /// A server: awaits the preface, sends its settings.
    pub(crate) async fn server(mut stream: S, settings: &[(u16, u32)]) -> Self {
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).await.unwrap();
        assert_eq!(preface, PREFACE);
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
        let frame = Frame::read_async(&mut self.stream).await.ok()?;
        if frame.kind == SETTINGS && frame.flags & ACK == 0 {
            self.send(SETTINGS, ACK, 0, &[]).await;
        }
        Some(frame)
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
