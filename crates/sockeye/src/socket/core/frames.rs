//! Frames that were made before, for many connections: a connection sends them as they are.

use std::{
    io,
    sync::{Arc, MutexGuard},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_task::waker_ref;

use super::{
    delivery::Delivery,
    shared::{Shared, written},
    state::SocketState,
};
use crate::Error;

impl Shared {
    /// Queues frames that were made before, when there is room for them, and takes them; ready when all
    /// is written.
    pub(in crate::socket) fn poll_frames(
        self: &Arc<Self>,
        cx: &Context<'_>,
        waiting: &mut Option<&Bytes>,
    ) -> Poll<Result<(), Error>> {
        if let Some(frames) = *waiting {
            let queue = |state: &mut SocketState| state.queue_frames(frames);
            let look = |state: &SocketState, ()| written(state);
            let outcome = ready!(self.poll_queue_and(cx, SocketState::has_room, queue, look))?;
            *waiting = None;
            if let Some(outcome) = outcome {
                return Poll::Ready(outcome);
            }
        }
        self.poll_written(cx)
    }

    /// Writes frames that were made before, or queues what the transport does not take, if there is room.
    pub(in crate::socket) fn try_frames(self: &Arc<Self>, frames: &Bytes) -> Delivery {
        let (mut state, waker) = (self.state(), waker_ref(self));
        let cx = &mut Context::from_waker(&waker);
        if !state.has_room() || state.write_frames(frames, cx).is_err() {
            return Delivery::Refused;
        }
        delivery(&state)
    }

    /// Locks the state if frames go past the queue now, to the socket that `socket_past_queue` has, and if nothing
    /// else has locked it: so one thread may hold many of them.
    pub(in crate::socket) fn try_claim(&self) -> Option<MutexGuard<'_, SocketState>> {
        self.try_state().filter(|state| state.socket_past_queue().is_some())
    }

    /// Does what [`try_frames`](Self::try_frames) does, after frames were written to the socket of a state that was
    /// [claimed](Self::try_claim), and releases it.
    pub(in crate::socket) fn finish_frames(
        self: &Arc<Self>,
        mut state: MutexGuard<'_, SocketState>,
        frames: &Bytes,
        written: Poll<io::Result<usize>>,
    ) -> Delivery {
        let waker = waker_ref(self);
        match state.take_written(frames, written, &mut Context::from_waker(&waker)) {
            Ok(()) => delivery(&state),
            Err(_) => Delivery::Refused,
        }
    }
}

/// What became of frames that were written or queued.
fn delivery(state: &SocketState) -> Delivery {
    match written(state) {
        Some(Ok(())) => Delivery::Written,
        _ => Delivery::Queued,
    }
}
