//! One connection, shared by its handles, its transport's waker and the background driver.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_task::{ArcWake, waker_ref};
use sockeye_proto::{
    CloseCode, CloseFrame, Closed, Compression, Config, Connection, DeflateAgreement, Fragment,
    Message, MessageKind, Misuse, Prepared,
};

use super::{
    background::{BackgroundDriver, RuntimeEnded},
    connection_id::ConnectionId,
    handlers,
    parked::Parked,
    peer_addr::{KeptPeer, PeerAddr},
    receive::ReaderState,
    state::SocketState,
    timer_wheel::{NEVER, Tick, TimerSlot},
    transport::ByteStream,
};
use crate::{Error, TrySendError, clock};

/// A connection. It is itself the waker that its transport is polled with: a wake goes to the tasks that
/// wait, or to the background driver if none does.
pub(crate) struct Shared {
    state: Mutex<SocketState>,
    parked: Mutex<Parked>,
    /// Its entry in the background driver's timer wheel.
    timer_slot: TimerSlot,
    background: Arc<BackgroundDriver>,
    handles: AtomicU32,
    /// Whether the background driver is to read if the woken reader does not poll again.
    expected: AtomicBool,
    pub(in crate::socket) id: ConnectionId,
    pub(in crate::socket) peer: KeptPeer,
    /// If the handshake agreed on anything.
    agreed: Option<Box<Agreed>>,
}

/// What the handshake agreed on.
#[derive(Debug)]
pub(crate) struct Agreed {
    pub(crate) subprotocol: Option<String>,
    pub(crate) deflate: Option<DeflateAgreement>,
    /// Where the peer is, if the transport does not tell.
    pub(crate) peer: Option<PeerAddr>,
}

impl Shared {
    pub(crate) fn new(
        io: ByteStream,
        connection: Connection,
        input: BytesMut,
        agreed: Agreed,
    ) -> Arc<Self> {
        let connection = connection.with_deflate(agreed.deflate.clone());
        let peer = agreed.peer.or_else(|| io.peer_addr());
        let is_nothing = agreed.subprotocol.is_none() && agreed.deflate.is_none();
        let shared = Arc::new(Self {
            state: Mutex::new(SocketState::new(io, connection, &input)),
            parked: Mutex::default(),
            timer_slot: TimerSlot::default(),
            background: BackgroundDriver::of_this_runtime(),
            handles: AtomicU32::new(0),
            expected: AtomicBool::new(false),
            id: ConnectionId::next(),
            peer: peer.into(),
            agreed: (!is_nothing).then(|| Box::new(agreed)),
        });
        shared.attend_soon(&mut shared.state());
        shared
    }

    pub(in crate::socket) fn subprotocol(&self) -> Option<&str> {
        self.agreed.as_ref()?.subprotocol.as_deref()
    }

    pub(in crate::socket) fn deflate(&self) -> Option<&DeflateAgreement> {
        self.agreed.as_ref()?.deflate.as_ref()
    }

    pub(in crate::socket) fn closed(&self) -> Option<Closed> {
        self.state().closed().cloned()
    }

    /// Why nothing can be sent any more.
    pub(in crate::socket) fn send_error(&self) -> Error {
        self.state().send_error(Misuse::Closing)
    }

    pub(in crate::socket) fn queued(&self) -> usize {
        self.state().queued()
    }

    pub(in crate::socket) fn latency(&self) -> Option<Duration> {
        self.state().latency()
    }

