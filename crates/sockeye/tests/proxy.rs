//! Proxies, Unix sockets and redirects: what each party on the way gets to see.

#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "a failing helper is to fail its test")]

#[allow(dead_code, reason = "another test uses the rest")]
mod certificates;

use std::time::Duration;

use certificates::Authority;
use http::{
    HeaderValue, StatusCode,
    header::{AUTHORIZATION, COOKIE, LOCATION},
};
use sockeye::{
    Client, ConnectError, Incoming, Proxy, ProxyError, Refusal, Server,
    reconnect::{Decision, Down},
    web::{StreamOptions, WebSocket, WebSocketStream},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

/// A server that greets each client with the header fields of its request; gives its port.
async fn serve(server: Server) -> u16 {
    let port = server.local_addr().unwrap().port();
    tokio::spawn(server.run(|incoming: Incoming| async move {
        let seen = format!("{} {:?}", incoming.path(), incoming.headers());
        incoming.accept().await?.send(seen).await?;
        Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    }));
    port
}

async fn bind() -> Server {
    Server::bind("127.0.0.1:0").await.unwrap()
}

/// Opens a WebSocket and gives the server's greeting: what it saw of the request.
async fn greeting(client: Client) -> String {
    let mut socket = client.connect().await.unwrap();
    socket.recv().await.unwrap().unwrap().as_text().unwrap().to_owned()
}

async fn error(client: Client) -> ProxyError {
    match client.connect().await {
        Err(ConnectError::Proxy { error, .. }) => error,
        other => panic!("{other:?}"),
    }
}

fn client(url: &str, proxy: &str) -> Client {
    let proxy: Proxy = proxy.parse().unwrap();
    Client::new(url).unwrap().header(COOKIE, HeaderValue::from_static("id=cookie")).proxy(proxy)
}

async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// Speaks CONNECT, answers with this head and, if that says 200, leads to the target.
async fn tunnel(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str) -> String {
    let head = read_head(&mut stream).await;
    stream.write_all(answer.as_bytes()).await.unwrap();
    if answer.contains(" 200 ") {
        let target = head.split(' ').nth(1).unwrap();
        let mut target = TcpStream::connect(target).await.unwrap();
        let _ = copy_bidirectional(&mut stream, &mut target).await;
    } else {
        // The answer is to be read before the end is seen.
        stream.shutdown().await.unwrap();
    }
    head
}

/// An HTTP proxy for one connection; gives its port, and the head that it got once that is over.
async fn http_proxy(answer: &'static str) -> (u16, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, heads) = mpsc::channel(1);
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let _ = sender.send(tunnel(stream, answer).await).await;
    });
    (port, heads)
}

const OPEN: &str = "HTTP/1.1 200 Connection established\r\n\r\n";

/// Rules: X1, X2, X7.
#[tokio::test]
async fn a_tunnel_leads_to_ws_and_each_sees_only_what_is_for_it() {
    let server = serve(bind().await).await;
    let (proxy, mut heads) = http_proxy(OPEN).await;
    let proxy = format!("http://ann:proxy-secret@127.0.0.1:{proxy}");
    let seen = greeting(client(&format!("ws://bob:pw@127.0.0.1:{server}/a"), &proxy)).await;
    assert!(seen.starts_with("/a ") && seen.contains("id=cookie"), "{seen}");
    assert!(!seen.to_lowercase().contains("proxy"), "{seen}");
    let head = heads.recv().await.unwrap();
    let target = format!("127.0.0.1:{server}");
    assert!(head.starts_with(&format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n")));
    // ann:proxy-secret in base64.
    assert!(head.contains("Proxy-Authorization: Basic YW5uOnByb3h5LXNlY3JldA==\r\n"), "{head}");
    for foreign in ["Sec-WebSocket", "Upgrade", "Cookie", "\r\nAuthorization"] {
        assert!(!head.contains(foreign), "{foreign}: {head}");
    }
}

/// Rule: X3.
#[tokio::test]
async fn the_fields_of_a_success_announce_no_body() {
    let server = serve(bind().await).await;
    let url = format!("ws://127.0.0.1:{server}/");
    let odd = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (proxy, _heads) = http_proxy(odd).await;
    assert!(greeting(client(&url, &format!("127.0.0.1:{proxy}"))).await.contains("id=cookie"));
}

/// Rule: X3.
#[tokio::test]
async fn bytes_right_behind_the_proxys_answer_are_the_servers() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = listener.local_addr().unwrap().to_string();
    let opening = tokio::spawn(client("ws://h.example/", &proxy).connect());
    let (mut stream, _) = listener.accept().await.unwrap();
    read_head(&mut stream).await;
    // Nothing else could show it: what comes is no answer of a WebSocket server, but one it is.
    let answer = format!("{OPEN}HTTP/1.1 418 I'm a teapot\r\n\r\n");
    stream.write_all(answer.as_bytes()).await.unwrap();
    let error = opening.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("418"), "{error}");
}

