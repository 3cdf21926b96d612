//! Names of people and programs, as presence, `/connections` and the log show them.

/// Whether a name has no character that changes how the text around it is shown: none that controls a
/// terminal, breaks a line, or turns the direction of text (Unicode `Bidi_Control`, UAX #9).
///
/// A name with such characters, or a log line with it, would be read as something else than it is.
pub(super) fn is_shown_as_it_is(name: &str) -> bool {
    !name.chars().any(|char| char.is_control() || breaks_line(char) || is_bidi_control(char))
}

/// Those that are not control characters already.
fn breaks_line(char: char) -> bool {
    matches!(char, '\u{2028}' | '\u{2029}')
}

fn is_bidi_control(char: char) -> bool {
    matches!(
        char,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}
