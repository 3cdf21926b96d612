//! `Sec-WebSocket-Extensions`: names with parameters (RFC 6455 §9.1).

use alloc::{borrow::ToOwned, string::String, vec::Vec};
use core::fmt;

use crate::token::{is_token, is_token_byte};

/// An extension, as offered or as agreed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    /// Its registered name, such as `permessage-deflate`.
    pub name: String,
    /// Its parameters in order, each with or without a value; quotes are taken off.
    pub parameters: Vec<(String, Option<String>)>,
}

/// `Sec-WebSocket-Extensions` is not a list of extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not a list of extensions")]
pub struct InvalidExtensions;

impl Extension {
    /// Reads the field's values, one for each of its lines, as one list.
    ///
    /// # Errors
    ///
    /// Any error in the list is an error of the whole (RFC 6455 §9.1).
    pub fn parse_list<'a>(
        lines: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Vec<Self>, InvalidExtensions> {
        let mut extensions = Vec::new();
        for line in lines {
            // Tokens are ASCII, and quoted values are tokens, too.
            let line = core::str::from_utf8(line).ok().filter(|line| line.is_ascii());
            let mut scanner = Scanner { rest: line.ok_or(InvalidExtensions)? };
            while scanner.skip_commas() {
                extensions.push(scanner.extension()?);
            }
        }
        Ok(extensions)
    }

    /// Those of a request or a response.
    #[cfg(feature = "std")]
    pub(super) fn of_headers(headers: &http::HeaderMap) -> Result<Vec<Self>, InvalidExtensions> {
        let lines = headers.get_all(http::header::SEC_WEBSOCKET_EXTENSIONS);
        Self::parse_list(lines.iter().map(http::HeaderValue::as_bytes))
    }
}

impl fmt::Display for Extension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        for (name, value) in &self.parameters {
            write!(f, "; {name}")?;
            if let Some(value) = value {
                write!(f, "={value}")?;
            }
        }
        Ok(())
    }
}

/// What is left of a line, in ASCII.
struct Scanner<'a> {
    rest: &'a str,
}

impl Scanner<'_> {
    /// Goes to the next element of the list; false at its end.
    fn skip_commas(&mut self) -> bool {
        loop {
            self.skip_space();
            if !self.take(b',') {
                return !self.rest.is_empty();
            }
        }
    }

    fn extension(&mut self) -> Result<Extension, InvalidExtensions> {
        let name = self.token()?;
        let mut parameters = Vec::new();
        loop {
            self.skip_space();
            if !self.take(b';') {
                break;
            }
            self.skip_space();
            let name = self.token()?;
            self.skip_space();
            let value = if self.take(b'=') {
                self.skip_space();
                Some(if self.take(b'"') { self.quoted()? } else { self.token()? })
            } else {
                None
            };
            parameters.push((name, value));
        }
        match self.rest.as_bytes().first() {
            None | Some(b',') => Ok(Extension { name, parameters }),
            Some(_) => Err(InvalidExtensions),
        }
    }

    fn token(&mut self) -> Result<String, InvalidExtensions> {
        let end = self.rest.bytes().position(|byte| !is_token_byte(byte));
        let (token, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        if token.is_empty() { Err(InvalidExtensions) } else { Ok(token.to_owned()) }
    }

    /// A quoted string, which must be a token once its quotes and escapes are gone (W51).
    fn quoted(&mut self) -> Result<String, InvalidExtensions> {
        let mut value = String::new();
        loop {
            match self.next().ok_or(InvalidExtensions)? {
                '"' => break,
                '\\' => value.push(self.next().ok_or(InvalidExtensions)?),
                character => value.push(character),
            }
        }
        if is_token(&value) { Ok(value) } else { Err(InvalidExtensions) }
    }

    fn skip_space(&mut self) {
        while self.take(b' ') || self.take(b'\t') {}
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_next = self.rest.as_bytes().first() == Some(&byte);
        if is_next {
            self.rest = &self.rest[1..];
        }
        is_next
    }

    fn next(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let next = characters.next();
        self.rest = characters.as_str();
        next
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(lines: &[&[u8]]) -> Result<Vec<String>, InvalidExtensions> {
        let extensions = Extension::parse_list(lines.iter().copied())?;
        Ok(extensions.iter().map(ToString::to_string).collect())
    }

    /// Rule: W116.
    #[test]
    fn offers_come_in_lists_and_on_several_lines() {
        let parsed = parse(&[b"a; x; y = 1 ,, b", b" c;z=\"10\""]).unwrap();
        assert_eq!(parsed, ["a; x; y=1", "b", "c; z=10"]);
        assert_eq!(parse(&[b""]).unwrap(), [""; 0]);
    }

    /// Rule: W51.
    #[test]
    fn a_quoted_value_must_be_a_token_inside() {
        assert_eq!(parse(&[br#"a; b="c\d""#]).unwrap(), ["a; b=cd"]);
        for bad in [&br#"a; b="c d""#[..], br#"a; b="""#, br#"a; b="c"#, br#"a; b="c\"#] {
            assert_eq!(parse(&[bad]), Err(InvalidExtensions), "{}", String::from_utf8_lossy(bad));
        }
    }

    /// Rule: W115.
    #[test]
    fn what_is_not_a_list_of_extensions_is_an_error() {
        for bad in ["a b", "a;", "a; =1", "a; b=", "=", ";", "a; b c", "\"a\"", "a;;b", "a/b", "é"]
        {
            assert_eq!(parse(&[b"ok", bad.as_bytes()]), Err(InvalidExtensions), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_value_is_parsed_or_refused_and_reads_back(line in "[ -~]{0,60}") {
            if let Ok(parsed) = parse(&[line.as_bytes()]) {
                let joined = parsed.join(", ");
                prop_assert_eq!(parse(&[joined.as_bytes()]), Ok(parsed));
            }
        }
    }
}
