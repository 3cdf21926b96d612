//! That of a browser. It has no headers, so a token is shown by a command; and no backpressure, so a channel that the
//! application does not take is unsubscribed from for a while.

use futures_util::future::{Either, select};
use tokio::sync::{mpsc, oneshot};
use wasm_bindgen::{JsCast, closure::Closure};
use web_sys::{BinaryType, CloseEvent, MessageEvent, WebSocket as Socket};

use super::SUBPROTOCOL;
use crate::{
    endpoint::Endpoint,
    failure::Failure,
    frame::{Command, Frame},
    platform::timeout,
    token::Token,
};

/// Whether what is not read waits at the server.
pub(crate) const CAN_WAIT: bool = false;

/// The number of the command that shows a token before any other.
const SHOWN: u64 = 0;

/// What comes on a WebSocket: a text, or bytes, of which no frame of `sockeye.v1` is made.
#[derive(Debug)]
pub(crate) struct Received(Option<String>);

impl Received {
    pub(crate) fn as_text(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

/// An open WebSocket.
#[derive(Debug)]
pub(crate) struct WebSocket {
    reader: Reader,
    writer: Writer,
}

/// Its reading half. Dropped, it closes the WebSocket.
#[derive(Debug)]
pub(crate) struct Reader {
    /// What has been read already.
    first: Option<Received>,
    frames: mpsc::UnboundedReceiver<Result<Received, Failure>>,
    _handlers: Handlers,
}

/// Its writing half.
#[derive(Debug)]
pub(crate) struct Writer(Socket);

/// What the browser calls, until this is dropped.
#[derive(Debug)]
struct Handlers {
    socket: Socket,
    _open: Closure<dyn FnMut()>,
    _message: Closure<dyn FnMut(MessageEvent)>,
    _close: Closure<dyn FnMut(CloseEvent)>,
}

impl Drop for Handlers {
    fn drop(&mut self) {
        self.socket.set_onopen(None);
        self.socket.set_onmessage(None);
        self.socket.set_onclose(None);
        // It may be closed already.
        let _ = self.socket.close();
    }
}

impl WebSocket {
    pub(crate) fn split(self) -> (Reader, Writer) {
        (self.reader, self.writer)
    }
}

impl Writer {
    /// Sends a text.
    pub(crate) async fn send(&self, text: String) -> Result<(), String> {
        self.0.send_with_str(&text).map_err(|_| "the WebSocket is closed".to_owned())
    }
}

/// Opens the WebSocket there, in `sockeye.v1`, with this token.
///
/// # Errors
///
/// When it is not opened, or the server refuses the token.
pub(crate) async fn open(
    endpoint: &Endpoint,
    parameters: &[(&str, &str)],
    token: Option<&Token>,
) -> Result<WebSocket, Failure> {
    let opening = opened(endpoint, parameters, token);
    timeout(endpoint.timeout(), opening)
        .await
        .map_err(|_| Failure::broken("the WebSocket takes too long to open"))?
}

async fn opened(
    endpoint: &Endpoint,
    parameters: &[(&str, &str)],
    token: Option<&Token>,
) -> Result<WebSocket, Failure> {
    let url = endpoint.url(parameters);
    let socket = Socket::new_with_str(url.as_str(), SUBPROTOCOL)
        .map_err(|_| Failure::broken("the browser opens no WebSocket there"))?;
    socket.set_binary_type(BinaryType::Arraybuffer);
    let (opens, opening) = oneshot::channel();
    let (tell, frames) = mpsc::unbounded_channel();
    let handlers = handlers(&socket, endpoint.max(), opens, tell);
    let mut reader = Reader { first: None, frames, _handlers: handlers };
    // A browser says no more of one that does not open than that it is closed.
    match select(opening, Box::pin(next(&mut reader))).await {
        Either::Left((Ok(()), _)) => {}
        Either::Left((Err(_), _)) => return Err(Failure::broken("the WebSocket was closed")),
        Either::Right((Err(failure), _)) => return Err(failure),
        Either::Right((Ok(_), _)) => return Err(Failure::broken("a frame before the opening")),
    }
    if socket.protocol() != SUBPROTOCOL {
        return Err(Failure::refused(endpoint.is_none_for("the server does not speak sockeye.v1")));
    }
    let writer = Writer(socket);
    if let Some(token) = token {
        show(&mut reader, &writer, token).await?;
    }
    Ok(WebSocket { reader, writer })
}

/// Shows the token, before anything is asked for that needs one.
async fn show(reader: &mut Reader, writer: &Writer, token: &Token) -> Result<(), Failure> {
    let command = Command { id: SHOWN, op: "auth", token: Some(&token.text), ..Command::default() };
    let command = serde_json::to_string(&command).map_err(Failure::broken)?;
    writer.send(command).await.map_err(Failure::broken)?;
    let mut hello = None;
    loop {
        let received = next(reader).await?;
        let frame = Frame::read(received.as_text())?;
        if let Some(bye) = frame.bye {
            return Err(bye.failure());
        }
        let is_answer = frame.id == Some(SHOWN);
        if let Some(refusal) = frame.err {
            return Err(refusal.into());
        }
        if is_answer {
            break;
        }
        hello.get_or_insert(received);
    }
    reader.first = hello;
    Ok(())
}

/// Has the browser tell what becomes of the WebSocket.
fn handlers(
    socket: &Socket,
    max: usize,
    opens: oneshot::Sender<()>,
    tell: mpsc::UnboundedSender<Result<Received, Failure>>,
) -> Handlers {
    let mut opens = Some(opens);
    // What they tell may come after the end.
    let open = Closure::new(move || _ = opens.take().map(|opens| opens.send(())));
    let told = tell.clone();
    let message = Closure::new(move |event: MessageEvent| {
        let text = event.data().as_string();
        let _ = told.send(match text {
            Some(text) if text.len() > max => {
                Err(Failure::broken(format!("a message has more than {max} bytes")))
            }
            text => Ok(Received(text)),
        });
    });
    let close = Closure::new(move |event: CloseEvent| {
        let (code, reason) = (event.code(), event.reason());
        let _ = tell.send(Err(Failure::broken(match code {
            1006 => "the connection was lost, or not opened".to_owned(),
            _ => format!("the server closed the connection: {code} {reason}"),
        })));
    });
    socket.set_onopen(Some(open.as_ref().unchecked_ref()));
    socket.set_onmessage(Some(message.as_ref().unchecked_ref()));
    socket.set_onclose(Some(close.as_ref().unchecked_ref()));
    Handlers { socket: socket.clone(), _open: open, _message: message, _close: close }
}

/// The next frame; an error once there is none.
pub(crate) async fn next(reader: &mut Reader) -> Result<Received, Failure> {
    if let Some(first) = reader.first.take() {
        return Ok(first);
    }
    reader.frames.recv().await.unwrap_or_else(|| Err(Failure::broken("the connection ended")))
}
