//! A stream over HTTP/1.1 as a member of a group, which writes messages past the body of the response.
//!
//! The stream joins when all that it gave is written, and leaves before it gives more. What is not a message, a
//! heartbeat, a gap or an end, is given by the stream itself.

use std::future::poll_fn;
use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use sockeye_hub::{ChannelName, Entry, Page, Reader, RunForm};

use super::{AT_ONCE, Form};
use crate::fanout::{Groups, Membership, Outlet, Wire};
use crate::http::chunk;
use crate::metrics::connections::ChannelRead;
use crate::net::shared_io::{BodyIo, Framing};
use crate::transport::Transport;
use crate::transports::encode::run_form;

/// What a stream needs to join a group.
pub(super) struct Direct {
    groups: Arc<Groups>,
    io: Arc<BodyIo>,
    /// Nothing is being written.
    is_idle: bool,
}

impl Direct {
    pub(super) fn new(groups: &Arc<Groups>) -> Self {
        Self { groups: Arc::clone(groups), io: Arc::default(), is_idle: false }
    }

    /// What the writer of the response shows its connection to.
    pub(super) fn io(&self) -> &Arc<BodyIo> {
        &self.io
    }

    /// Waits until all that the stream gave is written.
    pub(super) async fn idle(&mut self) {
        poll_fn(|_| self.io.poll_idle()).await;
        self.is_idle = true;
    }

    /// All that a group wrote is written: what the stream gave was before that.
    pub(super) fn set_idle(&mut self) {
        self.is_idle = true;
    }

    /// Joins a group, if nothing is being written and it is worthwhile.
    pub(super) fn join(
        &mut self,
        form: Form,
        reader: (&Reader, &ChannelRead),
    ) -> Option<Membership> {
        if !mem::take(&mut self.is_idle) {
            return None;
        }
        let (_, framing) = self.io.below()?;
        self.groups.join(reader, form.wire(*framing), || Outlet::Body(Arc::clone(&self.io)))
    }

    /// How many bytes of a page are counted that a group has written.
    pub(super) fn counted(&self, form: Form, channel: &ChannelName, page: &Page) -> usize {
        let Some((_, framing)) = self.io.below() else { return 0 };
        let wire = form.wire(*framing);
        (wire.counted)(page, &wire.of(channel, &page.entries))
    }
}

impl Form {
    /// How a group writes messages in this form.
    fn wire(self, framing: Framing) -> &'static Wire {
        static EVENTS: [Wire; 2] = [
            chunked(Transport::Sse, &run_form::EVENT_CHUNKS, |_, run| chunk_of(Form::Events, run)),
            bare(Transport::Sse, &run_form::EVENTS, |_, run| Form::Events.messages(run)),
        ];
        static META_EVENTS: [Wire; 2] = [
            chunked(Transport::Sse, &run_form::META_EVENT_CHUNKS, |_, run| {
                chunk_of(Form::MetaEvents, run)
            }),
            bare(Transport::Sse, &run_form::META_EVENTS, |_, run| Form::MetaEvents.messages(run)),
        ];
        static LINES: [Wire; 2] = [
            chunked(Transport::Ndjson, &run_form::LINE_CHUNKS, |_, run| chunk_of(Form::Lines, run)),
            bare(Transport::Ndjson, &run_form::LINES, |_, run| Form::Lines.messages(run)),
        ];
        let [chunked, bare] = match self {
            Self::Events => &EVENTS,
            Self::MetaEvents => &META_EVENTS,
            Self::Lines => &LINES,
        };
        match framing {
            Framing::Chunked => chunked,
            Framing::Bare => bare,
        }
    }
}

type Encode = fn(&ChannelName, &[Arc<Entry>]) -> Bytes;

const fn chunked(transport: Transport, form: &'static RunForm, encode: Encode) -> Wire {
    let counted = |_: &Page, chunk: &Bytes| chunk::data_length(chunk);
    Wire { transport, at_once: AT_ONCE, form, encode, counted }
}

const fn bare(transport: Transport, form: &'static RunForm, encode: Encode) -> Wire {
    let counted = |_: &Page, messages: &Bytes| messages.len();
    Wire { transport, at_once: AT_ONCE, form, encode, counted }
}

/// All messages in one chunk.
fn chunk_of(form: Form, run: &[Arc<Entry>]) -> Bytes {
    chunk::of(&form.messages(run))
}
