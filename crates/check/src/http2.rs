//! WebSockets over HTTP/2 (RFC 8441): a stream of one connection in the place of a connection.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, client::SendRequest, ext::Protocol};
use http::{Method, Request, Response};
use tokio::{
    io::{
        AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf,
        ReadHalf, WriteHalf, split,
    },
    sync::oneshot,
    time::{Instant, sleep, timeout},
};

use crate::{
    case::{Change, Opening},
    link::Stream,
    target::Target,
};

/// How many bytes wait between the two ends of a bridge.
const BRIDGE: usize = 1 << 16;
/// How much the server may send on all streams before it is read.
const CONNECTION_WINDOW: u32 = 1 << 24;

/// A connection to a server that opens WebSockets over HTTP/2.
#[derive(Clone)]
pub(crate) struct Http2(SendRequest<Bytes>);

impl Http2 {
    /// Connects, and waits for the server's settings (RFC 8441 §3). `None` if it has no HTTP/2, or opens no
    /// WebSockets over it.
    pub(crate) async fn connect(target: &Target, within: Duration) -> Option<Self> {
        let connecting = async {
            let stream = target.dial.dial_http2().await.ok()?;
            // What one stream does not read takes no room from the others.
            let mut builder = h2::client::Builder::new();
            builder.initial_connection_window_size(CONNECTION_WINDOW);
            let (sender, connection) = builder.handshake(stream).await.ok()?;
            // It ends with its last stream.
            tokio::spawn(connection);
            let mut sender = sender.ready().await.ok()?;
            let until = Instant::now() + within / 2;
            while !sender.is_extended_connect_protocol_enabled() {
                if Instant::now() > until {
                    return None;
                }
                // Nothing announces the settings.
                sleep(Duration::from_millis(5)).await;
                sender = sender.ready().await.ok()?;
            }
            Some(Self(sender))
        };
        timeout(within, connecting).await.ok().flatten()
    }

    /// Asks for a WebSocket on a stream of its own.
    pub(crate) async fn open(
        &self,
        target: &Target,
        opening: &Opening,
        within: Duration,
    ) -> Result<(Response<()>, Stream), String> {
        let change = opening.http2.unwrap_or(Change::Nothing);
        let protocol = match change {
            Change::Protocol(name) => Protocol::from(name),
            Change::Nothing | Change::Version(_) => Protocol::from_static("websocket"),
        };
        let version = if let Change::Version(version) = change { version } else { "13" };
        let scheme = if target.is_secure { "https" } else { "http" };
        let mut request = Request::builder()
            .method(Method::CONNECT)
            .uri(format!("{scheme}://{}{}", target.authority, target.path))
            .extension(protocol)
            .header("sec-websocket-version", version);
        if let Some(extensions) = opening.extensions {
            request = request.header("sec-websocket-extensions", extensions);
        }
        if !target.subprotocols.is_empty() {
            request = request.header("sec-websocket-protocol", target.subprotocols.join(", "));
        }
        for (name, value) in &target.headers {
            request = request.header(name, value);
        }
        let request = request.body(()).map_err(|error| error.to_string())?;
        let opening = async {
            let mut sender = self.0.clone().ready().await?;
            let (response, send) = sender.send_request(request, false)?;
            Ok::<_, h2::Error>((response.await?, send))
        };
        let opened = timeout(within, opening).await;
        let opened = opened.map_err(|_| format!("nothing within {within:?}"))?;
        let (response, send) = opened.map_err(|error| error.to_string())?;
        let (head, receive) = response.into_parts();
        Ok((Response::from_parts(head, ()), bridge(send, receive)))
    }
}

/// A stream of HTTP/2 as one that reads and writes.
fn bridge(send: SendStream<Bytes>, receive: RecvStream) -> Stream {
    let (ours, theirs) = tokio::io::duplex(BRIDGE);
    let (from, to) = split(theirs);
    let (cut, is_cut) = oneshot::channel();
    tokio::spawn(write(from, send, Cut { receiver: is_cut, is_cut: None }));
    tokio::spawn(read(receive, to));
    Box::pin(Bridge { ours, cut: Some(cut) })
}

/// Our end of a stream. One that is dropped without an end is reset (RFC 8441 §5.1).
struct Bridge {
    ours: DuplexStream,
    cut: Option<oneshot::Sender<()>>,
}

impl Drop for Bridge {
    fn drop(&mut self) {
        // A stream that is over needs no reset.
        let _ = self.cut.take().map(|cut| cut.send(()));
    }
}

impl AsyncRead for Bridge {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.ours).poll_read(context, buffer)
    }
}

impl AsyncWrite for Bridge {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.ours).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.ours).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.cut = None;
        Pin::new(&mut self.ours).poll_shutdown(context)
    }
}

/// The end of our bytes is END_STREAM.
async fn write(
    mut from: ReadHalf<DuplexStream>,
    mut send: SendStream<Bytes>,
    mut is_cut: Cut,
) -> Option<()> {
    let mut chunk = vec![0; BRIDGE];
    loop {
        let count = from.read(&mut chunk).await.ok()?;
        if count == 0 {
            // Dropped, or ended in order.
            if is_cut.cut().await {
                send.send_reset(Reason::CANCEL);
                return None;
            }
            return send.send_data(Bytes::new(), true).ok();
        }
        let mut bytes = Bytes::copy_from_slice(&chunk[..count]);
        while !bytes.is_empty() {
            send.reserve_capacity(bytes.len());
            let room = std::future::poll_fn(|context| send.poll_capacity(context));
            // A peer that takes nothing more is waited for as long as we are there.
            let room = tokio::select! {
                room = room => room?.ok()?,
                () = is_cut.dropped() => {
                    send.send_reset(Reason::CANCEL);
                    return None;
                }
            };
            send.send_data(bytes.split_to(room.min(bytes.len())), false).ok()?;
        }
    }
}

/// How our end has ended, once it has.
struct Cut {
    receiver: oneshot::Receiver<()>,
    is_cut: Option<bool>,
}

impl Cut {
    /// Whether it was dropped without an end in order.
    async fn cut(&mut self) -> bool {
        match self.is_cut {
            Some(is_cut) => is_cut,
            None => *self.is_cut.insert((&mut self.receiver).await.is_ok()),
        }
    }

    /// Ready when it is dropped so.
    async fn dropped(&mut self) {
        if !self.cut().await {
            std::future::pending::<()>().await;
        }
    }
}

async fn read(mut receive: RecvStream, mut to: WriteHalf<DuplexStream>) -> Option<()> {
    while let Some(data) = receive.data().await {
        // A stream that is reset ends as one that has ended.
        let Ok(data) = data else { break };
        receive.flow_control().release_capacity(data.len()).ok()?;
        to.write_all(&data).await.ok()?;
    }
    to.shutdown().await.ok()
}
