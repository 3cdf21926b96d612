//! What waits, what is offered and when, without connections.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use sockeye::reconnect::Backoff;
use sockeye_hub::{ChannelName, Hub, Lease};
use sockeye_testing::assert_documented;
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::{Instant, advance, sleep, timeout};

use super::delivery::TIMEOUT;
use super::queue::{GRACE, MAX_BATCH, MAX_BYTES, MAX_EVENTS, MAX_LEAVING};
use super::*;
use crate::channel_rule::{ChannelRule, ChannelRules};

/// What a sink does with a batch.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Takes,
    Fails,
    FailsFor(Duration),
    Refuses,
    Panics,
    Hangs,
}

/// Gives the answers in turn, then takes everything; tells of each offer.
struct Sink {
    answers: Mutex<VecDeque<Answer>>,
    offers: mpsc::UnboundedSender<EventBatch>,
}

impl EventSink for Sink {
    async fn take(&self, batch: &EventBatch) -> Result<(), EventError> {
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or(Answer::Takes);
        self.offers.send(batch.clone()).unwrap();
        match answer {
            Answer::Takes => Ok(()),
            Answer::Fails => Err(EventError::unavailable("full")),
            Answer::FailsFor(pause) => Err(EventError::later("full", pause)),
            Answer::Refuses => Err(EventError::refused("unreadable")),
            Answer::Panics => panic!("as the test wants"),
            Answer::Hangs => std::future::pending().await,
        }
    }
}

struct Rig {
    hub: Hub,
    delivery: Delivery,
    offers: mpsc::UnboundedReceiver<EventBatch>,
}

impl Rig {
    fn new(answers: &[Answer]) -> Self {
        Self::with(answers, &[])
    }

    fn with(answers: &[Answer], rules: &[ChannelRule]) -> Self {
        let (offers, offered) = mpsc::unbounded_channel();
        let sink = Sink { answers: Mutex::new(answers.iter().copied().collect()), offers };
        let (hub, rules) = (Hub::default(), Arc::new(ChannelRules::new(rules)));
        let delivery = Delivery::of(&hub, AnyEventSink::new(sink), rules);
        delivery.keep();
        Self { hub, delivery, offers: offered }
    }

    fn join(&self, channel: &str, id: Option<&str>) -> Lease {
        self.hub.join(&channel.parse().unwrap(), id)
    }

    async fn offered(&mut self) -> EventBatch {
        self.offers.recv().await.unwrap()
    }

    /// The events of the next offers, as `NAME CHANNEL MEMBER`, until there are that many.
    async fn told(&mut self, count: usize) -> Vec<String> {
        let mut told = Vec::new();
        while told.len() < count {
            told.extend(self.offered().await.events.iter().map(line));
        }
        told
    }

    /// Whether nothing is offered for that long.
    async fn is_quiet(&mut self, time: Duration) -> bool {
        timeout(time, self.offers.recv()).await.is_err()
    }
}

fn line(event: &Event) -> String {
    let channel = event.kind.channel().map_or("", ChannelName::as_str);
    let line = format!("{} {channel} {}", event.kind.name(), event.kind.member().unwrap_or(""));
    line.trim_end().to_owned()
}

