//! `sockeye token`: tokens made and looked into, and a server that asks for them.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use sockeye_tests::program::{Sockeye, assert_fails, run, run_with_env};
use tempfile::TempDir;

/// A folder for keys, gone at the end.
struct Keys(TempDir);

impl Keys {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn write(&self, name: &str, content: &str) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, content).expect("a file");
        path.to_str().expect("a UTF-8 path").to_owned()
    }

    fn secret(&self) -> String {
        self.write("secret", "a secret of this test, with more than 32 bytes\n")
    }

    /// A key pair made by OpenSSL: the private file and the public one.
    fn pair(&self, options: &[&str]) -> (String, String) {
        let (private, public) = (self.write("private", ""), self.write("public", ""));
        for args in [
            &[&["genpkey", "-out", &private], options].concat()[..],
            &["pkey", "-in", &private, "-pubout", "-out", &public],
        ] {
            let done = Command::new("openssl").args(args).output().expect("openssl is installed");
            assert!(done.status.success(), "{done:?}");
        }
        (private, public)
    }
}

/// The token that these arguments make.
fn mint(args: &[&str]) -> String {
    let output = run(&[&["token"], args].concat(), "");
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    let token = String::from_utf8(output.stdout).expect("a text");
    token.strip_suffix('\n').expect("one line").to_owned()
}

/// The status that curl gets, with this token if there is one.
fn status(url: &str, token: Option<&str>, more: &[&str]) -> String {
    let header = format!("Authorization: Bearer {}", token.unwrap_or_default());
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--output", "/dev/null", "--write-out", "%{http_code}", url]).args(more);
    if token.is_some() {
        curl.args(["--header", &header]);
    }
    let output = curl.output().expect("`cargo xtask test program` installs curl");
    String::from_utf8(output.stdout).expect("a text")
}

#[test]
fn a_token_opens_what_it_says_of_a_server_that_has_the_key() {
    let keys = Keys::new();
    let secret = keys.secret();
    let server = Sockeye::serve(&["--auth-key", &secret]);
    let token = mint(&["--key", &secret, "--sub", "ann", "--channel", "chat:*=read,write"]);
    let (chat, other) = (server.http("/c/chat:a"), server.http("/c/other"));
    assert_eq!(status(&chat, None, &[]), "401");
    assert_eq!(status(&chat, Some(&token), &["--data", "hello"]), "201");
    assert_eq!(status(&chat, Some(&token), &[]), "200");
    assert_eq!(status(&other, Some(&token), &[]), "403");
    assert_eq!(status(&server.http("/"), None, &[]), "200");
}

#[test]
fn each_kind_of_key_pair_signs_and_the_server_has_the_public_half() {
    let keys = Keys::new();
    for options in [
        &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"][..],
        &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        &["-algorithm", "ED25519"],
    ] {
        let (private, public) = keys.pair(options);
        let token = mint(&["--key", &private, "--channel", "chat=read"]);
        let server = Sockeye::serve(&["--auth-key", &public]);
        assert_eq!(status(&server.http("/c/chat"), Some(&token), &[]), "200", "{options:?}");
        for key in [&private, &public] {
            let looked = run(&["token", &token, "--key", key], "");
            assert!(looked.status.success(), "{options:?} {looked:?}");
        }
        // The server must not have the private one, and the public one signs nothing.
        let refused = run(&["serve", "--listen", "127.0.0.1:0", "--auth-key", &private], "");
        assert_fails(&refused, 1);
        assert!(String::from_utf8_lossy(&refused.stderr).contains("openssl pkey"), "{refused:?}");
        assert_fails(&run(&["token", "--key", &public, "--channel", "chat=read"], ""), 1);
    }
}

