//! Asking for messages, again and again: requests that wait for it, or one in an interval.

use std::time::Instant;

use anyhow::{Context as _, bail};
use bytes::{Buf, BytesMut};

use super::http::{self, Body, Resource};
use super::protocol::{Hear, Protocol, after};

/// Messages in one answer at most.
const LIMIT: u32 = 1000;

pub(super) struct Polls {
    resource: Resource,
    /// How many seconds the server may hold an answer back, where it may.
    wait: Option<u32>,
    /// The position to go on from, once it is known.
    at: Option<String>,
    request: BytesMut,
    is_waiting: bool,
    /// What is to come of the answer, once its head has.
    body: Option<Body>,
    /// What has come of it.
    page: BytesMut,
}

impl Polls {
    /// Asks for the position first: what is published from then on is missed by no poll.
    pub(super) fn new(resource: Resource, wait: Option<u32>) -> Self {
        let request = BytesMut::from(resource.request("HEAD", "", "").as_bytes());
        let (body, page) = (None, BytesMut::new());
        Self { resource, wait, at: None, request, is_waiting: true, body, page }
    }

    /// Takes an answer's head.
    fn take_head(&mut self, input: &mut BytesMut) -> anyhow::Result<()> {
        let Some(head) = http::head(input)? else { return Ok(()) };
        if head.status != 200 {
            bail!("the server answers {}", head.status);
        }
        // That to HEAD has no body, whatever it says of its length (RFC 9110 §9.3.2).
        self.body = Some(if self.at.is_some() { head.body } else { Body::Done });
        self.at =
            Some(head.etag.context("this is not a channel of sockeye's: it has no position")?);
        Ok(())
    }

    /// Takes the messages of a whole answer.
    fn take_page(&mut self, hear: Hear<'_>) -> anyhow::Result<()> {
        let mut rest = &self.page[..];
        while let Some(data) = after(rest, b",\"data\":\"") {
            let end = data.iter().position(|&byte| byte == b'"').unwrap_or(data.len());
            hear(&data[..end])?;
            rest = &data[end..];
        }
        self.page.clear();
        Ok(())
    }
}

impl Protocol for Polls {
    fn take(&mut self, input: &mut BytesMut, _: Instant, hear: Hear<'_>) -> anyhow::Result<()> {
        if self.body.is_none() {
            self.take_head(input)?;
        }
        let Some(body) = &mut self.body else { return Ok(()) };
        body.take(input, &mut self.page)?;
        if *body == Body::Done {
            self.body = None;
            self.is_waiting = false;
            self.take_page(hear)?;
            if self.wait.is_some() {
                self.ask();
            }
        }
        Ok(())
    }

    fn outgoing(&mut self) -> &mut dyn Buf {
        &mut self.request
    }

    fn is_ready(&self) -> bool {
        self.at.is_some()
    }

    fn ask(&mut self) {
        let Some(at) = self.at.as_ref().filter(|_| !self.is_waiting) else { return };
        let query = match self.wait {
            Some(wait) => format!("after={at}&limit={LIMIT}&wait={wait}"),
            None => format!("after={at}&limit={LIMIT}"),
        };
        let request = self.resource.request("GET", &query, "");
        self.request.extend_from_slice(request.as_bytes());
        self.is_waiting = true;
    }
}
