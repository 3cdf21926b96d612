//! A reader that stays nowhere: each stretch of its way is on a transport chosen at random, and
//! is cut off after a random number of messages.

use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};

use rand::Rng as _;
use rand::rngs::StdRng;

use super::transport::{self, Event, Position, Transport};
use super::{PERSEVERANCE, Stage};

/// What one reader saw, in the order in which it came.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) deliveries: Vec<Delivery>,
    /// Gaps that were told, though the history covers the whole run.
    pub(super) gaps: Vec<String>,
    /// Stretches on each transport, in the order of [`Transport::ALL`].
    pub(super) stretches: [u64; Transport::COUNT],
    /// Whether it came to the channel's end before it lost patience.
    pub(super) reached_the_end: bool,
}

/// One message as it came.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    pub(super) at: Position,
    pub(super) id: String,
    pub(super) transport: Transport,
}

/// The messages that a reader lets come before it hops, at most.
const LONGEST_STRETCH: usize = 400;

/// Reads from the channel's beginning to the position at which publishing ended.
pub(super) fn read(stage: &Stage, mut random: StdRng) -> Seen {
    let mut seen = Seen::default();
    let mut last: Option<Position> = None;
    let mut progress = Instant::now();
    while progress.elapsed() < PERSEVERANCE {
        let transport = stage.transports[random.random_range(0..stage.transports.len())];
        let lot = random.random();
        seen.stretches[transport as usize] += 1;
        // Skewed towards short stretches: hopping is where things go wrong.
        let length = random.random_range(0..LONGEST_STRETCH).pow(2) / LONGEST_STRETCH;
        let after = last.as_ref().map_or_else(|| "earliest".to_owned(), Position::to_string);
        let before = seen.deliveries.len();
        let mut deliver = |event| {
            match event {
                Event::Message { at, id } => {
                    last = Some(at.clone());
                    seen.deliveries.push(Delivery { at, id, transport });
                }
                Event::Gap(gap) => seen.gaps.push(format!("on {transport:?}: {gap}")),
            }
            seen.deliveries.len() - before < length
        };
        // That it breaks is what this is about.
        let broke = transport.read(&stage.url(), &after, lot, &mut deliver).is_err();
        // Publishers that are done early leave nothing to come while faults are still made.
        if seen.deliveries.len() > before || !stage.published.load(SeqCst) {
            progress = Instant::now();
        }
        if broke && seen.deliveries.len() == before {
            thread::sleep(Duration::from_millis(5));
        }
        if stage.published.load(SeqCst) && last.is_some() && last == transport::end(&stage.url()) {
            seen.reached_the_end = true;
            break;
        }
    }
    seen
}

/// The whole history, as it is polled page by page at the end.
pub(super) fn history(stage: &Stage) -> Vec<(Position, String)> {
    let mut history = Vec::new();
    let mut after = "earliest".to_owned();
    loop {
        let before = history.len();
        let mut keep = |event| {
            if let Event::Message { at, id } = event {
                history.push((at, id));
            }
            true
        };
        Transport::Poll.read(&stage.url(), &after, 0, &mut keep).expect("the server runs");
        match history.last() {
            Some((at, _)) if history.len() > before => after = at.to_string(),
            _ => return history,
        }
    }
}
