//! An application that decides, as its authors would write it: a small HTTP server with sessions.

use std::io::{BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use sockeye_tests::tls::Certificates;
use sockeye_tests::webhook::{Posted, Stream, listen};

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Answers,
    /// It does not know callers without credentials.
    NeedsCredentials,
    /// Every session has ended.
    KnowsNobody,
    /// No caller has a right.
    Refuses,
    /// The same, by a status.
    RefusesByStatus,
    /// It takes other credentials for those of bob.
    SaysBob,
    Fails,
    Redirects,
    /// Not in JSON.
    Babbles,
    /// Yes, and a megabyte more.
    TalksTooMuch,
    HangsUp,
    IsSilent,
    /// The same, to those with a name that begins so.
    LeavesStrangers,
}

/// Knows the cookie `session=NAME` and the token `NAME-token`. NAME has all rights on `orders:NAME`, and reads
/// `news`; `public` is for those without credentials, too.
pub(super) struct App {
    address: SocketAddr,
    secure: &'static str,
    inner: Arc<Inner>,
}

struct Inner {
    mood: Mutex<Mood>,
    /// For how long a yes is good, in seconds.
    good_for: f64,
    asked: Mutex<Vec<Posted>>,
    connections: AtomicUsize,
}

impl App {
    pub(super) fn start(good_for: f64) -> Self {
        Self::serve(good_for, None)
    }

    pub(super) fn with_tls(certificates: &Certificates) -> Self {
        Self::serve(60.0, Some(certificates))
    }

    fn serve(good_for: f64, tls: Option<&Certificates>) -> Self {
        let (mood, asked) = (Mutex::new(Mood::Answers), Mutex::default());
        let inner = Arc::new(Inner { mood, good_for, asked, connections: AtomicUsize::new(0) });
        let shared = Arc::clone(&inner);
        let address = listen(tls, move |stream| {
            shared.connections.fetch_add(1, Ordering::SeqCst);
            shared.answer_all(stream);
        });
        let secure = if tls.is_some() { "s" } else { "" };
        Self { address, secure, inner }
    }

    pub(super) fn url(&self) -> String {
        format!("http{}://{}/decide?from=sockeye", self.secure, self.address)
    }

    pub(super) fn set(&self, mood: Mood) {
        *self.inner.mood() = mood;
    }

    pub(super) fn asked(&self) -> Vec<Posted> {
        self.inner.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn connections(&self) -> usize {
        self.inner.connections.load(Ordering::SeqCst)
    }
}

impl Inner {
    fn mood(&self) -> MutexGuard<'_, Mood> {
        self.mood.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer_all(&self, mut stream: BufReader<Box<dyn Stream>>) {
        while let Some(asked) = Posted::read(&mut stream) {
            let question = asked.json();
            self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
            let mood = *self.mood();
            let is_stranger = name(&question).is_some_and(|name| name.starts_with("stranger"));
            match mood {
                Mood::HangsUp => return,
                Mood::LeavesStrangers if !is_stranger => {}
                Mood::IsSilent | Mood::LeavesStrangers => {
                    // Until the other side gives up.
                    let _ = stream.read(&mut [0]);
                    return;
                }
                _ => {}
            }
            let (status, body) = self.answer(mood, &question);
            let length = body.len();
            let more = if status == 302 { "Location: /elsewhere\r\n" } else { "" };
            let head = format!("HTTP/1.1 {status} X\r\n{more}Content-Length: {length}\r\n\r\n");
            if stream.get_mut().write_all(format!("{head}{body}").as_bytes()).is_err() {
                return;
            }
            let _ = stream.get_mut().flush();
        }
    }

    /// A status and a body. What it refuses it repeats, as badly written programs do.
    fn answer(&self, mood: Mood, question: &Value) -> (u16, String) {
        let problem = json!({"code": "wrong", "detail": question.to_string()}).to_string();
        let (is_who, name) = (question["channel"].is_null(), name(question));
        match mood {
            Mood::KnowsNobody => return (401, problem),
            Mood::Fails => return (500, problem),
            Mood::Redirects => return (302, String::new()),
            Mood::Babbles => return (200, "<html>".to_owned()),
            Mood::TalksTooMuch => {
                return (200, json!({"allow": true, "more": "x".repeat(1 << 20)}).to_string());
            }
            Mood::RefusesByStatus if !is_who => return (403, problem),
            _ => {}
        }
        let has_credentials =
            !(question["cookie"].is_null() && question["authorization"].is_null());
        if name.is_none() && (has_credentials || mood == Mood::NeedsCredentials) {
            return (401, problem);
        }
        let name = if mood == Mood::SaysBob { Some("bob".to_owned()) } else { name };
        let allow = is_who || mood != Mood::Refuses && may(name.as_deref(), question);
        if !allow && name.is_none() {
            return (401, problem);
        }
        let good_for = if allow { self.good_for } else { 1.0 };
        (200, json!({"allow": allow, "subject": name, "good_for": good_for}).to_string())
    }
}

/// The name in the credentials.
fn name(question: &Value) -> Option<String> {
    let cookie = question["cookie"].as_str().and_then(|line| line.strip_prefix("session="));
    let token = question["authorization"].as_str().and_then(|line| line.strip_prefix("Bearer "));
    let name = cookie.or(token.and_then(|token| token.strip_suffix("-token")))?;
    (name != "bad").then(|| name.to_owned())
}

fn may(name: Option<&str>, question: &Value) -> bool {
    let is_read = question["right"] == "read";
    match (question["channel"].as_str(), name) {
        (Some("public"), _) => is_read,
        (Some("news"), Some(_)) => is_read,
        (Some(channel), Some(name)) => channel == format!("orders:{name}"),
        _ => false,
    }
}
