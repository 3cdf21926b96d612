//! Tickets: what a page puts in a URL instead of its token, where it cannot send headers
//! (`EventSource`, plain WebSockets).
//!
//! A ticket is valid once, within a minute, for pages of the origin that asked for it; so it is
//! harmless in a log. An `EventSource` requests its URL again after an interruption: a ticket that has
//! opened events is valid for that, with a `Last-Event-ID` at or after the position at which its stream
//! began, while the stream is open and for [`RESUMES_FOR`] after it ended. A stream that the client has
//! lost may still seem open here, and what was sent on it may not have arrived; so neither the end of
//! the stream nor the last position sent is required.
//!
//! These are valid on the server that issued them; in a cluster there are
//! [shared ones](super::shared_tickets).

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::{digest, error};
use axum::extract::Request;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderValue, Method};
use sockeye_hub::Position;
use tokio::time::Instant;

use super::{OpenedStream, Session};
use crate::http::headers::LAST_EVENT_ID;
use crate::http::representation::Representation;
use crate::http::upgrade::is_handshake;

/// How long a ticket is valid before it is used.
pub(crate) const GOOD_FOR: Duration = Duration::from_mins(1);

/// How long after the end of its stream a ticket resumes it.
pub(super) const RESUMES_FOR: Duration = Duration::from_mins(5);

/// Unused tickets of one token; a further one replaces a used one, or is refused, so that no token
/// evicts the tickets of others.
pub(super) const OF_ONE_TOKEN: usize = 64;

/// Memory for all tickets together, in bytes. Past it used tickets are dropped; when there are none, an
/// account below an equal share evicts those of the account that holds most, and others are refused.
const BUDGET: usize = 64 << 20;

/// How much of it is evicted from an account at once, at most.
const GIVEN_UP_AT_ONCE: usize = BUDGET / 64;

/// How often all tickets are searched for ones to drop, at most.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Memory of a token with tickets beside its own length, and of each ticket.
const COST_OF_TOKEN: usize = 512;
const COST_OF_TICKET: usize = 128;

/// The half of a ticket that finds its token.
type TokenKey = [u8; 16];
/// The half that cannot be guessed: 144 random bits.
type Secret = [u8; 18];
/// The hash that is stored and compared: the time of a comparison tells nothing about the secret.
type Hash = [u8; 32];

pub(super) const LENGTH: usize = size_of::<TokenKey>() + size_of::<Secret>();

/// The tickets of one server.
#[derive(Debug, Default)]
pub(super) struct Tickets(Mutex<TicketTable>);

#[derive(Debug, Default)]
struct TicketTable {
    of_token: HashMap<TokenKey, TicketOwner>,
    cost: usize,
    /// The same for each account that has tickets.
    of_account: HashMap<Box<str>, usize>,
    /// When tickets were last searched for ones to drop.
    looked: Option<Instant>,
}

/// A token that tickets were issued for.
#[derive(Debug)]
struct TicketOwner {
    session: Arc<Session>,
    tickets: VecDeque<Ticket>,
    cost: usize,
}

#[derive(Debug)]
struct Ticket {
    hash: Hash,
    origin: Option<HeaderValue>,
    given: Instant,
    /// The stream that it has opened, if it was used.
    used: Option<Arc<Use>>,
}

/// What a ticket was used for.
#[derive(Debug)]
struct Use {
    path: Box<str>,
    /// Where the first stream began. Not set if none was opened.
    from: OnceLock<Position>,
    /// How many streams are open, and when the last one ended.
    open: Mutex<(usize, Instant)>,
}

/// One use of a ticket; dropped when what it opened has ended.
#[derive(Debug)]
pub(super) struct TicketStream(Arc<Use>);

/// The limit of unused tickets is reached; after this time one of them will have expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMany(pub(super) Duration);

impl Tickets {
    /// A ticket for the bearer of this token, valid for pages of the origin; for any client, if the
    /// request came from no page.
    pub(super) fn issue(
        &self,
        token: &str,
        session: Arc<Session>,
        origin: Option<HeaderValue>,
    ) -> Result<Result<String, TooMany>, error::Unspecified> {
        let mut secret = Secret::default();
        SystemRandom::new().fill(&mut secret)?;
        let token_key = token_key(token);
        let ticket = Ticket { hash: hash(&secret), origin, given: Instant::now(), used: None };
        let put = self.table().put(token_key, COST_OF_TOKEN + token.len(), session, ticket);
        Ok(put.map(|()| URL_SAFE_NO_PAD.encode([&token_key[..], &secret[..]].concat())))
    }

