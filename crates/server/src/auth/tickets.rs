//! Tickets: what a page shows in a URL instead of its token, where it cannot send headers
//! (`EventSource`, plain WebSockets).
//!
//! A ticket is good once, within a minute, for pages of the origin that asked for it; so it does
//! no harm in a log. An `EventSource` asks for its URL again when it is cut off: a ticket that has
//! opened events is good for that, told by `Last-Event-ID`, until the token it came from expires.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::Request;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderValue, Method};
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, error};
use tokio::time::Instant;

use super::Pass;
use crate::query::LAST_EVENT_ID;
use crate::{listen, websocket};

/// How long a ticket waits to be used.
pub(super) const GOOD_FOR: Duration = Duration::from_mins(1);

/// Tickets of one token at once; the next takes the place of the oldest, so that nobody pushes out
/// the tickets of others.
const OF_ONE_TOKEN: usize = 64;

/// Memory for all tickets together, in bytes. Past it those of the token that came first go.
const BUDGET: usize = 64 << 20;

/// What a token with tickets takes in memory beside its own length, and what each ticket takes.
const COST_OF_TOKEN: usize = 512;
const COST_OF_TICKET: usize = 128;

/// The half of a ticket that finds the token it came from.
type Shelf = [u8; 16];
/// The half that nobody guesses: 144 random bits.
type Secret = [u8; 18];
/// The same as it is kept and compared: how long that takes tells nothing of the secret.
type Hash = [u8; 32];

const LENGTH: usize = size_of::<Shelf>() + size_of::<Secret>();

/// The tickets of one server.
#[derive(Debug, Default)]
pub(super) struct Tickets(Mutex<Shelves>);

#[derive(Debug, Default)]
struct Shelves {
    of_token: HashMap<Shelf, Holder>,
    /// In the order in which the tokens came.
    order: VecDeque<Shelf>,
    cost: usize,
}

/// A token that tickets came from.
#[derive(Debug)]
struct Holder {
    pass: Arc<Pass>,
    tickets: VecDeque<Ticket>,
    cost: usize,
}

#[derive(Debug)]
struct Ticket {
    hash: Hash,
    origin: Option<HeaderValue>,
    given: Instant,
    /// The path where it has opened events, once it has.
    used_at: Option<Box<str>>,
}

impl Tickets {
    /// A ticket for the bearer of this token, to be shown by pages of the origin; by anybody, if
    /// what asked was no page.
    pub(super) fn issue(
        &self,
        token: &str,
        pass: Arc<Pass>,
        origin: Option<HeaderValue>,
    ) -> Result<String, error::Unspecified> {
        let mut secret = Secret::default();
        SystemRandom::new().fill(&mut secret)?;
        let shelf = shelf(token);
        let ticket = Ticket { hash: hash(&secret), origin, given: Instant::now(), used_at: None };
        self.shelves().put(shelf, COST_OF_TOKEN + token.len(), pass, ticket);
        Ok(URL_SAFE_NO_PAD.encode([&shelf[..], &secret[..]].concat()))
    }

    /// What the ticket gives to this request, if it is good for it. Then it is used.
    pub(super) fn redeem(&self, ticket: &str, request: &Request) -> Option<Arc<Pass>> {
        let (shelf, hash) = parse(ticket)?;
        let mut shelves = self.shelves();
        let holder = shelves.of_token.get_mut(&shelf)?;
        let index = holder.tickets.iter().position(|ticket| ticket.hash == hash)?;
        let ticket = &mut holder.tickets[index];
        if holder.pass.has_ended() || !ticket.is_for(request) {
            return None;
        }
        match &ticket.used_at {
            Some(path) => {
                let resumes = request.headers().contains_key(LAST_EVENT_ID);
                if !(resumes && **path == *request.uri().path() && opens_events(request)) {
                    return None;
                }
            }
            None if ticket.given.elapsed() >= GOOD_FOR => return None,
            None => ticket.used_at = Some(request.uri().path().into()),
        }
        let pass = Arc::clone(&holder.pass);
        if !opens_events(request) {
            holder.tickets.remove(index);
        }
        Some(pass)
    }

    fn shelves(&self) -> MutexGuard<'_, Shelves> {
        // Each change is complete before anything in it can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelves {
    fn put(&mut self, shelf: Shelf, cost: usize, pass: Arc<Pass>, ticket: Ticket) {
        let holder = self.of_token.entry(shelf).or_insert_with(|| {
            self.order.push_back(shelf);
            self.cost += cost;
            Holder { pass, tickets: VecDeque::new(), cost }
        });
        holder.tickets.retain(Ticket::is_wanted);
        if holder.tickets.len() == OF_ONE_TOKEN {
            holder.tickets.pop_front();
        }
        holder.tickets.push_back(ticket);
        let cost = cost + holder.tickets.len() * COST_OF_TICKET;
        self.cost = self.cost - holder.cost + cost;
        holder.cost = cost;
        if self.cost > BUDGET {
            self.make_room();
        }
    }

    /// Drops what nobody can use any more, then what came first, until there is some room again.
    fn make_room(&mut self) {
        self.of_token.retain(|_, holder| {
            holder.tickets.retain(Ticket::is_wanted);
            !holder.tickets.is_empty() && !holder.pass.has_ended()
        });
        self.order.retain(|shelf| self.of_token.contains_key(shelf));
        self.cost = self.of_token.values().map(|holder| holder.cost).sum();
        while self.cost > BUDGET / 8 * 7
            && let Some(first) = self.order.pop_front()
        {
            self.cost -= self.of_token.remove(&first).map_or(0, |holder| holder.cost);
        }
    }
}

