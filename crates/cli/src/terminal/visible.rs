//! Text of a peer's for a terminal: none of it moves the cursor, changes a colour or a title, or turns
//! round the order of what stands beside it.

use std::borrow::Cow;

/// The text with its control characters written out, as in `\u{1b}`; line breaks and tabs stay.
pub(crate) fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |char| is_control(char) && !matches!(char, '\n' | '\t'))
}

/// The same in one line: line breaks are written out, too.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    escaped(text, |char| is_control(char) && char != '\t')
}

fn escaped(text: &str, is_harmful: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        match is_harmful(char) {
            true => escaped.extend(char.escape_default()),
            false => escaped.push(char),
        }
    }
    Cow::Owned(escaped)
}

/// Controls of a terminal (C0, DEL, C1) and of the direction of text (UAX #9).
fn is_control(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_written_out_and_all_else_stays() {
        let text = "a\u{1b}[2J\u{9b}31m\u{7f}\r\u{8}\u{202e}b\tü\n👩\u{200d}💻";
        let shown = r"a\u{1b}[2J\u{9b}31m\u{7f}\r\u{8}\u{202e}b";
        assert_eq!(lines(text), format!("{shown}\tü\n👩\u{200d}💻"));
        assert_eq!(line(text), format!("{shown}\tü\\n👩\u{200d}💻"));
        assert!(matches!(lines("plain\n"), Cow::Borrowed(_)));
    }
}