    /// What the ticket grants to this request, if it is valid for it. Then it is used.
    pub(super) fn redeem(&self, ticket: &str, request: &Request) -> Option<Arc<Session>> {
        let (token_key, hash) = parse(ticket)?;
        let mut table = self.table();
        let owner = table.of_token.get_mut(&token_key)?;
        let index = owner.tickets.iter().position(|ticket| ticket.hash == hash)?;
        let ticket = &mut owner.tickets[index];
        if owner.session.has_ended() || !ticket.is_for(request) {
            return None;
        }
        let is_stream = opens_events(request);
        match &ticket.used {
            Some(used) if !(is_stream && used.resumes(request)) => return None,
            None if ticket.given.elapsed() >= GOOD_FOR => return None,
            _ => {}
        }
        if !is_stream {
            owner.tickets.remove(index);
            return Some(Arc::clone(&owner.session));
        }
        let used = ticket.used.get_or_insert_with(|| Arc::new(Use::of(request)));
        Some(Arc::new(owner.session.with_stream(OpenedStream::Own(TicketStream::new(used)))))
    }

    /// Their memory, in bytes.
    pub(super) fn cost(&self) -> usize {
        self.table().cost
    }

    fn table(&self) -> MutexGuard<'_, TicketTable> {
        // Each change is complete before anything in it can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TicketTable {
    fn put(
        &mut self,
        token_key: TokenKey,
        cost: usize,
        session: Arc<Session>,
        ticket: Ticket,
    ) -> Result<(), TooMany> {
        if self.cost + cost + COST_OF_TICKET > BUDGET {
            // To search all of them for each refusal would cost a flood nothing, and others much.
            if self.looked.is_none_or(|looked| looked.elapsed() >= LOOK_EVERY) {
                self.make_room();
            }
            if self.cost + cost + COST_OF_TICKET > BUDGET
                && !self.take_from_largest(&session.account, cost + COST_OF_TICKET)
            {
                return Err(TooMany(LOOK_EVERY));
            }
        }
        let account = session.account.clone();
        let owner = self.of_token.entry(token_key).or_insert_with(|| TicketOwner {
            session,
            tickets: VecDeque::new(),
            cost: 0,
        });
        owner.tickets.retain(Ticket::is_wanted);
        if owner.tickets.len() == OF_ONE_TOKEN {
            // The ticket of a stream that has ended before that of one that is open.
            let ended = owner.tickets.iter().position(|ticket| ticket.has_ended());
            let used = || owner.tickets.iter().position(|ticket| ticket.used.is_some());
            let Some(index) = ended.or_else(used) else {
                let oldest = owner.tickets.front().map_or(GOOD_FOR, |first| first.given.elapsed());
                return Err(TooMany(GOOD_FOR.saturating_sub(oldest)));
            };
            owner.tickets.remove(index);
        }
        owner.tickets.push_back(ticket);
        let cost = cost + owner.tickets.len() * COST_OF_TICKET;
        let before = std::mem::replace(&mut owner.cost, cost);
        self.cost = self.cost - before + cost;
        let of_account = self.of_account.entry(account).or_default();
        *of_account = *of_account - before + cost;
        Ok(())
    }

    /// Drops tickets of the account that holds most, oldest first, for an account that holds less than
    /// an equal share. Returns whether there is room then.
    fn take_from_largest(&mut self, gaining: &str, needed: usize) -> bool {
        let held = self.of_account.get(gaining).copied().unwrap_or_default();
        let accounts = self.of_account.len() + usize::from(held == 0);
        let share = BUDGET / accounts;
        // A flood that has its share is refused without a look at the others.
        if held + needed > share {
            return false;
        }
        let Some((largest, cost)) = self.of_account.iter().max_by_key(|(_, cost)| **cost) else {
            return false;
        };
        let (largest, above) = (largest.clone(), cost.saturating_sub(share));
        let goal = above.min(GIVEN_UP_AT_ONCE).max(needed);
        if *cost < goal + held {
            return false;
        }
        let mut tokens: Vec<(Option<Instant>, TokenKey)> = self
            .of_token
            .iter()
            .filter(|(_, owner)| owner.session.account == largest)
            .map(|(token_key, owner)| {
                (owner.tickets.front().map(|oldest| oldest.given), *token_key)
            })
            .collect();
        tokens.sort_unstable();
        let mut freed = 0;
        for (_, token_key) in tokens {
            if freed >= goal {
                break;
            }
            freed += self.of_token.remove(&token_key).map_or(0, |owner| owner.cost);
        }
        self.count();
        self.cost + needed <= BUDGET
    }

