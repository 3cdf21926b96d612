//! `--jwks`: the public keys of an issuer, which are fetched when the server starts, from time to time, at SIGHUP and
//! when a token names a key that is missing.
//!
//! While they cannot be fetched, the last ones stay in force.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, anyhow, ensure};
use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::Args;
use http::{HeaderMap, Method, header::CACHE_CONTROL};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sockeye::Address;
use sockeye_client::internals::{Endpoint, Failure, Http, Question};
use sockeye_server::KeySet;
use tokio::{
    sync::Notify,
    task::spawn_blocking,
    time::{sleep, timeout},
};

use super::webhook;

/// How long an answer may take, with its connection.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long keys are used until they are fetched again, where the issuer does not say it.
const GOOD_FOR: Duration = Duration::from_mins(10);
/// The same where it says less, or more.
const BOUNDS: (Duration, Duration) = (Duration::from_mins(1), Duration::from_hours(1));
/// How long after a failure they are fetched again.
const AGAIN_AFTER: Duration = Duration::from_secs(30);
/// Where the last keys are, in the directory of `--data`.
const KEPT: &str = "jwks.json";

#[derive(Clone, Debug, Args)]
pub(super) struct JwksFlags {
    /// Ask for tokens, and check them with the public keys of an issuer, a JSON Web Key Set (RS256, ES256, EdDSA): a
    /// URL, or a file. Those of a URL are fetched again as long as the server runs, and when a token names another; a
    /// file is read again at SIGHUP
    #[arg(long, value_name = "URL|FILE", env = "SOCKEYE_JWKS", value_parser = source)]
    #[arg(group = "verifier")]
    jwks: Option<Source>,

    /// Check the certificate of the issuer with these authorities (PEM) in the place of the system's
    #[arg(long, value_name = "FILE", env = "SOCKEYE_JWKS_CACERT", requires = "jwks")]
    jwks_cacert: Option<PathBuf>,

    /// The keys, the same for as long as the server runs.
    #[arg(skip)]
    keys: KeySet,
}

/// Where keys are.
#[derive(Clone, Debug)]
enum Source {
    Url(Address),
    File(PathBuf),
}

fn source(text: &str) -> Result<Source, String> {
    let is_url = ["http://", "https://"].iter().any(|scheme| text.trim().starts_with(scheme));
    match is_url {
        true => webhook::url(text).map(Source::Url),
        false => Ok(Source::File(text.into())),
    }
}

impl JwksFlags {
    /// Whether an issuer's keys verify tokens.
    pub(super) fn is_given(&self) -> bool {
        self.jwks.is_some()
    }

    /// Where the keys are, for people to read.
    pub(super) fn name(&self) -> Option<String> {
        Some(match self.jwks.as_ref()? {
            Source::Url(address) => webhook::name(address),
            Source::File(file) => file.display().to_string(),
        })
    }

    /// The same, with the keys that are in force.
    pub(super) fn with(&mut self, keys: &KeySet) {
        self.keys = keys.clone();
    }

    /// The set of keys, if an issuer's verify tokens. What a file has is checked.
    pub(super) fn keys(&self) -> anyhow::Result<Option<KeySet>> {
        if let Some(Source::File(file)) = &self.jwks {
            let named = || format!("--jwks {}", file.display());
            let json = read(file, 1).with_context(named)?;
            KeySet::from_json(&json).with_context(named)?;
        }
        Ok(self.is_given().then(|| self.keys.clone()))
    }

    /// Fetches the keys for the first time. Where that fails, the last ones that are kept in the directory of `--data`
    /// are used.
    pub(super) async fn start(&self, data: Option<&Path>) -> anyhow::Result<Option<Issuer>> {
        let (Some(source), Some(name)) = (&self.jwks, self.name()) else { return Ok(None) };
        let (place, kept) = match source {
            Source::File(file) => (Place::File(file.clone()), None),
            Source::Url(address) => {
                if address.url().scheme() == "ws" && !is_loopback(address) {
                    tracing::warn!(
                        "the keys of {name} come without TLS: an attacker in between can replace them"
                    );
                }
                let tls = webhook::tls("--jwks-cacert", self.jwks_cacert.as_deref())?;
                let endpoint = webhook::endpoint(address, tls, TIMEOUT)?;
                (
                    Place::Url(endpoint.into()),
                    data.map(|directory| Keeping::of(directory, address).into()),
                )
            }
        };
        let (keys, again) = (self.keys.clone(), Arc::new(Notify::new()));
        let (next, first) = (AGAIN_AFTER, None);
        let mut issuer = Issuer { place, name, keys, kept, again, next, first };
        issuer.begin().await?;
        Ok(Some(issuer))
    }
}