impl Ticket {
    /// Whether the request comes from where the ticket was given to. A browser that sends no
    /// `Origin` does not let a foreign page read the answer, and a program can send any.
    fn is_for(&self, request: &Request) -> bool {
        match (&self.origin, request.headers().get(http::header::ORIGIN)) {
            (Some(given), Some(sent)) => given == sent,
            _ => true,
        }
    }

    fn is_wanted(&self) -> bool {
        self.used_at.is_some() || self.given.elapsed() < GOOD_FOR
    }
}

/// Where the tickets of this token are. It says nothing of the token that anybody could use.
fn shelf(token: &str) -> Shelf {
    let mut shelf = Shelf::default();
    shelf.copy_from_slice(&hash(token.as_bytes())[..size_of::<Shelf>()]);
    shelf
}

fn hash(bytes: &[u8]) -> Hash {
    let mut hash = Hash::default();
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

fn parse(ticket: &str) -> Option<(Shelf, Hash)> {
    let mut bytes = [0; LENGTH];
    let length = URL_SAFE_NO_PAD.decode_slice(ticket, &mut bytes).ok()?;
    let (shelf, secret) = bytes.split_at(size_of::<Shelf>());
    (length == LENGTH).then_some((shelf.try_into().ok()?, hash(secret)))
}

/// Whether the request is one that an `EventSource` repeats.
fn opens_events(request: &Request) -> bool {
    request.method() == Method::GET
        && !websocket::is_handshake(request)
        && listen::is_for_events(request)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use tokio::time::advance;

    use super::super::{Claims, NumericDate};
    use super::*;

    const EVENTS: (&str, &str) = ("accept", "text/event-stream");
    const RESUMES: (&str, &str) = ("last-event-id", "k3f9.1");

    fn pass(seconds: u64) -> Arc<Pass> {
        let now = NumericDate::now();
        let exp = NumericDate(now.0 + Duration::from_secs(seconds));
        Arc::new(Pass::new(Claims { exp: Some(exp), ..Claims::default() }, "t", now))
    }

    fn get(path: &str, headers: &[(&str, &str)]) -> Request {
        let request = Request::builder().uri(path);
        let request =
            headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.body(Body::empty()).unwrap()
    }

    fn issue(tickets: &Tickets, token: &str) -> String {
        tickets.issue(token, pass(3600), None).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_ticket_waits_for_a_minute() {
        let tickets = Tickets::default();
        let (early, late) = (issue(&tickets, "t"), issue(&tickets, "t"));
        advance(Duration::from_millis(59_999)).await;
        assert!(tickets.redeem(&early, &get("/c/chat", &[])).is_some());
        advance(Duration::from_millis(1)).await;
        assert!(tickets.redeem(&late, &get("/c/chat", &[EVENTS, RESUMES])).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_ticket_that_has_opened_events_goes_on_until_its_token_ends() {
        let tickets = Tickets::default();
        let ticket = tickets.issue("t", pass(7200), None).unwrap();
        assert!(tickets.redeem(&ticket, &get("/c/chat", &[EVENTS])).is_some());
        advance(Duration::from_secs(7199)).await;
        assert!(tickets.redeem(&ticket, &get("/c/chat", &[EVENTS, RESUMES])).is_some());
        advance(Duration::from_secs(1)).await;
        assert!(tickets.redeem(&ticket, &get("/c/chat", &[EVENTS, RESUMES])).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_tickets_of_one_token_push_out_no_others() {
        let tickets = Tickets::default();
        let other = issue(&tickets, "other");
        let first = issue(&tickets, "greedy");
        let later: Vec<_> = (0..OF_ONE_TOKEN).map(|_| issue(&tickets, "greedy")).collect();
        assert!(tickets.redeem(&first, &get("/c/chat", &[])).is_none());
        assert!(later.iter().all(|one| tickets.redeem(one, &get("/c/chat", &[])).is_some()));
        assert!(tickets.redeem(&other, &get("/c/chat", &[])).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn memory_has_an_end() {
        let tickets = Tickets::default();
        let pad = "x".repeat(8000);
        let old = issue(&tickets, "old");
        let mut newest = String::new();
        for number in 0..BUDGET / 8000 * 2 {
            newest = issue(&tickets, &format!("{number}{pad}"));
            let shelves = tickets.shelves();
            assert!(shelves.cost <= BUDGET);
            assert_eq!(shelves.order.len(), shelves.of_token.len());
        }
        assert!(tickets.redeem(&old, &get("/c/chat", &[])).is_none());
        assert!(tickets.redeem(&newest, &get("/c/chat", &[])).is_some());

        // What has run out goes before anything that is good.
        advance(GOOD_FOR).await;
        let good = issue(&tickets, "good");
        tickets.shelves().make_room();
        assert_eq!(tickets.shelves().of_token.len(), 1);
        assert!(tickets.redeem(&good, &get("/c/chat", &[])).is_some());
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_was_not_issued_is_a_ticket(text in "\\PC*", like in "[A-Za-z0-9_-]{44,48}", at in 0..45_usize) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let _inside = runtime.enter();
            let tickets = Tickets::default();
            let real = issue(&tickets, "t");
            let request = get("/c/chat", &[]);
            let mut changed = real.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            for wrong in [text, like, String::from_utf8(changed).unwrap(), format!("{real}="), format!("{real}A")] {
                proptest::prop_assert!(tickets.redeem(&wrong, &request).is_none(), "{wrong}");
            }
            proptest::prop_assert!(tickets.redeem(&real, &request).is_some());
        }
    }
}