    /// Drops expired tickets, then used ones, until there is some room again.
    fn make_room(&mut self) {
        self.looked = Some(Instant::now());
        self.keep(Ticket::is_wanted);
        for unwanted in [Ticket::has_ended, |ticket: &Ticket| ticket.used.is_some()] {
            if self.cost > BUDGET / 8 * 7 {
                self.keep(|ticket| !unwanted(ticket));
            }
        }
    }

    fn keep(&mut self, keeps: impl Fn(&Ticket) -> bool) {
        self.of_token.retain(|_, owner| {
            let before = owner.tickets.len();
            owner.tickets.retain(&keeps);
            owner.cost -= (before - owner.tickets.len()) * COST_OF_TICKET;
            !owner.tickets.is_empty() && !owner.session.has_ended()
        });
        self.count();
    }

    /// Recounts what is held.
    fn count(&mut self) {
        self.of_account.clear();
        for owner in self.of_token.values() {
            *self.of_account.entry(owner.session.account.clone()).or_default() += owner.cost;
        }
        self.cost = self.of_account.values().sum();
    }
}

impl Ticket {
    /// Whether the request comes from where the ticket was given to. A browser that sends no `Origin`
    /// does not let a foreign page read the response, and a program can send any.
    fn is_for(&self, request: &Request) -> bool {
        match (&self.origin, request.headers().get(http::header::ORIGIN)) {
            (Some(given), Some(sent)) => given == sent,
            _ => true,
        }
    }

    fn is_wanted(&self) -> bool {
        match &self.used {
            Some(used) => used.may_resume(),
            None => self.given.elapsed() < GOOD_FOR,
        }
    }

    /// Whether it was used, and nothing that it opened is open.
    fn has_ended(&self) -> bool {
        self.used.as_ref().is_some_and(|used| used.open().0 == 0)
    }
}

impl Use {
    fn of(request: &Request) -> Self {
        let path = request.uri().path().into();
        Self { path, from: OnceLock::new(), open: Mutex::new((0, Instant::now())) }
    }

    fn open(&self) -> MutexGuard<'_, (usize, Instant)> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn may_resume(&self) -> bool {
        let (open, ended) = *self.open();
        open > 0 || ended.elapsed() < RESUMES_FOR
    }

    /// Whether the request resumes the stream, and reaches back no further than its beginning.
    fn resumes(&self, request: &Request) -> bool {
        let id = request.headers().get(LAST_EVENT_ID).and_then(|id| id.to_str().ok());
        let (Some(from), Some(Ok(id))) = (self.from.get(), id.map(str::parse::<Position>)) else {
            return false;
        };
        let is_after = id.epoch == from.epoch && id.offset >= from.offset;
        is_after && *self.path == *request.uri().path() && self.may_resume()
    }
}

impl TicketStream {
    fn new(used: &Arc<Use>) -> Self {
        used.open().0 += 1;
        Self(Arc::clone(used))
    }

    /// Records where the stream begins.
    pub(super) fn begins(&self, from: Position) {
        // A stream that resumes keeps the beginning of the first one.
        let _ = self.0.from.set(from);
    }
}

impl Drop for TicketStream {
    fn drop(&mut self) {
        let mut open = self.0.open();
        *open = (open.0 - 1, Instant::now());
    }
}

/// The key under which the tickets of this token are. It reveals nothing usable of the token.
pub(super) fn token_key(token: &str) -> TokenKey {
    let mut token_key = TokenKey::default();
    token_key.copy_from_slice(&hash(token.as_bytes())[..size_of::<TokenKey>()]);
    token_key
}

