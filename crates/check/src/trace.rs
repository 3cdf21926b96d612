//! What went over a connection, as a report shows it.

use std::fmt::Write as _;

use serde_json::{Value, json};
use sockeye_wire::Frame;

/// How many lines of a connection are kept.
const MOST: usize = 24;

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Sent,
    Came,
}

/// What was sent and what came, in order; the beginning and the end, where that is long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    lines: Vec<(Direction, String)>,
    left_out: usize,
}

impl Trace {
    fn push(&mut self, direction: Direction, line: String) {
        if self.lines.len() == MOST {
            self.lines.remove(MOST / 2);
            self.left_out += 1;
        }
        self.lines.push((direction, line));
    }

    pub(crate) fn frame(&mut self, direction: Direction, frame: &Frame) {
        self.push(direction, frame.to_string());
    }

    pub(crate) fn note(&mut self, direction: Direction, note: &str) {
        self.push(direction, note.to_owned());
    }

    /// The lines of a head, without the empty one.
    pub(crate) fn head(&mut self, direction: Direction, head: &str) {
        const SHOWN: usize = 200;
        for line in head.lines().take(MOST).filter(|line| !line.is_empty()) {
            let begin: String = line.chars().take(SHOWN).collect();
            let rest = if begin.len() < line.len() { "…" } else { "" };
            self.push(direction, format!("{}{rest}", begin.escape_debug()));
        }
    }

    /// Lines with an arrow each: `→` was sent to the peer, `←` came from it.
    #[must_use]
    pub fn to_text(&self, indent: &str) -> String {
        let mut text = String::new();
        for (at, (direction, line)) in self.lines.iter().enumerate() {
            if at == MOST / 2 && self.left_out > 0 {
                let _ = writeln!(text, "{indent}… {} more …", self.left_out);
            }
            let arrow = if *direction == Direction::Sent { '→' } else { '←' };
            let _ = writeln!(text, "{indent}{arrow} {line}");
        }
        text
    }

    pub(crate) fn to_json(&self) -> Value {
        let of = |direction| {
            let lines = self.lines.iter().filter(move |(of, _)| *of == direction);
            lines.map(|(_, line)| line.as_str()).collect::<Vec<_>>()
        };
        json!({ "sent": of(Direction::Sent), "came": of(Direction::Came) })
    }
}
