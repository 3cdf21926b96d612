use axum::body::Body;
use proptest::prelude::*;
use sockeye_hub::backplane::fake::{Bounds, Engine, Faults};
use sockeye_hub::backplane::{Answer, Backplane};
use tokio::task::{JoinSet, yield_now};
use tokio::time::advance;

use super::ledger::COST;
use super::*;
use crate::auth::tickets::OF_ONE_TOKEN;
use crate::auth::{Claims, Grants, SigningKey};

/// An account with long tokens: few records of it take much room.
const FLOOD: &str = "flood";
const SECRET: &[u8] = b"a secret of these tests, longer than 32 bytes";

/// Nodes of one cluster.
struct Cluster {
    engine: Engine,
    nodes: Vec<Arc<SharedTickets>>,
    key: AuthKey,
}

impl Cluster {
    fn new(count: usize) -> Self {
        let bounds = Bounds { shards: 1, count: 1, age: 1000, tick: 1000 };
        let engine = Engine::new(bounds, 1);
        let node = || Arc::new(SharedTickets::new(engine.node().records().unwrap()));
        let nodes = (0..count).map(|_| node()).collect();
        Self { nodes, key: AuthKey::from_bytes(SECRET).unwrap(), engine }
    }

    async fn issue(&self, node: usize, sub: &str) -> Result<String, NoTicket> {
        let token = token(sub);
        let now = NumericDate::now();
        let session = Session::new(self.key.verify(&token, now).unwrap(), &token, now);
        self.nodes[node].issue(&token, &session, None).await
    }

    fn redeem<'a>(
        &'a self,
        node: usize,
        ticket: &'a str,
        request: &Request,
    ) -> impl Future<Output = Option<Session>> + Send + use<'a> {
        let presented = Presented::of(request);
        async move { self.nodes[node].redeem(&self.key, ticket, &presented).await.unwrap() }
    }
}

/// The same for each name, so that it is one token.
fn token(sub: &str) -> String {
    token_until(sub, 4_000_000_000)
}

