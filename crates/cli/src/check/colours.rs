//! The colours of a report on a terminal.

use std::{
    env,
    io::{self, IsTerminal as _},
};

use crate::terminal::visible;

/// What a line begins with, and its colour (ECMA-48 §8.3.117).
const COLOURS: [(&str, &str); 5] = [
    ("  broken ", "1;31"),
    ("  loose ", "33"),
    ("  known ", "2"),
    ("  info ", "36"),
    ("  ok ", "32"),
];

/// Whether stdout shows colours: a terminal, unless NO_COLOR says otherwise.
pub(super) fn are_shown() -> bool {
    io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A report with its verdicts in colours. Control characters of the peer's are written out.
pub(super) fn coloured(report: &str) -> String {
    let mut text = String::with_capacity(report.len() + 1024);
    for line in report.lines() {
        let line = visible::line(line);
        match COLOURS
            .iter()
            .find_map(|(begin, colour)| Some((line.strip_prefix(begin)?, begin, colour)))
        {
            Some((rest, begin, colour)) => {
                text += &format!("\u{1b}[{colour}m{begin}\u{1b}[0m{rest}\n");
            }
            None => text += &format!("{line}\n"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_have_colours_and_peers_have_none() {
        let text =
            coloured("Framing: 1 broken\n  broken RFC 6455 \u{1b}[2J\n         came     x\n");
        assert_eq!(
            text,
            "Framing: 1 broken\n\u{1b}[1;31m  broken \u{1b}[0mRFC 6455 \\u{1b}[2J\n         came     x\n"
        );
    }
}
