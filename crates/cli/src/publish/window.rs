//! Lines that are read and have no outcome yet, in their order.

use std::collections::VecDeque;

use bytes::Bytes;

/// The most bytes of lines that wait for an answer, one line more.
const MAX_BYTES: usize = 4 << 20;

/// A line of the input.
#[derive(Debug)]
pub(super) struct Line {
    /// Its number in the input, from 1 on.
    pub(super) number: u64,
    pub(super) data: Bytes,
    /// The same each time that it is sent.
    pub(super) key: String,
    answer: Option<Answer>,
}

/// What the server says to a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is published, at this position.
    At(String),
    /// It will not be published.
    Refused(String),
    /// It may be sent again.
    Again(String),
}

/// Lines that are read and have no outcome yet, in their order; those at the front are sent.
#[derive(Debug)]
pub(super) struct Window {
    lines: VecDeque<Line>,
    /// How many may be in it.
    most: usize,
    /// How many of them were sent on this connection.
    sent: usize,
    bytes: usize,
    /// How many lines were read.
    read: u64,
}

impl Window {
    pub(super) fn new(most: usize) -> Self {
        Self { lines: VecDeque::new(), most, sent: 0, bytes: 0, read: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whether another line may be read. While a line waits to be sent again none is, for order's sake.
    pub(super) fn has_room(&self) -> bool {
        self.lines.len() < self.most && self.bytes < MAX_BYTES && !self.has_again()
    }

    /// Whether a line is to be sent again.
    pub(super) fn has_again(&self) -> bool {
        self.lines.iter().any(|line| matches!(line.answer, Some(Answer::Again(_))))
    }

    /// Whether every line that was sent has an answer.
    pub(super) fn is_answered(&self) -> bool {
        self.lines.iter().take(self.sent).all(|line| line.answer.is_some())
    }

    pub(super) fn add(&mut self, data: Vec<u8>, key: String) {
        self.read += 1;
        self.bytes += data.len();
        self.lines.push_back(Line { number: self.read, data: data.into(), key, answer: None });
    }

    /// The next line to send on this connection, which then counts as sent.
    pub(super) fn next(&mut self) -> Option<&Line> {
        if self.has_again() {
            return None;
        }
        while self.lines.get(self.sent)?.answer.is_some() {
            self.sent += 1;
        }
        self.sent += 1;
        self.lines.get(self.sent - 1)
    }

    /// Begins on a new connection: what has no outcome is sent again.
    pub(super) fn begin(&mut self) {
        self.sent = 0;
        for line in &mut self.lines {
            line.answer.take_if(|answer| matches!(answer, Answer::Again(_)));
        }
    }

    /// Notes what the server says to a line. Nothing changes an outcome.
    pub(super) fn answer(&mut self, number: u64, answer: Answer) {
        let index = self.lines.front().and_then(|first| number.checked_sub(first.number));
        let index = index.and_then(|index| usize::try_from(index).ok());
        let line = index.and_then(|index| self.lines.get_mut(index));
        if let Some(line) = line.filter(|line| line.answer.is_none()) {
            line.answer = Some(answer);
        }
    }

    /// Takes the next line that has an outcome, in the order of the lines.
    pub(super) fn take(&mut self) -> Option<(Line, Answer)> {
        let line = self.lines.front_mut()?;
        let answer = line.answer.take_if(|answer| !matches!(answer, Answer::Again(_)))?;
        let line = self.lines.pop_front()?;
        self.sent = self.sent.saturating_sub(1);
        self.bytes -= line.data.len();
        Some((line, answer))
    }

    /// Lines that are to be sent again though one behind them is published, each with that one.
    pub(super) fn out_of_order(&self) -> Vec<(u64, u64)> {
        let is_at = |line: &&Line| matches!(line.answer, Some(Answer::At(_)));
        let Some(last) = self.lines.iter().rfind(is_at) else { return Vec::new() };
        let waits = |line: &&Line| matches!(line.answer, Some(Answer::Again(_)) | None);
        let before = self.lines.iter().take_while(|line| line.number < last.number);
        before.filter(waits).map(|line| (line.number, last.number)).collect()
    }

    /// The first and the last line without an outcome, and what the server has said to the first.
    pub(super) fn unanswered(&self) -> Option<(u64, u64)> {
        let waits = |line: &&Line| matches!(line.answer, Some(Answer::Again(_)) | None);
        let first = self.lines.iter().find(waits)?.number;
        Some((first, self.lines.iter().rfind(waits)?.number))
    }

    /// What the server says to the first line that is to be sent again.
    pub(super) fn why_again(&self) -> Option<&str> {
        self.lines.iter().find_map(|line| match &line.answer {
            Some(Answer::Again(why)) => Some(why.as_str()),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(lines: usize) -> Window {
        let mut window = Window::new(lines);
        for number in 1..=lines {
            window.add(vec![b'x'; number], format!("key {number}"));
        }
        window
    }

    fn sent(window: &mut Window) -> Vec<u64> {
        std::iter::from_fn(|| window.next().map(|line| line.number)).collect()
    }

    #[test]
    fn outcomes_are_taken_in_the_order_of_the_lines() {
        let mut window = window(3);
        assert!(!window.has_room());
        assert_eq!(sent(&mut window), [1, 2, 3]);
        window.answer(2, Answer::At("p2".to_owned()));
        window.answer(9, Answer::At("nothing".to_owned()));
        assert!(window.take().is_none());
        window.answer(1, Answer::Refused("no".to_owned()));
        window.answer(1, Answer::At("late".to_owned()));
        let mut taken = || window.take().map(|(line, answer)| (line.number, answer));
        assert_eq!(taken(), Some((1, Answer::Refused("no".to_owned()))));
        assert_eq!(taken(), Some((2, Answer::At("p2".to_owned()))));
        assert_eq!(taken(), None);
        assert!(window.has_room() && !window.is_answered());
    }

    #[test]
    fn on_a_new_connection_what_has_no_outcome_is_sent_again_with_its_key() {
        let mut window = window(4);
        assert_eq!(sent(&mut window), [1, 2, 3, 4]);
        window.answer(2, Answer::Again("later".to_owned()));
        window.answer(3, Answer::At("p3".to_owned()));
        // Nothing new goes out before it.
        assert!(!window.has_room() && window.next().is_none());
        assert_eq!(window.why_again(), Some("later"));
        assert_eq!(window.out_of_order(), [(1, 3), (2, 3)]);
        assert_eq!(window.unanswered(), Some((1, 4)));
        window.begin();
        let again: Vec<_> =
            std::iter::from_fn(|| window.next().map(|line| line.key.clone())).collect();
        assert_eq!(again, ["key 1", "key 2", "key 4"]);
    }
}
