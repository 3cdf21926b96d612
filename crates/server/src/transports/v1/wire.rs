//! How groups write messages on connections of `sockeye.v1`: a message has the same frame for all that read its
//! channel, whatever else they read.

use bytes::Bytes;
use sockeye::{Message, Prepared, Writer};
use sockeye_hub::{ChannelName, Entry};

use crate::fanout::Wire;
use crate::transport::Transport;
use crate::transports::encode::{entry_form, run_form, v1_object};
use crate::transports::websocket::frames::{self, Frames, shortest_of, together};

/// How all connections with the compression of this one write a run; `None` where each makes its own frames.
pub(super) fn wire(outgoing: &Writer) -> Option<&'static Wire> {
    static PLAIN: Wire = frames::wire(Transport::V1, &run_form::V1_FRAMES, |channel, run| {
        together(run, |entry| plain(channel, entry))
    });
    static SHORTEST: Wire =
        frames::wire(Transport::V1, &run_form::V1_SHORTEST_FRAMES, |channel, run| {
            together(run, |entry| shortest(channel, entry))
        });
    match Frames::of(outgoing) {
        Frames::Plain => Some(&PLAIN),
        Frames::Shortest => Some(&SHORTEST),
        Frames::Own => None,
    }
}

fn plain(channel: &ChannelName, entry: &Entry) -> Bytes {
    Prepared::new(v1_object(channel, entry)).plain().clone()
}

fn shortest(channel: &ChannelName, entry: &Entry) -> Bytes {
    shortest_of(entry, Message::from(v1_object(channel, entry)), &entry_form::V1_FRAME)
}