    /// The next message, or part of one, as the state gives it to `poll`; `None` at the end.
    pub(in crate::socket) fn poll_receive<T>(
        self: &Arc<Self>,
        cx: &Context<'_>,
        poll: impl FnOnce(&mut SocketState, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let waker = waker_ref(self);
        let mut state = self.state();
        let was_waiting = state.inbound.reader == ReaderState::Waiting;
        let result = poll(&mut state, &mut Context::from_waker(&waker));
        // The state is still locked: a wake that finds no reader parked goes to the background
        // driver, which waits for the lock.
        match &result {
            Poll::Pending => {
                self.park_reader(cx);
                self.tell_deadline(&mut state);
            }
            Poll::Ready(_) => {
                if was_waiting {
                    self.parked().reader = None;
                }
                self.leave(&mut state);
            }
        }
        let over = state.is_over();
        drop(state);
        if over {
            self.wake_others();
        }
        result
    }

    /// The reader does not wait any more. If it was woken and did not poll, the background driver reads in
    /// its place.
    pub(in crate::socket) fn stop_waiting(self: &Arc<Self>) {
        if self.parked().reader.take().is_none() {
            self.wake_background();
        }
    }

    /// Ready when there is room to send, or nothing can be sent any more.
    pub(in crate::socket) fn poll_room(self: &Arc<Self>, cx: &Context<'_>) -> Poll<()> {
        self.poll_until(cx, |state| state.has_room().then_some(()))
    }

    /// Ready when everything is written, or never will be.
    pub(in crate::socket) fn poll_written(
        self: &Arc<Self>,
        cx: &Context<'_>,
    ) -> Poll<Result<(), Error>> {
        self.poll_until(cx, written)
    }

    /// Ready when the connection has failed or the transport is closed or, on a server, when all that
    /// is left is to see the client close it.
    pub(in crate::socket) fn poll_end(self: &Arc<Self>, cx: &Context<'_>) -> Poll<()> {
        let over = |state: &SocketState| {
            let told = !state.connection.is_client() && state.connection.queued() == 0;
            (state.is_over() || (told && state.closed().is_some())).then_some(())
        };
        self.poll_until(cx, over)
    }

    /// Queues something when there is room for it; writes it, unless more is likely to follow in a
    /// moment.
    ///
    /// Room is looked for and taken under one lock: however many send, the limit is passed by one
    /// message only.
    pub(in crate::socket) fn poll_queue<T>(
        self: &Arc<Self>,
        cx: &Context<'_>,
        has_room: fn(&SocketState) -> bool,
        queue: impl FnMut(&mut SocketState) -> Result<T, Error>,
    ) -> Poll<Result<T, Error>> {
        self.poll_queue_and(cx, has_room, queue, |_, queued| queued)
    }

    /// The same; `look` maps the outcome while the lock is held.
    pub(super) fn poll_queue_and<T, U>(
        self: &Arc<Self>,
        cx: &Context<'_>,
        has_room: fn(&SocketState) -> bool,
        mut queue: impl FnMut(&mut SocketState) -> Result<T, Error>,
        look: impl FnOnce(&SocketState, T) -> U,
    ) -> Poll<Result<U, Error>> {
        loop {
            let mut state = self.state();
            if has_room(&state) {
                let queued = queue(&mut state)?;
                self.write_or_defer(&mut state);
                return Poll::Ready(Ok(look(&state, queued)));
            }
            drop(state);
            ready!(self.poll_until(cx, |state| has_room(state).then_some(())));
        }
    }

    /// Queues a message if there is room for it now, and writes it as [`poll_queue`](Self::poll_queue)
    /// does.
    pub(in crate::socket) fn try_queue(
        self: &Arc<Self>,
        message: Message,
    ) -> Result<(), TrySendError> {
        let mut state = self.state();
        if let Some(error) = state.closed_to_sending() {
            return Err(TrySendError::Closed(message, error));
        }
        if !state.has_room() {
            return Err(TrySendError::Full(message));
        }
        // Nothing is left that could go wrong; `queue` takes the message, and masks it in place.
        let _ = state.queue(message, Compression::On);
        self.write_or_defer(&mut state);
        Ok(())
    }

    /// Queues a message without writing it.
    pub(in crate::socket) fn feed(self: &Arc<Self>, message: Message) -> Result<(), Error> {
        self.state().queue(message, Compression::On)
    }

    /// The same with one that was prepared.
    pub(in crate::socket) fn feed_prepared(
        self: &Arc<Self>,
        prepared: &Prepared,
    ) -> Result<(), Error> {
        self.state().queue_prepared(prepared)
    }

    /// Gives up the message that is being sent in fragments. If it has `begun`, the connection is
    /// closed with 1011, so that the peer does not take a part for the whole.
    pub(in crate::socket) fn drop_stream(self: &Arc<Self>, begun: bool) {
        if begun {
            let reason = CloseFrame::new(CloseCode::INTERNAL_ERROR, "a message was not finished");
            self.close(Some(reason.unwrap_or(CloseCode::INTERNAL_ERROR.into())));
        }
        let mut state = self.state();
        state.end_stream();
        self.write_or_defer(&mut state);
        drop(state);
        self.wake_others();
    }

    /// The application dropped the reader of message `number` before its last part: the rest of it is
    /// discarded.
    pub(in crate::socket) fn skip_parts_of(self: &Arc<Self>, number: u32) {
        self.state().skip_parts_of(number);
        // Reading may have been paused for it.
        self.wake_background();
    }

    /// Queues a piece of a message, and writes it.
    pub(in crate::socket) fn send_fragment(
        self: &Arc<Self>,
        kind: MessageKind,
        payload: Bytes,
        fragment: Fragment,
    ) -> Result<(), Error> {
        let mut state = self.state();
        let queued = state.connection.send_fragment(kind, payload, fragment);
        queued.map_err(|misuse| state.send_error(misuse))?;
        self.write_or_defer(&mut state);
        Ok(())
    }

    /// Starts the closing handshake.
    pub(in crate::socket) fn close(self: &Arc<Self>, frame: Option<CloseFrame>) {
        let mut state = self.state();
        let now = clock::elapsed();
        state.connection.close(frame, now);
        self.write_or_defer(&mut state);
        drop(state);
        // The closing handshake has a deadline.
        self.wake_background();
    }

    /// Sets other limits and deadlines.
    pub(in crate::socket) fn set_config(self: &Arc<Self>, config: Arc<Config>) {
        self.state().connection.set_config(config);
        // The deadlines may be others now.
        self.wake_background();
    }

    /// From now on the application answers the peer's Close itself.
    pub(in crate::socket) fn hold_close(self: &Arc<Self>) {
        self.state().inbound.answers_close = true;
    }

    /// Gives the connection up at once; what is queued is not sent.
    pub(in crate::socket) fn abort(self: &Arc<Self>) {
        let mut state = self.state();
        let now = clock::elapsed();
        state.connection.abort(now);
        drop(state);
        self.wake_background();
    }

    /// Does what cannot wait for the application; returns the tick at which to do so again.
    pub(in crate::socket) fn attend(self: &Arc<Self>, deadline_passed: bool) -> Tick {
        let waker = waker_ref(self);
        let cx = &mut Context::from_waker(&waker);
        let mut state = self.state();
        if deadline_passed {
            state.handle_timeout(cx);
        } else {
            state.attend(cx);
        }
        let tick = if state.has_ended() { NEVER } else { self.next_tick(&state) };
        state.watched = tick;
        let news = state.has_news();
        drop(state);
        self.wake_others();
        if news {
            self.wake_reader();
        }
        self.background.clock.gathered(tick, clock::now())
    }

    pub(in crate::socket) fn add_handle(&self) {
        self.handles.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one more handle, unless the last one is gone and the connection is being closed.
    pub(in crate::socket) fn add_handle_if_held(&self) -> bool {
        let count = |handles| (handles > 0).then_some(handles + 1);
        self.handles.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count).is_ok()
    }

    /// Schedules the background driver for this connection.
    pub(in crate::socket) fn wake_background(self: &Arc<Self>) {
        if let Err(RuntimeEnded) = self.background.attend(self.clone()) {
            self.abandon();
        }
    }

    /// The runtime has ended, and the connection with it.
    pub(in crate::socket) fn abandon(&self) {
        self.state().abandon();
        self.wake_others();
        self.wake_reader();
    }

    /// The reading handle is gone: what still arrives is discarded.
    pub(in crate::socket) fn drop_reader(self: &Arc<Self>) {
        self.parked().reader = None;
        let mut state = self.state();
        state.drop_reader();
        // Reading may have been paused, or left to the reader.
        self.attend_soon(&mut state);
    }

    /// With the last handle gone the connection is closed, with 1001 by a server and without a code
    /// by a client; the background driver completes the closing handshake.
    pub(in crate::socket) fn drop_handle(self: &Arc<Self>) {
        if self.handles.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        if self.is_client() || !handlers::defer_close(self) {
            self.close_unheld(None);
        }
    }

    /// Closes the connection, whose last handle is gone: with a code of its own if it is given one.
    pub(in crate::socket) fn close_unheld(self: &Arc<Self>, frame: Option<CloseFrame>) {
        let mut state = self.state();
        state.drop_reader();
        let now = clock::elapsed();
        if frame.is_none() {
            state.connection.answer_close(now);
        }
        let frame = frame.or_else(|| state.default_close_frame());
        state.connection.close(frame, now);
        self.attend_soon(&mut state);
    }

    fn is_client(&self) -> bool {
        self.state().connection.is_client()
    }

    /// Whether nothing can be sent any more: the connection is being closed or has failed.
    pub(in crate::socket) fn is_ending(&self) -> bool {
        let state = self.state();
        state.connection.closing().is_some() && !state.connection.has_held_close()
    }

    /// Whether it is ending, or its peer has closed and waits for the answer.
    pub(in crate::socket) fn is_left(&self) -> bool {
        self.state().connection.closing().is_some()
    }

    /// Polls until there is what `done` gives; writes meanwhile.
    fn poll_until<T>(
        self: &Arc<Self>,
        cx: &Context<'_>,
        done: impl Fn(&SocketState) -> Option<T>,
    ) -> Poll<T> {
        let mut state = self.state();
        if let Some(done) = done(&state) {
            return Poll::Ready(done);
        }
        self.park_other(cx);
        let waker = waker_ref(self);
        // Pings, pongs and Close are read meanwhile.
        state.attend(&mut Context::from_waker(&waker));
        self.tell_deadline(&mut state);
        let result = done(&state).map_or(Poll::Pending, Poll::Ready);
        let news = state.has_news();
        drop(state);
        if news {
            self.wake_reader();
        }
        result
    }

    /// Writes what is queued, unless more is likely to follow in a moment.
    pub(in crate::socket) fn write_or_defer(self: &Arc<Self>, state: &mut SocketState) {
        if state.has_unread_input() {
            self.attend_soon(state);
        } else {
            let waker = waker_ref(self);
            state.write(&mut Context::from_waker(&waker));
        }
    }

    /// The reader has its message and is likely to poll again soon. What is queued is written when this
    /// task yields; if the reader stays away, the background driver reads in its place.
    fn leave(self: &Arc<Self>, state: &mut SocketState) {
        state.release_empty_input();
        if state.connection.queued() > 0 || state.connection.closed().is_some() {
            self.attend_soon(state);
        } else if let Err(RuntimeEnded) = self.expect_reader() {
            state.abandon();
        }
    }

    fn expect_reader(self: &Arc<Self>) -> Result<(), RuntimeEnded> {
        // The driver clears `expected` before it checks whether a reader is parked: a reader that is not
        // parked and finds `expected` set is still to be checked.
        let expected = self.expected.load(Ordering::Acquire);
        if !expected && !self.expected.swap(true, Ordering::AcqRel) {
            return self.background.expect_reader(self.clone());
        }
        Ok(())
    }

    /// Schedules the background driver for when this task yields. A connection that has ended needs it only
    /// while the driver still watches a deadline of it.
    fn attend_soon(self: &Arc<Self>, state: &mut SocketState) {
        let is_watched = !state.has_ended() || state.watched != NEVER;
        if is_watched {
            self.wake_background_with(state);
        }
    }

    /// Schedules the background driver, unless that is done already.
    fn wake_background_with(self: &Arc<Self>, state: &mut SocketState) {
        if !std::mem::replace(&mut state.outbound.scheduled, true)
            && let Err(RuntimeEnded) = self.background.attend(self.clone())
        {
            state.abandon();
        }
    }

    /// Schedules the background driver if there is a deadline before the one that it watches, such as that
    /// of a message that has begun.
    fn tell_deadline(self: &Arc<Self>, state: &mut SocketState) {
        if self.next_tick(state) < state.watched {
            self.wake_background_with(state);
        }
    }

    /// The tick of the next deadline.
    fn next_tick(&self, state: &SocketState) -> Tick {
        self.background.clock.tick(state.deadline())
    }

    /// Whether the reader that was woken has polled, and waits again.
    pub(in crate::socket) fn has_reader_returned(&self) -> bool {
        self.expected.store(false, Ordering::Release);
        self.parked().reader.is_some()
    }

    fn park_reader(&self, cx: &Context<'_>) {
        self.parked().park_reader(cx);
    }

    fn park_other(&self, cx: &Context<'_>) {
        self.parked().park_other(cx);
    }

    fn wake_reader(&self) {
        let reader = self.parked().reader.take();
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    pub(in crate::socket) fn wake_others(&self) {
        let others = self.parked().others.take();
        if let Some(others) = others {
            others.wake();
        }
    }

    pub(in crate::socket) fn state(&self) -> MutexGuard<'_, SocketState> {
        // A panic elsewhere leaves the state as consistent as any early return would.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same, unless something else has locked it.
    pub(super) fn try_state(&self) -> Option<MutexGuard<'_, SocketState>> {
        match self.state.try_lock() {
            Ok(state) => Some(state),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn parked(&self) -> MutexGuard<'_, Parked> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether all that was queued is written, once that is known.
pub(super) fn written(state: &SocketState) -> Option<Result<(), Error>> {
    let unwritten = state.outbound.discarded || (state.queued() > 0 && state.has_failed());
    let is_known = state.queued() == 0 || state.has_ended() || unwritten;
    is_known.then(|| match unwritten {
        false => Ok(()),
        true => Err(state.send_error(Misuse::Closing)),
    })
}

impl ArcWake for Shared {
    fn wake_by_ref(shared: &Arc<Self>) {
        // Never takes the lock of the state: the caller may hold it.
        let Parked { reader, others } = std::mem::take(&mut *shared.parked());
        if let Some(others) = others {
            others.wake();
        }
        match reader {
            Some(reader) => {
                reader.wake();
                // It may not poll: the task that holds the stream may wait for something else now.
                let _ = shared.expect_reader();
            }
            // Where the runtime has ended, the connection was abandoned, or is when its handles go. To
            // do so here would take the lock of the state, and locks of a transport that wakes.
            None => drop(shared.background.attend(shared.clone())),
        }
    }
}

impl AsRef<TimerSlot> for Shared {
    fn as_ref(&self) -> &TimerSlot {
        &self.timer_slot
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("protocol", &self.state().connection).finish()
    }
}
