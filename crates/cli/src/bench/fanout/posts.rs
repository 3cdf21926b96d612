//! Publishing by HTTP: a `POST` for each message, the next without waiting for the answer.

use std::time::Instant;

use anyhow::bail;
use bytes::{Buf, BytesMut};

use super::http::{self, Body, Resource};
use super::protocol::{Hear, Protocol, Publisher};

pub(super) struct Posts {
    resource: Resource,
    requests: BytesMut,
    /// What is to come of an answer, once its head has.
    body: Option<Body>,
    /// What has come of it, which is dropped.
    page: BytesMut,
}

impl Posts {
    pub(super) fn new(resource: Resource) -> Self {
        Self { resource, requests: BytesMut::new(), body: None, page: BytesMut::new() }
    }
}

impl Protocol for Posts {
    fn take(&mut self, input: &mut BytesMut, _: Instant, _: Hear<'_>) -> anyhow::Result<()> {
        while !input.is_empty() {
            if self.body.is_none() {
                let Some(head) = http::head(input)? else { return Ok(()) };
                if !(200..300).contains(&head.status) {
                    bail!("the server answers {} to a publication", head.status);
                }
                self.body = Some(head.body);
            }
            let Some(body) = &mut self.body else { return Ok(()) };
            body.take(input, &mut self.page)?;
            self.page.clear();
            if *body == Body::Done {
                self.body = None;
            }
        }
        Ok(())
    }

    fn outgoing(&mut self) -> &mut dyn Buf {
        &mut self.requests
    }

    fn is_ready(&self) -> bool {
        true
    }
}

impl Publisher for Posts {
    fn queue_message(&mut self, message: String) -> anyhow::Result<()> {
        let fields = format!("Content-Type: text/plain\r\nContent-Length: {}\r\n", message.len());
        let request = self.resource.request("POST", "", &fields);
        self.requests.extend_from_slice(request.as_bytes());
        self.requests.extend_from_slice(message.as_bytes());
        Ok(())
    }
}
