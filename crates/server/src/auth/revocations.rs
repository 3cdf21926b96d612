//! Tokens that are not valid any more before they expire: by their `jti`, by their `sub`, by the time of their issue.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::AcqRel, Ordering::Release};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::sleep;

use super::claims::{Claims, GRACE, NumericDate, is_subject};
use super::revoked_file::RevokedFile;
use super::token::Object;

/// The most `jti` and `sub` that are revoked at a time.
const MAX: usize = 100_000;
/// The longest `jti` that can be revoked, in bytes.
const MAX_JTI: usize = 255;
/// How long what is open waits to be told: many revocations at once wake it once.
const TOLD_AFTER: Duration = Duration::from_millis(50);

/// Tokens that are to be refused from now on, and whose connections are to end: for
/// [`Channels::revoke`](crate::Channels::revoke).
///
/// Without [`until`](Self::until) it is kept for ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<NumericDate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exp: Option<NumericDate>,
}

impl Revocation {
    /// The token with this `jti`, of 1 to 255 bytes.
    pub fn token(jti: impl Into<String>) -> Self {
        Self { jti: Some(jti.into()), sub: None, before: None, exp: None }
    }

    /// The tokens with this `sub` that were issued until now.
    pub fn subject(sub: impl Into<String>) -> Self {
        Self { jti: None, sub: Some(sub.into()), before: None, exp: None }
    }

    /// All tokens that were issued before this time by their `iat`, and those without one.
    pub fn issued_before(time: NumericDate) -> Self {
        Self { jti: None, sub: None, before: Some(time), exp: None }
    }

    /// The same for tokens of the subject that were issued before this time, and those without an `iat`.
    #[must_use]
    pub fn before(self, time: NumericDate) -> Self {
        Self { before: Some(time), ..self }
    }

    /// The same, kept until this time: the `exp` of the token, or of the last one of them.
    #[must_use]
    pub fn until(self, time: NumericDate) -> Self {
        Self { exp: Some(time), ..self }
    }

    /// The one in this JSON, an object with these members and no others.
    pub(crate) fn from_json(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json).map(|Object(revocation)| revocation)
    }

    /// Which tokens it means, if it says so, and nothing is in the way at this time.
    fn checked(self, now: NumericDate) -> Result<Self, RevokeError> {
        let Self { jti, sub, before, exp } = self;
        let is_plain = match (&jti, &sub, before) {
            (Some(_), None, None) | (None, Some(_), _) | (None, None, Some(_)) => true,
            (Some(_), _, _) | (None, None, None) => false,
        };
        if !is_plain {
            return Err(RevokeError::Which);
        }
        if jti.as_deref().is_some_and(|jti| !(1..=MAX_JTI).contains(&jti.len()))
            || sub.as_deref().is_some_and(|sub| !is_subject(sub))
        {
            return Err(RevokeError::Name);
        }
        if before.is_some_and(|NumericDate(before)| before > now.0 + GRACE) {
            return Err(RevokeError::Future);
        }
        if exp.is_some_and(|exp| exp <= now) {
            return Err(RevokeError::Past);
        }
        // A token that is issued in this second may be older or newer than this.
        let until_now =
            sub.is_some().then(|| NumericDate(Duration::from_secs(now.0.as_secs() + 1)));
        // What no clock reaches stays as far as clocks go.
        let whole = |NumericDate(time): NumericDate| {
            let begun = u64::from(time.subsec_nanos() > 0);
            NumericDate(Duration::from_secs(time.as_secs().saturating_add(begun)))
        };
        let before = before.map(whole).or(until_now);
        Ok(Self { jti, sub, before, exp: exp.map(whole) })
    }
}

/// Why something is not revoked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RevokeError {
    /// Which tokens it means is not plain.
    #[error("say which tokens: by `jti`; or by `sub`, with `before` or without; or by `before`")]
    Which,
    /// The name is empty, too long, or cannot be the `sub` of a token.
    #[error("`jti` has 1 to 255 bytes, and so has `sub`, without control characters")]
    Name,
    /// It would be for tokens that are not issued yet.
    #[error("`before` is in the future: seconds since 1970")]
    Future,
    /// It would be kept until a time that is over.
    #[error("`exp` is over: those tokens have expired")]
    Past,
    /// Too many are kept.
    #[error(
        "{MAX} tokens and subjects are revoked: give `exp`, so that they end, or revoke by `before`"
    )]
    Full,
    /// There are no tokens here, or an authoriser decides on them.
    #[error("this server verifies no tokens")]
    NoTokens,
    /// It is in force, and could not be stored.
    #[error("it is in force, but could not be stored, and ends with a restart: {0}")]
    NotStored(std::io::Error),
}

/// What is revoked on one server.
#[derive(Debug, Default)]
pub(crate) struct Revocations {
    table: RwLock<Table>,
    changed: watch::Sender<()>,
    is_told_soon: AtomicBool,
    /// Where they are kept.
    file: Option<Arc<tokio::sync::Mutex<RevokedFile>>>,
}

#[derive(Debug, Default)]
struct Table {
    tokens: HashMap<Box<str>, Until>,
    subjects: HashMap<Box<str>, Rule>,
    all: Option<Rule>,
}

/// Until when it is kept; `None` is for ever.
type Until = Option<NumericDate>;

#[derive(Clone, Copy, Debug)]
struct Rule {
    before: NumericDate,
    until: Until,
}

impl Rule {
    fn with(self, other: Option<Self>) -> Self {
        let Some(other) = other else { return self };
        Self { before: self.before.max(other.before), until: later(self.until, other.until) }
    }

    fn is_for(self, claims: &Claims, now: NumericDate) -> bool {
        is_kept(self.until, now) && claims.iat.is_none_or(|issued| issued < self.before)
    }
}