/// What keeps the keys up to date.
pub(super) struct Issuer {
    place: Place,
    name: String,
    keys: KeySet,
    kept: Option<Arc<Keeping>>,
    again: Arc<Notify>,
    /// When they are fetched again.
    next: Duration,
    /// What was fetched before the server has its directory.
    first: Option<Vec<u8>>,
}

/// Keys for a start without the issuer.
struct Keeping {
    file: PathBuf,
    /// Whose they are: a hash of the URL without its password. Those of another issuer must not verify tokens.
    from: String,
}

/// The file of them.
#[derive(Serialize, Deserialize)]
struct Kept<T> {
    from: String,
    set: T,
}

impl Keeping {
    fn of(directory: &Path, address: &Address) -> Self {
        let mut url = address.url().clone();
        let _ = (url.set_username(""), url.set_password(None));
        let hash = digest(&SHA256, url.as_str().as_bytes());
        Self { file: directory.join(KEPT), from: URL_SAFE_NO_PAD.encode(hash) }
    }

    fn read(&self) -> anyhow::Result<Box<RawValue>> {
        // The set, and little more.
        let kept: Kept<Box<RawValue>> = serde_json::from_slice(&read(&self.file, 2)?)?;
        ensure!(kept.from == self.from, "they are those of another URL");
        Ok(kept.set)
    }

    /// Writes a new file, which takes the place of the one that is there.
    fn store(&self, json: &[u8]) -> anyhow::Result<()> {
        let set: &RawValue = serde_json::from_slice(json)?;
        let text = serde_json::to_vec(&Kept { from: self.from.clone(), set })?;
        let new = self.file.with_extension("new");
        let mut written = File::create(&new)?;
        written.write_all(&text)?;
        written.sync_all()?;
        Ok(fs::rename(new, &self.file)?)
    }
}

enum Place {
    Url(Box<Endpoint>),
    File(PathBuf),
}

/// What of it a reload needs.
#[derive(Clone)]
pub(super) struct Refresh {
    pub(super) keys: KeySet,
    again: Arc<Notify>,
}

impl Refresh {
    /// Has the keys fetched now.
    pub(super) fn now(&self) {
        self.again.notify_one();
    }
}

impl Issuer {
    /// Keeps the keys up to date from now on, and gives what a reload needs.
    pub(super) fn begin_to_follow(self) -> Refresh {
        let refresh = Refresh { keys: self.keys.clone(), again: Arc::clone(&self.again) };
        tokio::spawn(self.follow());
        refresh
    }

    async fn begin(&mut self) -> anyhow::Result<()> {
        let error = match self.fetch().await {
            Ok(json) => {
                self.first = json;
                return Ok(());
            }
            Err(error) => error,
        };
        let kept = self.kept.as_ref().map(|kept| (kept.file.display(), kept.read()));
        let (file, json) = match kept {
            Some((file, Ok(json))) => (file, json),
            Some((file, Err(why))) => {
                let what = format!("the keys in {file} cannot take their place: {why}");
                return Err(error.context(format!("--jwks {}: {what}", self.name)));
            }
            None => {
                let what = "the server does not start without keys; with --data it keeps the last ones for this case";
                return Err(error.context(format!("--jwks {}: {what}", self.name)));
            }
        };
        self.keys.replace(json.get().as_bytes()).with_context(|| file.to_string())?;
        tracing::warn!("{}; the keys in {file} are in force", self.why(&error));
        Ok(())
    }

    /// Keeps the keys up to date for as long as it is polled. The file in `--data` is the server's own by now.
    async fn follow(mut self) {
        if let Some(json) = self.first.take() {
            self.keep(json).await;
        }
        loop {
            tokio::select! {
                () = sleep(self.next) => {}
                () = self.keys.missed() => {}
                () = self.again.notified() => {}
            }
            match self.fetch().await {
                Ok(Some(json)) => {
                    tracing::warn!(
                        keys = self.keys.len(),
                        "the keys of {} have changed",
                        self.name
                    );
                    self.keep(json).await;
                }
                Ok(None) => {}
                Err(error) => {
                    self.keys.keep();
                    self.next = AGAIN_AFTER;
                    tracing::warn!("{}; the last ones stay in force", self.why(&error));
                }
            }
        }
    }

