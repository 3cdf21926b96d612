//! The checker: compares what publishers were told, what every reader saw and what the history
//! says in the end, in the manner of Jepsen's test of Kafka.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::ops::Bound::Excluded;

use super::audience::Heard;
use super::hopper::{Delivery, Seen};
use super::publisher::Published;
use super::transport::{Position, Transport};

/// What was found. All figures but the last four are faults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Messages that a reader should have got and did not.
    pub lost: u64,
    /// Messages that a reader got twice, or that are in the log twice.
    pub repeated: u64,
    /// Messages that a reader got behind a later one, or that are not in their publisher's order.
    pub out_of_order: u64,
    /// Whatever else is not as promised, in words: the first few.
    pub broken_promises: Vec<String>,
    /// Messages that were acknowledged.
    pub acknowledged: u64,
    /// Messages that came to readers.
    pub delivered: u64,
    /// Messages that came to the audience.
    pub heard: u64,
    /// Stretches of reading: polls, long polls, event streams, WebSockets, the clients for Rust, JavaScript and Python.
    pub stretches: [u64; Transport::COUNT],
}

/// How many broken promises are told in words.
const TOLD: usize = 20;

/// All that is known of a run.
#[derive(Debug, Default)]
pub(super) struct Checker {
    published: Vec<Published>,
    seen: Vec<Seen>,
    heard: Vec<Heard>,
}

impl Checker {
    pub(super) fn published(&mut self, published: Published) {
        self.published.push(published);
    }

    pub(super) fn read(&mut self, seen: Seen) {
        self.seen.push(seen);
    }

    pub(super) fn heard(&mut self, heard: Heard) {
        self.heard.push(heard);
    }

    /// The message that was acknowledged at the highest position.
    pub(super) fn last(&self) -> Option<String> {
        let acknowledged = self.published.iter().flat_map(|published| &published.acknowledged);
        acknowledged.max_by_key(|(_, at)| at).map(|(id, _)| id.clone())
    }

    /// Compares everything with the history.
    /// `is_dense` if offsets rise by one.
    pub(super) fn findings(&self, history: &[(Position, String)], is_dense: bool) -> Findings {
        let mut findings = Findings::default();
        let log = findings.one_log(history, is_dense);
        for published in &self.published {
            findings.acknowledgements(published, &log);
        }
        for seen in &self.seen {
            findings.reader(seen, &log);
        }
        self.heard.iter().for_each(|heard| findings.listener(heard, history));
        findings.broken_promises.truncate(TOLD);
        findings
    }
}

/// The log as it is in the end: the message at each position.
type Log<'h> = BTreeMap<&'h Position, &'h str>;

