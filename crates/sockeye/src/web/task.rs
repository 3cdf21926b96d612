//! The task of a socket: it opens the connection, moves messages, and tells the events in order.

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;
use futures_sink::Sink;
use sockeye_proto::{Closed, Fragment, Message, MessageKind};
use tokio::task::coop::consume_budget;

use super::{
    Cause, CloseEventInit, Data, EventInit, ReadyState,
    blob::{Contents, FileReader},
    opening::{OpenSocket, Opening},
    socket::WeakSocket,
    state::{Inner, Outgoing},
    turn::Turn,
};
use crate::{Reader, Writer};

/// Attends a socket from its constructor to its `close` event.
pub(super) async fn run(
    inner: Arc<Inner>,
    socket: WeakSocket,
    opening: Opening,
    turn: Option<Arc<Turn>>,
) {
    if let Some(turn) = turn {
        turn.over().await;
    }
    let opened = open(&inner, opening).await.and_then(|opened| {
        let OpenSocket { socket: connection, extensions, protocol, response } = opened;
        let mut state = inner.state();
        if state.ready_state != ReadyState::Connecting {
            connection.split().1.abort();
            return Err(Cause::Abandoned);
        }
        state.ready_state = ReadyState::Open;
        state.extensions = extensions;
        state.protocol = protocol;
        state.response = Some(Arc::new(response));
        Ok(connection)
    });
    let closed = match opened {
        Ok(connection) => {
            socket.dispatch(EventInit::new("open"));
            let (reader, writer) = connection.split();
            let traffic = Traffic { inner: &inner, reader, writer, file: None, untransmitted: 0 };
            traffic.run(&socket).await
        }
        Err(cause) => {
            inner.state().fail(cause);
            None
        }
    };
    tell_end(&inner, &socket, closed.as_ref());
    tell_missed(&inner, &socket).await;
}

/// Dispatches the events that had no listener, as soon as there is one.
async fn tell_missed(inner: &Inner, socket: &WeakSocket) {
    let next = |cx: &mut Context<'_>| {
        // Parked first: a listener that is added after this wakes the task.
        inner.state().park_task(cx);
        match inner.events.take_missed() {
            None if inner.events.has_missed() => Poll::Pending,
            event => Poll::Ready(event),
        }
    };
    while let Some(event) = poll_fn(next).await {
        socket.dispatch_missed(event);
    }
}

/// Opens the connection, unless it is closed meanwhile.
async fn open(inner: &Inner, opening: Opening) -> Result<OpenSocket, Cause> {
    let mut opening = pin!(opening.run());
    poll_fn(|cx| {
        let mut state = inner.state();
        if state.ready_state != ReadyState::Connecting {
            return Poll::Ready(Err(Cause::Abandoned));
        }
        state.park_task(cx);
        drop(state);
        opening.as_mut().poll(cx)
    })
    .await
}

/// The connection is closed, or was never opened: the last events.
fn tell_end(inner: &Inner, socket: &WeakSocket, closed: Option<&Closed>) {
    let mut state = inner.state();
    state.ready_state = ReadyState::Closed;
    let failed = state.cause.is_some();
    drop(state);
    if failed {
        socket.dispatch(EventInit::new("error"));
    }
    let init = match closed {
        Some(closed) if !failed => CloseEventInit {
            was_clean: closed.is_clean(),
            code: closed.code(),
            reason: closed.reason().to_owned(),
        },
        _ => CloseEventInit { code: 1006, ..CloseEventInit::default() },
    };
    socket.dispatch(EventInit::close("close", init));
}

/// What goes over an open connection.
struct Traffic<'a> {
    inner: &'a Inner,
    reader: Reader,
    writer: Writer,
    /// The blob that is being sent.
    file: Option<FileReader>,
    /// How many bytes of payload the connection has taken, but not transmitted.
    untransmitted: u64,
}

enum Step {
    Closing,
    Ended,
    Message(Message),
    /// An event that had no listener when it was fired, and has one now.
    Missed(EventInit),
}

