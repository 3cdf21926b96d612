//! Log lines that a client can cause, at a limited rate.
//!
//! [`limited!`](limited) logs such a line. A class has one line a second (the ends of connections a
//! hundred); the next line says as `more` how many were left out before it. A [`Server`](crate::Server)
//! logs that by itself within a second or two, when no such line follows ([`tell_rest`]).
//!
//! What a client did wrong is logged at INFO or DEBUG; WARN and ERROR are for what an operator can act
//! on. Text of a client (a path, a name) goes through [`shown`].

use std::borrow::Cow;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::rate::Rate;

/// The most of a client's text in a line, in bytes.
const SHOWN: usize = 256;

/// What a line is about. Classes have separate rates, so that a line is never left out for one of another kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// The server failed at a request (WARN).
    Failed,
    /// The authoriser has no answer (WARN).
    Undecided,
    /// The authoriser has given a name that cannot be shown (WARN).
    BadSubject,
    /// The address of a client is not known (WARN).
    NoAddress,
    /// A request without a valid token, from a page that is not allowed, or one too many (INFO).
    Refused,
    /// The first refusal of an origin (WARN).
    Origin,
    /// A connection with subscriptions has ended (INFO).
    Ended,
    /// The operating system accepts no more connections, for want of descriptors most likely (WARN).
    CannotAccept,
    /// What events are handed to does not take them, or does again (WARN, INFO).
    Events,
}

impl Class {
    /// In the order of their declaration.
    const ALL: [Self; 9] = [
        Self::Failed,
        Self::Undecided,
        Self::BadSubject,
        Self::NoAddress,
        Self::Refused,
        Self::Origin,
        Self::Ended,
        Self::CannotAccept,
        Self::Events,
    ];

    /// How many lines may come at once, and how often one after that.
    ///
    /// Warnings repeat themselves; refusals differ, and a few of them say which clients are refused. At INFO an
    /// operator has asked for the end of each connection: only a flood of them is cut.
    const fn rate(self) -> Rate {
        match self {
            Self::Failed
            | Self::Undecided
            | Self::BadSubject
            | Self::NoAddress
            | Self::Origin
            | Self::CannotAccept => Rate::new(Duration::from_secs(1), 1),
            Self::Refused | Self::Events => Rate::new(Duration::from_secs(1), 10),
            Self::Ended => Rate::new(Duration::from_millis(10), 1000),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Failed => "request failed",
            Self::Undecided => "no answer of the authoriser",
            Self::BadSubject => "subject that cannot be shown",
            Self::NoAddress => "request without an address",
            Self::Refused => "request refused",
            Self::Origin => "page refused",
            Self::Ended => "connection ended",
            Self::CannotAccept => "cannot accept connections",
            Self::Events => "events not taken",
        }
    }

    /// Whether another line may be logged now, with the number of lines left out before it.
    pub(crate) fn pass(self) -> Option<u64> {
        self.tally().pass(Instant::now(), self.rate())
    }

    fn tally(self) -> &'static Tally {
        &TALLIES[self as usize]
    }
}

/// The log belongs to the process, and so do its counts.
static TALLIES: LazyLock<[Tally; Class::ALL.len()]> =
    LazyLock::new(|| Class::ALL.map(|_| Tally::default()));

/// How many lines of a class were logged lately.
#[derive(Debug, Default)]
struct Tally(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// When all lines of the burst may come again.
    until: Option<Instant>,
    left_out: u64,
}

impl Counts {
    fn pass(&mut self, now: Instant, rate: Rate) -> Option<u64> {
        let (until, early) = rate.count(self.until, now);
        if !early.is_zero() {
            return None;
        }
        self.until = Some(until);
        Some(std::mem::take(&mut self.left_out))
    }
}

impl Tally {
    fn pass(&self, now: Instant, rate: Rate) -> Option<u64> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = counts.pass(now, rate);
        counts.left_out += u64::from(passed.is_none());
        passed
    }

    /// The number of lines left out, if there are any and another line may be logged now. That one may be logged
    /// besides: it says more than this number.
    fn rest(&self, now: Instant, rate: Rate) -> Option<u64> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, early) = rate.count(counts.until, now);
        if counts.left_out == 0 || !early.is_zero() {
            return None;
        }
        Some(std::mem::take(&mut counts.left_out))
    }

    /// The number of lines left out, if there are any.
    fn last(&self) -> Option<u64> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Some(std::mem::take(&mut counts.left_out)).filter(|left_out| *left_out > 0)
    }
}