impl Findings {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let Self { lost, repeated, out_of_order, broken_promises, .. } = self;
        (*lost, *repeated, *out_of_order) == (0, 0, 0) && broken_promises.is_empty()
    }

    fn broken(&mut self, promise: String) {
        self.broken_promises.push(promise);
    }

    /// The history is one log: each message once, offsets that rise, and without a hole if it is dense,
    /// one epoch.
    fn one_log<'h>(&mut self, history: &'h [(Position, String)], is_dense: bool) -> Log<'h> {
        let mut ids = HashSet::new();
        for (_, id) in history {
            self.repeated += u64::from(!ids.insert(id));
        }
        for pair in history.windows(2) {
            let (one, next) = (&pair[0].0, &pair[1].0);
            let rises = if is_dense { one.offset + 1 == next.offset } else { one < next };
            if one.epoch != next.epoch || !rises {
                self.broken(format!("in the history {one} is followed by {next}"));
            }
        }
        history.iter().map(|(at, id)| (at, id.as_str())).collect()
    }

    /// What was acknowledged is in the log, at the position that was given, in the publisher's
    /// order; what was refused is not.
    fn acknowledgements(&mut self, published: &Published, log: &Log<'_>) {
        self.acknowledged += published.acknowledged.len() as u64;
        for (id, at) in &published.acknowledged {
            match log.get(at) {
                Some(there) if there == id => {}
                Some(there) => self.broken(format!("{id} was said to be at {at}; {there} is")),
                None => self.lost += 1,
            }
        }
        for pair in published.acknowledged.windows(2) {
            self.out_of_order += u64::from(pair[0].1 >= pair[1].1);
        }
        let refused: HashSet<&str> = published.refused.iter().map(String::as_str).collect();
        for id in log.values().filter(|id| refused.contains(*id)) {
            self.broken(format!("{id} was refused, and yet is in the log"));
        }
        for id in &published.given_up {
            self.broken(format!("{id} was never acknowledged"));
        }
    }

    /// A listener heard something, to the end, and on each connection a stretch of the log.
    fn listener(&mut self, heard: &Heard, history: &[(Position, String)]) {
        let count: usize = heard.stretches.iter().map(Vec::len).sum();
        self.heard += count as u64;
        if count == 0 || !heard.reached_the_end {
            self.broken(format!("a listener heard {count} messages, and not the end"));
        }
        for stretch in &heard.stretches {
            let began = |(_, id): &(Position, String)| Some(id) == stretch.first();
            let mut log = history.iter().skip_while(|entry| !began(entry));
            for id in stretch {
                match log.next() {
                    Some((_, there)) if there == id => continue,
                    Some((at, there)) => self.broken(format!("{id} was heard; {there} is at {at}")),
                    None => self.broken(format!("{id} was heard, and is not there in the log")),
                }
                break;
            }
        }
    }

    /// A reader got the log from its beginning to its end, each message once and in order.
    fn reader(&mut self, seen: &Seen, log: &Log<'_>) {
        self.delivered += seen.deliveries.len() as u64;
        for (sum, stretches) in self.stretches.iter_mut().zip(seen.stretches) {
            *sum += stretches;
        }
        let mut came = BTreeSet::new();
        for delivery in &seen.deliveries {
            let Delivery { at, id, transport } = delivery;
            self.repeated += u64::from(!came.insert(at));
            if log.get(at).is_none_or(|there| there != id) {
                self.broken(format!("{transport:?} gave {id} at {at}, where the log has another"));
            }
        }
        for pair in seen.deliveries.windows(2) {
            self.out_of_order += u64::from(pair[1].at < pair[0].at);
            let way = format!("from {:?} to {:?}", pair[0].transport, pair[1].transport);
            let between = (Excluded(&pair[0].at), Excluded(&pair[1].at));
            if pair[1].at > pair[0].at && log.range::<&Position, _>(between).next().is_some() {
                self.broken(format!("{way} {} was followed by {}", pair[0].at, pair[1].at));
            }
        }
        self.lost += log.keys().filter(|at| !came.contains(*at)).count() as u64;
        for gap in &seen.gaps {
            self.broken(format!("a gap in a history that was kept whole: {gap}"));
        }
        if !seen.reached_the_end {
            self.broken("a reader did not reach the end".to_owned());
        }
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lost, repeated, out_of_order, acknowledged, delivered, heard, .. } = self;
        writeln!(
            f,
            "{acknowledged} acknowledged, {heard} heard, {delivered} delivered, by stretches of"
        )?;
        for (transport, stretches) in Transport::ALL.iter().zip(self.stretches) {
            writeln!(f, "  {transport:?}: {stretches}")?;
        }
        for promise in &self.broken_promises {
            writeln!(f, "broken: {promise}")?;
        }
        write!(f, "{lost} lost, {repeated} repeated, {out_of_order} out of order")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64) -> Position {
        Position { epoch: "e".to_owned(), offset }
    }

    fn delivery(offset: u64, id: &str) -> Delivery {
        Delivery { at: at(offset), id: id.to_owned(), transport: Transport::Poll }
    }

    /// The findings on one publisher that published a, b and c, and one reader that saw this.
    fn findings_on(deliveries: Vec<Delivery>) -> Findings {
        let history: Vec<_> =
            ["a", "b", "c"].iter().zip(1..).map(|(id, n)| (at(n), (*id).to_owned())).collect();
        let acknowledged = history.iter().map(|(at, id)| (id.clone(), at.clone())).collect();
        let mut checker = Checker::default();
        checker.published(Published { acknowledged, ..Published::default() });
        checker.read(Seen { deliveries, reached_the_end: true, ..Seen::default() });
        checker.findings(&history, true)
    }

    #[test]
    fn a_reader_that_saw_everything_once_and_in_order_passes() {
        let findings = findings_on(vec![delivery(1, "a"), delivery(2, "b"), delivery(3, "c")]);
        assert!(findings.is_sound(), "{findings}");
        assert_eq!((findings.acknowledged, findings.delivered), (3, 3));
    }

    /// The findings on a listener with these connections.
    fn findings_on_listener(stretches: &[&[&str]], reached_the_end: bool) -> Findings {
        let history: Vec<_> =
            ["a", "b", "c"].iter().zip(1..).map(|(id, n)| (at(n), (*id).to_owned())).collect();
        let ids = |stretch: &&[&str]| stretch.iter().map(|id| (*id).to_owned()).collect();
        let stretches = stretches.iter().map(ids).collect();
        let mut checker = Checker::default();
        checker.heard(Heard { stretches, reached_the_end });
        checker.findings(&history, true)
    }

    #[test]
    fn a_listener_hears_stretches_of_the_log() {
        let sound = findings_on_listener(&[&["a"], &[], &["b", "c"]], true);
        assert!(sound.is_sound() && sound.heard == 3, "{sound}");
        for (stretches, reached_the_end) in [
            (&[&["a", "c"][..]][..], true),
            (&[&["a", "b", "b", "c"]], true),
            (&[&["a", "b", "c", "c"]], true),
            (&[&["b", "a"]], true),
            (&[&["x"]], true),
            (&[&["a", "b"]], false),
            (&[&[], &[]], true),
        ] {
            let findings = findings_on_listener(stretches, reached_the_end);
            assert!(!findings.is_sound(), "{stretches:?}");
        }
    }

    #[test]
    fn a_missing_message_is_lost() {
        let findings = findings_on(vec![delivery(1, "a"), delivery(3, "c")]);
        assert_eq!((findings.lost, findings.repeated, findings.out_of_order), (1, 0, 0));
        assert!(!findings.is_sound());
    }

    #[test]
    fn a_message_that_comes_twice_is_repeated() {
        let twice = vec![delivery(1, "a"), delivery(2, "b"), delivery(2, "b"), delivery(3, "c")];
        let findings = findings_on(twice);
        assert_eq!((findings.lost, findings.repeated, findings.out_of_order), (0, 1, 0));
    }

    #[test]
    fn a_message_behind_a_later_one_is_out_of_order() {
        let findings = findings_on(vec![delivery(1, "a"), delivery(3, "c"), delivery(2, "b")]);
        assert_eq!((findings.lost, findings.repeated, findings.out_of_order), (0, 0, 1));
    }

    #[test]
    fn another_message_at_a_position_is_noticed() {
        let findings = findings_on(vec![delivery(1, "a"), delivery(2, "x"), delivery(3, "c")]);
        assert!(!findings.is_sound());
    }

    #[test]
    fn what_was_acknowledged_and_is_gone_is_lost() {
        let mut checker = Checker::default();
        let acknowledged = vec![("a".to_owned(), at(1)), ("b".to_owned(), at(2))];
        checker.published(Published { acknowledged, ..Published::default() });
        assert_eq!(checker.findings(&[(at(1), "a".to_owned())], true).lost, 1);
    }
}
