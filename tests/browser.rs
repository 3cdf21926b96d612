//! The console in a real browser: runs the tests of `browser/` against the program.

use std::process::Command;

use serde_json::{Value, json};
use sockeye_tests::program::{Sockeye, run};
use sockeye_tests::script::folder;
use sockeye_tests::tls::Certificates;

#[test]
fn the_browser_tests_pass() {
    let (server, echo) = (Sockeye::serve(&[]), Sockeye::echo(&[]));
    let certificates = Certificates::new();
    let (others, urls) = every_way(&certificates, &server.http(""));
    let (guarded, token) = guarded(&server.http(""));
    let screenshots = std::env::var_os("SOCKEYE_SCREENSHOT_DIR");
    let status = Command::new("node")
        .args(["--test", "--test-reporter=spec"])
        .args(test_files())
        .env("SOCKEYE_BIN", sockeye_tests::program::path())
        .env("SOCKEYE_URL", server.http(""))
        .env("SOCKEYE_ECHO_URL", echo.ws("/"))
        .env("SOCKEYE_SERVERS", Value::from(urls).to_string())
        .env("SOCKEYE_GUARDED", json!({ "url": guarded.http(""), "token": token }).to_string())
        .env("SOCKEYE_SCREENSHOT_DIR", screenshots.unwrap_or_else(|| std::env::temp_dir().into()))
        .status()
        .expect("`cargo xtask test browser` installs node");
    assert!(status.success(), "the browser tests failed: {status}");
    for mut server in [server, echo, guarded].into_iter().chain(others) {
        server.assert_sound();
    }
}

/// A server that asks for tokens, to pages of this origin too, and a token for everything there.
fn guarded(page: &str) -> (Sockeye, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "the secret of the browser tests, of 32 bytes and more")
        .expect("a file");
    let secret = secret.to_str().expect("a UTF-8 path");
    let server = Sockeye::serve(&["--auth-key", secret, "--allow-origin", page]);
    let token = run(&["token", "--key", secret, "--channel", "*=read,write,presence"], "");
    assert!(token.status.success(), "{token:?}");
    (server, String::from_utf8_lossy(&token.stdout).trim().to_owned())
}

/// Servers that send back what they get, plain and with TLS, that compress or do not, to pages of this
/// origin too; and their URLs.
fn every_way(certificates: &Certificates, page: &str) -> (Vec<Sockeye>, Vec<Value>) {
    let mut servers = Vec::new();
    let mut urls = Vec::new();
    for tls in [false, true] {
        let flags = certificates.flags(tls);
        let flags: &[&str] = &flags.iter().map(String::as_str).collect::<Vec<_>>();
        for deflate in ["on", "off"] {
            let server = Sockeye::echo(&[flags, &["--deflate", deflate]].concat());
            urls.push(json!({ "url": server.ws("/"), "compresses": deflate == "on" }));
            servers.push(server);
        }
        let server = Sockeye::serve(&[flags, &["--allow-origin", page]].concat());
        urls.push(json!({ "url": server.ws("/c/browser"), "compresses": true }));
        servers.push(server);
    }
    (servers, urls)
}

fn test_files() -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder().join("browser")).expect("the folder browser/");
    let paths = entries.map(|entry| entry.expect("an entry of browser/").path());
    let is_test = |path: &std::path::PathBuf| path.to_string_lossy().ends_with(".test.mjs");
    let files: Vec<_> = paths.filter(is_test).collect();
    assert!(!files.is_empty(), "browser/ has no *.test.mjs");
    files
}
