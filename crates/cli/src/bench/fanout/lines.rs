//! JSON lines, of which the beginning of the data is read.

use std::time::Instant;

use anyhow::bail;
use bytes::{Buf, BytesMut};

use super::http::{self, Body, Resource};
use super::protocol::{Hear, Protocol, after};

pub(super) struct Lines {
    request: BytesMut,
    /// The answer's body, once its head has come.
    body: Option<Body>,
    /// What has come of a line.
    text: BytesMut,
}

impl Lines {
    pub(super) fn new(resource: &Resource) -> Self {
        let request = resource.request("GET", "", "Accept: application/x-ndjson\r\n");
        let (request, text) = (BytesMut::from(request.as_bytes()), BytesMut::new());
        Self { request, body: None, text }
    }
}

impl Protocol for Lines {
    fn take(&mut self, input: &mut BytesMut, _: Instant, hear: Hear<'_>) -> anyhow::Result<()> {
        if self.body.is_none()
            && let Some(head) = http::head(input)?
        {
            match head.status {
                200 if head.is_lines => self.body = Some(head.body),
                200 => bail!("the server answers with something else than JSON lines"),
                status => bail!("the server answers {status}"),
            }
        }
        let Some(body) = &mut self.body else { return Ok(()) };
        body.take(input, &mut self.text)?;
        if *body == Body::Done {
            bail!("the server has ended a stream of JSON lines");
        }
        while let Some(end) = self.text.iter().position(|&byte| byte == b'\n') {
            // A gap and a heartbeat have no data.
            if let Some(data) = after(&self.text[..end], b",\"data\":\"") {
                hear(data.split(|&byte| byte == b'"').next().unwrap_or_default())?;
            }
            self.text.advance(end + 1);
        }
        Ok(())
    }

    fn outgoing(&mut self) -> &mut dyn Buf {
        &mut self.request
    }

    fn is_ready(&self) -> bool {
        self.body.is_some()
    }
}
