//! A chat: every client gets the lines of all the others.
//!
//!     cargo run -p sockeye-examples --example chat
//!
//! Then, in two terminals:
//!
//!     cargo run -- connect ws://127.0.0.1:9002/ann
//!     cargo run -- connect ws://127.0.0.1:9002/ben

use std::error::Error;

use http::StatusCode;
use sockeye::{CloseCode, CloseFrame, Incoming, Reader, Server, Text, Writer};
use tokio::sync::broadcast::{self, error::RecvError};

/// A line of the chat and its author.
#[derive(Clone)]
struct Line {
    author: String,
    /// A `Text` is shared: a thousand listeners hold the same bytes.
    text: Text,
}

/// Takes the lines of all clients and hands them to all clients.
type Room = broadcast::Sender<Line>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = Server::bind("127.0.0.1:9002").await?;
    println!("listening on ws://{}/YOUR-NAME", server.local_addr()?);
    // The room keeps the last 256 lines for slow readers.
    let room = Room::new(256);
    server.run(move |incoming| serve(incoming, room.clone())).await;
    Ok(())
}

/// Serves one client, from its request to its end.
async fn serve(incoming: Incoming, room: Room) -> Result<(), Box<dyn Error + Send + Sync>> {
    let name = incoming.path().trim_start_matches('/').to_owned();
    if name.is_empty() {
        incoming.refuse(StatusCode::NOT_FOUND, "name yourself: ws://…/YOUR-NAME").await;
        return Ok(());
    }

    // From here on lines are kept for this client: none is lost while it is accepted.
    let lines = room.subscribe();
    // Receiving and sending run at once, each with its half of the socket.
    let (reader, writer) = incoming.accept().await?.split();
    announce(&room, format!("{name} is here"));
    tokio::select! {
        () = speak(&name, reader, &room) => {}
        () = listen(&name, lines, &writer) => {}
    }
    announce(&room, format!("{name} is gone"));
    Ok(())
}

/// Passes on what the client sends, until it leaves.
async fn speak(name: &str, mut reader: Reader, room: &Room) {
    // A lost connection ends this like a closed one.
    while let Some(Ok(message)) = reader.recv().await {
        if let Some(said) = message.as_text() {
            let text = Text::from(format!("{name}: {said}"));
            // Fails only when no client listens.
            let _ = room.send(Line { author: name.to_owned(), text });
        }
    }
}

/// Sends the client what the others say.
async fn listen(name: &str, mut lines: broadcast::Receiver<Line>, writer: &Writer) {
    loop {
        match lines.recv().await {
            Ok(line) if line.author == name => {}
            Ok(line) => {
                if writer.send(line.text).await.is_err() {
                    return;
                }
            }
            // The client reads so slowly that lines it should have got are gone: say so, so that it
            // does not take what it has for everything.
            Err(RecvError::Lagged(_)) => {
                let reason = "you missed some lines: come in again";
                if let Ok(frame) = CloseFrame::new(CloseCode::TRY_AGAIN_LATER, reason) {
                    writer.close(frame).await;
                }
                return;
            }
            Err(RecvError::Closed) => return,
        }
    }
}

/// Says something in the server's name.
fn announce(room: &Room, what: String) {
    let _ = room.send(Line { author: String::new(), text: Text::from(what) });
}
