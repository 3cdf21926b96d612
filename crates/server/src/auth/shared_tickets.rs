//! Tickets that are good on every node of a cluster, and once in all of it.
//!
//! A ticket's record is shared by the nodes. It has the token for which the ticket was issued, and what it
//! was used for, sealed with a key that is made of the ticket itself: it cannot be read without the ticket,
//! and none can be made that grants more, for the token is verified again. Its name is a hash of the ticket.
//! Of several nodes that mark it as used one succeeds.
//!
//! A used ticket that has opened an event stream resumes it, while the stream is open and for some minutes
//! after it ended: its record is kept that long, and the node that has the stream keeps it. So what used
//! tickets take in the cluster is in proportion to the streams that are open.

mod ledger;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest::{self, SHA256};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use axum::extract::Request;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures_util::future::join_all;
use http::HeaderValue;
use http::header::ORIGIN;
use serde::{Deserialize, Serialize};
use sockeye_hub::Position;
use sockeye_hub::backplane::{Record, Records};
use sockeye_hub::store::StoreError;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use self::ledger::TicketLedger;
use super::tickets::{GOOD_FOR, LENGTH, LOOK_EVERY, RESUMES_FOR, opens_events, token_key};
use super::{AuthKey, NoTicket, NumericDate, OpenedStream, Session};
use crate::http::headers::LAST_EVENT_ID;
use crate::http::problem::{Code, Problem};

/// How long the record of a used ticket is kept from the last time that the node with its stream has
/// renewed it, and how often that does so: after the stream's end it stays for half of it at least.
const RECORD_STAYS: Duration = RESUMES_FOR.saturating_mul(2);
const RENEWED_EVERY: Duration = RESUMES_FOR;

type Bits = [u8; LENGTH];

/// The tickets of a cluster, on one node.
#[derive(Debug)]
pub(super) struct SharedTickets {
    records: Arc<dyn Records>,
    ledger: Arc<Mutex<TicketLedger>>,
    room: Mutex<RoomTaken>,
}

/// What of the room of all records was taken when it was last looked, in per mille.
#[derive(Debug, Default)]
struct RoomTaken {
    taken: u32,
    looked: Option<Instant>,
}

/// What a record says.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Content {
    token: String,
    origin: Option<String>,
    used: Option<Used>,
}

/// What a ticket was used for.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Used {
    path: String,
    /// Where the stream began that it opened, if that is known.
    from: Option<String>,
}

/// What of a request counts for its ticket.
#[derive(Debug)]
pub(super) struct Presented {
    origin: Option<HeaderValue>,
    path: String,
    opens_events: bool,
    last_event_id: Option<Position>,
}

/// A stream that a ticket has opened; dropped when it has ended.
#[derive(Debug)]
pub(super) struct SharedStream {
    /// Until it begins; nothing if it cannot be resumed.
    opened: Mutex<Option<Box<ResumableStream>>>,
    /// Dropped with the stream.
    _is_open: Option<watch::Sender<()>>,
}

#[derive(Debug)]
struct ResumableStream {
    records: Arc<dyn Records>,
    ticket: Ticket,
    content: Content,
    /// The revision of the record in which it is to be said where the stream begins. 0 if it is said.
    revision: u64,
    ends: Instant,
    _counted: Counted,
    has_ended: watch::Receiver<()>,
}

/// A stream in the ledger, until this is dropped.
#[derive(Debug)]
struct Counted {
    ledger: Arc<Mutex<TicketLedger>>,
    name: String,
}

/// What is made of a ticket: the name of its record, and the key that seals it.
#[derive(Debug)]
struct Ticket {
    name: String,
    key: LessSafeKey,
}

impl Presented {
    pub(super) fn of(request: &Request) -> Self {
        let id = request.headers().get(LAST_EVENT_ID).and_then(|id| id.to_str().ok());
        Self {
            origin: request.headers().get(ORIGIN).cloned(),
            path: request.uri().path().to_owned(),
            opens_events: opens_events(request),
            last_event_id: id.and_then(|id| id.parse().ok()),
        }
    }
}

impl SharedTickets {
    pub(super) fn new(records: Arc<dyn Records>) -> Self {
        Self { records, ledger: Arc::default(), room: Mutex::default() }
    }

