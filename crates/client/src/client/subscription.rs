//! One reader of one channel, as a stream.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::Stream;

use super::Client;
use crate::{Error, Item, Position, connection::Connection, queue::Queue};

/// How many items wait for the application by default.
pub(crate) const BUFFER: usize = 1024;

/// The messages of a channel, in order, each once: a [`Stream`], made by [`Client::subscribe`].
///
/// It connects again by itself and goes on where it was. Where messages are missing, because the server has not kept them,
/// it gives a gap; it never skips them silently. It ends after an [`Item::End`], or with an error when the server
/// refuses the channel. A server that is away is waited for.
///
/// What the application has not taken waits in memory, up to [`buffer`](Self::buffer) items or 16 MiB; the rest waits at
/// the server, as long as that keeps it. Dropped, it ends.
pub struct Subscription {
    client: Client,
    channel: Arc<str>,
    after: String,
    buffer: usize,
    presence: bool,
    begun: Option<Begun>,
    at: Option<Position>,
    is_over: bool,
}

struct Begun {
    queue: Arc<Queue>,
    connection: Option<Arc<Connection>>,
}

impl Subscription {
    pub(crate) fn new(client: Client, channel: Arc<str>) -> Self {
        let after = "now".to_owned();
        Self {
            client,
            channel,
            after,
            buffer: BUFFER,
            presence: false,
            begun: None,
            at: None,
            is_over: false,
        }
    }

    /// Sets where it begins: after a [`Position`], or `earliest`, `now`, `-50` (the last fifty), `10m` (the last ten minutes).
    /// Default `now`. It has no effect once it has begun.
    pub fn after(mut self, after: impl ToString) -> Self {
        self.after = after.to_string();
        self
    }

    /// Sets how many items wait in memory for the application, one at least. Default 1024. It has no effect once it has
    /// begun.
    pub fn buffer(mut self, items: usize) -> Self {
        self.buffer = items.max(1);
        self
    }

    /// Sets whether members that come and go are told, too: [`Item::Join`], [`Item::Leave`] and, after more changes than the server
    /// could tell one by one, [`Item::Members`]. They come while the transport is the WebSocket; after it has been another, or
    /// away, ask for the [members](Client::members). Default: no. It has no effect once it has begun.
    ///
    /// The server refuses the subscription where the token does not grant `presence`.
    pub fn presence(mut self, is_wanted: bool) -> Self {
        self.presence = is_wanted;
        self
    }

    /// The channel.
    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// The position of the last item that was taken, or that where it begins, if that is known. Keep it to go on from
    /// there another day.
    pub fn position(&self) -> Option<&Position> {
        self.at.as_ref()
    }

    /// Begins, and waits until it is known where: whatever is published after that position comes.
    ///
    /// # Errors
    ///
    /// When the server refuses the channel.
    ///
    /// # Panics
    ///
    /// Outside of a runtime of tokio.
    pub async fn ready(&mut self) -> Result<Position, Error> {
        let queue = Arc::clone(&self.begin().queue);
        let at = queue.ready().await?;
        self.at.get_or_insert_with(|| at.clone());
        Ok(at)
    }

    fn begin(&mut self) -> &Begun {
        let Self { client, channel, after, buffer, presence, begun, .. } = self;
        begun.get_or_insert_with(|| {
            let queue = Arc::new(Queue::new(*buffer));
            let connection = match crate::name::check(channel) {
                Ok(()) => Some(client.want(channel, after, *presence, &queue)),
                Err(error) => {
                    queue.end(Some(error));
                    None
                }
            };
            Begun { queue, connection }
        })
    }
}

impl Stream for Subscription {
    type Item = Result<Item, Error>;

    /// # Panics
    ///
    /// Outside of a runtime of tokio, the first time.
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let polled = self.begin().queue.poll(context);
        match &polled {
            Poll::Ready(Some(Ok(item))) => {
                if let Some(at) = item.position() {
                    self.at = Some(at.clone());
                }
            }
            Poll::Ready(_) => self.is_over = true,
            Poll::Pending => {}
        }
        polled
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let Some(Begun { queue, connection }) = &self.begun else { return };
        if let Some(connection) = connection {
            connection.leave(&self.channel, queue);
        }
        queue.close();
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { channel, after, at, .. } = self;
        let mut shown = out.debug_struct("Subscription");
        shown
            .field("channel", channel)
            .field("after", after)
            .field("at", at)
            .finish_non_exhaustive()
    }
}
