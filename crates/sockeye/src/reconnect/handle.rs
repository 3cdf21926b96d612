//! Handles of a client that connects again: to send, and to close it, from other tasks.

use sockeye_proto::{CloseFrame, Closed, Message};
use tokio::sync::{mpsc, watch};

use super::SendError;
use crate::{Error, WeakWriter, Writer};

/// What the handles know of the client.
#[derive(Debug, Clone)]
pub(super) enum Link {
    /// There is no open connection at the moment.
    Down,
    Open(WeakWriter),
    /// There will be no more; with how the one ended that was closed on request.
    Ended(Option<Closed>),
}

/// A handle of a [`ReconnectingClient`](super::ReconnectingClient), for other tasks; clones are the same.
///
/// The client is what moves: it connects, and receives, while it is polled for events. A handle waits for
/// that.
///
/// ```no_run
/// use sockeye::{Client, CloseCode, reconnect::Event};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let mut client = Client::new("ws://127.0.0.1:9001/")?.reconnecting();
/// let handle = client.handle();
/// tokio::spawn(async move {
///     handle.send("first").await?; // waits until there is a connection
///     handle.send_if_open("now or never").await?; // does not
///     handle.close(CloseCode::NORMAL).await;
///     Ok::<(), sockeye::reconnect::SendError>(())
/// });
/// while let Some(event) = client.next_event().await {
///     println!("{event:?}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Handle {
    link: watch::Receiver<Link>,
    requests: mpsc::UnboundedSender<Option<CloseFrame>>,
}

impl Handle {
    pub(super) fn new(
        link: watch::Receiver<Link>,
        requests: mpsc::UnboundedSender<Option<CloseFrame>>,
    ) -> Self {
        Self { link, requests }
    }

    /// Sends a message; waits until there is a connection, and while the peer is slow to read.
    ///
    /// # Errors
    ///
    /// [`SendError::Ended`] or [`SendError::Refused`].
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        let mut link = self.link.clone();
        let mut message = message.into();
        loop {
            let state = link.borrow_and_update().clone();
            match state {
                Link::Ended(_) => return Err(SendError::Ended(message)),
                Link::Down => {}
                Link::Open(writer) => match send(writer.upgrade(), message).await {
                    Err(SendError::NotOpen(back)) => message = back,
                    result => return result,
                },
            }
            if link.changed().await.is_err() {
                return Err(SendError::Ended(message));
            }
        }
    }

    /// Sends a message if there is an open connection; waits only while the peer is slow to read.
    ///
    /// # Errors
    ///
    /// [`SendError::NotOpen`], [`SendError::Ended`] or [`SendError::Refused`].
    pub async fn send_if_open(&self, message: impl Into<Message>) -> Result<(), SendError> {
        let link = self.link.borrow().clone();
        match link {
            Link::Ended(_) => Err(SendError::Ended(message.into())),
            Link::Down => Err(SendError::NotOpen(message.into())),
            Link::Open(writer) => send(writer.upgrade(), message.into()).await,
        }
    }

    /// Whether there is an open connection at the moment.
    pub fn is_open(&self) -> bool {
        matches!(&*self.link.borrow(), Link::Open(_))
    }

    /// Closes the connection, if one is open, and makes no more; waits for that, and gives how the
    /// connection ended. What still comes meanwhile are the client's events, as always.
    pub async fn close(&self, frame: impl Into<Option<CloseFrame>>) -> Option<Closed> {
        let mut link = self.link.clone();
        // Where the client is gone, so is the connection.
        self.requests.send(frame.into()).ok()?;
        let ended = link.wait_for(|link| matches!(link, Link::Ended(_))).await.ok()?;
        match &*ended {
            Link::Ended(closed) => closed.clone(),
            _ => None,
        }
    }
}

async fn send(writer: Option<Writer>, message: Message) -> Result<(), SendError> {
    let Some(writer) = writer else { return Err(SendError::NotOpen(message)) };
    match writer.send(message.clone()).await {
        Ok(()) => Ok(()),
        Err(Error::Failed(_) | Error::Io(_) | Error::Closed(_)) => Err(SendError::NotOpen(message)),
        Err(error) => Err(SendError::Refused(error)),
    }
}
