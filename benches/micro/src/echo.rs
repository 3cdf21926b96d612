//! A whole connection: messages in, the same messages out.

use std::hint::black_box;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use sockeye_proto::{Config, Connection, Event};

use crate::client_frame;

/// A server's end of a connection that sends back what it receives.
pub struct Echo {
    connection: Connection,
    /// What comes with one read.
    wire: Vec<u8>,
    input: BytesMut,
    now: Duration,
}

impl Echo {
    /// One that gets `count` messages of `size` bytes with each read.
    pub fn new(size: usize, count: usize) -> Self {
        let wire = client_frame(&vec![b'x'; size]).repeat(count);
        let now = Duration::ZERO;
        let connection = Connection::server(Config::default(), now);
        let mut echo = Self { connection, wire, input: BytesMut::with_capacity(64 << 10), now };
        echo.run();
        echo
    }

    /// What a driver does when its socket is ready: read, ask for all events, write, ask for the
    /// deadline. The copies to and from the kernel are one copy into the buffer here.
    pub fn run(&mut self) {
        self.input.extend_from_slice(&self.wire);
        while let Some(event) = self.connection.poll_event(&mut self.input, self.now) {
            match event {
                Event::Message(message) => {
                    self.connection.send(message).expect("the connection is open");
                }
                event => unreachable!("{event:?}"),
            }
        }
        drain(&mut self.connection);
        black_box(self.connection.transport());
        black_box(self.connection.poll_timeout());
    }
}

/// Writes what is to be transmitted, to nowhere.
pub(crate) fn drain(connection: &mut Connection) {
    let outbox = connection.transmit();
    while outbox.has_remaining() {
        let written = black_box(outbox.chunk()).len();
        outbox.advance(written);
    }
}