/// Rule: X4.
#[tokio::test]
async fn what_a_proxy_answers_instead_is_told() {
    let cases = [
        ("HTTP/1.1 407 Who?\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\r\n", "407"),
        ("HTTP/1.1 403 No\r\n\r\n", "403"),
        ("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nbad", "502"),
        ("HTTP/1.1 302 Found\r\nLocation: http://evil.example/\r\n\r\n", "302"),
        ("220 smtp.example\r\n\r\n", "HTTP"),
    ];
    for (answer, told) in cases {
        let (proxy, _heads) = http_proxy(answer).await;
        let proxy = format!("http://127.0.0.1:{proxy}");
        let client = client("ws://h.example/", &proxy).follow_redirects(5);
        let error = client.connect().await.unwrap_err().to_string();
        assert!(error.contains(told) && error.contains(&proxy), "{error}");
    }
}

#[tokio::test]
async fn a_proxy_that_refuses_the_credentials_is_not_asked_again() {
    let cases = [
        ("http", "HTTP/1.1 407 Who?\r\n\r\n", Decision::Final),
        ("http", "HTTP/1.1 502 Bad Gateway\r\n\r\n", Decision::Retry),
        ("socks5h", "\x05\u{ff}\r\n\r\n", Decision::Final),
    ];
    for (scheme, answer, decision) in cases {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = format!("{scheme}://127.0.0.1:{}", listener.local_addr().unwrap().port());
        // Latin-1, so that 0xff is one byte.
        let answer: Vec<u8> = answer.chars().map(|c| c as u32 as u8).collect();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(&answer).await.unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
        let error = client("ws://h.example/", &proxy).connect().await.unwrap_err();
        assert!(matches!(error, ConnectError::Proxy { .. }), "{error:?}");
        assert_eq!(Down::NotOpened(error).decision(), decision);
    }
}

#[tokio::test]
async fn a_page_goes_through_the_proxy_it_is_told_to() {
    let port = serve(bind().await).await;
    let (proxy, mut requests) = socks_proxy().await;
    let proxy: Proxy = format!("socks5://ann:secret@127.0.0.1:{proxy}").parse().unwrap();
    let page = WebSocket::builder().proxy(proxy);
    let options = StreamOptions::default().builder(page);
    let url = format!("ws://127.0.0.1:{port}/");
    let mut opened = WebSocketStream::connect(&url, options).await.unwrap();
    assert!(requests.recv().await.is_some());
    assert!(opened.reader.read().await.unwrap().unwrap().as_text().unwrap().starts_with("/ "));
}

/// Rules: X5, W13.
#[tokio::test]
async fn a_proxy_that_says_nothing_or_goes_away_does_not_hold_a_client() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = listener.local_addr().unwrap().to_string();
    let patient = client("ws://h.example/", &proxy).timeout(Duration::from_millis(50));
    assert!(matches!(patient.connect().await, Err(ConnectError::Timeout(_))));
    drop(listener);
    assert!(matches!(error(client("ws://h.example/", &proxy)).await, ProxyError::Connect(_)));
    let (proxy, _heads) = http_proxy("").await;
    let cut = client("ws://h.example/", &format!("127.0.0.1:{proxy}"));
    assert!(matches!(error(cut).await, ProxyError::Io(_)));
}

