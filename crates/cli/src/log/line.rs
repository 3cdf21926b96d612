//! A line of the log as it is written: one line, of bounded length, without bytes that a terminal or a
//! reader takes for something else.
//!
//! Peers choose parts of some lines (paths, names). All lines pass here, so that none of them ends a
//! line early, moves a cursor or turns the order of the text round.

use std::{borrow::Cow, fmt::Write as _};

/// The longest line, in bytes.
pub(super) const MAX_LINE: usize = 8 * 1024;

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    /// Text with colours, for a terminal: its escape sequences are the formatter's own, which escapes
    /// those of the values.
    Coloured,
    /// A JSON object.
    Json,
}

/// The line, which ends with a line feed, as it may be written.
pub(super) fn clean(line: &[u8], form: Form) -> Cow<'_, [u8]> {
    let body = line.strip_suffix(b"\n").unwrap_or(line);
    let is_plain = body.iter().all(|byte| matches!(byte, b' '..=b'~'));
    if is_plain && body.len() < line.len() && line.len() <= MAX_LINE {
        return Cow::Borrowed(line);
    }
    let mut text = String::with_capacity(line.len() + 16);
    for char in String::from_utf8_lossy(body).chars() {
        match char {
            '\x1b' if form == Form::Coloured => text.push(char),
            char if !is_harmful(char) => text.push(char),
            // Writing to a string cannot fail. In JSON such a character stands inside of a string.
            char if form == Form::Json => drop(write!(text, "\\u{:04x}", u32::from(char))),
            char => drop(write!(text, "{}", char.escape_default())),
        }
    }
    cut(&mut text, form);
    text.push('\n');
    Cow::Owned(text.into_bytes())
}

/// Control characters, and those that change the direction of the text round them or cannot be seen.
/// All are in the basic plane, so that `\uXXXX` of JSON names them.
fn is_harmful(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{ad}' | '\u{61c}' | '\u{feff}' | '\u{200b}'..='\u{200f}')
        || matches!(char, '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
}

fn cut(text: &mut String, form: Form) {
    let length = text.len() + 1;
    if length <= MAX_LINE {
        return;
    }
    if form == Form::Json {
        *text = format!(
            r#"{{"level":"ERROR","message":"a line of the log is left out: it is too long","bytes":{length}}}"#
        );
        return;
    }
    text.truncate(text.floor_char_boundary(MAX_LINE - "…\n".len()));
    text.push('…');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cleaned(line: &str, form: Form) -> String {
        String::from_utf8(clean(line.as_bytes(), form).into_owned()).unwrap()
    }

    #[test]
    fn what_would_be_read_as_something_else_is_escaped() {
        let line = "a\u{1b}[31m b\nc\rd\u{202e}e\u{9b}f ü\n";
        assert_eq!(cleaned(line, Form::Text), "a\\u{1b}[31m b\\nc\\rd\\u{202e}e\\u{9b}f ü\n");
        assert_eq!(cleaned("\u{1b}[2mINFO\u{1b}[0m\n", Form::Coloured), "\u{1b}[2mINFO\u{1b}[0m\n");
        let json = cleaned("{\"path\":\"/\u{202e}\u{9b}\u{7f}\"}\n", Form::Json);
        assert_eq!(json, "{\"path\":\"/\\u202e\\u009b\\u007f\"}\n");
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["path"], "/\u{202e}\u{9b}\u{7f}");
    }

    #[test]
    fn long_lines_are_cut_and_json_stays_json() {
        let long = "ü".repeat(MAX_LINE) + "\n";
        let line = cleaned(&long, Form::Text);
        assert!(line.len() <= MAX_LINE && line.ends_with("ü…\n"), "{} bytes", line.len());
        let json = cleaned(&format!("{{\"x\":\"{}\"}}\n", "x".repeat(MAX_LINE)), Form::Json);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["bytes"], MAX_LINE as u64 + 9);
    }

    proptest! {
        #[test]
        fn every_line_is_one_line_of_bounded_length(
            line in proptest::collection::vec(any::<u8>(), 0..3 * MAX_LINE),
            form in prop_oneof![Just(Form::Text), Just(Form::Json)],
        ) {
            let cleaned = clean(&line, form);
            prop_assert!(cleaned.len() <= MAX_LINE && cleaned.ends_with(b"\n"));
            let text = std::str::from_utf8(&cleaned).unwrap();
            prop_assert!(!text[..text.len() - 1].chars().any(is_harmful));
        }
    }
}