impl Traffic<'_> {
    /// Moves messages until the connection is closed.
    async fn run(mut self, socket: &WeakSocket) -> Option<Closed> {
        loop {
            match poll_fn(|cx| self.poll_step(cx)).await {
                Step::Closing => self.inner.state().close(None),
                Step::Ended => return self.reader.closed(),
                Step::Message(message) => self.deliver(message, socket),
                Step::Missed(event) => socket.dispatch_missed(event),
            }
            consume_budget().await;
        }
    }

    fn deliver(&self, message: Message, socket: &WeakSocket) {
        let state = self.inner.state();
        if state.ready_state != ReadyState::Open {
            return;
        }
        let data = Data::received(message, state.binary_type);
        drop(state);
        let origin = self.inner.url.origin().ascii_serialization();
        socket.dispatch(EventInit::message("message", data, origin));
    }

    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        self.transmit(cx);
        if let Some(event) = self.inner.events.take_missed() {
            return Poll::Ready(Step::Missed(event));
        }
        loop {
            match Pin::new(&mut self.reader).poll_next(cx) {
                Poll::Ready(Some(Ok(message))) => return Poll::Ready(Step::Message(message)),
                Poll::Ready(Some(Err(error))) => self.inner.state().fail(error.into()),
                Poll::Ready(None) => return Poll::Ready(Step::Ended),
                Poll::Pending => break,
            }
        }
        let closing = self.reader.closed().is_some_and(|closed| closed.failure.is_none());
        if closing && self.inner.state().ready_state == ReadyState::Open {
            return Poll::Ready(Step::Closing);
        }
        Poll::Pending
    }

    /// Hands over what waits, as far as the connection has room.
    fn transmit(&mut self, cx: &mut Context<'_>) {
        let mut state = self.inner.state();
        state.park_task(cx);
        let full = state.full;
        drop(state);
        if full {
            self.writer.abort();
            return;
        }
        while let Poll::Ready(true) = self.poll_hand_over(cx) {}
        // Errors show when receiving.
        let _ = Pin::new(&mut self.writer).poll_flush(cx);
        self.count_transmitted();
    }

    /// Sends one message, or a piece of one; false if there is none.
    fn poll_hand_over(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let _ = ready!(Pin::new(&mut self.writer).poll_ready(cx));
        if let Some(file) = &mut self.file {
            let chunk = ready!(file.poll_chunk(cx));
            self.hand_over_piece(chunk);
            return Poll::Ready(true);
        }
        let next = self.inner.state().outbox.pop_front();
        match next {
            None => return Poll::Ready(false),
            Some(Outgoing::Close(frame)) => self.writer.start_close(frame),
            Some(Outgoing::Data(Data::ArrayBuffer(bytes))) => self.hand_over(bytes.into()),
            Some(Outgoing::Data(Data::Text(text))) => self.hand_over(text.into()),
            Some(Outgoing::Data(Data::Blob(blob))) => match blob.into_contents() {
                Contents::Bytes(bytes) => self.hand_over(bytes.into()),
                Contents::File(file) => self.file = Some(file),
            },
        }
        Poll::Ready(true)
    }

    fn hand_over(&mut self, message: Message) {
        let size = message.len() as u64;
        // One that comes too late is not sent, and stays counted.
        if Pin::new(&mut self.writer).start_send(message).is_ok() {
            self.untransmitted += size;
        }
    }

    fn hand_over_piece(&mut self, chunk: io::Result<Option<Bytes>>) {
        let chunk = match chunk {
            Ok(chunk) => chunk.unwrap_or_default(),
            Err(error) => {
                self.file = None;
                self.inner.state().fail(Cause::Blob(error));
                self.writer.abort();
                return;
            }
        };
        let last = self.file.as_ref().is_none_or(|file| file.left() == 0);
        let size = chunk.len() as u64;
        let fragment = if last { Fragment::Last } else { Fragment::More };
        let sent = self.writer.send_fragment(MessageKind::Binary, chunk, fragment);
        if sent.is_ok() {
            self.untransmitted += size;
        }
        if last || sent.is_err() {
            self.file = None;
        }
    }

    fn count_transmitted(&mut self) {
        if self.reader.closed().is_some_and(|closed| closed.failure.is_some()) {
            // What was thrown away was not transmitted.
            return;
        }
        let left = self.untransmitted.min(self.writer.buffered_amount() as u64);
        self.inner.state().buffered -= self.untransmitted - left;
        self.untransmitted = left;
    }
}
