//! Which pages may use the server.

use http::{HeaderValue, Method, Request, StatusCode};

use crate::client::{Answer, TestServer};

/// A request as a browser would send it for a page of `origin` to a server it knows as `host`.
async fn ask(server: &TestServer, method: Method, host: &str, origin: Option<&str>) -> Answer {
    ask_for(server, "/c/chat", method, host, origin).await
}

async fn ask_for(
    server: &TestServer,
    path: &str,
    method: Method,
    host: &str,
    origin: Option<&str>,
) -> Answer {
    let mut request = Request::builder().method(method).uri(path).header("Host", host);
    if let Some(origin) = origin {
        request = request.header("Origin", origin);
    }
    server.send(request, "").await
}

#[tokio::test]
async fn the_servers_own_pages_may_use_it() {
    let server = TestServer::start().await;
    for host in [
        "127.0.0.1:8080",
        "localhost:8080",
        "LOCALHOST",
        "chat.localhost",
        "[::1]:8080",
        "127.1.2.3",
    ] {
        let origin = format!("http://{host}");
        for method in [Method::GET, Method::HEAD, Method::POST, Method::DELETE] {
            let answer = ask(&server, method.clone(), host, Some(&origin)).await;
            assert!(answer.status.is_success(), "{method} {host}: {}", answer.status);
            assert_eq!(answer.header("access-control-allow-origin"), origin);
            assert!(answer.header("vary").contains("Origin"), "{method}");
        }
    }
}