fn token_until(sub: &str, seconds: u64) -> String {
    let exp = NumericDate(Duration::from_secs(seconds));
    let padding = if sub == FLOOD { 60 } else { 0 };
    let padding =
        (0..padding).map(|number| format!(r#","a-channel-of-a-long-name.{number}":["read"]"#));
    let channels = format!(r#"{{"chat":["read"]{}}}"#, padding.collect::<String>());
    let channels: Grants = serde_json::from_str(&channels).unwrap();
    let claims =
        Claims { sub: Some(sub.to_owned()), exp: Some(exp), channels, ..Claims::default() };
    SigningKey::from_bytes(SECRET).unwrap().sign(&claims).unwrap()
}

fn get(path: &str, headers: &[(&str, &str)]) -> Request {
    let request = Request::builder().uri(path);
    let request =
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(Body::empty()).unwrap()
}

fn events(id: Option<&str>) -> Request {
    let mut headers = vec![("accept", "text/event-stream")];
    headers.extend(id.map(|id| ("last-event-id", id)));
    get("/c/chat", &headers)
}

#[tokio::test]
async fn a_ticket_of_one_node_is_good_once_on_any() {
    let cluster = Cluster::new(3);
    let request = get("/c/chat", &[]);
    for (issuer, first, second) in [(0, 1, 2), (1, 1, 0), (2, 0, 0)] {
        let ticket = cluster.issue(issuer, "ann").await.unwrap();
        let session = cluster.redeem(first, &ticket, &request).await.expect("it is good");
        assert_eq!(session.claims.sub.as_deref(), Some("ann"));
        assert!(cluster.redeem(second, &ticket, &request).await.is_none(), "it was used");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_redeem_a_ticket_at_once_one_succeeds() {
    let cluster = Arc::new(Cluster::new(3));
    for number in 0..50 {
        let ticket = cluster.issue(number % 3, &format!("{number}")).await.unwrap();
        let mut redeeming = JoinSet::new();
        for node in 0..6 {
            let (cluster, ticket) = (Arc::clone(&cluster), ticket.clone());
            redeeming.spawn(async move {
                cluster.redeem(node % 3, &ticket, &get("/c/chat", &[])).await.is_some()
            });
        }
        let winners = redeeming.join_all().await.into_iter().filter(|is_good| *is_good).count();
        assert_eq!(winners, 1);
    }
}

#[tokio::test]
async fn a_ticket_that_is_not_used_in_a_minute_is_no_longer_good() {
    let cluster = Cluster::new(2);
    let (early, late) =
        (cluster.issue(0, "a").await.unwrap(), cluster.issue(0, "a").await.unwrap());
    cluster.engine.advance(59_000);
    assert!(cluster.redeem(1, &early, &get("/c/chat", &[])).await.is_some());
    cluster.engine.advance(1_000);
    assert!(cluster.redeem(1, &late, &get("/c/chat", &[])).await.is_none());
}

#[tokio::test]
async fn a_cluster_that_cannot_be_asked_says_nothing_of_a_ticket() {
    let cluster = Cluster::new(2);
    let ticket = cluster.issue(0, "ann").await.unwrap();
    cluster.engine.set_faults(Faults { silent: 100, ..Faults::default() });
    let presented = Presented::of(&get("/c/chat", &[]));
    let asked = cluster.nodes[1].redeem(&cluster.key, &ticket, &presented).await;
    assert_eq!(asked.unwrap_err(), StoreError::Unavailable);
    let Err(NoTicket::Refused(problem)) = cluster.issue(0, "ann").await else { panic!("refused") };
    assert_eq!(problem.code(), Code::Unavailable);
    cluster.engine.set_faults(Faults::default());
    assert!(cluster.redeem(1, &ticket, &get("/c/chat", &[])).await.is_some());
}

#[tokio::test]
async fn a_ticket_resumes_its_stream_on_another_node_and_not_before_it_began() {
    let cluster = Cluster::new(3);
    let ticket = cluster.issue(0, "ann").await.unwrap();
    let session = cluster.redeem(1, &ticket, &events(None)).await.unwrap();
    assert!(cluster.redeem(2, &ticket, &events(Some("k3f9.9"))).await.is_none(), "not begun yet");
    session.stream.as_ref().unwrap().begins("k3f9.7".parse().unwrap());
    yield_now().await;
    for id in ["k3f9.6", "abcd.9", "earliest", ""] {
        assert!(cluster.redeem(2, &ticket, &events(Some(id))).await.is_none(), "{id}");
    }
    assert!(cluster.redeem(2, &ticket, &events(None)).await.is_none());
    let elsewhere = get("/c/news", &[("accept", "text/event-stream"), ("last-event-id", "k3f9.8")]);
    assert!(cluster.redeem(2, &ticket, &elsewhere).await.is_none());
    let resumed = cluster.redeem(2, &ticket, &events(Some("k3f9.8"))).await.unwrap();
    // The first position of a later stream does not count.
    resumed.stream.as_ref().unwrap().begins("k3f9.8".parse().unwrap());
    yield_now().await;
    assert!(cluster.redeem(0, &ticket, &events(Some("k3f9.7"))).await.is_some());
}

/// Lets time pass, for the cluster and for the nodes.
async fn pass(cluster: &Cluster, minutes: u64) {
    for _ in 0..minutes {
        cluster.engine.advance(60_000);
        advance(Duration::from_mins(1)).await;
        yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_ticket_resumes_its_stream_as_long_as_that_is_open_and_some_minutes_more() {
    let cluster = Cluster::new(3);
    let ticket = cluster.issue(0, "ann").await.unwrap();
    let session = cluster.redeem(1, &ticket, &events(None)).await.unwrap();
    session.stream.as_ref().unwrap().begins("k3f9.7".parse().unwrap());
    yield_now().await;
    pass(&cluster, 120).await;
    // The client has lost the stream, which its node does not know yet.
    let resumed = cluster.redeem(2, &ticket, &events(Some("k3f9.8"))).await.unwrap();
    resumed.stream.as_ref().unwrap().begins("k3f9.8".parse().unwrap());
    drop(session);
    pass(&cluster, 60).await;
    drop(resumed);
    pass(&cluster, 4).await;
    let again = cluster.redeem(0, &ticket, &events(Some("k3f9.9"))).await;
    drop(again.expect("five minutes have not passed"));
    pass(&cluster, 11).await;
    assert!(cluster.redeem(0, &ticket, &events(Some("k3f9.9"))).await.is_none());
    assert_eq!(cluster.engine.record_bytes(), 0);
}

/// One account opens streams without end, from as many tokens as it likes: its records take a part of the room,
/// its further streams are not resumed, and another account has all it had.
#[tokio::test(start_paused = true)]
async fn a_flood_of_streams_of_one_account_takes_a_bounded_part_of_the_room() {
    let cluster = Cluster::new(1);
    let mut sessions = Vec::new();
    for number in 0..2_000_u64 {
        if number % 50 == 0 {
            cluster.engine.advance(1_000);
            advance(LOOK_EVERY).await;
        }
        let ticket = cluster.issue(0, FLOOD).await.unwrap();
        let session = cluster.redeem(0, &ticket, &events(None)).await.unwrap();
        session.stream.as_ref().unwrap().begins("k3f9.7".parse().unwrap());
        yield_now().await;
        sessions.push((ticket, session));
    }
    // The records of tickets that do not resume their streams are gone after a minute.
    pass(&cluster, 2).await;
    let bytes = cluster.engine.record_bytes();
    assert!((2 << 20..4 << 20).contains(&bytes), "{bytes}");
    let (first, last) = (&sessions[0].0, &sessions[1_999].0);
    assert!(cluster.redeem(0, first, &events(Some("k3f9.8"))).await.is_some());
    assert!(cluster.redeem(0, last, &events(Some("k3f9.8"))).await.is_none());
    let ticket = cluster.issue(0, "ann").await.unwrap();
    let session = cluster.redeem(0, &ticket, &events(None)).await.unwrap();
    session.stream.as_ref().unwrap().begins("k3f9.7".parse().unwrap());
    yield_now().await;
    assert!(cluster.redeem(0, &ticket, &events(Some("k3f9.8"))).await.is_some());
    drop(sessions);
    yield_now().await;
    pass(&cluster, 11).await;
    let ticket = cluster.issue(0, FLOOD).await.unwrap();
    let session = cluster.redeem(0, &ticket, &events(None)).await.unwrap();
    session.stream.as_ref().unwrap().begins("k3f9.7".parse().unwrap());
    yield_now().await;
    assert!(cluster.redeem(0, &ticket, &events(Some("k3f9.8"))).await.is_some());
}

/// Records of a cluster whose room is taken to that part.
#[derive(Debug)]
struct Taken(Arc<dyn Records>, u32);

impl Records for Taken {
    fn put(&self, key: String, value: Bytes, at: u64, ttl: Duration) -> Answer<Option<u64>> {
        self.0.put(key, value, at, ttl)
    }

    fn get(&self, key: String) -> Answer<Option<Record>> {
        self.0.get(key)
    }

    fn taken(&self) -> Answer<u32> {
        Box::pin(std::future::ready(Ok(self.1)))
    }
}

#[tokio::test(start_paused = true)]
async fn where_room_is_scarce_those_that_hold_most_get_no_further_ticket_and_all_can_be_used() {
    let mut cluster = Cluster::new(1);
    let fill = |cluster: &mut Cluster, taken: u32| {
        let records = cluster.engine.node().records().unwrap();
        cluster.nodes = vec![Arc::new(SharedTickets::new(Arc::new(Taken(records, taken))))];
    };
    for (taken, of_flood) in [(400, 4096), (600, 600), (800, 60)] {
        fill(&mut cluster, taken);
        let mut flood = Vec::new();
        for token in 0..100 {
            // Many tokens of one account.
            let token = token_until(FLOOD, 4_000_000_000 + token);
            let now = NumericDate::now();
            let session = Session::new(cluster.key.verify(&token, now).unwrap(), &token, now);
            for _ in 0..OF_ONE_TOKEN {
                flood.extend(cluster.nodes[0].issue(&token, &session, None).await.ok());
            }
        }
        assert!(flood.len() <= of_flood, "{} at {taken}", flood.len());
        cluster.issue(0, "ann").await.expect("others have none");
        assert!(cluster.redeem(0, &flood[0], &get("/c/chat", &[])).await.is_some());
    }
    fill(&mut cluster, 900);
    let Err(NoTicket::Refused(problem)) = cluster.issue(0, "ann").await else { panic!("refused") };
    assert_eq!(problem.code(), Code::Unavailable);
}

#[tokio::test]
async fn a_ticket_is_for_pages_of_its_origin_and_for_the_key_of_its_token() {
    let cluster = Cluster::new(1);
    let (token, now) = (token("ann"), NumericDate::now());
    let session = Session::new(cluster.key.verify(&token, now).unwrap(), &token, now);
    let origin = Some(HeaderValue::from_static("https://a.example"));
    let ticket = cluster.nodes[0].issue(&token, &session, origin).await.unwrap();
    let other_page = get("/c/chat", &[("origin", "https://b.example")]);
    assert!(cluster.redeem(0, &ticket, &other_page).await.is_none());
    let other_key = AuthKey::from_bytes(b"another secret, which is as long as the first").unwrap();
    let presented = Presented::of(&get("/c/chat", &[]));
    let redeemed = cluster.nodes[0].redeem(&other_key, &ticket, &presented).await;
    assert!(redeemed.unwrap().is_none());
    let own_page = get("/c/chat", &[("origin", "https://a.example")]);
    assert!(cluster.redeem(0, &ticket, &own_page).await.is_some(), "neither has used it");
}

#[tokio::test]
async fn the_cluster_does_not_see_the_token() {
    let cluster = Cluster::new(1);
    let ticket = cluster.issue(0, "ann").await.unwrap();
    let Ticket { name, .. } = Ticket::parse(&ticket).unwrap();
    let record = cluster.nodes[0].records.get(name).await.unwrap().unwrap();
    let signature = token("ann").rsplit('.').next().unwrap().to_owned();
    let says = |text: &str| record.value.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(!says("ann") && !says(&signature) && !says("token"));
}

#[tokio::test(start_paused = true)]
async fn a_token_has_a_bounded_number_of_unused_tickets_and_those_used_elsewhere_make_room() {
    let cluster = Cluster::new(2);
    let mut tickets = Vec::new();
    for _ in 0..OF_ONE_TOKEN {
        tickets.push(cluster.issue(0, "ann").await.unwrap());
    }
    assert!(matches!(cluster.issue(0, "ann").await, Err(NoTicket::TooMany(_))));
    cluster.issue(0, "bob").await.expect("another token has its own");
    for ticket in &tickets[..3] {
        assert!(cluster.redeem(1, ticket, &get("/c/chat", &[])).await.is_some());
    }
    assert!(
        matches!(cluster.issue(0, "ann").await, Err(NoTicket::TooMany(_))),
        "not asked again yet"
    );
    advance(LOOK_EVERY).await;
    for _ in 0..3 {
        cluster.issue(0, "ann").await.expect("those that were used make room");
    }
    advance(LOOK_EVERY).await;
    assert!(matches!(cluster.issue(0, "ann").await, Err(NoTicket::TooMany(_))));
    advance(GOOD_FOR).await;
    cluster.issue(0, "ann").await.expect("a minute later all have expired");
    assert_eq!(cluster.nodes[0].cost(), COST);
}

proptest! {
    #[test]
    fn nothing_that_was_not_issued_is_a_ticket(text in "\\PC*", like in "[A-Za-z0-9_-]{44,48}", at in 0..45_usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let cluster = Cluster::new(1);
            let (real, request) = (cluster.issue(0, "ann").await.unwrap(), get("/c/chat", &[]));
            let mut changed = real.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            for wrong in [text, like, changed, format!("{real}="), format!("{real}A")] {
                assert!(cluster.redeem(0, &wrong, &request).await.is_none(), "{wrong}");
            }
            assert!(cluster.redeem(0, &real, &request).await.is_some());
        });
    }
}
