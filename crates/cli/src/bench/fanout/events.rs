//! Server-Sent Events (WHATWG HTML §9.2), of which the data of nameless ones is read.

use std::time::Instant;

use anyhow::bail;
use bytes::{Buf, BytesMut};

use super::http::{self, Body, Resource};
use super::protocol::{Hear, Protocol};

pub(super) struct Events {
    request: BytesMut,
    /// The answer's body, once its head has come.
    body: Option<Body>,
    /// What has come of a line.
    text: BytesMut,
    /// Whether the event has a name: a gap is none of our messages.
    is_named: bool,
}

impl Events {
    pub(super) fn new(resource: &Resource) -> Self {
        let request = resource.request("GET", "", "Accept: text/event-stream\r\n");
        let (request, text) = (BytesMut::from(request.as_bytes()), BytesMut::new());
        Self { request, body: None, text, is_named: false }
    }

    /// Takes the lines that have come whole.
    fn take_lines(&mut self, hear: Hear<'_>) -> anyhow::Result<()> {
        while let Some(end) = self.text.iter().position(|&byte| byte == b'\n') {
            let line = self.text[..end].trim_ascii_end();
            if line.is_empty() {
                self.is_named = false;
            } else if line.starts_with(b"event:") {
                self.is_named = true;
            } else if let Some(data) = line.strip_prefix(b"data:")
                && !self.is_named
            {
                hear(data.trim_ascii_start())?;
            }
            self.text.advance(end + 1);
        }
        Ok(())
    }
}

impl Protocol for Events {
    fn take(&mut self, input: &mut BytesMut, _: Instant, hear: Hear<'_>) -> anyhow::Result<()> {
        if self.body.is_none()
            && let Some(head) = http::head(input)?
        {
            match head.status {
                200 if head.is_events => self.body = Some(head.body),
                200 => bail!("the server answers with something else than events"),
                status => bail!("the server answers {status}"),
            }
        }
        let Some(body) = &mut self.body else { return Ok(()) };
        body.take(input, &mut self.text)?;
        if *body == Body::Done {
            bail!("the server has ended a stream of events");
        }
        self.take_lines(hear)
    }

    fn outgoing(&mut self) -> &mut dyn Buf {
        &mut self.request
    }

    fn is_ready(&self) -> bool {
        self.body.is_some()
    }
}
