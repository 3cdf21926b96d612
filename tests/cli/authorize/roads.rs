//! The application's decisions, and rules for some channels, on every road to the server: TLS and a Unix socket, HTTP/1.1 and
//! HTTP/2.

use std::fs;

use sockeye_tests::curl::{Stream, status};
use sockeye_tests::program::{Sockeye, run};
use sockeye_tests::tls::Certificates;

use super::UPGRADE;
use super::app::App;

/// The answer to a client with these credentials: to publishing, to a poll, and what a stream is answered with.
fn asked(road: &[&str], base: &str, channel: &str, credentials: &[&str]) -> [u16; 4] {
    let url = format!("{base}/c/{channel}");
    let ask = |more: &[&str]| status(&[road, credentials, more].concat());
    let socket = match ask(&[&url]) {
        200 => 101,
        // An open one would not end.
        _ => ask(&[&UPGRADE[..], &["--max-time", "1", &url]].concat()),
    };
    // Without a body: a refusal before it has come makes some versions of curl fail over HTTP/2.
    [ask(&["-d", "", &url]), ask(&[&url]), ask(&["-I", &url]), socket]
}

/// Publishes, and reads it in a stream.
fn streams(road: &[&str], base: &str, channel: &str, credentials: &[&str]) {
    let url = format!("{base}/c/{channel}");
    let mut events =
        Stream::open(&[road, credentials, &["-H", "Accept: text/event-stream", &url]].concat());
    events.until("id: ");
    assert_eq!(status(&[road, credentials, &["-d", "by this road", &url]].concat()), 201);
    events.until("by this road");
}

#[test]
fn an_application_decides_over_tls_and_a_unix_socket() {
    let (app, certificates) = (App::start(60.0), Certificates::new());
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("socket").to_str().expect("UTF-8").to_owned();
    let authority = certificates.authority().to_str().expect("UTF-8").to_owned();
    let (certificate, key) = (certificates.certificate(), certificates.key());
    let rule = ["--channel", "orders:cid publisher=ann", "--channel", "news anonymous_read=true"];
    let (url, listen) = (app.url(), format!("unix:{socket}"));
    let decides = [&["--authorize-url", &url][..], &rule].concat();
    let unix = [&["--listen", &listen][..], &decides].concat();
    let secure = [&["--tls-cert", &certificate, "--tls-key", &key][..], &decides].concat();
    let (unix, secure) = (Sockeye::serve(&unix), Sockeye::serve(&secure));
    let https = secure.http("");
    let https = https.trim_end_matches('/');
    for (road, base) in [
        (&["--unix-socket", &socket, "--http1.1"][..], "http://localhost"),
        (&["--unix-socket", &socket, "--http2-prior-knowledge"], "http://localhost"),
        (&["--cacert", &authority, "--http1.1"], https),
        (&["--cacert", &authority, "--http2"], https),
    ] {
        let (ann, cid) = (["-H", "Cookie: session=ann"], ["-H", "Cookie: session=cid"]);
        assert_eq!(asked(road, base, "orders:ann", &ann), [201, 200, 200, 101], "{road:?}");
        assert_eq!(asked(road, base, "orders:bob", &ann), [403; 4], "{road:?}");
        assert_eq!(asked(road, base, "orders:ann", &[]), [401; 4], "{road:?}");
        // The rule refuses what the application would allow.
        assert_eq!(asked(road, base, "orders:cid", &cid), [403, 200, 200, 101], "{road:?}");
        // All may read, and no client publishes without a session.
        assert_eq!(asked(road, base, "news", &[]), [401, 200, 200, 101], "{road:?}");
        streams(road, base, "orders:ann", &ann);
    }
    drop((unix, secure));
}

#[test]
fn a_publisher_is_a_token_of_that_name_over_tls_and_a_unix_socket() {
    let (folder, certificates) = (tempfile::tempdir().expect("a folder"), Certificates::new());
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    fs::write(path("secret"), "0123456789abcdef0123456789abcdef").expect("a secret");
    let token = |subject: &str| {
        let secret = path("secret");
        let grants = ["--channel", "log:*=read,write", "--expires", "1h"];
        let made = run(&[&["token", "--key", &secret, "--sub", subject][..], &grants].concat(), "");
        assert!(made.status.success(), "{made:?}");
        let token = String::from_utf8(made.stdout).expect("a text");
        format!("Authorization: Bearer {}", token.trim())
    };
    let (backend, ann) = (token("backend"), token("ann"));
    let authority = certificates.authority().to_str().expect("UTF-8").to_owned();
    let (certificate, key, socket) =
        (certificates.certificate(), certificates.key(), path("socket"));
    let (secret, listen) = (path("secret"), format!("unix:{socket}"));
    let decides = ["--auth-key", &secret, "--channel", "log:* publisher=backend"];
    let unix = Sockeye::serve(&[&["--listen", &listen][..], &decides].concat());
    let tls = ["--tls-cert", &certificate, "--tls-key", &key];
    let secure = Sockeye::serve(&[&tls[..], &decides].concat());
    let https = secure.http("");
    let https = https.trim_end_matches('/');
    for (road, base) in [
        (&["--unix-socket", &socket, "--http1.1"][..], "http://localhost"),
        (&["--unix-socket", &socket, "--http2-prior-knowledge"], "http://localhost"),
        (&["--cacert", &authority, "--http1.1"], https),
        (&["--cacert", &authority, "--http2"], https),
    ] {
        let (backend, ann) = (["-H", &*backend], ["-H", &*ann]);
        assert_eq!(asked(road, base, "log:a", &backend), [201, 200, 200, 101], "{road:?}");
        assert_eq!(asked(road, base, "log:a", &ann), [403, 200, 200, 101], "{road:?}");
        assert_eq!(asked(road, base, "log:a", &[]), [401; 4], "{road:?}");
        streams(road, base, "log:a", &backend);
    }
    drop((unix, secure));
}
