//! What a case finds.

use crate::{
    case::Level,
    link::{Link, Mistake},
    trace::Trace,
};

/// What a peer is, as far as one case can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it has to be.
    Passed,
    /// Nothing is demanded here: this is what the peer does.
    Information,
    /// Could not be tried.
    NotJudged,
    /// A SHOULD, or lenient where a strict peer is safer.
    Loose,
    /// A MUST.
    Broken,
}

impl Verdict {
    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Information => "information",
            Self::NotJudged => "not judged",
            Self::Loose => "loose",
            Self::Broken => "broken",
        }
    }

    /// Whether it is about the peer's fault.
    #[must_use]
    pub fn is_fault(self) -> bool {
        matches!(self, Self::Loose | Self::Broken)
    }
}

/// A verdict with what came, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ruling {
    pub(crate) verdict: Verdict,
    pub(crate) came: String,
}

impl Ruling {
    pub(crate) fn passed(came: impl Into<String>) -> Self {
        Self { verdict: Verdict::Passed, came: came.into() }
    }

    pub(crate) fn information(came: impl Into<String>) -> Self {
        Self { verdict: Verdict::Information, came: came.into() }
    }

    pub(crate) fn loose(came: impl Into<String>) -> Self {
        Self { verdict: Verdict::Loose, came: came.into() }
    }

    pub(crate) fn not_judged(why: impl Into<String>) -> Self {
        Self { verdict: Verdict::NotJudged, came: why.into() }
    }

    /// Where nothing is demanded, nothing is loose.
    pub(crate) fn of_level(mut self, level: Level) -> Self {
        if level == Level::May && self.verdict == Verdict::Loose {
            self.verdict = Verdict::Information;
        }
        self
    }

    /// Against the rule of a case.
    pub(crate) fn against(level: Level, came: impl Into<String>) -> Self {
        let verdict = match level {
            Level::Must => Verdict::Broken,
            Level::Should => Verdict::Loose,
            Level::May => Verdict::Information,
        };
        Self { verdict, came: came.into() }
    }
}

const FLOODS: &str = "the peer sends without end";

/// A ruling, and what it was made of.
#[derive(Clone, Debug)]
pub(crate) struct Judged {
    pub(crate) ruling: Ruling,
    pub(crate) trace: Trace,
    pub(crate) mistakes: Vec<Mistake>,
    /// The `Sec-WebSocket-Key` of a client's request.
    pub(crate) key: Option<String>,
}

impl Judged {
    /// A ruling without a connection.
    pub(crate) fn from_ruling(ruling: Ruling) -> Self {
        Self { ruling, trace: Trace::default(), mistakes: Vec::new(), key: None }
    }

    /// A ruling on what went over this connection. There is none where the peer has sent without end: its
    /// answer may be behind all that.
    pub(crate) fn of(link: Link, ruling: Ruling) -> Self {
        let ruling = if link.is_flooded() { Ruling::not_judged(FLOODS) } else { ruling };
        let Link { trace, mistakes, key, .. } = link;
        Self { ruling, trace, mistakes, key }
    }
}
