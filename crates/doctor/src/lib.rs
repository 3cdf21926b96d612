//! Does a live connection work from here, through whatever is in between? One check after the other: the
//! name, each address, TLS and its certificate, HTTP, WebSockets over HTTP/1.1 and HTTP/2, Server-Sent Events,
//! long polls, and how long a connection lives on which nothing is said.
//!
//! - [`examine`] makes the checks on a [`Target`] and tells each [`Finding`] as soon as there is one.
//! - [`Report`] has all of them, for people ([`Report::to_text`]) and for programs ([`Report::to_json`]).
//!
//! Nothing is published, and no message is sent: Pings, Close and requests that read, nothing else. Whatever
//! the server answers, a check takes bounded time and memory.
//!
//! | file or folder | |
//! |---|---|
//! | `run` | which checks are made, in which order |
//! | `checks` | the checks, a file for each subject |
//! | `exam` | what all checks use: the target, the options, where findings go |
//! | `report` | the findings as text and as JSON |
//! | `link` | connections whose bytes are watched, and requests on them |
//! | `target`, `finding`, `span` | what is examined; what was found; spans of time for people |

#![forbid(unsafe_code)]

mod checks;
mod exam;
mod finding;
mod link;
mod report;
mod run;
mod span;
mod target;

pub use exam::{ExamEvent, Options};
pub use finding::{Check, Finding, Verdict};
pub use report::Report;
pub use run::examine;
pub use target::{Explain, Target, Via};