/// Rule: X6.
#[tokio::test]
async fn an_https_proxy_gets_tls_of_its_own_around_that_of_the_server() {
    let (of_server, of_proxy) = (Authority::new(), Authority::new());
    let server = serve(bind().await.tls(of_server.identity("localhost").server())).await;
    let url = format!("wss://localhost:{server}/");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("https://ann:secret@localhost:{}", listener.local_addr().unwrap().port());
    let tls = of_proxy.identity("localhost").server();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(stream) = tls.accept(stream).await {
                tunnel(stream, OPEN).await;
            }
        }
    });
    let trusting: Proxy = proxy.parse::<Proxy>().unwrap().tls(of_proxy.trusted());
    let opening = Client::new(&url).unwrap().tls(of_server.trusted()).proxy(trusting);
    assert!(greeting(opening).await.starts_with('/'));
    // The authorities of servers are not those of proxies.
    let mistaken: Proxy = proxy.parse::<Proxy>().unwrap().tls(of_server.trusted());
    let opening = Client::new(&url).unwrap().tls(of_server.trusted()).proxy(mistaken);
    assert!(matches!(error(opening).await, ProxyError::Tls(_)));
}

/// Rule: X7.
#[tokio::test]
async fn a_server_behind_a_proxy_proves_its_identity_all_the_same() {
    let authority = Authority::new();
    let server = serve(bind().await.tls(authority.identity("other.example").server())).await;
    let (proxy, _heads) = http_proxy(OPEN).await;
    let opening = client(&format!("wss://localhost:{server}/"), &format!("127.0.0.1:{proxy}"));
    let opened = opening.tls(authority.trusted()).connect().await;
    assert!(matches!(opened, Err(ConnectError::Tls { .. })), "{opened:?}");
}

/// A SOCKS5 proxy that knows ann with the password secret and leads every name to this machine;
/// gives its port, and the requests it gets.
async fn socks_proxy() -> (u16, mpsc::Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, requests) = mpsc::channel(8);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve_socks(stream, sender.clone()));
        }
    });
    (port, requests)
}