fn hash(bytes: &[u8]) -> Hash {
    let mut hash = Hash::default();
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

fn parse(ticket: &str) -> Option<(TokenKey, Hash)> {
    let mut bytes = [0; LENGTH];
    let length = URL_SAFE_NO_PAD.decode_slice(ticket, &mut bytes).ok()?;
    let (token_key, secret) = bytes.split_at(size_of::<TokenKey>());
    (length == LENGTH).then_some((token_key.try_into().ok()?, hash(secret)))
}

/// Whether the request is one that an `EventSource` repeats.
pub(super) fn opens_events(request: &Request) -> bool {
    request.method() == Method::GET
        && !is_handshake(request)
        && Representation::of(request).is_ok_and(|form| form == Some(Representation::Events))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use tokio::time::advance;

    use super::super::{Claims, NumericDate};
    use super::*;

    const EVENTS: (&str, &str) = ("accept", "text/event-stream");
    const RESUMES: (&str, &str) = ("last-event-id", "k3f9.1");

    fn session(seconds: u64) -> Arc<Session> {
        let now = NumericDate::now();
        let exp = NumericDate(now.0 + Duration::from_secs(seconds));
        Arc::new(Session::new(Claims { exp: Some(exp), ..Claims::default() }, "t", now))
    }

    fn session_of(sub: &str) -> Arc<Session> {
        let now = NumericDate::now();
        let exp = NumericDate(now.0 + Duration::from_secs(3600));
        let claims = Claims { exp: Some(exp), sub: Some(sub.to_owned()), ..Claims::default() };
        Arc::new(Session::new(claims, sub, now))
    }

    fn get(path: &str, headers: &[(&str, &str)]) -> Request {
        let request = Request::builder().uri(path);
        let request =
            headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.body(Body::empty()).unwrap()
    }

    fn issue(tickets: &Tickets, token: &str) -> String {
        tickets.issue(token, session(3600), None).unwrap().unwrap()
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

    fn at(position: &str) -> Position {
        position.parse().unwrap()
    }

    fn begins(session: &Session, from: &str) {
        session.stream.as_ref().unwrap().begins(at(from));
    }

    /// Opens events with the ticket, from that position on.
    fn open(tickets: &Tickets, ticket: &str, from: &str) -> Arc<Session> {
        let session = tickets.redeem(ticket, &get("/c/chat", &[EVENTS])).unwrap();
        begins(&session, from);
        session
    }

    fn resume(tickets: &Tickets, ticket: &str, id: &str) -> Option<Arc<Session>> {
        tickets.redeem(ticket, &get("/c/chat", &[EVENTS, ("last-event-id", id)]))
    }

    #[tokio::test(start_paused = true)]
    async fn a_ticket_resumes_its_stream_while_that_is_open_and_for_minutes_after() {
        let tickets = Tickets::default();
        let ticket = tickets.issue("t", session(7200), None).unwrap().unwrap();
        let first = open(&tickets, &ticket, "k3f9.7");
        advance(Duration::from_secs(3600)).await;
        let second = resume(&tickets, &ticket, "k3f9.9").unwrap();
        drop(first);
        advance(RESUMES_FOR * 2).await;
        drop((second, resume(&tickets, &ticket, "k3f9.7").unwrap()));
        advance(RESUMES_FOR - Duration::from_millis(1)).await;
        drop(resume(&tickets, &ticket, "k3f9.8").unwrap());
        advance(RESUMES_FOR).await;
        assert!(resume(&tickets, &ticket, "k3f9.9").is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_ticket_resumes_no_longer_than_its_token_is_good() {
        let tickets = Tickets::default();
        let ticket = tickets.issue("t", session(7200), None).unwrap().unwrap();
        let _open = open(&tickets, &ticket, "k3f9.7");
        advance(Duration::from_secs(7199)).await;
        assert!(resume(&tickets, &ticket, "k3f9.8").is_some());
        advance(Duration::from_secs(1)).await;
        assert!(resume(&tickets, &ticket, "k3f9.8").is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_ticket_resumes_nowhere_before_its_stream_began() {
        let tickets = Tickets::default();
        let ticket = issue(&tickets, "t");
        let _open = open(&tickets, &ticket, "k3f9.7");
        for id in ["k3f9.6", "k3f9.0", "abcd.9", "earliest", "now", "-5", "10m", ""] {
            assert!(resume(&tickets, &ticket, id).is_none(), "{id}");
        }
        // The first position of a later stream does not count either.
        begins(&resume(&tickets, &ticket, "k3f9.9").unwrap(), "k3f9.1");
        assert!(resume(&tickets, &ticket, "k3f9.6").is_none());
        assert!(resume(&tickets, &ticket, "k3f9.7").is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn used_tickets_of_a_token_make_room_and_unused_ones_do_not() {
        let tickets = Tickets::default();
        let other = issue(&tickets, "other");
        let all: Vec<_> = (0..OF_ONE_TOKEN).map(|_| issue(&tickets, "greedy")).collect();
        advance(Duration::from_secs(10)).await;
        let refused = tickets.issue("greedy", session(3600), None).unwrap();
        assert_eq!(refused, Err(TooMany(Duration::from_secs(50))));
        let _open = open(&tickets, &all[3], "k3f9.7");
        drop(open(&tickets, &all[5], "k3f9.7"));
        issue(&tickets, "greedy");
        assert!(resume(&tickets, &all[5], "k3f9.7").is_none(), "its stream had ended");
        assert!(resume(&tickets, &all[3], "k3f9.7").is_some());
        issue(&tickets, "greedy");
        assert!(resume(&tickets, &all[3], "k3f9.7").is_none());
        assert!(tickets.issue("greedy", session(3600), None).unwrap().is_err());
        let unused = |index: &usize| ![3, 5].contains(index);
        for index in (0..OF_ONE_TOKEN).filter(unused) {
            assert!(tickets.redeem(&all[index], &get("/c/chat", &[])).is_some(), "{index}");
        }
        assert!(tickets.redeem(&other, &get("/c/chat", &[])).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn memory_has_an_end() {
        let tickets = Tickets::default();
        let pad = "x".repeat(8000);
        let used = issue(&tickets, "used");
        drop(open(&tickets, &used, "k3f9.7"));
        let first = issue(&tickets, "first");
        let mut refused = 0;
        for number in 0..BUDGET / 8000 * 2 {
            let token = format!("{number}{pad}");
            refused += usize::from(tickets.issue(&token, session(3600), None).unwrap().is_err());
            assert!(tickets.table().cost <= BUDGET);
        }
        assert!(refused > BUDGET / 8000 / 2, "{refused}");
        assert!(resume(&tickets, &used, "k3f9.7").is_none(), "used ones go first");
        assert!(tickets.redeem(&first, &get("/c/chat", &[])).is_some(), "no unused one went");

        // Expired tickets make room.
        advance(GOOD_FOR).await;
        let good = issue(&tickets, "good");
        tickets.table().make_room();
        assert_eq!(tickets.table().of_token.len(), 1);
        assert!(tickets.redeem(&good, &get("/c/chat", &[])).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn an_account_that_holds_little_finds_room_at_the_cost_of_the_one_that_holds_most() {
        let tickets = Tickets::default();
        let pad = "x".repeat(8000);
        let issued = |sub: &str, number: usize| {
            let token = format!("{sub}{number}{pad}");
            let ticket = tickets.issue(&token, session_of(sub), None).unwrap();
            assert!(tickets.cost() <= BUDGET);
            ticket.ok()
        };
        let small = issued("small", 0).unwrap();
        let oldest = issued("flood", 0).unwrap();
        advance(Duration::from_millis(1)).await;
        let newer = (1..BUDGET / 8000 * 2).map_while(|number| issued("flood", number)).count();
        advance(Duration::from_millis(1)).await;
        assert!(newer > BUDGET / 10_000, "one account alone has nearly all: {newer}");
        assert!(issued("flood", usize::MAX).is_none(), "it has all that there is");
        let new: Vec<_> = (0..100).map(|number| issued("new", number).expect("room")).collect();
        // A flooding account finds only the room that it has freed itself.
        for number in 0..1000 {
            let _ = issued("flood", BUDGET + number);
        }
        let is_good = |ticket: &String| tickets.redeem(ticket, &get("/c/chat", &[])).is_some();
        assert!(is_good(&small) && new.iter().all(is_good));
        assert!(!is_good(&oldest), "the oldest of the flood went");
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
