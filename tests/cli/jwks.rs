//! `serve --jwks`: the keys of an issuer, by URL and by file, and what becomes of them.

use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{KeyPair, PKCS_ED25519};
use rustix::process::{Pid, Signal, kill_process};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use sockeye_testing::eventually;
use sockeye_tests::curl::status;
use sockeye_tests::program::{Sockeye, run};
use sockeye_tests::tls::Certificates;
use tempfile::TempDir;

/// An issuer that publishes its keys.
struct Issuer {
    address: SocketAddr,
    is_secure: bool,
    /// What it answers: the set, or nothing at all.
    keys: Arc<Mutex<Option<String>>>,
}

impl Issuer {
    fn start(keys: &str) -> Self {
        Self::serve(keys, None)
    }

    fn with_tls(keys: &str, certificates: &Certificates) -> Self {
        Self::serve(keys, Some(certificates.server_config()))
    }

    fn serve(keys: &str, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (is_secure, keys) = (tls.is_some(), Arc::new(Mutex::new(Some(keys.to_owned()))));
        let published = Arc::clone(&keys);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let keys = published.lock().unwrap_or_else(PoisonError::into_inner).clone();
                match &tls {
                    Some(config) => {
                        let tls = ServerConnection::new(Arc::clone(config)).expect("a connection");
                        answer(StreamOwned::new(tls, stream), keys.as_deref());
                    }
                    None => answer(stream, keys.as_deref()),
                }
            }
        });
        Self { address, is_secure, keys }
    }

    fn url(&self) -> String {
        // By its name: by its address it would be taken for that of the server.
        let secure = if self.is_secure { "s" } else { "" };
        format!("http{secure}://localhost:{}/jwks.json", self.address.port())
    }

    fn publish(&self, keys: Option<String>) {
        *self.keys.lock().unwrap_or_else(PoisonError::into_inner) = keys;
    }
}

/// Answers one request with the keys; without any with 500.
fn answer(stream: impl Read + Write, keys: Option<&str>) {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line).is_ok_and(|length| length > 2) {
        line.clear();
    }
    let (status, body) = keys.map_or((500, "broken"), |keys| (200, keys));
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.get_mut().write_all(format!("{head}{body}").as_bytes());
    let _ = stream.get_mut().flush();
}

/// Key pairs of Ed25519, by their names.
struct Keys(TempDir);

impl Keys {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().expect("UTF-8").to_owned()
    }

    /// Makes a pair; gives its public half as a JSON Web Key.
    fn make(&self, kid: &str) -> String {
        let pair = KeyPair::generate_for(&PKCS_ED25519).expect("a pair");
        fs::write(self.path(kid), pair.serialize_pem()).expect("a file");
        let x = URL_SAFE_NO_PAD.encode(pair.public_key_raw());
        format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"{kid}","x":"{x}"}}"#)
    }

    fn token(&self, kid: &str, more: &[&str]) -> String {
        let args = ["token", "--key", &self.path(kid), "--kid", kid, "--channel", "*=read"];
        let output = run(&[&args, more].concat(), "");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("a token").trim().to_owned()
    }
}

