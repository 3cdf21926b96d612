//! JSON as channels take it: checked once, in one pass, before it is kept as it came.
//!
//! A message stands inside the answers that carry it, so one that a reader's parser refuses makes
//! the whole answer unreadable. Therefore nesting has a limit that common parsers stay below, and an
//! escape that stands for no character is refused (RFC 7493 §2.1). Numbers of any size and repeated
//! member names pass: parsers read them, each in its own way (RFC 8259 §4, §6).

use std::fmt::{self, Display, Formatter};

/// One JSON value (RFC 8259) that every reader can parse: nested at most [`MAX_DEPTH`] deep, and
/// without unpaired surrogates in its strings and member names.
///
/// [`MAX_DEPTH`]: Self::MAX_DEPTH
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Json<'a>(&'a str);

/// Why a text is not JSON, or not JSON that a channel takes, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{defect} at line {line} column {column}")]
pub struct BadJson {
    defect: Defect,
    line: usize,
    column: usize,
}

/// What is wrong with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Defect {
    TooDeep { limit: usize },
    UnpairedSurrogate,
    Expected(&'static str),
}

impl<'a> Json<'a> {
    /// How deeply arrays and objects may be nested in each other.
    pub const MAX_DEPTH: usize = 100;

    /// Checks a text.
    ///
    /// # Errors
    ///
    /// [`BadJson`] if it is not exactly one JSON value, is nested deeper than
    /// [`MAX_DEPTH`](Self::MAX_DEPTH), or has an escaped surrogate without its other half.
    pub fn parse(text: &'a str) -> Result<Self, BadJson> {
        Self::parse_within(text, Self::MAX_DEPTH)
    }

    /// Checks a text that may be nested `max_depth` deep: an envelope around a message.
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse).
    ///
    /// # Panics
    ///
    /// If `max_depth` is greater than 128.
    pub fn parse_within(text: &'a str, max_depth: usize) -> Result<Self, BadJson> {
        assert!(max_depth <= Nesting::CAPACITY, "no limit above {}", Nesting::CAPACITY);
        let mut check = Check { bytes: text.as_bytes(), at: 0, nesting: Nesting::default() };
        match check.text(max_depth) {
            Ok(()) => Ok(Self(text)),
            Err(defect) => Err(BadJson::new(defect, check.bytes, check.at)),
        }
    }

    /// JSON that has been checked before it was kept.
    pub(crate) fn kept(text: &'a str) -> Self {
        Self(text)
    }

    /// The value as it came.
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

impl BadJson {
    fn new(defect: Defect, bytes: &[u8], at: usize) -> Self {
        let before = &bytes[..at];
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        Self { defect, line, column: at - line_start + 1 }
    }

    /// In which line the defect is, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// At which byte of its line the defect is, from 1.
    pub fn column(&self) -> usize {
        self.column
    }
}

impl Display for Defect {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooDeep { limit } => write!(f, "nested more than {limit} deep"),
            Self::UnpairedSurrogate => f.write_str("an unpaired surrogate"),
            Self::Expected(what) => write!(f, "expected {what}"),
        }
    }
}

/// Arrays and objects that are open: a bit for each, set for an object.
#[derive(Default)]
struct Nesting {
    depth: usize,
    objects: u128,
}

impl Nesting {
    const CAPACITY: usize = u128::BITS as usize;

    fn open(&mut self, is_object: bool) {
        self.objects = self.objects << 1 | u128::from(is_object);
        self.depth += 1;
    }

    fn close(&mut self) {
        self.objects >>= 1;
        self.depth -= 1;
    }

    fn is_in_object(&self) -> bool {
        self.objects & 1 == 1
    }
}

/// A pass over a text. `at` is where it is or, after an error, where the defect is.
struct Check<'a> {
    bytes: &'a [u8],
    at: usize,
    nesting: Nesting,
}

