//! What a run has found.

mod baseline;
mod groups;
mod html;
mod junit;
mod text;

use std::time::Duration;

use serde_json::{Value, json};

pub use self::baseline::Baseline;
use crate::{
    case::{Case, CloseRule, Expect, Level, Look},
    probe::Abilities,
    trace::Trace,
    verdict::{Ruling, Verdict},
};

/// What one case has found.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The case's id, as `framing/rsv2-text`.
    pub id: String,
    /// Where its rule is.
    pub section: &'static str,
    /// What was tried.
    pub title: String,
    /// What has to come.
    pub expected: String,
    /// What is at stake, for a reader that does not know the standards.
    pub why: &'static str,
    /// What the peer is.
    pub verdict: Verdict,
    /// What came, or why the case was not judged.
    pub came: String,
    /// Whether a baseline has it: it is known.
    pub is_known: bool,
    /// The bytes.
    pub trace: Trace,
}

impl Outcome {
    pub(crate) fn new(case: &Case, ruling: Ruling, trace: Trace) -> Self {
        Self {
            id: case.id.clone(),
            section: case.section,
            title: case.title.clone(),
            expected: expected(case),
            why: why(case),
            verdict: ruling.verdict,
            came: ruling.came,
            is_known: false,
            trace,
        }
    }

    pub(crate) fn rule(&mut self, ruling: Ruling) {
        (self.verdict, self.came) = (ruling.verdict, ruling.came);
    }

    /// The chapter that its case is of.
    #[must_use]
    pub fn chapter(&self) -> &str {
        self.id.split('/').next().unwrap_or_default()
    }
}

/// What a case expects, in words.
fn expected(case: &Case) -> String {
    let what = match &case.expect {
        Expect::Opens => "the WebSocket opens and answers a Ping".to_owned(),
        Expect::Refuses => "the handshake is refused".to_owned(),
        Expect::RefusesNaming(name, value) => {
            format!("the handshake is refused, with {name}: {value}")
        }
        Expect::Response(look) => looked_for(*look).to_owned(),
        Expect::Echo(messages) => match messages.len() {
            1 => "the message comes back".to_owned(),
            count => format!("{count} messages come back"),
        },
        Expect::Pongs(_) => "a Pong with the payload of the Ping".to_owned(),
        Expect::Fails(codes) => {
            let codes: Vec<_> = codes.iter().map(ToString::to_string).collect();
            format!("the connection fails, with {} in a Close", codes.join(" or "))
        }
        Expect::ClosesWith(CloseRule::Code(code)) => format!("a Close with {code}, and the end"),
        Expect::ClosesWith(_) => "a Close, and the end of the connection".to_owned(),
        Expect::EndsWithin(seconds) => format!("the connection ends within {seconds} s"),
        Expect::EndsAfterClose(seconds) => {
            format!("a Close, and the end within {seconds} s although it is not answered")
        }
        Expect::Survives => "a new connection opens and answers".to_owned(),
        Expect::Beside => "another WebSocket on the connection opens and answers".to_owned(),
        Expect::Window(most) => format!("compression that refers at most {most} bytes back"),
        Expect::Never(what) => format!("never {what}"),
    };
    let level = match case.level {
        Level::Must => "MUST",
        Level::Should => "SHOULD",
        Level::May => "MAY",
    };
    format!("{level}: {what}")
}