async fn serve_socks(
    mut stream: TcpStream,
    requests: mpsc::Sender<Vec<u8>>,
) -> std::io::Result<()> {
    let mut methods = vec![0; usize::from(stream.read_u16().await? & 0xff)];
    stream.read_exact(&mut methods).await?;
    if !methods.contains(&2) {
        stream.write_all(&[5, 0xff]).await?;
        return stream.shutdown().await;
    }
    stream.write_all(&[5, 2]).await?;
    let mut credentials = [0; 12];
    stream.read_exact(&mut credentials).await?;
    if credentials != *b"\x01\x03ann\x06secret" {
        stream.write_all(&[1, 1]).await?;
        return stream.shutdown().await;
    }
    stream.write_all(&[1, 0]).await?;
    let mut request = vec![0; 5];
    stream.read_exact(&mut request).await?;
    let rest = if request[3] == 3 { usize::from(request[4]) + 2 } else { 5 };
    request.resize(5 + rest, 0);
    stream.read_exact(&mut request[5..]).await?;
    let (_, port) = request.split_last_chunk::<2>().unwrap();
    let target = TcpStream::connect(("127.0.0.1", u16::from_be_bytes(*port))).await;
    let _ = requests.send(request).await;
    let Ok(mut target) = target else {
        stream.write_all(&[5, 5, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
        return stream.shutdown().await;
    };
    // The address bound, as a name.
    stream.write_all(b"\x05\x00\x00\x03\x04here\x00\x50").await?;
    copy_bidirectional(&mut stream, &mut target).await.map(drop)
}

/// Rules: X9, X10, X11, X13.
#[tokio::test]
async fn socks5_leads_to_a_server_by_name_or_by_address() {
    let server = serve(bind().await).await;
    let (proxy, mut requests) = socks_proxy().await;
    let url = format!("ws://localhost:{server}/");
    let by_name = client(&url, &format!("socks5h://ann:secret@127.0.0.1:{proxy}"));
    assert!(greeting(by_name).await.contains("id=cookie"));
    assert!(requests.recv().await.unwrap().starts_with(b"\x05\x01\x00\x03\x09localhost"));
    let by_address = client(&url, &format!("socks5://ann:secret@127.0.0.1:{proxy}"));
    // The system may prefer the IPv6 address, which this proxy does not understand.
    if tokio::net::lookup_host(("localhost", 1)).await.unwrap().next().unwrap().is_ipv4() {
        assert!(greeting(by_address).await.contains("id=cookie"));
        assert!(requests.recv().await.unwrap().starts_with(b"\x05\x01\x00\x01\x7f\x00\x00\x01"));
    }
    let literal = format!("ws://127.0.0.1:{server}/");
    let literal = client(&literal, &format!("socks5h://ann:secret@127.0.0.1:{proxy}"));
    assert!(!greeting(literal).await.contains("secret"));
    assert!(requests.recv().await.unwrap().starts_with(b"\x05\x01\x00\x01\x7f\x00\x00\x01"));
}

/// Rules: X10, X12.
#[tokio::test]
async fn a_socks5_proxys_refusals_are_told_apart() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (proxy, _requests) = socks_proxy().await;
    let url = format!("ws://{closed}/");
    let cases = [
        ("", "another authentication"),
        ("ann:secreT@", "does not accept name and password"),
        ("ann:secret@", "refuses the connection"),
        ("ann:@", "1 to 255 bytes"),
    ];
    for (credentials, told) in cases {
        let proxy = format!("socks5://{credentials}127.0.0.1:{proxy}");
        let error = client(&url, &proxy).connect().await.unwrap_err().to_string();
        assert!(error.contains(told), "{told}: {error}");
        assert!(!error.contains("secre"), "{error}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_is_reached_by_its_path() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("server.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let client = Client::new("ws://named.example/a").unwrap().unix_socket(&path);
    let opening = tokio::spawn(client.connect());
    let (mut stream, _) = listener.accept().await.unwrap();
    let head = read_head(&mut stream).await;
    assert!(head.starts_with("GET /a HTTP/1.1\r\nHost: named.example\r\n"), "{head}");
    stream.write_all(b"HTTP/1.1 404 Not Found\r\n\r\n").await.unwrap();
    assert!(opening.await.unwrap().unwrap_err().to_string().contains("404"));
    let nowhere = Client::new("ws://h/").unwrap().unix_socket("no-such.sock").connect().await;
    assert!(nowhere.unwrap_err().to_string().contains("no-such.sock"));
}

/// A server that redirects every request to this place; gives its port.
async fn redirecting(server: Server, to: String) -> u16 {
    let port = server.local_addr().unwrap().port();
    tokio::spawn(server.run(move |incoming: Incoming| {
        let to = HeaderValue::try_from(&to).unwrap();
        async move {
            let refusal = Refusal::new(StatusCode::FOUND, "elsewhere").header(LOCATION, to);
            incoming.refuse_with(refusal).await;
            Ok::<(), String>(())
        }
    }));
    port
}

fn known(url: &str) -> Client {
    Client::new(url)
        .unwrap()
        .header(COOKIE, HeaderValue::from_static("id=cookie"))
        .header(AUTHORIZATION, HeaderValue::from_static("Bearer token"))
        .no_proxy()
}

/// Rule: N11.
#[tokio::test]
async fn a_redirect_is_followed_when_asked_for_without_credentials_to_strangers() {
    let server = serve(bind().await).await;
    let first = redirecting(bind().await, format!("http://127.0.0.1:{server}/b")).await;
    let url = format!("ws://ann:pw@127.0.0.1:{first}/a");
    let error = known(&url).connect().await.unwrap_err();
    assert!(error.to_string().contains("302"), "{error}");
    let seen = greeting(known(&url).follow_redirects(1)).await;
    assert!(seen.starts_with("/b "), "{seen}");
    assert!(!seen.contains("cookie\"") && !seen.contains("authorization"), "{seen}");
}

/// Rule: N11.
#[tokio::test]
async fn the_number_of_redirects_is_bounded() {
    let first = redirecting(bind().await, "/again".to_owned()).await;
    let client = known(&format!("ws://127.0.0.1:{first}/")).follow_redirects(3);
    assert!(client.connect().await.unwrap_err().to_string().contains("302"));
}

/// Rule: N11.
#[tokio::test]
async fn from_wss_to_ws_no_redirect_is_followed() {
    let authority = Authority::new();
    let server = serve(bind().await).await;
    let tls = authority.identity("localhost").server();
    let first = redirecting(bind().await.tls(tls), format!("ws://127.0.0.1:{server}/")).await;
    let client = known(&format!("wss://localhost:{first}/")).tls(authority.trusted());
    let error = client.follow_redirects(9).connect().await.unwrap_err();
    assert!(matches!(error, ConnectError::Redirect { .. }), "{error}");
}