fn later(one: Until, other: Until) -> Until {
    Some(one?.max(other?))
}

fn is_kept(until: Until, now: NumericDate) -> bool {
    until.is_none_or(|until| now < until)
}

impl Table {
    fn len(&self) -> usize {
        self.tokens.len() + self.subjects.len()
    }

    fn add(&mut self, revocation: &Revocation, now: NumericDate) -> Result<(), RevokeError> {
        if self.len() >= MAX {
            self.tokens.retain(|_, until| is_kept(*until, now));
            self.subjects.retain(|_, rule| is_kept(rule.until, now));
        }
        let Revocation { jti, sub, before, exp: until } = revocation;
        let is_full = self.len() >= MAX;
        let rule = Rule { before: before.unwrap_or(now), until: *until };
        match (jti.as_deref(), sub.as_deref()) {
            (Some(jti), _) if is_full && !self.tokens.contains_key(jti) => Err(RevokeError::Full),
            (_, Some(sub)) if is_full && !self.subjects.contains_key(sub) => Err(RevokeError::Full),
            (Some(jti), _) => {
                let kept = self.tokens.entry(jti.into()).or_insert(*until);
                *kept = later(*kept, *until);
                Ok(())
            }
            (None, Some(sub)) => {
                let known = self.subjects.get(sub).copied();
                self.subjects.insert(sub.into(), rule.with(known));
                Ok(())
            }
            (None, None) => {
                self.all = Some(rule.with(self.all));
                Ok(())
            }
        }
    }

    /// All that is kept, as it is stored.
    fn list(&self, now: NumericDate) -> Vec<Revocation> {
        let ruled = |sub: Option<&str>, rule: &Rule| Revocation {
            jti: None,
            sub: sub.map(str::to_owned),
            before: Some(rule.before),
            exp: rule.until,
        };
        let tokens = self
            .tokens
            .iter()
            .map(|(jti, until)| Revocation { exp: *until, ..Revocation::token(&**jti) });
        let subjects = self.subjects.iter().map(|(sub, rule)| ruled(Some(sub), rule));
        let all = self.all.iter().map(|rule| ruled(None, rule));
        let kept = |one: &Revocation| is_kept(one.exp, now);
        tokens.chain(subjects).chain(all).filter(kept).collect()
    }
}

impl Revocations {
    /// Those that are kept in this directory.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or has something else in it: to begin without it would let in what was revoked.
    #[cfg(feature = "fjall")]
    pub(crate) fn kept_in(directory: &std::path::Path) -> std::io::Result<Self> {
        let now = NumericDate::now();
        let (file, kept) = RevokedFile::open(directory)?;
        let mut table = Table::default();
        for revocation in kept.iter().filter(|one| is_kept(one.exp, now)) {
            // More than fit in were never stored.
            let _ = table.add(revocation, now);
        }
        let file = Some(Arc::new(tokio::sync::Mutex::new(file)));
        Ok(Self { table: RwLock::new(table), file, ..Self::default() })
    }

    /// How many tokens and subjects are revoked.
    pub(crate) fn len(&self) -> usize {
        self.table.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether a token with these claims is revoked.
    pub(super) fn are_for(&self, claims: &Claims) -> bool {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        if table.len() == 0 && table.all.is_none() {
            return false;
        }
        let now = NumericDate::now();
        let by_id = claims.jti.as_deref().and_then(|jti| table.tokens.get(jti));
        let by_subject = claims.sub.as_deref().and_then(|sub| table.subjects.get(sub));
        by_id.is_some_and(|until| is_kept(*until, now))
            || by_subject.is_some_and(|rule| rule.is_for(claims, now))
            || table.all.is_some_and(|rule| rule.is_for(claims, now))
    }

    /// Waits until a token with these claims is revoked.
    pub(super) async fn come_for(&self, claims: &Claims) {
        let mut changed = self.changed.subscribe();
        while !self.are_for(claims) {
            if changed.changed().await.is_err() {
                std::future::pending().await
            }
        }
    }

    /// Revokes. It is in force for whatever is asked from then on, and what is open is told in a moment; when this
    /// returns, it is stored as well.
    pub(crate) async fn add(self: &Arc<Self>, revocation: Revocation) -> Result<(), RevokeError> {
        let now = NumericDate::now();
        let revocation = revocation.checked(now)?;
        self.table.write().unwrap_or_else(PoisonError::into_inner).add(&revocation, now)?;
        self.tell_soon();
        let Some(file) = &self.file else { return Ok(()) };
        // It is in force however long the disk takes; their order in the file is of no account.
        let mut file = Arc::clone(file).lock_owned().await;
        let this = Arc::clone(self);
        let storing = tokio::task::spawn_blocking(move || {
            let all = || this.table.read().unwrap_or_else(PoisonError::into_inner).list(now);
            file.append(&revocation, all)
        });
        let stored = storing.await.unwrap_or_else(|_| Err(std::io::ErrorKind::Interrupted.into()));
        stored.map_err(RevokeError::NotStored)
    }

    /// Tells what is open, a moment later.
    fn tell_soon(self: &Arc<Self>) {
        if self.is_told_soon.swap(true, AcqRel) {
            return;
        }
        let telling = Telling(Arc::clone(self));
        tokio::spawn(async move {
            let _telling = telling;
            sleep(TOLD_AFTER).await;
        });
    }
}

/// Tells what is open when it is dropped: after its time, or with the runtime that ends before, which need not be the
/// one of the connections.
struct Telling(Arc<Revocations>);

impl Drop for Telling {
    fn drop(&mut self) {
        self.0.is_told_soon.store(false, Release);
        self.0.changed.send_replace(());
    }
}

#[cfg(test)]
mod tests;
