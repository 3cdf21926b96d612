//! A chat: what one client says, all the others hear.
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

/// A line of the chat and who wrote it.
#[derive(Clone)]
struct Line {
    author: String,
    /// A `Text` is shared: a thousand listeners hold the same bytes.
    text: Text,
}

/// Everybody's lines go in here, and come out at everybody's.
type Room = broadcast::Sender<Line>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = Server::bind("127.0.0.1:9002").await?;
    println!("listening on ws://{}/YOUR-NAME", server.local_addr()?);
    // The room remembers the last 256 lines for those who are slow to listen.
    let room = Room::new(256);
    server.run(move |incoming| visit(incoming, room.clone())).await;
    Ok(())
}

/// One guest, from the door to the farewell.
async fn visit(incoming: Incoming, room: Room) -> Result<(), Box<dyn Error + Send + Sync>> {
    let name = incoming.path().trim_start_matches('/').to_owned();
    if name.is_empty() {
        incoming.refuse(StatusCode::NOT_FOUND, "say who you are: ws://…/YOUR-NAME").await;
        return Ok(());
    }

    // From here on the room's lines are kept for this guest: none is lost while the door opens.
    let lines = room.subscribe();
    // Speaking and listening go on at once, each with its half of the socket.
    let (reader, writer) = incoming.accept().await?.split();
    announce(&room, format!("{name} is here"));
    tokio::select! {
        () = speak(&name, reader, &room) => {}
        () = listen(&name, lines, &writer) => {}
    }
    announce(&room, format!("{name} is gone"));
    Ok(())
}

/// Passes on what the guest says, until he leaves.
async fn speak(name: &str, mut reader: Reader, room: &Room) {
    // A guest whose connection breaks has left as well as one who says goodbye.
    while let Some(Ok(message)) = reader.recv().await {
        if let Some(said) = message.as_text() {
            let text = Text::from(format!("{name}: {said}"));
            // Fails only when nobody listens, and then nobody misses it.
            let _ = room.send(Line { author: name.to_owned(), text });
        }
    }
}

/// Tells the guest what the others say.
async fn listen(name: &str, mut lines: broadcast::Receiver<Line>, writer: &Writer) {
    loop {
        match lines.recv().await {
            Ok(line) if line.author == name => {}
            Ok(line) => {
                if writer.send(line.text).await.is_err() {
                    return;
                }
            }
            // He reads so slowly that the room has forgotten lines he was to get. Better to say so
            // than to let him believe he has heard everything.
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

/// Says something in nobody's name.
fn announce(room: &Room, what: String) {
    let _ = room.send(Line { author: String::new(), text: Text::from(what) });
}
