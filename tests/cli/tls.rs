//! TLS as people have it: a certificate of one's own making, and what is said where it does not work.

use std::path::Path;
use std::process::Command;

use sockeye_tests::program::{Sockeye, assert_fails, run};
use sockeye_tests::tls::Certificates;

/// What `openssl` makes in this folder by the line that most guides have.
fn openssl(folder: &Path) {
    let line = "req -x509 -newkey rsa:2048 -nodes -keyout k.pem -out c.pem -subj /CN=localhost \
                -addext subjectAltName=DNS:localhost";
    let made = Command::new("openssl").args(line.split(' ')).current_dir(folder).output();
    let made = made.expect("openssl");
    assert!(made.status.success(), "{made:?}");
}

#[test]
fn the_certificate_that_openssl_makes_is_trusted_when_it_is_given() {
    let folder = tempfile::tempdir().expect("a folder");
    openssl(folder.path());
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let (certificate, key) = (path("c.pem"), path("k.pem"));
    let server = Sockeye::serve(&["--tls-cert", &certificate, "--tls-key", &key]);
    let port = server.address().port();
    let (http, ws) =
        (format!("https://localhost:{port}/c/chat"), format!("wss://localhost:{port}/c/chat"));
    let trust = ["--cacert", &certificate];
    let published = run(&[&["publish"], &trust[..], &[&http, "hello"]].concat(), "");
    assert!(published.status.success(), "{published:?}");
    for transport in ["v1", "sse", "ndjson", "longpoll", "poll"] {
        let args = ["subscribe", "--transport", transport, "--after", "-1", "-n", "1", &http];
        let read = run(&[&args[..], &trust].concat(), "");
        assert_eq!(String::from_utf8_lossy(&read.stdout), "hello\n", "{read:?}");
    }
    let connected = run(&[&["connect"], &trust[..], &[&ws]].concat(), "from a pipe\n");
    assert_eq!(String::from_utf8_lossy(&connected.stdout), "from a pipe\n", "{connected:?}");

    // Its name counts.
    let elsewhere = format!("wss://127.0.0.1:{port}/c/chat");
    let refused = run(&[&["connect"], &trust[..], &[&elsewhere]].concat(), "");
    assert_fails(&refused, 1);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("is for localhost, and not for 127.0.0.1"), "{said}");
    // Without it, it is not trusted.
    let refused = run(&["connect", &ws], "");
    assert_fails(&refused, 1);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("--cacert"), "{said}");
}

/// The one line that a failing command says.
fn said(args: &[&str]) -> String {
    let output = run(args, "");
    assert_fails(&output, 1);
    String::from_utf8(output.stderr).expect("a text")
}

#[test]
fn what_is_wrong_with_tls_is_named_with_what_to_do() {
    let (certificates, others) = (Certificates::new(), Certificates::new());
    let flags = certificates.flags(true);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let (secure, plain) = (Sockeye::echo(&flags), Sockeye::echo(&[]));
    let other = others.authority();
    let other = other.to_str().expect("UTF-8");
    let unknown = said(&["connect", "--cacert", other, &secure.ws("/")]);
    assert!(unknown.contains("not signed by an authority of --cacert"), "{unknown}");
    let here = secure.ws("/").replace("wss", "ws");
    let not_plain = said(&["connect", &here]);
    assert!(not_plain.contains("write wss:// or https://"), "{not_plain}");
    let there = plain.ws("/").replace("ws", "wss");
    let not_secure = said(&["connect", &there]);
    assert!(not_secure.contains("write ws:// or http://"), "{not_secure}");

    for (from, until, expected) in
        [(2019, 2020, "expired"), (4000, 4001, "is not valid yet"), (4001, 4000, "was never valid")]
    {
        let own = Certificates::self_signed("localhost", from, until);
        let flags = ["--tls-cert", &own.certificate(), "--tls-key", &own.key()];
        let server = Sockeye::echo(&flags);
        let url = format!("wss://localhost:{}/", server.address().port());
        let told = said(&["connect", "--cacert", &own.certificate(), &url]);
        assert!(told.contains(expected) && told.contains("clock"), "{told}");
    }
}

#[test]
fn plain_http_where_tls_is_spoken_and_the_reverse_are_told_by_publish_and_subscribe() {
    let certificates = Certificates::new();
    let flags = certificates.flags(true);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let (secure, plain) = (Sockeye::serve(&flags), Sockeye::serve(&[]));
    let (to_secure, to_plain) = (
        secure.http("/c/chat").replace("https", "http"),
        plain.http("/c/chat").replace("http", "https"),
    );
    for command in [&["publish", &to_secure, "x"][..], &["subscribe", &to_secure]] {
        let told = said(command);
        assert!(told.contains("https://"), "{told}");
    }
    for command in [&["publish", &to_plain, "x"][..], &["subscribe", &to_plain]] {
        let told = said(command);
        assert!(told.contains("write ws:// or http://"), "{told}");
    }
}

#[test]
fn a_key_of_another_certificate_is_named_with_both_files() {
    let (one, other) = (
        Certificates::self_signed("localhost", 2020, 4000),
        Certificates::self_signed("localhost", 2020, 4000),
    );
    let flags = ["--tls-cert", &one.certificate(), "--tls-key", &other.key()];
    let told =
        said(&[&["serve", "--listen", "127.0.0.1:0", "--admin", "off"], &flags[..]].concat());
    assert!(told.contains(flags[1]) && told.contains(flags[3]), "{told}");
    assert!(told.contains("does not belong to"), "{told}");
}
