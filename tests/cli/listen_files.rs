//! `sockeye listen --static`: the files of a folder, beside the WebSockets.

use std::fs;
use std::os::unix::fs::symlink;

use sockeye_tests::curl::{curl, status};
use sockeye_tests::peer::Peer;
use sockeye_tests::program::Sockeye;
use tempfile::TempDir;

/// A folder with a page, and a secret beside it.
fn folder() -> (TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let public = folder.path().join("public");
    fs::create_dir_all(public.join("sub")).expect("a folder");
    fs::write(public.join("index.html"), "<h1>hello</h1>").expect("a file");
    fs::write(public.join("app.js"), "0123456789").expect("a file");
    fs::write(public.join("sub/index.html"), "below").expect("a file");
    fs::write(public.join(".env"), "hidden").expect("a file");
    fs::write(folder.path().join("secret"), "secret").expect("a file");
    symlink(folder.path().join("secret"), public.join("link")).expect("a link");
    let path = public.to_str().expect("a plain path").to_owned();
    (folder, path)
}

#[test]
fn files_are_served_with_their_types_beside_websockets() {
    let (_folder, public) = folder();
    let server = Sockeye::listen(&["--static", &public, "--exec", "cat"]);
    assert_eq!(curl(&[&server.http("/")]), "<h1>hello</h1>");
    assert_eq!(curl(&["-L", &server.http("/sub")]), "below");
    let head = curl(&["-I", &server.http("/app.js")]).to_lowercase();
    assert!(head.contains("content-type: text/javascript"), "{head}");
    assert!(head.contains("x-content-type-options: nosniff"), "{head}");
    Peer::open(server.address(), "/").echo("on the same path");
    assert_eq!(status(&["-d", "x", &server.http("/app.js")]), 405);
}

#[test]
fn requests_may_be_conditional_and_for_a_range() {
    let (_folder, public) = folder();
    let server = Sockeye::listen(&["--static", &public]);
    let url = server.http("/app.js");
    assert_eq!(curl(&["-r", "2-4", &url]), "234");
    assert_eq!(status(&["-r", "2-4", &url]), 206);
    assert_eq!(status(&["-r", "100-", &url]), 416);
    let head = curl(&["-I", &url]);
    let modified = head.lines().find_map(|line| line.strip_prefix("last-modified: "));
    let modified = modified.expect("a date").trim();
    assert_eq!(status(&["-H", &format!("If-Modified-Since: {modified}"), &url]), 304);
}

#[test]
fn nothing_outside_of_the_folder_is_served_and_nothing_hidden() {
    let (_folder, public) = folder();
    let server = Sockeye::listen(&["--static", &public]);
    for path in [
        "/../secret",
        "/%2e%2e/secret",
        "/..%2fsecret",
        "/sub/../../secret",
        "/link",
        "/.env",
        "/%2eenv",
        "/app.js%00",
        "/nothing",
        "//etc/passwd",
        "/%5c..%5csecret",
    ] {
        assert_eq!(status(&["--path-as-is", &server.http(path)]), 404, "{path}");
    }
}

#[test]
fn a_page_that_rebinds_its_name_reads_no_file() {
    let (_folder, public) = folder();
    let server = Sockeye::listen(&["--static", &public]);
    assert_eq!(status(&["-H", "Host: evil.example", &server.http("/app.js")]), 403);
    assert_eq!(status(&["-H", "Host: localhost:1", &server.http("/app.js")]), 200);
}