/// Logs a line of a class at a level, unless there were too many: `limited!(WARN, Class::Failed, status,
/// "request failed")`. The fields are those of `tracing::event!`.
macro_rules! limited {
    ($level:ident, $class:expr, $($line:tt)+) => {
        if tracing::enabled!(tracing::Level::$level)
            && let Some(more) = $crate::log::Class::pass($class)
        {
            let more = (more > 0).then_some(more);
            tracing::event!(tracing::Level::$level, more, $($line)+);
        }
    };
}
pub(crate) use limited;

/// Logs for each class how many lines were left out since the last time, where the rate allows.
pub(crate) fn tell_rest() {
    tell(|class| class.tally().rest(Instant::now(), class.rate()));
}

/// Logs all of it, at the end.
pub(crate) fn tell_last() {
    tell(|class| class.tally().last());
}

fn tell(left_out: impl Fn(Class) -> Option<u64>) {
    for class in Class::ALL {
        let (Some(more), what) = (left_out(class), class.name()) else { continue };
        match class {
            Class::Refused | Class::Ended => tracing::info!(more, "{what}, more of these"),
            _ => tracing::warn!(more, "{what}, more of these"),
        }
    }
}

/// Text of a client as a log line may show it: of bounded length, and without characters that end the
/// line or change how the rest of it looks.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    let is_plain = |text: &str| text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if text.len() <= SHOWN && is_plain(text) {
        return Cow::Borrowed(text);
    }
    let (start, is_cut) = (&text[..text.floor_char_boundary(SHOWN)], text.len() > SHOWN);
    // `escape_debug` leaves what is printable; quotes and backslashes stay as they are.
    let mut shown = String::with_capacity(start.len() + 3);
    for char in start.chars() {
        match char {
            '"' | '\'' | '\\' => shown.push(char),
            char => shown.extend(char.escape_debug()),
        }
    }
    if is_cut {
        shown.push('…');
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn a_second(burst: u32) -> Rate {
        Rate::new(Duration::from_secs(1), burst)
    }

    #[test]
    fn a_flood_of_a_class_is_a_line_a_second_with_a_count() {
        let (tally, start) = (Tally::default(), Instant::now());
        let (mut lines, mut told) = (0, 0);
        for tick in 0..30_000 {
            if let Some(more) = tally.pass(start + Duration::from_micros(tick * 100), a_second(1)) {
                lines += 1;
                told += more;
            }
        }
        assert_eq!((lines, lines + told), (3, 20_001), "the third second is not told yet");
        // Asking too early counts for nothing.
        assert_eq!(tally.rest(start + Duration::from_millis(2_999), a_second(1)), None);
        let rest = tally.rest(start + Duration::from_secs(4), a_second(1));
        assert_eq!(rest, Some(9_999));
        assert_eq!(tally.rest(start + Duration::from_secs(6), a_second(1)), None);
    }

    #[test]
    fn a_burst_is_told_line_by_line() {
        let (tally, start) = (Tally::default(), Instant::now());
        let passed = (0..100).filter(|_| tally.pass(start, a_second(10)).is_some()).count();
        assert_eq!(passed, 10);
        assert_eq!(tally.pass(start + Duration::from_secs(1), a_second(10)), Some(90));
    }

    #[test]
    fn texts_of_peers_are_escaped_and_cut() {
        assert_eq!(shown("/c/chat \"x\""), "/c/chat \"x\"");
        assert_eq!(shown("a\r\nb\u{1b}[2J\u{202e}c ü"), "a\\r\\nb\\u{1b}[2J\\u{202e}c ü");
        assert!(shown(&"ü".repeat(1000)).len() < SHOWN + 4);
    }

    proptest! {
        #[test]
        fn no_text_of_a_peer_has_a_control_character_or_a_change_of_direction(text in any::<String>()) {
            let shown = shown(&text);
            prop_assert!(shown.len() <= 10 * SHOWN);
            for char in shown.chars() {
                let turns = matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
                prop_assert!(!char.is_control() && !turns, "{:?}", char);
            }
        }
    }
}
