//! The planted server over HTTP/2: each stream leads to a session as a connection of HTTP/1.1 does.

use std::{
    io,
    net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use bytes::Bytes;
use h2::{RecvStream, SendStream, ext::Protocol, server};
use http::{Request, Response, StatusCode};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

use crate::{
    defect::Defect::{self, *},
    handshake::Deflate,
    session::Session,
};

/// Starts it on this runtime.
pub(crate) async fn start(defect: Option<Defect>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, defect));
        }
    });
    address
}

async fn serve(stream: TcpStream, defect: Option<Defect>) -> Option<()> {
    let mut builder = server::Builder::new();
    builder.enable_connect_protocol().initial_connection_window_size(1 << 24);
    let mut connection = builder.handshake::<_, Bytes>(stream).await.ok()?;
    let (ends, opened) = (Arc::new(Notify::new()), AtomicUsize::new(0));
    loop {
        let (request, mut respond) = tokio::select! {
            accepted = connection.accept() => accepted?.ok()?,
            // What one stream does, all do.
            () = ends.notified(), if defect == Some(StreamsEndTogether) => return None,
        };
        let status = status(&request, defect, opened.fetch_add(1, Relaxed));
        // Each message by itself, to every offer.
        let offer = request.headers().get("sec-websocket-extensions");
        let deflate =
            offer.map(|_| Deflate { server_bits: 15, server_fresh: true, client_fresh: true });
        let mut response = Response::builder().status(status);
        if deflate.is_some() {
            const FRESH: &str = "permessage-deflate; server_no_context_takeover; \
                                 client_no_context_takeover";
            response = response.header("sec-websocket-extensions", FRESH);
        }
        let response = response.body(()).ok()?;
        let mut send = respond.send_response(response, status != StatusCode::OK).ok()?;
        if status == StatusCode::OK {
            let ends = Arc::clone(&ends);
            let receive = request.into_body();
            tokio::spawn(async move {
                let _ = session(receive, &mut send, (defect, deflate), &ends).await;
            });
        }
    }
}

fn status<B>(request: &Request<B>, defect: Option<Defect>, opened: usize) -> StatusCode {
    let protocol = request.extensions().get::<Protocol>().map(Protocol::as_str);
    let version = request.headers().get("sec-websocket-version");
    match defect {
        Some(NeverOpensStream) => StatusCode::NOT_FOUND,
        Some(OneStream) if opened > 0 => StatusCode::SERVICE_UNAVAILABLE,
        _ if protocol != Some("websocket") && defect != Some(AnyProtocol) => {
            StatusCode::NOT_IMPLEMENTED
        }
        _ if version.is_none_or(|version| version != "13") && defect != Some(AnyVersion) => {
            StatusCode::BAD_REQUEST
        }
        _ => StatusCode::OK,
    }
}

/// A stream as a socket, behind which there is a session.
async fn session(
    mut receive: RecvStream,
    send: &mut SendStream<Bytes>,
    (defect, deflate): (Option<Defect>, Option<Deflate>),
    ends: &Notify,
) -> io::Result<()> {
    let listener = StdListener::bind("127.0.0.1:0")?;
    let ours = StdStream::connect(listener.local_addr()?)?;
    let (theirs, _) = listener.accept()?;
    thread::spawn(move || {
        // How it ends makes no difference to other streams.
        let _ = Session::new(theirs, defect, deflate, Vec::new()).run();
    });
    ours.set_nonblocking(true)?;
    let (mut from, mut to) = TcpStream::from_std(ours)?.into_split();
    let reading = async {
        while let Some(Ok(data)) = receive.data().await {
            if defect != Some(NoWindow) {
                let _ = receive.flow_control().release_capacity(data.len());
            }
            to.write_all(&data).await?;
        }
        ends.notify_one();
        to.shutdown().await
    };
    let writing = async {
        let mut chunk = [0; 16_384];
        loop {
            let count = from.read(&mut chunk).await?;
            if count == 0 {
                ends.notify_one();
                return send.send_data(Bytes::new(), true).map_err(io::Error::other);
            }
            let mut bytes = Bytes::copy_from_slice(&chunk[..count]);
            while !bytes.is_empty() {
                send.reserve_capacity(bytes.len());
                let room = std::future::poll_fn(|context| send.poll_capacity(context)).await;
                let room = room.ok_or(io::ErrorKind::BrokenPipe)?.map_err(io::Error::other)?;
                let piece = bytes.split_to(room.min(bytes.len()));
                send.send_data(piece, false).map_err(io::Error::other)?;
            }
        }
    };
    let (read, written) = tokio::join!(reading, writing);
    read.and(written)
}
