//! A channel of the hub: what publishing and reading cost without a network.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use sockeye_hub::{ChannelName, Hub, Options, Publication, Reader, Start};

/// A channel with a full history in memory.
pub struct Channel {
    hub: Hub,
    name: ChannelName,
    reader: Reader,
    message: String,
}

impl Channel {
    /// One with messages of `size` bytes, of which it keeps 1,000.
    pub fn new(size: usize) -> Self {
        let hub = Hub::new(Options::default());
        let name: ChannelName = "news".parse().expect("the name is right");
        let reader = hub.subscribe(&name, Start::Now);
        let mut channel = Self { hub, name, reader, message: "x".repeat(size) };
        (0..1100).for_each(|_| channel.append());
        while channel.reader.try_next().is_some() {}
        channel
    }

    /// Publishes one message; the oldest goes.
    pub fn append(&mut self) {
        let published = self.hub.publish(&self.name, Publication::text(&self.message));
        match pin!(published).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(position) => drop(position.expect("there is room")),
            Poll::Pending => unreachable!("in memory nothing is waited for"),
        }
    }

    /// Publishes one message and has the reader read it.
    pub fn append_and_read(&mut self) {
        self.append();
        assert!(self.reader.try_next().is_some());
    }

    /// Reads the last 100 messages in one go; gives how many there are.
    pub fn read(&self) -> usize {
        self.hub.read(&self.name, Start::Last(100), 100).entries.len()
    }
}
