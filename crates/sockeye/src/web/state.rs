//! What a socket and its task share.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Waker},
};

use http::Response;
use sockeye_proto::CloseFrame;

use super::{BinaryType, Cause, Data, target::EventTarget};
/// The state of a socket. `as u16` gives the number that scripts see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u16)]
pub enum ReadyState {
    /// The connection is being opened.
    Connecting = 0,
    /// Messages can be sent and received.
    Open = 1,
    /// The connection is being closed.
    Closing = 2,
    /// The connection is closed, or was never opened.
    Closed = 3,
}

/// What a socket and its task share.
pub(super) struct Inner {
    pub(super) url: url::Url,
    pub(super) events: EventTarget,
    state: Mutex<WebState>,
}

pub(super) struct WebState {
    pub(super) ready_state: ReadyState,
    pub(super) extensions: String,
    pub(super) protocol: String,
    pub(super) response: Option<Arc<Response<()>>>,
    pub(super) binary_type: BinaryType,
    pub(super) buffered: u64,
    pub(super) max_buffered: u64,
    pub(super) cause: Option<Arc<Cause>>,
    /// What the task has not taken yet.
    pub(super) outbox: VecDeque<Outgoing>,
    /// More was sent than may wait: the connection is to be given up.
    pub(super) full: bool,
    /// The task, if it waits.
    task: Option<Waker>,
}

/// What is to be sent.
pub(super) enum Outgoing {
    Close(Option<CloseFrame>),
    Data(Data),
}

impl Inner {
    pub(super) fn new(url: url::Url, max_buffered: u64) -> Self {
        let state = WebState {
            ready_state: ReadyState::Connecting,
            extensions: String::new(),
            protocol: String::new(),
            response: None,
            binary_type: BinaryType::default(),
            buffered: 0,
            max_buffered,
            cause: None,
            outbox: VecDeque::new(),
            full: false,
            task: None,
        };
        Self { url, events: EventTarget::default(), state: Mutex::new(state) }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, WebState> {
        // Nothing that can panic happens under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WebState {
    /// Queues data, which counts as buffered from now on, also when it will never be sent.
    pub(super) fn send(&mut self, data: Data) {
        self.buffered = self.buffered.saturating_add(data.size());
        if self.ready_state != ReadyState::Open || self.full {
            return;
        }
        if self.buffered > self.max_buffered {
            self.full = true;
            self.fail(Cause::Full(self.buffered));
        } else {
            self.outbox.push_back(Outgoing::Data(data));
        }
        self.wake_task();
    }

    /// Starts to close, behind everything that was sent; does nothing if that was begun before.
    pub(super) fn close(&mut self, frame: Option<CloseFrame>) {
        if self.ready_state >= ReadyState::Closing {
            return;
        }
        if self.ready_state == ReadyState::Open {
            self.outbox.push_back(Outgoing::Close(frame));
        }
        self.ready_state = ReadyState::Closing;
        self.wake_task();
    }

    /// Notes why the connection failed; the first cause is the true one.
    pub(super) fn fail(&mut self, cause: Cause) {
        self.cause.get_or_insert_with(|| Arc::new(cause));
    }

    /// Has the task woken when there is something new for it.
    pub(super) fn park_task(&mut self, cx: &Context<'_>) {
        match &mut self.task {
            Some(task) => task.clone_from(cx.waker()),
            empty => *empty = Some(cx.waker().clone()),
        }
    }

    pub(super) fn wake_task(&mut self) {
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }
}