#[tokio::test(start_paused = true)]
async fn events_come_in_order_and_the_last_reader_is_missed_after_the_grace() {
    let mut rig = Rig::new(&[]);
    let ann = rig.join("chat", Some("ann"));
    assert_eq!(
        rig.told(3).await,
        ["server.started", "channel.occupied chat", "member.joined chat ann"]
    );
    drop(ann);
    assert_eq!(rig.told(1).await, ["member.left chat ann"]);
    let left = Instant::now();
    assert_eq!(rig.told(1).await, ["channel.vacated chat"]);
    assert_eq!(left.elapsed().as_secs(), GRACE.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_back_within_the_grace_leaves_the_channel_occupied() {
    let mut rig = Rig::new(&[]);
    let first = rig.join("chat", None);
    assert_eq!(rig.told(2).await, ["server.started", "channel.occupied chat"]);
    drop(first);
    advance(GRACE - Duration::from_millis(1)).await;
    let second = rig.join("chat", None);
    assert!(rig.is_quiet(10 * GRACE).await);
    drop(second);
    advance(GRACE).await;
    // It comes after the grace, though nothing has told of the end of that yet.
    let _third = rig.join("chat", None);
    assert_eq!(rig.told(2).await, ["channel.vacated chat", "channel.occupied chat"]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_offered_again_until_it_is_taken_and_what_comes_meanwhile_waits() {
    let mut rig = Rig::new(&[Answer::Fails, Answer::Panics, Answer::Hangs, Answer::Fails]);
    let first = rig.offered().await;
    let _ann = rig.join("chat", Some("ann"));
    for attempt in 2..=5 {
        let again = rig.offered().await;
        assert_eq!(again, first, "offer {attempt}");
    }
    let rest = rig.offered().await;
    assert_eq!(rest.lost, 0);
    assert_eq!(rest.id().number, 2, "numbers go on");
    assert_eq!(rest.events.len(), 2);
    yield_now().await;
    let figures = rig.delivery.figures();
    assert_eq!((figures.sent, figures.retried, figures.dropped, figures.queued), (3, 4, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_sink_without_an_answer_is_left_after_10_s() {
    let mut rig = Rig::new(&[Answer::Hangs]);
    rig.offered().await;
    let begun = Instant::now();
    rig.offered().await;
    let waited = begun.elapsed();
    assert!((TIMEOUT..TIMEOUT + Duration::from_millis(501)).contains(&waited), "{waited:?}");
    assert_eq!(TIMEOUT, Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_refused_is_dropped_and_counted_in_the_next() {
    let mut rig = Rig::new(&[Answer::Refuses]);
    rig.offered().await;
    assert!(rig.is_quiet(Duration::from_hours(1)).await, "it is not offered again");
    let reader = rig.join("chat", None);
    let next = rig.offered().await;
    assert_eq!((next.lost, next.events.len(), next.id().number), (1, 1, 2));
    drop(reader);
    assert_eq!(rig.offered().await.lost, 0);
}

#[tokio::test(start_paused = true)]
async fn the_oldest_are_dropped_when_there_is_no_room() {
    let mut rig = Rig::new(&[Answer::Hangs, Answer::Hangs]);
    let first = rig.offered().await;
    // Two events each time: one joins, and leaves.
    for _ in 0..MAX_EVENTS {
        drop(rig.join("chat", Some("ann")));
    }
    let waits = rig.delivery.figures().queued as usize;
    assert_eq!(waits, MAX_EVENTS + 1, "what is being offered is not dropped");
    assert_eq!(rig.offered().await, first);
    assert_eq!(rig.offered().await, first);
    let next = rig.offered().await;
    // `channel.occupied` was one more, and so is `channel.vacated`.
    let lost = MAX_EVENTS as u64 + 2;
    assert_eq!((next.lost, next.events.len()), (lost, MAX_BATCH));
    assert_eq!(next.id().number, lost + 2, "their numbers are left out");
    assert_eq!(rig.delivery.figures().dropped, lost);
}

#[tokio::test(start_paused = true)]
async fn long_names_take_the_room_of_many_events() {
    let mut rig = Rig::new(&[Answer::Hangs]);
    rig.offered().await;
    let (channel, id) = ("c".repeat(255), "i".repeat(255));
    for _ in 0..MAX_EVENTS / 2 {
        drop(rig.join(&channel, Some(&id)));
    }
    let (figures, each) = (rig.delivery.figures(), 128 + 255 + 255);
    assert_eq!(figures.queued as usize - 1, MAX_BYTES / each);
    assert!((MAX_BYTES - each..=MAX_BYTES).contains(&(figures.queued_bytes as usize)));
    assert_eq!(figures.vacating, 1);
}

#[tokio::test(start_paused = true)]
async fn channels_that_come_and_go_take_bounded_room() {
    let mut rig = Rig::new(&[]);
    rig.offered().await;
    let chat = rig.join("chat", None);
    drop(chat);
    for _ in 0..10_000 {
        drop(rig.join("chat", None));
    }
    assert_eq!(rig.told(1).await, ["channel.occupied chat"]);
    for number in 0..=MAX_LEAVING {
        drop(rig.join(&format!("c{number}"), None));
    }
    // Each was occupied, and the first one is vacated before its time: one more would wait than may.
    let figures = rig.delivery.figures();
    assert_eq!(figures.queued + figures.dropped, MAX_LEAVING as u64 + 1 + 1);
    assert!(figures.vacating <= MAX_LEAVING as u64 + 1, "{}", figures.vacating);
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_asks_for_time_has_it_within_bounds() {
    let [asked, most, too_long] = [30, 300, 3600].map(Duration::from_secs);
    let answers = [Answer::FailsFor(asked), Answer::FailsFor(too_long), Answer::Takes];
    let mut rig = Rig::new(&answers);
    rig.offered().await;
    // Behind each pause there is the random one of an answer that was not a success.
    for least in [asked, most] {
        let begun = Instant::now();
        rig.offered().await;
        let waited = begun.elapsed();
        assert!(least <= waited && waited <= least + Duration::from_secs(1), "{waited:?}");
    }
    assert!(rig.is_quiet(too_long).await, "it is taken");
}

#[tokio::test(start_paused = true)]
async fn rules_say_of_which_channels_there_are_events() {
    let rule = ChannelRule::new("quiet:*".parse().unwrap()).events(false);
    let mut rig = Rig::with(&[], &[rule]);
    let quiet = rig.join("quiet:1", Some("ann"));
    let _loud = rig.join("loud", Some("ann"));
    drop(quiet);
    assert_eq!(
        rig.told(3).await,
        ["server.started", "channel.occupied loud", "member.joined loud ann"]
    );
    assert!(rig.is_quiet(2 * GRACE).await);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_waits_for_what_was_not_taken_but_not_for_long() {
    let mut rig = Rig::new(&[Answer::Takes, Answer::Fails, Answer::Fails]);
    rig.offered().await;
    drop(rig.join("chat", Some("ann")));
    let begun = Instant::now();
    rig.delivery.finish(FINISH).await;
    assert!(begun.elapsed() < Duration::from_secs(1));
    let mut told = Vec::new();
    while let Ok(batch) = rig.offers.try_recv() {
        told = batch.events.iter().map(line).collect();
    }
    // There is no grace at the end.
    assert_eq!(
        told,
        [
            "channel.occupied chat",
            "member.joined chat ann",
            "member.left chat ann",
            "channel.vacated chat",
            "server.stopped"
        ]
    );
    let _late = rig.join("chat", Some("bob"));
    assert!(rig.is_quiet(2 * GRACE).await, "nothing happens after the end");

    let rig = Rig::new(&[Answer::Hangs]);
    let begun = Instant::now();
    rig.delivery.finish(FINISH).await;
    assert_eq!(begun.elapsed().as_secs(), 5);
}

#[test]
fn a_runtime_that_ends_loses_nothing() {
    let (offers, mut offered) = mpsc::unbounded_channel();
    let answers = Mutex::new([Answer::Hangs].into());
    let hub = Hub::default();
    let sink = AnyEventSink::new(Sink { answers, offers });
    // Nothing delivers outside of a runtime.
    let delivery = Delivery::of(&hub, sink, Arc::default());
    delivery.keep();
    let runtime = || Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let first = runtime();
    let batch = first.block_on(async {
        delivery.keep();
        offered.recv().await.unwrap()
    });
    drop(first);
    let second = runtime();
    second.block_on(async {
        delivery.keep();
        assert_eq!(offered.recv().await.unwrap(), batch);
        drop(hub.join(&"chat".parse().unwrap(), None));
        assert_eq!(offered.recv().await.unwrap().id().number, 2);
        sleep(Duration::from_secs(1)).await;
    });
    drop(delivery);
    drop(second);
    assert!(offered.try_recv().is_err());
}

#[test]
fn a_batch_is_json_with_what_there_is_to_say() {
    let at = 1_760_000_000_000;
    let event = |number, kind| Event { id: EventId { run: 0xab, number }, at, kind };
    let channel: ChannelName = "chat".parse().unwrap();
    let node = NodeId(0xcd);
    let events = vec![
        event(7, EventKind::ServerStarted),
        event(8, EventKind::MemberJoined { channel: channel.clone(), member: "ann \"x\"".into() }),
        event(9, EventKind::ChannelVacated { channel }),
    ];
    let batch = EventBatch { events, lost: 0, node: None };
    let expected = r#"{"events":[{"id":"00000000000000ab-7","event":"server.started","at":1760000000000},{"id":"00000000000000ab-8","event":"member.joined","channel":"chat","member":"ann \"x\"","at":1760000000000},{"id":"00000000000000ab-9","event":"channel.vacated","channel":"chat","at":1760000000000}]}"#;
    assert_eq!(String::from_utf8(batch.to_json()).unwrap(), expected);
    let events = vec![event(1, EventKind::NodeLost { node })];
    let batch = EventBatch { events, lost: 3, node: Some(NodeId(1)) };
    let expected = r#"{"lost":3,"events":[{"id":"00000000000000ab-1","event":"node.lost","at":1760000000000,"node":"0000000000000001","other":"00000000000000cd"}]}"#;
    assert_eq!(String::from_utf8(batch.to_json()).unwrap(), expected);
}

#[test]
fn the_guide_says_the_numbers_of_the_code() {
    let again = Backoff::default();
    let [base, cap] = [again.base, again.cap].map(|time| time.as_secs_f64());
    for sentence in [
        format!("up to {base} s, then up to {} s, doubled up to {cap} s", 2.0 * base),
        format!("no client has read it for {} s", GRACE.as_secs()),
        format!("{MAX_BATCH} events at most"),
        format!("{MAX_EVENTS} events or {} MiB", MAX_BYTES >> 20),
        format!("nothing within {} s", TIMEOUT.as_secs()),
        format!("for {} s after its connections have ended", FINISH.as_secs()),
        format!("more than {MAX_LEAVING} channels"),
    ] {
        assert_documented("channels/events.md", &sentence);
    }
}

/// A step of a client.
#[derive(Clone, Copy, Debug)]
enum Step {
    Join(u8, u8),
    Leave(u8),
    Wait(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..3_u8, 0..4_u8).prop_map(|(channel, id)| Step::Join(channel, id)),
        4 => any::<u8>().prop_map(Step::Leave),
        2 => (0..7_000_u16).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 0..60)
}

fn answers() -> impl Strategy<Value = Vec<Answer>> {
    prop::collection::vec(prop_oneof![Just(Answer::Takes), Just(Answer::Fails)], 0..30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A program that applies the events in order, and passes over what it has seen, knows in the end which members are there.
    #[test]
    fn what_was_told_is_what_there_is(steps in steps(), answers in answers()) {
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut rig = Rig::new(&answers);
            let mut leases = Vec::new();
            for step in steps {
                match step {
                    Step::Join(channel, 0) => leases.push(rig.join(&format!("c{channel}"), None)),
                    Step::Join(channel, id) => {
                        leases.push(rig.join(&format!("c{channel}"), Some(&id.to_string())));
                    }
                    Step::Leave(index) if !leases.is_empty() => {
                        drop(leases.swap_remove(usize::from(index) % leases.len()));
                    }
                    Step::Leave(_) => {}
                    Step::Wait(millis) => sleep(Duration::from_millis(millis.into())).await,
                }
            }
            sleep(Duration::from_hours(1)).await;
            let (mut last, mut occupied, mut members) = (0, Vec::new(), Vec::new());
            while let Ok(batch) = rig.offers.try_recv() {
                for event in batch.events {
                    if event.id.number <= last {
                        continue;
                    }
                    assert_eq!(event.id.number, last + 1, "none is left out");
                    last = event.id.number;
                    apply(event.kind, &mut occupied, &mut members);
                }
            }
            for channel in ["c0", "c1", "c2"] {
                let channel: ChannelName = channel.parse().unwrap();
                let presence = rig.hub.presence(&channel);
                assert_eq!(occupied.contains(&channel), presence.count > 0, "{channel}");
                for member in presence.members {
                    let index = members.iter().position(|known| *known == (channel.clone(), member.id.clone()));
                    members.swap_remove(index.expect("it has joined"));
                }
            }
            assert!(members.is_empty(), "{members:?}");
        });
    }
}

/// Applies an event to what is known. Nothing happens twice.
fn apply(
    kind: EventKind,
    occupied: &mut Vec<ChannelName>,
    members: &mut Vec<(ChannelName, Arc<str>)>,
) {
    match kind {
        EventKind::ChannelOccupied { channel } => {
            assert!(!occupied.contains(&channel));
            occupied.push(channel);
        }
        EventKind::ChannelVacated { channel } => {
            assert!(members.iter().all(|(of, _)| *of != channel), "members are in it");
            let index = occupied.iter().position(|known| *known == channel);
            occupied.swap_remove(index.expect("it was occupied"));
        }
        EventKind::MemberJoined { channel, member } => {
            assert!(occupied.contains(&channel), "members come to what is occupied");
            assert!(!members.contains(&(channel.clone(), member.clone())));
            members.push((channel, member));
        }
        EventKind::MemberLeft { channel, member } => {
            let index =
                members.iter().position(|known| *known == (channel.clone(), member.clone()));
            members.swap_remove(index.expect("it had joined"));
        }
        _ => {}
    }
}
