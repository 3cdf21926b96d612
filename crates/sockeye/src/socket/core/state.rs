//! The state that the handles of a connection share. How it receives, transmits and ends is in
//! [`receive`](super::receive), [`transmit`](super::transmit) and [`lifecycle`](super::lifecycle).

use std::{task::Context, time::Instant};

use sockeye_proto::Connection;

use super::{
    lifecycle::Lifecycle,
    receive::Inbound,
    timer_wheel::{NEVER, Tick},
    transmit::Outbound,
    transport::ByteStream,
};
use crate::clock;

pub(in crate::socket) struct SocketState {
    pub(in crate::socket) connection: Connection,
    pub(super) lifecycle: Lifecycle,
    pub(super) inbound: Inbound,
    pub(super) outbound: Outbound,
    /// The tick that the background driver watches.
    pub(in crate::socket) watched: Tick,
}

impl SocketState {
    pub(in crate::socket) fn new(io: ByteStream, mut connection: Connection, input: &[u8]) -> Self {
        // So that messages before a client's Close are answered before the Close is.
        connection.hold_close(!connection.is_client());
        // It was made with time at zero, and nothing was read until now.
        connection.handle_paused(clock::elapsed());
        Self {
            connection,
            lifecycle: Lifecycle::new(io),
            inbound: Inbound::new(input),
            outbound: Outbound::default(),
            watched: NEVER,
        }
    }

    /// The connection's next deadline.
    pub(in crate::socket) fn deadline(&self) -> Option<Instant> {
        clock::at(self.connection.poll_timeout()?)
    }

    /// Does what cannot wait for the application: answers pings and Close, writes what is queued, decodes a
    /// bounded amount of what has arrived. `cx` wakes the connection.
    pub(in crate::socket) fn attend(&mut self, cx: &mut Context<'_>) {
        self.outbound.scheduled = false;
        if self.has_ended() {
            return;
        }
        let now = clock::elapsed();
        // Whether the next message is wanted in parts is known when it is asked for. Without a reader, parts
        // are discarded as they arrive.
        self.connection.receive_parts(!self.inbound.has_reader());
        loop {
            while !self.is_paused() {
                let Some(arrival) = self.next_arrival(cx, now) else { break };
                if self.inbound.has_reader() {
                    self.inbound.push(arrival);
                }
            }
            if self.has_idle_close() {
                self.connection.answer_close(now);
                continue;
            }
            self.write(cx);
            if self.has_ended() || self.is_paused() {
                self.settle_input();
                return;
            }
            if self.read(cx).is_pending() {
                return;
            }
        }
    }

    /// The deadline has passed.
    pub(in crate::socket) fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        self.attend(cx);
        let now = clock::elapsed();
        if self.is_paused() {
            self.connection.handle_paused(now);
        }
        self.connection.handle_timeout(now);
        self.attend(cx);
    }

    /// Whether there is something that a waiting reader has to be woken for.
    pub(in crate::socket) fn has_news(&self) -> bool {
        self.inbound.has_waiting()
            || self.connection.closed().is_some()
            || self.connection.has_held_close()
            || self.connection.is_oversized()
    }
}