fn set(keys: &[&str]) -> String {
    format!(r#"{{"keys":[{}]}}"#, keys.join(","))
}

fn shown(server: &Sockeye, token: &str) -> u16 {
    status(&["-H", &format!("Authorization: Bearer {token}"), &server.http("/c/chat")])
}

/// Asserts that the program ends so, and says so.
fn assert_fails(args: &[&str], code: i32, words: &str) {
    let output = run(args, "");
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(why.contains(words), "{args:?}: {why}");
}

fn reload(server: &Sockeye) {
    let id = Pid::from_raw(server.id().cast_signed()).expect("a process");
    kill_process(id, Signal::HUP).expect("it runs");
}

#[test]
fn a_key_that_is_missing_is_fetched_when_a_token_names_it() {
    let keys = Keys::new();
    let (one, two) = (keys.make("one"), keys.make("two"));
    let issuer = Issuer::start(&set(&[&one]));
    let server = Sockeye::serve(&["--jwks", &issuer.url()]);
    assert_eq!(
        (shown(&server, &keys.token("one", &[])), shown(&server, "no.good.token")),
        (200, 401)
    );
    issuer.publish(Some(set(&[&two])));
    assert_eq!(shown(&server, &keys.token("two", &[])), 200);
    server.wait_for("have changed");
    assert_eq!(shown(&server, &keys.token("one", &[])), 401, "it is not in the set any more");
}

#[test]
fn the_last_keys_stay_in_force_while_the_issuer_is_away() {
    let keys = Keys::new();
    let (one, data) = (keys.make("one"), keys.path("data"));
    let issuer = Issuer::start(&set(&[&one]));
    let serve = ["--jwks", &issuer.url(), "--data", &data];
    let server = Sockeye::serve(&serve);
    let token = keys.token("one", &[]);
    issuer.publish(None);
    for answer in [None, Some("<html>".to_owned()), Some(set(&[]))] {
        issuer.publish(answer);
        reload(&server);
        server.wait_for("the last ones stay in force");
        assert_eq!(shown(&server, &token), 200);
    }
    let kept = keys.0.path().join("data/jwks.json");
    eventually("they are kept", || kept.exists());
    drop(server);
    issuer.publish(None);
    let server = Sockeye::serve(&serve);
    server.wait_for("jwks.json are in force");
    assert_eq!(shown(&server, &token), 200);
    drop(server);
    let start = ["serve", "--listen", "127.0.0.1:0", "--admin", "off"];
    assert_fails(
        &[&start[..], &["--jwks", &issuer.url()]].concat(),
        1,
        "does not start without keys",
    );
    let other = format!("{}?tenant=other", issuer.url());
    assert_fails(
        &[&start[..], &["--jwks", &other, "--data", &data]].concat(),
        1,
        "those of another URL",
    );
}

#[test]
fn the_keys_of_a_file_are_read_again_all_or_nothing() {
    let keys = Keys::new();
    let (one, two, file) = (keys.make("one"), keys.make("two"), keys.path("jwks.json"));
    fs::write(&file, set(&[&one])).expect("a file");
    let server =
        Sockeye::serve(&["--jwks", &file, "--auth-issuer", "us,them", "--auth-audience", "live"]);
    let good = ["--iss", "them", "--aud", "live"];
    assert_eq!(shown(&server, &keys.token("one", &good)), 200);
    for bad in [&["--iss", "you", "--aud", "live"][..], &["--aud", "live"], &["--iss", "us"]] {
        assert_eq!(shown(&server, &keys.token("one", bad)), 401, "{bad:?}");
    }
    fs::write(&file, "rubbish").expect("a file");
    reload(&server);
    let told = server.wait_for("stay as they were");
    assert!(told.contains("--jwks"), "{told}");
    assert_eq!(shown(&server, &keys.token("one", &good)), 200);
    fs::write(&file, set(&[&two])).expect("a file");
    reload(&server);
    server.wait_for("have changed");
    assert_eq!(
        (shown(&server, &keys.token("one", &good)), shown(&server, &keys.token("two", &good))),
        (401, 200)
    );
}

#[test]
fn the_certificate_of_the_issuer_is_checked() {
    let keys = Keys::new();
    let certificates = Certificates::new();
    let issuer = Issuer::with_tls(&set(&[&keys.make("one")]), &certificates);
    let url = issuer.url();
    assert_fails(
        &["serve", "--listen", "127.0.0.1:0", "--jwks", &url],
        1,
        "invalid peer certificate",
    );
    let authority = certificates.authority();
    let server =
        Sockeye::serve(&["--jwks", &url, "--jwks-cacert", authority.to_str().expect("UTF-8")]);
    assert_eq!(shown(&server, &keys.token("one", &[])), 200);
}

#[test]
fn contradictions_are_refused() {
    let keys = Keys::new();
    let secret = keys.path("secret");
    fs::write(&secret, [b'k'; 32]).expect("a file");
    let url = "https://issuer.example/jwks.json";
    for (args, code, words) in [
        (&["--jwks", url, "--auth-key", &secret][..], 2, "cannot be used with"),
        (&["--jwks", url, "--authorize-url", "https://app.example/"], 1, "contradict"),
        (&["--jwks-cacert", &secret], 2, "--jwks"),
        (&["--auth-issuer", "us"], 2, "--auth-key"),
        (&["--auth-issuer", "", "--jwks", url], 2, "--auth-issuer"),
        (&["--auth-audience", "a,", "--jwks", url], 2, "--auth-audience"),
        (&["--jwks", "https://"], 2, "write the URL as"),
    ] {
        assert_fails(&[&["serve"], args].concat(), code, words);
    }
    assert_fails(&["serve", "--jwks", &keys.path("nowhere")], 1, "--jwks");
}
