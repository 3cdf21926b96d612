//! The console at `/`.

use std::io::Read as _;

use flate2::read::GzDecoder;
use http::{Method, StatusCode};

use crate::client::{Answer, TestServer};

#[tokio::test]
async fn the_page_and_every_file_it_names_are_there() {
    let server = TestServer::start().await;
    let page = server.get("/").await;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let names = |attribute: &'static str| {
        let parts = page.text().split(attribute).skip(1);
        parts.map(|rest| rest.split('"').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let named: Vec<String> = [names("src=\""), names("href=\"")].concat();
    assert!(named.len() >= 3, "{named:?}");
    for name in named {
        let file = server.get(&format!("/{name}")).await;
        assert_eq!(file.status, StatusCode::OK, "{name}");
        let (name, version) = name.split_once("?v=").expect("a file is named with its version");
        assert!(version.starts_with(env!("CARGO_PKG_VERSION")), "{version}");
        let kind = match name.rsplit_once('.').unwrap().1 {
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "svg" => "image/svg+xml",
            other => panic!("a file of an unexpected kind: {other}"),
        };
        assert_eq!(file.header("content-type"), kind, "{name}");
    }
}

#[tokio::test]
async fn the_page_runs_nothing_but_its_own_files() {
    let server = TestServer::start().await;
    let page = server.get("/").await;
    let policy = page.header("content-security-policy");
    for rule in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"] {
        assert!(policy.contains(rule), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    // The policy forbids inline content, so there may be none.
    for inline in ["<script>", "<style", " style=\"", " onclick="] {
        assert!(!page.text().contains(inline), "the page has {inline}");
    }
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    assert_eq!(page.header("cache-control"), "no-cache");
}

/// A request for a file, with a header more.
async fn ask(server: &TestServer, path: &str, header: (&str, &str)) -> Answer {
    let request = server.request(Method::GET, path).header(header.0, header.1);
    server.send(request, "").await
}

#[tokio::test]
async fn a_browser_that_has_a_file_gets_304() {
    let server = TestServer::start().await;
    for path in ["/", "/sockeye.js", "/sockeye.classic.js", "/console.js", "/console.css"] {
        for coding in ["identity", "gzip", "br"] {
            let file = ask(&server, path, ("Accept-Encoding", coding)).await;
            assert_eq!(file.header("cache-control"), "no-cache", "{path}");
            assert!(file.header("vary").contains("accept-encoding"), "{path}");
            let etag = file.header("etag");
            for known in [&etag, &format!("W/{etag}"), &format!("\"x\", {etag}"), "*"] {
                let request = server.request(Method::GET, path).header("If-None-Match", known);
                let again = server.send(request.header("Accept-Encoding", coding), "").await;
                assert_eq!((again.status, again.text()), (StatusCode::NOT_MODIFIED, ""), "{path}");
                assert_eq!(again.header("etag"), etag);
                assert_eq!(again.header("content-encoding"), "");
            }
            let other = ask(&server, path, ("If-None-Match", "\"another\"")).await;
            assert_eq!(other.status, StatusCode::OK);
        }
    }
}

#[tokio::test]
async fn a_file_comes_compressed_to_a_browser_that_accepts_it() {
    let server = TestServer::start().await;
    for path in ["/", "/sockeye.js", "/console.js", "/zh.js"] {
        let plain = server.get(path).await;
        assert_eq!(plain.header("content-encoding"), "");
        let mut etags = vec![plain.header("etag")];
        for (accepted, coding) in [("gzip, deflate", "gzip"), ("gzip, deflate, br, zstd", "br")] {
            let file = ask(&server, path, ("Accept-Encoding", accepted)).await;
            assert_eq!(file.header("content-encoding"), coding, "{path}");
            assert_eq!(file.header("content-type"), plain.header("content-type"));
            assert!(file.body.len() < plain.body.len(), "{path}: {}", file.body.len());
            let mut content = Vec::new();
            match coding {
                "br" => brotli::BrotliDecompress(&mut &file.body[..], &mut content).unwrap(),
                _ => drop(GzDecoder::new(&file.body[..]).read_to_end(&mut content).unwrap()),
            }
            assert_eq!(content, plain.body, "{path} {coding}");
            etags.push(file.header("etag"));
        }
        etags.dedup();
        assert_eq!(etags.len(), 3, "each coding has a tag of its own: {etags:?}");
    }
}

#[tokio::test]
async fn a_url_with_the_version_is_kept_for_ever() {
    let server = TestServer::start().await;
    let client = server.get("/sockeye.js").await;
    let versioned = client.header("content-location");
    let (name, version) = versioned.split_once("?v=").expect("a URL with the version");
    assert_eq!(name, "sockeye.js");
    let kept = server.get(&format!("/{versioned}")).await;
    assert_eq!(kept.header("cache-control"), "public, max-age=31536000, immutable");
    assert_eq!(kept.text(), client.text());
    for other in ["/sockeye.js?v=0.0.1", "/sockeye.js?v=", "/sockeye.js?v=1&v=2"] {
        let file = server.get(other).await;
        assert_eq!(file.status, StatusCode::OK, "{other}");
        assert_eq!(file.header("cache-control"), "no-cache", "{other}");
    }
    // The imports of a kept file are kept too, under the same name as everywhere.
    let console = server.get(&format!("/console.js?v={version}")).await;
    let imports: Vec<_> = console.text().split("from './").skip(1).collect();
    assert!(!imports.is_empty());
    for import in imports {
        let name = import.split('\'').next().unwrap();
        assert!(name.ends_with(&format!("?v={version}")), "{name}");
    }
}

#[tokio::test]
async fn head_of_the_page_has_no_body() {
    let server = TestServer::start().await;
    let head = server.head("/").await;
    assert_eq!((head.status, head.text()), (StatusCode::OK, ""));
    assert_eq!(head.header("content-type"), "text/html; charset=utf-8");
}