    /// A ticket for the bearer of this token, as [`Tickets::issue`](super::Tickets::issue) gives it.
    pub(super) async fn issue(
        &self,
        token: &str,
        session: &Session,
        origin: Option<HeaderValue>,
    ) -> Result<String, NoTicket> {
        let owner = token_key(token);
        let mut bits: Bits = [0; LENGTH];
        bits[..owner.len()].copy_from_slice(&owner);
        let no_randomness = |_| {
            let detail = "The operating system provides no random bytes.";
            NoTicket::Refused(Problem::new(Code::Internal, detail))
        };
        SystemRandom::new().fill(&mut bits[owner.len()..]).map_err(no_randomness)?;
        let ticket = Ticket::of(&bits).map_err(no_randomness)?;
        let origin = origin.and_then(|origin| origin.to_str().ok().map(str::to_owned));
        let content = Content { token: token.to_owned(), origin, used: None };
        let sealed = ticket.seal(&content).map_err(no_randomness)?;
        self.make_room(&owner).await.map_err(|error| NoTicket::Refused(unavailable(error)))?;
        let taken = self.taken().await;
        self.lock().add(owner, &session.account, &ticket.name, sealed.len(), taken)?;
        let put = self.records.put(ticket.name.clone(), sealed, 0, GOOD_FOR).await;
        match put {
            Ok(Some(revision)) => {
                self.lock().set_revision(&owner, &ticket.name, revision);
                Ok(URL_SAFE_NO_PAD.encode(bits))
            }
            outcome => {
                self.lock().remove(&owner, &ticket.name);
                // No other node has a record of that name.
                let error = outcome.err().unwrap_or(StoreError::Failed);
                Err(NoTicket::Refused(unavailable(error)))
            }
        }
    }

    /// What the ticket grants to this request, if it is valid for it. Then it is used.
    pub(super) async fn redeem(
        &self,
        key: &AuthKey,
        ticket: &str,
        presented: &Presented,
    ) -> Result<Option<Session>, StoreError> {
        let Some(ticket) = Ticket::parse(ticket) else { return Ok(None) };
        let Some(record) = self.records.get(ticket.name.clone()).await? else { return Ok(None) };
        let Some(mut content) = ticket.open(&record.value) else { return Ok(None) };
        let Ok(claims) = key.verify_soon(&content.token).await else { return Ok(None) };
        let mut session = Session::new(claims, &content.token, NumericDate::now());
        if !content.is_for(presented) {
            return Ok(None);
        }
        if let Some(used) = &content.used {
            if !used.is_resumed_by(presented) {
                return Ok(None);
            }
            self.open(&mut session, ticket, content, record.value.len(), 0);
            return Ok(Some(session));
        }
        content.used = Some(Used { path: presented.path.clone(), from: None });
        let Ok(sealed) = ticket.seal(&content) else { return Err(StoreError::Failed) };
        let length = sealed.len();
        let put = self.records.put(ticket.name.clone(), sealed, record.revision, GOOD_FOR).await?;
        let Some(revision) = put else { return Ok(None) };
        self.lock().remove(&token_key(&content.token), &ticket.name);
        if presented.opens_events {
            self.open(&mut session, ticket, content, length, revision);
        }
        Ok(Some(session))
    }

    /// The ticket opens a stream, which it resumes if its account has not too many.
    fn open(
        &self,
        session: &mut Session,
        ticket: Ticket,
        content: Content,
        length: usize,
        revision: u64,
    ) {
        let (ends, name) = (session.ends, ticket.name.clone());
        if !self.lock().open(&session.account, &name, length) {
            let stream = SharedStream { opened: Mutex::default(), _is_open: None };
            session.stream = Some(OpenedStream::Shared(stream));
            return;
        }
        let _counted = Counted { ledger: Arc::clone(&self.ledger), name };
        let (is_open, has_ended) = watch::channel(());
        let records = Arc::clone(&self.records);
        let opened =
            ResumableStream { records, ticket, content, revision, ends, _counted, has_ended };
        let opened = Mutex::new(Some(Box::new(opened)));
        let stream = SharedStream { opened, _is_open: Some(is_open) };
        session.stream = Some(OpenedStream::Shared(stream));
    }

    /// How much of the room for all records is taken, in per mille; as of the last second.
    async fn taken(&self) -> u32 {
        let now = Instant::now();
        {
            let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
            if room.looked.is_some_and(|looked| now - looked < LOOK_EVERY) {
                return room.taken;
            }
            // Those that come meanwhile go by what was.
            room.looked = Some(now);
        }
        // Where it is not known it is not what stands in the way.
        let taken = self.records.taken().await.unwrap_or(0);
        self.room.lock().unwrap_or_else(PoisonError::into_inner).taken = taken;
        taken
    }

    /// The memory of those that this node has issued, in bytes.
    pub(super) fn cost(&self) -> usize {
        self.lock().cost()
    }

