//! The console and the browser client in a real browser: runs the tests of `browser/` against the program.

#[path = "../examples/examples/answer/main.rs"]
#[expect(
    dead_code,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "`main` is the example's own, and may print"
)]
mod answer;
#[path = "../examples/examples/devices/main.rs"]
#[expect(dead_code, clippy::print_stdout, reason = "`main` is the example's own, and may print")]
mod devices;
#[path = "../examples/examples/shop/main.rs"]
#[expect(
    dead_code,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "`main` is the example's own, and may print"
)]
mod shop;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use sockeye_tests::build_directory;
use sockeye_tests::program::{Sockeye, run};
use sockeye_tests::reverse_proxy::{Kind, ReverseProxy};
use sockeye_tests::script::folder;
use sockeye_tests::tls::Certificates;

/// The tests of the console, by the beginnings of their files' names.
const CONSOLE: &[&str] = &["chat", "compare", "doctor", "inspect", "look", "reconnect"];
/// Those of the browser client.
const CLIENT: &[&str] = &["client", "fallback", "nginx", "tabs"];
/// Those of both where the server asks for tokens.
const TOKENS: &[&str] = &["signed-in"];
/// Those of what a browser has of its own.
const OWN: &[&str] = &["echo", "resume", "tokens"];
/// Those of pages of other origins, in two browsers.
const FOREIGN: &[&str] = &["classic", "htmx", "origin", "readers"];

/// That of the page for operators.
const OPERATORS: &[&str] = &["operators"];

/// Those of the client for Rust in WebAssembly.
const WASM: &[&str] = &["wasm"];

/// That of the example `shop`.
const SHOP: &[&str] = &["shop"];
/// That of the example `devices`.
const DEVICES: &[&str] = &["devices"];
/// That of the example `answer`.
const ANSWER: &[&str] = &["answer"];

/// A secret for tokens, known to the server and to the tests.
const KEY: &str = "only for tests: f3b0c1d2e4a5968778695a4b3c2d1e0f";

#[test]
fn the_console_works() {
    let mut server = Sockeye::serve(&[]);
    let screenshots = std::env::var_os("SOCKEYE_SCREENSHOT_DIR");
    let mut node = node(CONSOLE);
    node.env("SOCKEYE_URL", server.http(""))
        .env("SOCKEYE_SCREENSHOT_DIR", screenshots.unwrap_or_else(|| std::env::temp_dir().into()));
    passes(node);
    server.assert_sound();
}

#[test]
fn the_browser_client_works() {
    let mut server = Sockeye::serve(&[]);
    let nginx = ReverseProxy::start_with(Kind::Nginx, server.address(), hold_back);
    let mut node = node(CLIENT);
    node.env("SOCKEYE_URL", server.http("")).env("SOCKEYE_BEHIND_NGINX", nginx.http(""));
    passes(node);
    server.assert_sound();
}

/// The program of `wasm/`, which `cargo xtask test browser` builds.
#[test]
fn the_client_for_rust_works_in_webassembly() {
    let server = Sockeye::serve(&[]);
    let (guarded, token) = guarded(&server.http(""));
    let program = build_directory().with_file_name("page");
    assert!(
        program.exists(),
        "no page at {}: `cargo xtask test browser` makes it",
        program.display()
    );
    let mut node = node(WASM);
    node.env("SOCKEYE_URL", server.http(""))
        .env("SOCKEYE_WASM", program)
        .env("SOCKEYE_GUARDED", json!({ "url": guarded.http(""), "token": token }).to_string());
    passes(node);
    for mut server in [server, guarded] {
        server.assert_sound();
    }
}

/// The guide's nginx, made as unhelpful as some are: it speaks HTTP/1.0 to the server, so that no
/// WebSocket gets through, and collects what should stream.
fn hold_back(configuration: String) -> String {
    let unhelpful = "proxy_http_version 1.0;\nproxy_ignore_headers X-Accel-Buffering;";
    let lines = configuration.lines().filter(|line| !line.contains("pgrade;"));
    let configuration: String = lines.map(|line| format!("{line}\n")).collect();
    configuration.replace("proxy_http_version 1.1;", unhelpful)
}

#[test]
fn both_work_with_tokens() {
    let directory = tempfile::tempdir().expect("a directory for the key");
    let file = directory.path().join("key");
    std::fs::write(&file, KEY).expect("the key");
    let mut server = Sockeye::serve(&["--auth-key", &file.to_string_lossy()]);
    let mut node = node(TOKENS);
    node.env("SOCKEYE_URL", server.http("")).env("SOCKEYE_KEY", KEY);
    passes(node);
    server.assert_sound();
}