/// What is at stake.
fn why(case: &Case) -> &'static str {
    match &case.expect {
        Expect::Opens | Expect::Response(_) => {
            "This is how a correct peer opens a WebSocket, or answers. Where it does not work, some programs \
             cannot connect, or take something else for a WebSocket."
        }
        Expect::Refuses | Expect::RefusesNaming(..) => {
            "No correct peer opens a WebSocket so. Taking it for one lets pages and programs that speak \
             something else through, and hides their mistakes."
        }
        Expect::Echo(_) | Expect::Window(_) => {
            "The messages are right. An application that is sent them gets something else, or nothing."
        }
        Expect::Pongs(_) => "A peer whose Pings are not answered takes the connection for dead.",
        Expect::Fails(_) => {
            "This must not be sent. From here on the two ends may read the rest differently, so the safe way \
             is to end the connection, and to say why with a code."
        }
        Expect::ClosesWith(_) => {
            "The other end waits for this answer: without it, it cannot tell whether everything has arrived."
        }
        Expect::EndsWithin(_) | Expect::EndsAfterClose(_) => {
            "A connection that is not used any more holds memory and a slot. Enough of them stop a server."
        }
        Expect::Survives | Expect::Beside => "One client takes the service away from others.",
        Expect::Never(_) => "A correct peer that is sent this ends the connection.",
    }
}

fn looked_for(look: Look) -> &'static str {
    match look {
        Look::Accept => "101 with the Sec-WebSocket-Accept of the key",
        Look::Upgrade => "Upgrade: websocket",
        Look::Connection => "Connection: Upgrade",
        Look::StatusLine => "a status line of HTTP/1.1",
        Look::Subprotocol => "no subprotocol, or one that was offered",
        Look::Extensions => "no extension that was not offered",
        Look::Deflate => "parameters that answer the offer",
        Look::Declines => "the offer is declined",
        Look::Accepts => "the offer is accepted",
        Look::NoBody => "no field of a body",
    }
}

/// How many cases have which verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// As they have to be.
    pub passed: usize,
    /// Against a MUST.
    pub broken: usize,
    /// Against a SHOULD, or lenient.
    pub loose: usize,
    /// What the peer does where nothing is demanded.
    pub information: usize,
    /// Not tried.
    pub not_judged: usize,
    /// Broken or loose, and in the baseline.
    pub known: usize,
}

/// All that was found.
#[derive(Clone, Debug)]
pub struct Report {
    /// What the peer does.
    pub abilities: Abilities,
    /// One for each case, in the order of the chapters.
    pub outcomes: Vec<Outcome>,
    /// How long it took.
    pub took: Duration,
    /// Whether it was ended before all cases were judged.
    pub is_interrupted: bool,
}

impl Report {
    pub(crate) fn new(
        abilities: Abilities,
        outcomes: Vec<Outcome>,
        took: Duration,
        is_interrupted: bool,
    ) -> Self {
        Self { abilities, outcomes, took, is_interrupted }
    }

    /// Whether a MUST is broken that the baseline does not have.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.outcomes.iter().any(|outcome| outcome.verdict == Verdict::Broken && !outcome.is_known)
    }

    /// How many have which verdict.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for outcome in &self.outcomes {
            let count = match outcome.verdict {
                _ if outcome.is_known => &mut counts.known,
                Verdict::Passed => &mut counts.passed,
                Verdict::Broken => &mut counts.broken,
                Verdict::Loose => &mut counts.loose,
                Verdict::Information => &mut counts.information,
                Verdict::NotJudged => &mut counts.not_judged,
            };
            *count += 1;
        }
        counts
    }

    /// Everything, for programs.
    #[must_use]
    pub fn to_json(&self, peer: &str) -> Value {
        let counts = self.counts();
        let case = |outcome: &Outcome| {
            json!({
                "id": outcome.id,
                "section": outcome.section,
                "title": outcome.title,
                "expected": outcome.expected,
                "why": outcome.why,
                "verdict": outcome.verdict.name(),
                "came": outcome.came,
                "known": outcome.is_known,
                "bytes": outcome.trace.to_json(),
            })
        };
        json!({
            "peer": peer,
            "seconds": self.took.as_secs_f64(),
            "interrupted": self.is_interrupted,
            "echoes": self.abilities.echoes,
            "compresses": self.abilities.deflates,
            "counts": {
                "passed": counts.passed,
                "broken": counts.broken,
                "loose": counts.loose,
                "information": counts.information,
                "not_judged": counts.not_judged,
                "known": counts.known,
            },
            "cases": self.outcomes.iter().map(case).collect::<Vec<_>>(),
        })
    }
}