#[test]
fn what_a_token_says_can_be_read_without_the_key_and_checked_with_it() {
    let keys = Keys::new();
    let secret = keys.secret();
    let other = keys.write("other", &"x".repeat(32));
    let token = mint(&[
        "--key",
        &secret,
        "--sub",
        "ann",
        "--channel",
        "a=read",
        "--channel",
        "b:*=write,presence",
        "--expires",
        "2h",
    ]);
    for (args, input) in
        [(vec!["token", &token], ""), (vec!["token", "--key", &secret, "-"], &*token)]
    {
        let output = run(&args, input);
        assert!(output.status.success(), "{output:?}");
        let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(said["header"], json!({"alg": "HS256", "typ": "JWT"}));
        assert_eq!(said["claims"]["sub"], "ann");
        assert_eq!(
            said["claims"]["channels"],
            json!({"a": ["read"], "b:*": ["write", "presence"]})
        );
        let verdict = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(verdict.starts_with("expires in "), "{verdict}");
        let checked = if input.is_empty() { "not checked" } else { "signed with this key" };
        assert!(verdict.contains(checked), "{verdict}");
    }
    for (args, why) in [
        (vec!["token", &token, "--key", &other], "not signed with"),
        (vec!["token", &token, "--key", &secret, "--aud", "shop"], "audience"),
        (vec!["token", "not.a.token"], "not a JSON Web Token"),
    ] {
        let output = run(&args, "");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(why), "{output:?}");
    }
    let over = mint(&["--key", &secret, "--channel", "a=read", "--expires", "1s", "--aud", "shop"]);
    let left = run(&["token", &over, "--key", &secret, "--aud", "shop"], "");
    assert!(left.status.success() || String::from_utf8_lossy(&left.stderr).contains("expired"));
}

