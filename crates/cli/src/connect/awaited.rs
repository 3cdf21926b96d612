//! What a script waits for: a number of messages, or one with a certain text.

use std::fmt;

/// What is still to come.
#[derive(Debug)]
pub(super) struct Awaited {
    /// What messages have to contain to count.
    text: Option<String>,
    /// How many messages; `None` where nothing is waited for.
    wanted: Option<u64>,
    come: u64,
}

impl Awaited {
    pub(super) fn new(text: Option<String>, count: Option<u64>) -> Self {
        let wanted = count.or(text.as_ref().map(|_| 1));
        Self { text, wanted, come: 0 }
    }

    /// Whether something is waited for.
    pub(super) fn is_set(&self) -> bool {
        self.wanted.is_some()
    }

    /// Whether all of it has come.
    pub(super) fn has_come(&self) -> bool {
        self.wanted.is_some_and(|wanted| self.come >= wanted)
    }

    /// Counts a message.
    pub(super) fn count(&mut self, payload: &[u8]) {
        let counts = match &self.text {
            Some(text) => text.is_empty() || contains(payload, text.as_bytes()),
            None => true,
        };
        self.come += u64::from(counts);
    }
}

fn contains(payload: &[u8], text: &[u8]) -> bool {
    payload.windows(text.len()).any(|window| window == text)
}

/// What has not come: `no message with "ready" came`, `2 of 3 messages came`.
impl fmt::Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.wanted.unwrap_or_default(), self.come) {
            (1, _) => f.write_str("no message")?,
            (wanted, come) => write!(f, "{come} of {wanted} messages")?,
        }
        if let Some(text) = &self.text {
            write!(f, " with {text:?}")?;
        }
        f.write_str(" came")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(text: Option<&str>, count: Option<u64>, messages: &[&str]) -> Awaited {
        let mut awaited = Awaited::new(text.map(str::to_owned), count);
        for message in messages {
            awaited.count(message.as_bytes());
        }
        awaited
    }

    #[test]
    fn messages_count_that_contain_the_text() {
        assert!(!after(None, None, &["a"]).is_set());
        assert!(after(None, Some(2), &["a", "b"]).has_come());
        assert!(after(Some("ready"), None, &["no", "it is ready."]).has_come());
        assert!(after(Some(""), None, &["a"]).has_come());
        let missing = after(Some("ready"), None, &["rea", "dy"]);
        assert!(missing.is_set() && !missing.has_come());
        assert_eq!(missing.to_string(), "no message with \"ready\" came");
        let missing = after(Some("x"), Some(3), &["x", "y", "xx"]);
        assert_eq!(missing.to_string(), "2 of 3 messages with \"x\" came");
        assert_eq!(after(None, Some(1), &[]).to_string(), "no message came");
    }
}