    /// Where a token has as many unused tickets as it may, looks which were used meanwhile: this node is
    /// not told of what others do.
    async fn make_room(&self, owner: &[u8; 16]) -> Result<(), StoreError> {
        let Some(tickets) = self.lock().unused_of(owner) else { return Ok(()) };
        let looks = tickets.iter().map(|(name, _)| self.records.get(name.clone()));
        for ((name, revision), found) in tickets.iter().zip(join_all(looks).await) {
            if found?.is_none_or(|record| record.revision != *revision) {
                self.lock().remove(owner, name);
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, TicketLedger> {
        // Each change is complete before anything in it can panic.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    /// Whether the request comes from where the ticket was given to. A browser that sends no `Origin`
    /// does not let a foreign page read the response, and a program can send any.
    fn is_for(&self, presented: &Presented) -> bool {
        match (&self.origin, &presented.origin) {
            (Some(given), Some(sent)) => sent == given.as_str(),
            _ => true,
        }
    }
}

impl Used {
    /// Whether the request resumes the stream, and reaches back no further than its beginning.
    fn is_resumed_by(&self, presented: &Presented) -> bool {
        let from = self.from.as_deref().and_then(|from| from.parse::<Position>().ok());
        let (Some(from), Some(id)) = (from, presented.last_event_id) else { return false };
        let is_after = id.epoch == from.epoch && id.offset >= from.offset;
        presented.opens_events && is_after && self.path == presented.path
    }
}

impl SharedStream {
    /// Records where the stream begins. Until that is done it cannot be resumed.
    pub(super) fn begins(&self, from: Position) {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(opened) = opened else { return };
        tokio::spawn(async move { opened.keep(from).await });
    }
}

impl ResumableStream {
    /// Says where the stream begins, and keeps the record until it has ended.
    async fn keep(mut self, from: Position) {
        // A stream that resumes keeps the beginning of the first one.
        let mut is_kept = match self.revision {
            0 => self.renews().await,
            _ => self.begins(from).await,
        };
        while is_kept {
            tokio::select! {
                () = sleep(RENEWED_EVERY) => {}
                _ = self.has_ended.changed() => return,
            }
            is_kept = self.renews().await;
        }
        tracing::debug!("a stream is not recorded with its ticket, which does not resume it");
    }

    async fn begins(&mut self, from: Position) -> bool {
        if let Some(used) = &mut self.content.used {
            used.from = Some(from.to_string());
        }
        let Ok(sealed) = self.ticket.seal(&self.content) else { return false };
        let name = self.ticket.name.clone();
        let put = self.records.put(name, sealed, self.revision, left(self.ends)).await;
        matches!(put, Ok(Some(_)))
    }

    /// Whether there is a record to be renewed again.
    async fn renews(&self) -> bool {
        let name = &self.ticket.name;
        match self.records.get(name.clone()).await {
            Ok(None) => return false,
            // If another stream of the ticket has been faster, it is renewed.
            Ok(Some(Record { value, revision })) => {
                let put = self.records.put(name.clone(), value, revision, left(self.ends)).await;
                if let Err(error) = put {
                    tracing::debug!(%error, "the ticket of a stream is not renewed");
                }
            }
            Err(error) => tracing::debug!(%error, "the ticket of a stream is not renewed"),
        }
        true
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).close(&self.name);
    }
}

impl Ticket {
    fn parse(text: &str) -> Option<Self> {
        let mut bits: Bits = [0; LENGTH];
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bits).ok()?;
        if length != LENGTH {
            return None;
        }
        Self::of(&bits).ok()
    }

    fn of(bits: &Bits) -> Result<Self, aws_lc_rs::error::Unspecified> {
        let hash = |what: &[u8]| digest::digest(&SHA256, &[what, bits].concat());
        let key = UnboundKey::new(&AES_256_GCM, hash(b"key of ").as_ref())?;
        let name = URL_SAFE_NO_PAD.encode(hash(b"name of "));
        Ok(Self { name, key: LessSafeKey::new(key) })
    }

    /// A random number used once, and the content behind it.
    fn seal(&self, content: &Content) -> Result<Bytes, aws_lc_rs::error::Unspecified> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce)?;
        let mut text = serde_json::to_vec(content).map_err(|_| aws_lc_rs::error::Unspecified)?;
        let aad = Aad::from(self.name.as_bytes());
        self.key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut text)?;
        Ok([&nonce[..], &text].concat().into())
    }

    fn open(&self, sealed: &[u8]) -> Option<Content> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let (nonce, mut text) = (Nonce::assume_unique_for_key(*nonce), text.to_vec());
        let aad = Aad::from(self.name.as_bytes());
        let text = self.key.open_in_place(nonce, aad, &mut text).ok()?;
        serde_json::from_slice(text).ok()
    }
}

/// For how long a record is kept that a stream may be resumed by.
fn left(ends: Instant) -> Duration {
    ends.saturating_duration_since(Instant::now()).min(RECORD_STAYS)
}

/// `503`: tickets cannot be issued or checked now. It says nothing of the ticket.
pub(super) fn unavailable(error: StoreError) -> Problem {
    let detail = match error {
        StoreError::NoSpace => {
            "The cluster has no room for more tickets until older ones have ended.".to_owned()
        }
        // It is in the memory of the cluster: no disk has failed.
        StoreError::Failed => {
            "Tickets are in the cluster, and this one could not be stored or read there: try again in \
             a moment."
                .to_owned()
        }
        error => format!("Tickets are in the cluster, and {error}: try again in a moment."),
    };
    Problem::new(Code::Unavailable, detail)
}

#[cfg(test)]
mod tests;
