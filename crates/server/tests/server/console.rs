//! The console at `/`.

use http::StatusCode;

use crate::client::TestServer;

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
        let kind = match name.rsplit_once('.').unwrap().1 {
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "svg" => "image/svg+xml",
            other => panic!("a file of a kind nobody expects: {other}"),
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
    // The policy forbids what stands in the page itself, so nothing may stand there.
    for inline in ["<script>", "<style", " style=\"", " onclick="] {
        assert!(!page.text().contains(inline), "the page has {inline}");
    }
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    assert_eq!(page.header("cache-control"), "no-cache");
}

#[tokio::test]
async fn head_of_the_page_has_no_body() {
    let server = TestServer::start().await;
    let head = server.head("/").await;
    assert_eq!((head.status, head.text()), (StatusCode::OK, ""));
    assert_eq!(head.header("content-type"), "text/html; charset=utf-8");
}