impl Check<'_> {
    /// One value, and nothing else. It takes no recursion: depth costs a bit.
    fn text(&mut self, max_depth: usize) -> Result<(), Defect> {
        loop {
            if !self.opens(max_depth)? {
                self.scalar()?;
            }
            if !self.next_value()? {
                return Ok(());
            }
        }
    }

    /// Steps into arrays and objects as long as a first value is in them. `false` means that a
    /// scalar is next; `true`, that what was opened last is empty and closed again.
    fn opens(&mut self, max_depth: usize) -> Result<bool, Defect> {
        loop {
            self.skip_space();
            let is_object = match self.peek() {
                Some(b'{') => true,
                Some(b'[') => false,
                _ => return Ok(false),
            };
            if self.nesting.depth == max_depth {
                return Err(Defect::TooDeep { limit: max_depth });
            }
            self.at += 1;
            self.nesting.open(is_object);
            self.skip_space();
            match self.peek() {
                Some(b'}') if is_object => {}
                Some(b']') if !is_object => {}
                _ if is_object => {
                    self.member_name()?;
                    continue;
                }
                _ => continue,
            }
            self.at += 1;
            self.nesting.close();
            return Ok(true);
        }
    }

    /// Steps from the end of a value to the next one, which `true` says there is.
    fn next_value(&mut self) -> Result<bool, Defect> {
        loop {
            self.skip_space();
            let byte = self.peek();
            if self.nesting.depth == 0 {
                return if byte.is_none() { Ok(false) } else { Err(Defect::Expected("the end")) };
            }
            match (self.nesting.is_in_object(), byte) {
                (true, Some(b'}')) | (false, Some(b']')) => {
                    self.at += 1;
                    self.nesting.close();
                }
                (is_object, Some(b',')) => {
                    self.at += 1;
                    if is_object {
                        self.skip_space();
                        self.member_name()?;
                    }
                    return Ok(true);
                }
                (true, _) => return Err(Defect::Expected("`,` or `}`")),
                (false, _) => return Err(Defect::Expected("`,` or `]`")),
            }
        }
    }

    fn member_name(&mut self) -> Result<(), Defect> {
        if !self.takes(b'"') {
            return Err(Defect::Expected("a member's name in double quotes"));
        }
        self.string_content()?;
        self.skip_space();
        if self.takes(b':') { Ok(()) } else { Err(Defect::Expected("`:`")) }
    }

    fn scalar(&mut self) -> Result<(), Defect> {
        match self.peek() {
            Some(b'"') => {
                self.at += 1;
                self.string_content()
            }
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal("true"),
            Some(b'f') => self.literal("false"),
            Some(b'n') => self.literal("null"),
            _ => Err(Defect::Expected("a value")),
        }
    }

    fn literal(&mut self, word: &'static str) -> Result<(), Defect> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return Err(Defect::Expected("a value"));
        }
        self.at += word.len();
        Ok(())
    }

    fn number(&mut self) -> Result<(), Defect> {
        self.takes(b'-');
        if !self.takes(b'0') {
            self.digits()?;
        }
        if self.takes(b'.') {
            self.digits()?;
        }
        if self.takes(b'e') || self.takes(b'E') {
            if !self.takes(b'+') {
                self.takes(b'-');
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Defect> {
        let rest = &self.bytes[self.at..];
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count > 0 { Ok(()) } else { Err(Defect::Expected("a digit")) }
    }

    /// The rest of a string, with the `"` that ends it.
    fn string_content(&mut self) -> Result<(), Defect> {
        loop {
            let rest = &self.bytes[self.at..];
            let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1f);
            self.at += rest.iter().position(is_special).unwrap_or(rest.len());
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(Defect::Expected("control characters as escapes")),
                None => return Err(Defect::Expected("the string to end")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Defect> {
        let start = self.at;
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 1;
                return Ok(());
            }
            Some(b'u') => self.at += 1,
            _ => return Err(Defect::Expected("an escape")),
        }
        let unit = self.code_unit()?;
        // A leading surrogate stands for a character together with the trailing one after it.
        let is_paired = match unit {
            0xd800..=0xdbff => {
                self.takes(b'\\')
                    && self.takes(b'u')
                    && (0xdc00..=0xdfff).contains(&self.code_unit()?)
            }
            0xdc00..=0xdfff => false,
            _ => true,
        };
        if !is_paired {
            self.at = start;
            return Err(Defect::UnpairedSurrogate);
        }
        Ok(())
    }

    /// The four digits of an escape.
    fn code_unit(&mut self) -> Result<u16, Defect> {
        let digits = self.bytes.get(self.at..self.at + 4).and_then(|digits| {
            digits.iter().try_fold(0, |unit: u16, byte| {
                let digit = char::from(*byte).to_digit(16)?;
                Some(unit << 4 | digit as u16)
            })
        });
        let unit = digits.ok_or(Defect::Expected("four hexadecimal digits"))?;
        self.at += 4;
        Ok(unit)
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn takes(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    fn nested(depth: usize) -> [String; 2] {
        let arrays = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let objects = format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        [arrays, objects]
    }

    /// The same limits as [`Json`], found by other means.
    fn is_within_limits(text: &str) -> bool {
        let depth = text.bytes().scan((0_usize, false, false), |(depth, quoted, escaped), byte| {
            match (*quoted, *escaped, byte) {
                (true, true, _) => *escaped = false,
                (true, false, b'\\') => *escaped = true,
                (_, _, b'"') => *quoted = !*quoted,
                (false, _, b'[' | b'{') => *depth += 1,
                (false, _, b']' | b'}') => *depth = depth.saturating_sub(1),
                _ => {}
            }
            Some(*depth)
        });
        let is_flat = depth.max().unwrap_or(0) <= Json::MAX_DEPTH;
        // Reading into values decodes every escape.
        is_flat && serde_json::from_str::<serde_json::Value>(text).is_ok()
    }

    /// JSON, parts of it, and what is nearly JSON.
    fn nearly_json() -> impl Strategy<Value = String> {
        let token = prop_oneof![
            "[\\[\\]{}:, \n]{1,4}",
            "-?[0-9]{1,3}(\\.[0-9]{0,2})?",
            "\"(a|\\\\[\"\\\\/bfnrtux]|\\\\u[dD][89a-fA-F]|\\\\u[0-9a-f]{3,4}|[0-9a-f]|\u{1}|é){0,6}\"?",
            prop::sample::select(vec![
                "true",
                "false",
                "null",
                "nul",
                "[[[[[[[[[[[[[[[[",
                "\"k\":"
            ])
            .prop_map(str::to_owned),
        ];
        prop::collection::vec(token, 0..10).prop_map(|tokens| tokens.concat())
    }

    fn valid_json() -> impl Strategy<Value = String> {
        let scalar = prop_oneof![
            prop::sample::select(vec!["null", "true", "false", "-0.0e-7", "\"\\ud83d\\uDC1f\""])
                .prop_map(str::to_owned),
            "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,9})?([eE][-+]?[0-9]{1,2})?",
            any::<String>().prop_map(|text| serde_json::json!(text).to_string()),
        ];
        scalar.prop_recursive(8, 40, 5, |value| {
            let member = (any::<String>(), value.clone());
            let member = member.prop_map(|(k, v)| format!("{} :\t{v}", serde_json::json!(k)));
            prop_oneof![
                prop::collection::vec(value, 0..5)
                    .prop_map(|list| format!("[{}]", list.join(" ,"))),
                prop::collection::vec(member, 0..5)
                    .prop_map(|l| format!("{{\r{}}}", l.join(",\n"))),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]

        #[test]
        fn what_is_taken_is_json_within_the_limits(text in nearly_json()) {
            let is_taken = Json::parse(&text).is_ok();
            prop_assert_eq!(is_taken, is_within_limits(&text), "{}", text);
        }

        #[test]
        fn all_json_within_the_limits_is_taken(text in valid_json()) {
            prop_assert_eq!(Json::parse(&text), Ok(Json(&text)));
        }

        #[test]
        fn a_byte_more_or_less_is_judged_as_others_judge_it(
            text in valid_json(), cut in any::<prop::sample::Index>(), extra in any::<char>(),
        ) {
            let cut = text.floor_char_boundary(cut.index(text.len()));
            let (head, tail) = text.split_at(cut);
            for text in [head.to_owned(), format!("{head}{extra}{tail}")] {
                // A number may become one that no double holds, which is still JSON.
                let is_json = serde_json::from_str::<&RawValue>(&text).is_ok();
                match Json::parse(&text) {
                    Ok(_) => prop_assert!(is_json, "{}", text),
                    Err(BadJson { defect: Defect::UnpairedSurrogate, .. }) => {}
                    Err(_) => prop_assert!(!is_json, "{}", text),
                }
            }
        }
    }

    #[test]
    fn a_hundred_deep_passes_and_one_deeper_does_not() {
        for text in nested(Json::MAX_DEPTH) {
            assert!(Json::parse(&text).is_ok(), "{text}");
        }
        for (text, column) in nested(Json::MAX_DEPTH + 1).iter().zip([101, 501]) {
            let bad = Json::parse(text).unwrap_err();
            assert_eq!(
                bad.to_string(),
                format!("nested more than 100 deep at line 1 column {column}")
            );
        }
        for text in nested(1_000_000) {
            assert!(Json::parse(&text).is_err(), "and depth costs no stack");
        }
        let [deepest, _] = nested(Nesting::CAPACITY);
        assert!(Json::parse_within(&deepest, Nesting::CAPACITY).is_ok());
    }

    #[test]
    fn surrogates_come_in_pairs() {
        for paired in [r#""\ud83d\udc1f""#, r#"{"\uD83D\uDC1F":"\u0000\ud7ff\ue000"}"#] {
            assert!(Json::parse(paired).is_ok(), "{paired}");
        }
        let unpaired = [
            (r#""\ud800""#, 2),
            (r#""\udfff""#, 2),
            (r#""a\udc1f\ud83d""#, 3),
            (r#""\ud83d\ud83d\udc1f""#, 2),
            (r#""\ud83d\n""#, 2),
            (r#""\ud83dx""#, 2),
            (r#"[{"b":1,"\udbff":2}]"#, 10),
        ];
        for (text, column) in unpaired {
            let bad = Json::parse(text).unwrap_err();
            assert_eq!((bad.defect, bad.column()), (Defect::UnpairedSurrogate, column), "{text}");
        }
    }

    #[test]
    fn a_defect_is_told_with_its_place() {
        let defects = [
            ("", "expected a value at line 1 column 1"),
            ("{\"a\":1,}", "expected a member's name in double quotes at line 1 column 8"),
            ("[1,\n 2\n  3]", "expected `,` or `]` at line 3 column 3"),
            ("{\"é\" 1}", "expected `:` at line 1 column 7"),
            ("01", "expected the end at line 1 column 2"),
            ("[1.]", "expected a digit at line 1 column 4"),
            ("\"a\tb\"", "expected control characters as escapes at line 1 column 3"),
            ("\"\\u12g4\"", "expected four hexadecimal digits at line 1 column 4"),
            ("\"a", "expected the string to end at line 1 column 3"),
        ];
        for (text, told) in defects {
            assert_eq!(Json::parse(text).unwrap_err().to_string(), told, "{text}");
        }
    }
}