    fn why(&self, error: &anyhow::Error) -> String {
        format!("the keys of {} cannot be fetched: {error:#}", self.name)
    }

    /// Fetches the keys, and gives what they were read from if they are others than before.
    async fn fetch(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        let (json, good_for) = match &self.place {
            Place::File(file) => {
                let file = file.clone();
                (spawn_blocking(move || read(&file, 1)).await??, GOOD_FOR)
            }
            Place::Url(endpoint) => {
                let (question, mut http) =
                    (Question::new(Method::GET, Vec::new()), Http::default());
                let asking = http.ask_whole(endpoint, &question, KeySet::MAX_BYTES);
                let late = || anyhow!("no answer within {} s", TIMEOUT.as_secs());
                let answer = timeout(TIMEOUT, asking).await.map_err(|_| late())?;
                let answer = answer.map_err(why_not)?;
                (answer.body().to_vec(), good_for(answer.headers()))
            }
        };
        let has_changed = self.keys.replace(&json)?;
        self.next = good_for;
        Ok(has_changed.then_some(json))
    }

    /// Stores the keys for a start without the issuer.
    async fn keep(&self, json: Vec<u8>) {
        let Some(kept) = &self.kept else { return };
        let keeping = Arc::clone(kept);
        let stored = spawn_blocking(move || keeping.store(&json)).await;
        if let Ok(Err(error)) = stored {
            let file = kept.file.display();
            tracing::warn!("the keys of {} cannot be kept in {file}: {error}", self.name);
        }
    }
}

/// Why there is no answer that is a success. Of its body nothing is told, for it may be anything.
fn why_not(failure: Failure) -> anyhow::Error {
    let problem = match failure {
        Failure::Refused(problem) if problem.status.is_none() => {
            return anyhow!("it does not answer in HTTP");
        }
        Failure::Refused(problem) | Failure::Broken { problem, .. } => problem,
        Failure::Unreachable(error) => return anyhow!("{error}"),
        Failure::Enough => return anyhow!("it was not asked"),
    };
    match problem.status {
        Some(status) => anyhow!("it answers {status}"),
        None => anyhow!(problem.message),
    }
}

/// How long keys are good, as their answer says (RFC 9111 §5.2.2.1).
fn good_for(headers: &HeaderMap) -> Duration {
    let lines = headers.get_all(CACHE_CONTROL).iter().filter_map(|line| line.to_str().ok());
    let mut directives = lines.flat_map(|line| line.split(',')).map(str::trim);
    let seconds = directives.find_map(|directive| {
        let (name, seconds) = directive.split_once('=')?;
        name.eq_ignore_ascii_case("max-age").then(|| seconds.trim_matches('"').parse().ok())?
    });
    seconds.map_or(GOOD_FOR, |seconds| Duration::from_secs(seconds).clamp(BOUNDS.0, BOUNDS.1))
}

/// The file, as far as it can be a set of keys, or has that many in it.
fn read(file: &Path, sets: u64) -> io::Result<Vec<u8>> {
    let mut json = Vec::new();
    File::open(file)?.take(KeySet::MAX_BYTES as u64 * sets + 1).read_to_end(&mut json)?;
    Ok(json)
}

fn is_loopback(address: &Address) -> bool {
    match address.url().host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn keys_are_good_for_as_long_as_the_issuer_says_within_bounds() {
        for (line, seconds) in [
            ("max-age=300", 300),
            ("public, Max-Age=\"1200\", must-revalidate", 1200),
            ("max-age=0", 60),
            ("max-age=86400", 3600),
            ("no-store", 600),
            ("max-age=-1", 600),
            ("max-age", 600),
            ("s-maxage=7", 600),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_CONTROL, HeaderValue::from_static(line));
            assert_eq!(good_for(&headers), Duration::from_secs(seconds), "{line}");
        }
        assert_eq!(good_for(&HeaderMap::new()), Duration::from_mins(10));
    }
}