#[tokio::test]
async fn programs_without_an_origin_may_use_it() {
    let server = TestServer::start().await;
    let answer = ask(&server, Method::GET, "localhost:8080", None).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn foreign_pages_may_not_on_any_method() {
    let server = TestServer::start().await;
    let foreign = [
        "http://evil.example",
        "https://localhost:8080",
        "http://localhost:8081",
        "http://localhost",
        "http://localhost:8080.evil.example",
        "http://127.0.0.1:8080",
        "http://evil-localhost:8080",
        "null",
        "file://",
        "",
        "*",
        "http://localhost:8080/",
        "garbage",
    ];
    for origin in foreign {
        for method in [Method::GET, Method::POST, Method::DELETE, Method::OPTIONS, Method::PUT] {
            let answer = ask(&server, method.clone(), "localhost:8080", Some(origin)).await;
            answer.assert_problem(403, "bad_origin");
            assert_eq!(answer.header("access-control-allow-origin"), "", "{method} {origin}");
        }
        let head = ask(&server, Method::HEAD, "localhost:8080", Some(origin)).await;
        assert_eq!((head.status, head.header("etag").as_str()), (StatusCode::FORBIDDEN, ""));
        let console = ask_for(&server, "/", Method::GET, "localhost:8080", Some(origin)).await;
        console.assert_problem(403, "bad_origin");
    }
    assert!(
        server.get("/c/chat").await.text().contains("\"messages\":[]"),
        "something was published"
    );
}

#[tokio::test]
async fn an_allowed_origin_is_allowed_exactly() {
    let server = TestServer::with(|options| {
        options.channels.allow_origin = vec!["https://App.example".parse().unwrap()];
    })
    .await;
    for origin in ["https://app.example", "https://app.example:443"] {
        let answer = ask(&server, Method::POST, "localhost:8080", Some(origin)).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{origin}");
        assert_eq!(answer.header("access-control-allow-origin"), origin);
        assert!(answer.header("access-control-expose-headers").contains("ETag"));
        assert!(answer.header("vary").contains("Origin"));
    }
    for origin in
        ["http://app.example", "https://app.example:8443", "https://www.app.example", "null"]
    {
        let answer = ask(&server, Method::POST, "localhost:8080", Some(origin)).await;
        answer.assert_problem(403, "bad_origin");
    }
}

/// A server that lets pages of these origins use it.
async fn that_allows(origins: &[&str]) -> TestServer {
    let origins: Vec<_> = origins.iter().map(|origin| origin.parse().unwrap()).collect();
    TestServer::with(move |options| options.channels.allow_origin = origins.clone()).await
}

#[tokio::test]
async fn names_below_a_domain_apps_and_extensions_can_be_allowed() {
    let extension = "chrome-extension://abcdefghijklmnopabcdefghijklmnop";
    let names = ["capacitor://localhost", "tauri://localhost", "app://bundle", extension];
    let server = that_allows(&[&["https://*.example.org"], &names[..]].concat()).await;
    for origin in [&["https://a.example.org", "https://a.b.example.org"], &names[..]].concat() {
        let answer = ask(&server, Method::POST, "localhost:8080", Some(origin)).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{origin}");
        assert_eq!(answer.header("access-control-allow-origin"), origin);
        assert_eq!(answer.header("access-control-allow-credentials"), "true", "{origin}");
    }
    for origin in [
        "https://example.org",
        "http://a.example.org",
        "https://a.example.org.evil.net",
        "https://evilexample.org",
        "tauri://evil",
        "chrome-extension://ponmlkjihgfedcbaponmlkjihgfedcba",
        "null",
    ] {
        let answer = ask(&server, Method::POST, "localhost:8080", Some(origin)).await;
        answer.assert_problem(403, "bad_origin");
        assert_eq!(answer.header("access-control-allow-credentials"), "", "{origin}");
    }
}

/// `null` identifies no origin, so it never gets credentials.
#[tokio::test]
async fn pages_without_an_origin_can_be_allowed_without_credentials() {
    let server = that_allows(&["null"]).await;
    // Chromium sends `file://` with the WebSockets of a file.
    for origin in ["null", "file://"] {
        let answer = ask(&server, Method::POST, "localhost:8080", Some(origin)).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{origin}");
        assert_eq!(answer.header("access-control-allow-origin"), origin);
        assert_eq!(answer.header("access-control-allow-credentials"), "");
    }
    let other = ask(&server, Method::POST, "localhost:8080", Some("http://evil.example")).await;
    other.assert_problem(403, "bad_origin");
}

#[tokio::test]
async fn a_refusal_says_what_to_type() {
    let server = TestServer::start().await;
    for (origin, advice) in [
        ("https://app.example", "`allow_origin` https://app.example"),
        ("tauri://localhost", "`allow_origin` tauri://localhost"),
        ("null", "`allow_origin` null"),
        ("file://", "`allow_origin` null"),
    ] {
        let answer = ask(&server, Method::GET, "localhost:8080", Some(origin)).await;
        answer.assert_problem(403, "bad_origin");
        assert!(answer.text().contains(advice), "{}", answer.text());
    }
    // What an operator may paste into a shell is one word.
    for origin in ["http://a;reboot", "http://$(reboot)", "http://a`b`", "http://*.example.org"] {
        let answer = ask(&server, Method::GET, "localhost:8080", Some(origin)).await;
        answer.assert_problem(403, "bad_origin");
        assert!(!answer.text().contains("`allow_origin`"), "{}", answer.text());
    }
}

#[tokio::test]
async fn a_page_that_rebinds_its_name_to_loopback_stays_out() {
    let server = TestServer::start().await;
    for host in
        ["evil.example", "evil.example:8080", "localhost.evil.example", "10.0.0.1", "0.0.0.0:8080"]
    {
        let origin = format!("http://{host}");
        for origin in [Some(origin.as_str()), None] {
            for path in ["/", "/console.js", "/c/chat", "/nowhere"] {
                let answer = ask_for(&server, path, Method::GET, host, origin).await;
                answer.assert_problem(403, "bad_origin");
            }
            ask(&server, Method::POST, host, origin).await.assert_problem(403, "bad_origin");
        }
    }
    // A request target with a host overrides `Host` (RFC 9112 §3.2.2).
    let request =
        "GET http://evil.example/c/chat HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert!(server.send_raw(request).await.contains("bad_origin"));
}

#[tokio::test]
async fn an_open_server_goes_by_the_name_it_is_asked_under() {
    let server = TestServer::with(|options| options.channels.open = true).await;
    let (host, own) = ("chat.example:8080", "http://chat.example:8080");
    assert_eq!(ask(&server, Method::POST, host, Some(own)).await.status, StatusCode::CREATED);
    assert_eq!(ask(&server, Method::POST, host, None).await.status, StatusCode::CREATED);
    for origin in
        ["http://evil.example", "https://chat.example:8080", "http://chat.example", "null"]
    {
        ask(&server, Method::POST, host, Some(origin)).await.assert_problem(403, "bad_origin");
    }
}

#[tokio::test]
async fn a_host_is_there_once_and_is_a_host() {
    let server = TestServer::start().await;
    for host in [
        "",
        "Host:\r\n",
        "Host: a b\r\n",
        "Host: user@localhost\r\n",
        "Host: localhost:99999\r\n",
        "Host: localhost\r\nHost: evil.example\r\n",
    ] {
        let answer = server.send_raw(format!("GET /c/chat HTTP/1.1\r\n{host}\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{host:?}: {answer}");
        assert!(answer.contains("\"bad_request\""), "{host:?}: {answer}");
    }
    let two = "Host: localhost\r\nOrigin: http://localhost\r\nOrigin: http://evil.example\r\n";
    let answer = server.send_raw(format!("GET /c/chat HTTP/1.1\r\n{two}\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test]
async fn a_preflight_says_what_a_page_may_send() {
    let server = TestServer::with(|options| {
        options.channels.allow_origin = vec!["https://app.example".parse().unwrap()];
    })
    .await;
    let preflight = |origin: &'static str| {
        let request = server.request(Method::OPTIONS, "/c/chat");
        let request = request.header("Origin", HeaderValue::from_static(origin));
        let request = request.header("Access-Control-Request-Method", "POST");
        server.send(
            request
                .header("Access-Control-Request-Headers", "content-type,hx-request,x-mine,cookie"),
            "",
        )
    };
    let answer = preflight("https://app.example").await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert_eq!(answer.header("access-control-allow-origin"), "https://app.example");
    for method in ["GET", "HEAD", "POST", "DELETE"] {
        assert!(answer.header("access-control-allow-methods").contains(method), "{method}");
    }
    let may_send = answer.header("access-control-allow-headers");
    let may_send: Vec<_> = may_send.split(", ").collect();
    for header in [
        "authorization",
        "content-type",
        "idempotency-key",
        "if-none-match",
        "last-event-id",
        "prefer",
        "sockeye-event",
        "hx-request",
        "x-mine",
    ] {
        assert!(may_send.contains(&header), "{header}");
    }
    assert!(!may_send.contains(&"cookie"));
    assert_eq!(answer.header("access-control-allow-credentials"), "true");
    preflight("https://evil.example").await.assert_problem(403, "bad_origin");
}

#[tokio::test]
async fn a_page_that_may_come_may_use_what_it_gets() {
    let app = "https://app.example";
    let server = TestServer::with(|options| {
        options.channels.allow_origin = vec![app.parse().unwrap()];
    })
    .await;
    for (path, method) in [
        ("/c/chat", Method::GET),
        ("/c/chat", Method::HEAD),
        ("/c/chat", Method::POST),
        ("/c/chat/presence", Method::GET),
        ("/nowhere", Method::GET),
        ("/", Method::GET),
    ] {
        let answer = ask_for(&server, path, method.clone(), "localhost:8080", Some(app)).await;
        for header in ["access-control-allow-origin", "timing-allow-origin"] {
            assert_eq!(answer.header(header), app, "{method} {path} {header}");
        }
        assert_eq!(answer.header("cross-origin-resource-policy"), "cross-origin", "{path}");
        let may_read = answer.header("access-control-expose-headers");
        for header in ["ETag", "Preference-Applied", "Retry-After", "WWW-Authenticate"] {
            assert!(may_read.contains(header), "{may_read}");
        }
        assert_eq!(answer.header("access-control-allow-credentials"), "true");

        for origin in [None, Some("https://evil.example")] {
            let answer = ask_for(&server, path, method.clone(), "localhost:8080", origin).await;
            assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin", "{path}");
            assert_eq!(answer.header("timing-allow-origin"), "");
            assert!(answer.header("vary").contains("Origin"), "{method} {path}");
        }
    }
}

/// Requests that a page sends without a preflight, and that carry no `Origin` (W3C Fetch Metadata).
#[tokio::test]
#[cfg(feature = "console")]
async fn no_foreign_page_embeds_what_is_here() {
    let server = TestServer::start().await;
    let fetched = async |path: &str, site: &str, mode: &str| {
        let request = server.request(Method::GET, path);
        let request = request.header("Sec-Fetch-Site", site).header("Sec-Fetch-Mode", mode);
        server.send(request, "").await
    };
    for path in ["/c/chat", "/c/chat?as=victim", "/console.js", "/"] {
        for site in ["cross-site", "same-site"] {
            fetched(path, site, "no-cors").await.assert_problem(403, "bad_origin");
            assert_eq!(fetched(path, site, "navigate").await.status, StatusCode::OK, "{path}");
        }
        for site in ["same-origin", "none"] {
            assert_eq!(fetched(path, site, "no-cors").await.status, StatusCode::OK, "{path}");
        }
    }
}

/// A form needs no preflight: the browser sends it, and only looks at the response afterwards.
#[tokio::test]
async fn a_foreign_form_publishes_nothing() {
    let server = TestServer::start().await;
    for kind in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
    {
        for origin in ["http://evil.example", "null"] {
            let request = server.request(Method::POST, "/c/chat").header("Origin", origin);
            let request =
                request.header("Content-Type", kind).header("Sec-Fetch-Site", "cross-site");
            server.send(request, "a=b").await.assert_problem(403, "bad_origin");
        }
    }
    assert!(server.get("/c/chat").await.text().contains("\"messages\":[]"));
}