#[test]
fn wrong_usage_is_explained() {
    let keys = Keys::new();
    let secret = keys.secret();
    for args in [
        &["token", "--sub", "ann"][..],
        &["token", "--key", &secret, "--channel", "chat"],
        &["token", "--key", &secret, "--channel", "chat=admin"],
        &["token", "--key", &secret, "--channel", "a*b=read"],
        &["token", "--key", &secret, "--expires", "soon"],
        &["token", "x.y.z", "--sub", "ann"],
        &["serve", "--auth-audience", "shop"],
    ] {
        let output = run(args, "");
        assert_eq!(output.status.code(), Some(2), "{args:?} {output:?}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
    let short = keys.write("short", "hunter2\n");
    for args in [
        &["token", "--key", &short, "--channel", "chat=read"][..],
        &["serve", "--listen", "127.0.0.1:0", "--auth-key", &short],
        &["serve", "--listen", "127.0.0.1:0", "--auth-key", "/nowhere/at/all"],
        &["token", "--key", &secret, "--sub", ""],
    ] {
        assert_fails(&run(args, ""), 1);
    }
}

#[test]
fn with_a_key_a_public_address_needs_no_open() {
    let keys = Keys::new();
    let server = Sockeye::serve(&["--auth-key", &keys.secret(), "--listen", "0.0.0.0:0"]);
    let url = format!("http://127.0.0.1:{}/c/chat", server.address().port());
    assert_eq!(status(&url, None, &["--header", "Host: chat.example"]), "401");
}

/// The logs, all of them, hold nothing that the server would accept.
#[test]
fn tokens_and_tickets_are_in_no_log() {
    let keys = Keys::new();
    let secret = keys.secret();
    let server = Sockeye::serve_logging("trace", &["--auth-key", &secret]);
    let token = mint(&["--key", &secret, "--channel", "chat=read,write"]);
    let url = server.http("/c/chat");
    let bearer = format!("Authorization: Bearer {token}");
    let ticket = Command::new("curl")
        .args(["--silent", "--request", "POST", "--header", &bearer, &server.http("/tickets")])
        .output()
        .expect("curl runs");
    let ticket: Value = serde_json::from_slice(&ticket.stdout).expect("a ticket");
    let ticket = ticket["ticket"].as_str().expect("a ticket").to_owned();
    assert_eq!(status(&url, Some(&token), &["--data", "hello"]), "201");
    let upgrade = [
        "--http1.1",
        "--max-time",
        "1",
        "--header",
        "Connection: Upgrade",
        "--header",
        "Upgrade: websocket",
        "--header",
        "Sec-WebSocket-Version: 13",
        "--header",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    let offer = format!("Sec-WebSocket-Protocol: bearer.{token}");
    assert_eq!(status(&url, None, &[&upgrade[..], &["--header", &offer]].concat()), "101");
    // Good, used, wrong, and in vain.
    for _ in 0..2 {
        status(&format!("{url}?ticket={ticket}"), None, &[]);
    }
    status(&url, Some(&format!("{token}x")), &[]);
    status(&format!("{url}?ticket={ticket}"), Some(&token), &[]);
    let log = server.stop();
    assert!(log.contains("/c/chat"), "requests are logged at this level: {log}");
    let (_, signature) = token.rsplit_once('.').expect("a token");
    for secret in [&*token, signature, &ticket] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_secret() {
    let keys = Keys::new();
    let secret = keys.secret();
    let marked = keys.write("marked", "\u{feff}a secret of this test, with more than 32 bytes\r\n");
    let server = Sockeye::serve(&["--auth-key", &marked]);
    for key in [&secret, &marked] {
        let token = mint(&["--key", key, "--channel", "chat=read"]);
        assert_eq!(status(&server.http("/c/chat"), Some(&token), &[]), "200");
    }
    // As `>` of PowerShell writes a file.
    let text = "\u{feff}a secret of this test, with more than 32 bytes\r\n";
    let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let path = keys.write("wide", "");
    fs::write(&path, wide).expect("a file");
    let output = run(&["token", "--key", &path, "--channel", "chat=read"], "");
    assert_fails(&output, 1);
    assert!(String::from_utf8_lossy(&output.stderr).contains("UTF-16"), "{output:?}");
}

#[test]
fn a_token_of_another_key_is_named_with_the_file_that_was_given() {
    let keys = Keys::new();
    let other = keys.write("other", "another secret of this test, of more than 32 bytes\n");
    let token = mint(&["--key", &keys.secret(), "--channel", "chat=read"]);
    let output = run(&["token", "--key", &other, &token], "");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).expect("a text");
    assert!(said.contains(&format!("is not signed with the key in {other}")), "{said}");
}

/// What the greeting says behind this word, as a shell reads it.
fn hint(greeting: &str, name: &str) -> String {
    let line = greeting.lines().find_map(|line| line.trim_start().strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name} in {greeting}")).trim().to_owned()
}

#[test]
fn what_a_server_with_a_key_prints_works_as_it_stands() {
    let keys = Keys::new();
    let server = Sockeye::serve(&["--auth-key", &keys.secret(), "--auth-audience", "shop"]);
    server.wait_for("in a page");
    let log = server.log();
    let [token, publish, read] = ["token ", "publish ", "read "].map(|name| hint(&log, name));
    let program = sockeye_tests::program::path();
    let folder = program.parent().expect("a folder").to_str().expect("UTF-8");
    let script = format!("PATH={folder}:$PATH\n{token}\n{publish} -sf && {read} -sf");
    let output = Command::new("sh").args(["-c", &script]).output().expect("a shell");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && printed.contains("hello"), "{script}: {output:?}");
    assert!(log.contains("`bearer.${token}`"), "{log}");
}

#[test]
fn connect_shows_a_token_and_that_of_the_environment_to_channels_only() {
    let keys = Keys::new();
    let secret = keys.secret();
    let server = Sockeye::serve(&["--auth-key", &secret]);
    let token = mint(&["--key", &secret, "--channel", "chat=read,write"]);
    let url = server.ws("/c/chat");
    let connected = run(&["connect", "--token", &token, &url], "hello\n");
    assert_eq!(String::from_utf8_lossy(&connected.stdout), "hello\n", "{connected:?}");
    let environment = [("SOCKEYE_TOKEN", &*token)];
    let shown = |url: &str| {
        let output = run_with_env(&["connect", "-v", url], &environment);
        String::from_utf8_lossy(&output.stderr).contains(&token)
    };
    assert!(shown(&url));
    assert!(!shown(&Sockeye::echo(&[]).ws("/")));
}

#[test]
fn check_authenticates_as_connect_does() {
    let keys = Keys::new();
    let secret = keys.secret();
    let server = Sockeye::serve(&["--auth-key", &secret]);
    let token = mint(&["--key", &secret, "--channel", "chat=read,write"]);
    let url = server.ws("/c/chat");
    let check = ["check", "--only", "opening/plain", &url];
    let with_flag = run(&[&check[..], &["--token", &token]].concat(), "");
    let with_environment = run_with_env(&check, &[("SOCKEYE_TOKEN", &*token)]);
    let without = run(&check, "");
    let codes = [with_flag, with_environment, without].map(|output| output.status.code());
    assert_eq!(codes, [Some(0), Some(0), Some(2)]);
}

#[test]
fn a_token_for_no_time_is_refused_and_one_for_nothing_is_warned_of() {
    let keys = Keys::new();
    let secret = keys.secret();
    let never = run(&["token", "--key", &secret, "--channel", "a=read", "--expires", "0s"], "");
    assert_eq!(never.status.code(), Some(2), "{never:?}");
    let nothing = run(&["token", "--key", &secret, "--sub", "ann"], "");
    assert!(nothing.status.success(), "{nothing:?}");
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("give --channel"), "{nothing:?}");
}
