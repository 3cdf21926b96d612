//! What the application says.

use std::{sync::Arc, time::Duration};

use serde::Deserialize;
use sockeye_server::Decision;

/// The longest that an answer is used.
const LONGEST: f64 = 365.0 * 86_400.0;
/// The longest name of a caller, in bytes, as that of a token: it is kept with the answer.
pub(super) const MAX_SUBJECT: usize = 255;

/// An answer to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) is_allowed: bool,
    /// The caller's name.
    pub(super) subject: Option<Arc<str>>,
    pub(super) good_for: Duration,
}

impl Answer {
    /// The answer in this body.
    ///
    /// # Errors
    ///
    /// What is wrong with it, without a word of it: it may repeat what was asked.
    pub(super) fn of(body: &[u8]) -> Result<Self, &'static str> {
        #[derive(Deserialize)]
        struct Said {
            allow: bool,
            subject: Option<String>,
            good_for: Option<f64>,
        }
        let Said { allow, subject, good_for } =
            serde_json::from_slice(body).map_err(|_| "its answer is not JSON with `allow`")?;
        if subject.as_ref().is_some_and(|subject| subject.len() > MAX_SUBJECT) {
            return Err("the `subject` of its answer is too long");
        }
        let good_for = match good_for {
            Some(seconds) => Duration::try_from_secs_f64(seconds.min(LONGEST))
                .map_err(|_| "the `good_for` of its answer is not a number of seconds")?,
            None if allow => Decision::GOOD_FOR,
            None => Duration::ZERO,
        };
        Ok(Self { is_allowed: allow, subject: subject.map(Into::into), good_for })
    }

    /// A plain no.
    pub(super) fn no() -> Self {
        Self { is_allowed: false, subject: None, good_for: Duration::ZERO }
    }
}