#[test]
fn what_browsers_have_of_their_own_works() {
    let (server, echo) = (Sockeye::serve(&[]), Sockeye::echo(&[]));
    let certificates = Certificates::new();
    let (others, urls) = every_way(&certificates, &server.http(""));
    let (guarded, token) = guarded(&server.http(""));
    let mut node = node(OWN);
    node.env("SOCKEYE_BIN", sockeye_tests::program::path())
        .env("SOCKEYE_URL", server.http(""))
        .env("SOCKEYE_ECHO_URL", echo.ws("/"))
        .env("SOCKEYE_SERVERS", Value::from(urls).to_string())
        .env("SOCKEYE_GUARDED", json!({ "url": guarded.http(""), "token": token }).to_string());
    passes(node);
    for mut server in [server, echo, guarded].into_iter().chain(others) {
        server.assert_sound();
    }
}

#[test]
fn pages_of_other_origins_work_where_they_may_and_are_told_where_not() {
    let mut server = Sockeye::serve(&[]);
    let mut node = node(FOREIGN);
    node.env("SOCKEYE_BIN", sockeye_tests::program::path()).env("SOCKEYE_URL", server.http(""));
    passes(node);
    server.assert_sound();
}

#[test]
fn operators_look_at_channels_and_connections() {
    let mut server = Sockeye::serve(&[]);
    let screenshots = std::env::var_os("SOCKEYE_SCREENSHOT_DIR");
    let mut node = node(OPERATORS);
    node.env("SOCKEYE_URL", server.http(""))
        .env("SOCKEYE_OPERATORS", server.operators())
        .env("SOCKEYE_SCREENSHOT_DIR", screenshots.unwrap_or_else(|| std::env::temp_dir().into()));
    passes(node);
    server.assert_sound();
}

#[test]
fn the_shop_shows_orders_to_their_customers_alone() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let url = runtime.block_on(async {
        let shop = shop::Shop::default();
        let channels = shop::channels(&shop).expect("channels");
        let app = shop::app(shop, &channels).into_make_service_with_connect_info::<SocketAddr>();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        tokio::spawn(async move {
            let _channels = channels;
            axum::serve(listener, app).await
        });
        url
    });
    let mut node = node(SHOP);
    // There is no server of the program itself.
    node.env("SOCKEYE_URL", &url).env("SOCKEYE_SHOP", &url);
    passes(node);
}

#[test]
fn an_answer_is_read_over_a_reload_and_restarts() {
    let data = tempfile::tempdir().expect("a folder for the channels");
    let (folder, free) = (data.path().join("channels"), free_address());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let pages = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
    let pages = pages.expect("a free port");
    let url = format!("http://{}/", pages.local_addr().expect("its address"));
    let pace = Duration::from_millis(60);
    runtime.spawn(async move { answer::serve(pages, &free, folder, pace).await });
    let mut node = node(ANSWER);
    node.env("SOCKEYE_URL", &url).env("SOCKEYE_ANSWER", &url);
    passes(node);
}

#[test]
fn tabs_follow_some_of_ten_thousand_devices() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let url = runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let devices = devices::Devices::new();
        tokio::spawn(devices.clone().simulate(Duration::from_millis(100)));
        tokio::spawn(async move { axum::serve(listener, devices::app(devices)).await });
        url
    });
    let mut node = node(DEVICES);
    node.env("SOCKEYE_URL", &url).env("SOCKEYE_DEVICES", &url);
    passes(node);
}

/// An address that is free now, for a server that comes back to it.
fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").to_string()
}

#[test]
fn every_browser_test_is_run() {
    let groups =
        [CONSOLE, CLIENT, TOKENS, OWN, FOREIGN, OPERATORS, SHOP, ANSWER, DEVICES, WASM].concat();
    for file in test_files() {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let runs = groups.iter().filter(|group| name.starts_with(**group)).count();
        assert_eq!(runs, 1, "{name} belongs to one of the groups");
    }
}

/// Node's test runner with the files of a group.
fn node(group: &[&str]) -> Command {
    let is_of_group = |file: &PathBuf| {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        group.iter().any(|beginning| name.starts_with(beginning))
    };
    let mut node = Command::new("node");
    // What waits for something that never comes fails in the end.
    node.args(["--test", "--test-reporter=spec", "--test-timeout=300000"])
        .args(test_files().into_iter().filter(is_of_group));
    node
}

fn passes(mut node: Command) {
    let status = node.status().expect("`cargo xtask test browser` installs node");
    assert!(status.success(), "the browser tests failed: {status}");
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

fn test_files() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder().join("browser")).expect("the folder browser/");
    let paths = entries.map(|entry| entry.expect("an entry of browser/").path());
    let is_test = |path: &PathBuf| path.to_string_lossy().ends_with(".test.mjs");
    let files: Vec<_> = paths.filter(is_test).collect();
    assert!(!files.is_empty(), "browser/ has no *.test.mjs");
    files
}
