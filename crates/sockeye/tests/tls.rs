//! `wss://`: which certificates are trusted, which are not, and what a peer sees of it.

#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "a failing helper is to fail its test")]

mod certificates;

use std::{sync::Arc, time::Duration};

use certificates::{Authority, Identity};
use rustls::{
    HandshakeKind, RootCertStore, ServerConfig, ServerConnection,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use sockeye::{
    Client, CloseCode, CloseFrame, ConnectError, Incoming, Server, WebSocket,
    reconnect::{Decision, Down},
    tls::{ClientTls, ServerTls, TlsError},
    web::{self, StreamOptions, WebSocketStream},
};
use sockeye_testing::{
    handshake::{Head, accept_for, response},
    pass,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsConnector;

/// An echo server; gives its port.
async fn serve(tls: ServerTls) -> u16 {
    let server = Server::bind("127.0.0.1:0").await.unwrap().tls(tls);
    let port = server.local_addr().unwrap().port();
    tokio::spawn(server.run(|incoming: Incoming| async move {
        let mut socket = incoming.accept().await?;
        while let Some(message) = socket.recv().await {
            socket.send(message?).await?;
        }
        Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    }));
    port
}

async fn connect(url: &str, tls: ClientTls) -> Result<WebSocket, ConnectError> {
    Client::new(url).unwrap().tls(tls).connect().await
}

async fn assert_echo(socket: &mut WebSocket, text: &str) {
    socket.send(text).await.unwrap();
    assert_eq!(socket.recv().await.unwrap().unwrap().as_text(), Some(text));
}

/// Connects, and says how rustls puts its refusal.
async fn refusal(url: &str, tls: ClientTls) -> String {
    match connect(url, tls).await {
        Err(ConnectError::Tls { error, .. }) => error.to_string(),
        other => panic!("{url}: {other:?}"),
    }
}

/// Rules: W122, W14, W18.
#[tokio::test]
async fn client_and_server_speak_wss() {
    let authority = Authority::new();
    let port = serve(authority.identity("localhost").server()).await;
    let url = format!("wss://localhost:{port}/");
    let mut socket = connect(&url, authority.trusted()).await.unwrap();
    assert_echo(&mut socket, "hello").await;
    // More than all buffers on the way hold.
    let large = "x".repeat(1 << 20);
    assert_echo(&mut socket, &large).await;
    assert!(socket.close(CloseFrame::new(CloseCode::NORMAL, "bye").unwrap()).await.is_clean());
}

#[tokio::test]
async fn a_certificate_for_an_ip_address_serves_that_address() {
    let authority = Authority::new();
    let port = serve(authority.identity("127.0.0.1").server()).await;
    let url = format!("wss://127.0.0.1:{port}/");
    assert_echo(&mut connect(&url, authority.trusted()).await.unwrap(), "hello").await;
}

/// Rule: W15.
#[tokio::test]
async fn certificates_that_prove_nothing_are_refused() {
    let (authority, unknown) = (Authority::new(), Authority::new());
    let cases = [
        (authority.identity("other.example"), "localhost", "not valid for name"),
        (authority.identity("localhost"), "127.0.0.1", "not valid for name"),
        (unknown.identity("localhost"), "localhost", "UnknownIssuer"),
        (authority.expired("localhost"), "localhost", "expired"),
    ];
    for (identity, host, reason) in cases {
        let url = format!("wss://{host}:{}/", serve(identity.server()).await);
        let said = refusal(&url, authority.trusted()).await;
        assert!(said.contains(reason), "{reason}: {said}");
        let reckless = authority.trusted().danger_accept_invalid_certificates();
        assert_echo(&mut connect(&url, reckless).await.unwrap(), "hello").await;
    }
}

#[tokio::test]
async fn a_certificate_that_is_trusted_itself_is_valid_for_its_name_and_its_time() {
    let identity = Identity::of_openssl("localhost", 4000);
    let port = serve(identity.server()).await;
    let url = format!("wss://localhost:{port}/");
    assert_echo(&mut connect(&url, identity.trusted()).await.unwrap(), "hello").await;
    let said = refusal(&format!("wss://127.0.0.1:{port}/"), identity.trusted()).await;
    assert!(said.contains("not valid for name"), "{said}");
    // Another one of that name is not it.
    let other = Identity::of_openssl("localhost", 4000);
    let said = refusal(&url, other.trusted()).await;
    assert!(said.contains("CaUsedAsEndEntity"), "{said}");

    let expired = Identity::of_openssl("localhost", 2020);
    let url = format!("wss://localhost:{}/", serve(expired.server()).await);
    let said = refusal(&url, expired.trusted()).await;
    assert!(said.contains("expired"), "{said}");

    // One that an authority has signed is trusted without it, too.
    let authority = Authority::new();
    for (leaf, reason) in [
        (authority.identity("localhost"), None),
        (authority.identity("other.example"), Some("not valid for name")),
        (authority.expired("localhost"), Some("expired")),
        (authority.early("localhost"), Some("not valid yet")),
    ] {
        let url = format!("wss://localhost:{}/", serve(leaf.server()).await);
        match reason {
            None => assert_echo(&mut connect(&url, leaf.trusted()).await.unwrap(), "hi").await,
            Some(reason) => {
                let said = refusal(&url, leaf.trusted()).await;
                assert!(said.contains(reason), "{said}");
            }
        }
    }
}

#[tokio::test]
async fn a_server_that_is_not_trusted_is_not_tried_again_but_a_broken_handshake_is() {
    let (authority, unknown) = (Authority::new(), Authority::new());
    let untrusted = serve(unknown.identity("localhost").server()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let garbage = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    for (port, decision) in [(untrusted, Decision::Final), (garbage, Decision::Retry)] {
        let url = format!("wss://localhost:{port}/");
        let error = connect(&url, authority.trusted()).await.unwrap_err();
        assert!(matches!(error, ConnectError::Tls { .. }), "{error:?}");
        assert_eq!(Down::NotOpened(error).decision(), decision);
    }
}

#[tokio::test]
async fn a_page_trusts_the_authorities_that_it_is_given() {
    let authority = Authority::new();
    let url = format!("wss://localhost:{}/", serve(authority.identity("localhost").server()).await);
    let page = web::WebSocket::builder().no_proxy();
    let options = StreamOptions::default().builder(page.clone());
    assert!(WebSocketStream::connect(&url, options).await.is_err());

    let page = page.tls(authority.trusted());
    let options = StreamOptions::default().builder(page.clone());
    let mut opened = WebSocketStream::connect(&url, options).await.unwrap();
    opened.writer.write("hello").await.unwrap();
    assert_eq!(opened.reader.read().await.unwrap().unwrap().as_text(), Some("hello"));

    let (sender, mut events) = tokio::sync::mpsc::unbounded_channel();
    let socket = page.open(&url, ()).unwrap();
    for name in ["open", "error"] {
        let sender = sender.clone();
        socket.add_event_listener(name, move |event| sender.send(event.name().to_owned()).unwrap());
    }
    assert_eq!(events.recv().await.as_deref(), Some("open"));
}

#[tokio::test]
async fn by_default_the_systems_authorities_are_trusted_and_no_others() {
    let authority = Authority::new();
    let port = serve(authority.identity("localhost").server()).await;
    let url = format!("wss://localhost:{port}/");
    let Err(ConnectError::Tls { error, .. }) = sockeye::connect(&url).await else { panic!() };
    // A system without any authorities trusts no server either.
    let said = error.to_string();
    assert!(said.contains("UnknownIssuer") || said.contains("no certificate authority"), "{said}");
    let error = connect(&url, ClientTls::new().without_system_roots()).await.unwrap_err();
    assert!(error.to_string().contains("the TLS handshake with localhost failed"), "{error}");
}

/// The name and the protocol that a client's greeting led to, as a server sees them.
async fn greeting(host: &str, authority: &Authority) -> (Option<String>, Option<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("wss://{host}:{}/", listener.local_addr().unwrap().port());
    let tls = authority.identity(host).server();
    let accepting = async {
        let (stream, _) = listener.accept().await.unwrap();
        let stream = tls.accept(stream).await.unwrap();
        let connection: &ServerConnection = stream.get_ref().1;
        let name = connection.server_name().map(str::to_owned);
        (name, connection.alpn_protocol().map(<[u8]>::to_vec))
    };
    // The client gets no answer to its handshake.
    tokio::join!(accepting, connect(&url, authority.trusted())).0
}

/// Rule: W17.
#[tokio::test]
async fn the_host_is_sent_as_sni_and_http_1_1_as_alpn() {
    let authority = Authority::new();
    let (name, protocol) = greeting("localhost", &authority).await;
    assert_eq!(name.as_deref(), Some("localhost"));
    assert_eq!(protocol.as_deref(), Some(&b"http/1.1"[..]));
    // An address is not a name (RFC 6066 §3).
    assert_eq!(greeting("127.0.0.1", &authority).await.0, None);
}

/// A server that only talks to clients whose certificates this authority has signed.
fn requiring(authority: &Authority, identity: &Identity) -> ServerTls {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
    let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.unwrap())
        .with_single_cert(vec![certificate], key)
        .unwrap();
    ServerTls::from_config(config)
}

#[tokio::test]
async fn a_client_certificate_opens_what_is_closed_without() {
    let authority = Authority::new();
    let port = serve(requiring(&authority, &authority.identity("localhost"))).await;
    let url = format!("wss://localhost:{port}/");
    let ann = authority.identity("ann").file();
    let tls = authority.trusted().identity_files(ann.path(), ann.path()).unwrap();
    assert_echo(&mut connect(&url, tls).await.unwrap(), "hello").await;
    assert!(connect(&url, authority.trusted()).await.is_err());
    let mallory = Authority::new().identity("ann");
    let (certificate, key) = (mallory.certificate.as_bytes(), mallory.key.as_bytes());
    let tls = authority.trusted().identity_pem(certificate, key).unwrap();
    assert!(connect(&url, tls).await.is_err());
}

#[tokio::test]
async fn a_new_certificate_is_served_to_new_connections_and_old_ones_stay() {
    let (old, new) = (Authority::new(), Authority::new());
    let file = old.identity("localhost").file();
    let tls = ServerTls::from_files(file.path(), file.path()).unwrap();
    let url = format!("wss://localhost:{}/", serve(tls).await);
    let mut first = connect(&url, old.trusted()).await.unwrap();

    let renewed = new.identity("localhost");
    std::fs::write(file.path(), format!("{}{}", renewed.certificate, renewed.key)).unwrap();
    // The files are looked at every 2 s.
    pass(Duration::from_secs(2)).await;
    let mut second = connect(&url, new.trusted()).await.unwrap();
    assert_echo(&mut second, "new").await;
    assert_echo(&mut first, "old").await;
}

#[tokio::test]
async fn the_end_is_announced_with_close_notify_on_both_sides() {
    let authority = Authority::new();
    // Without it rustls reports an error instead of the end (RFC 8446 §6.1).
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("wss://localhost:{}/", listener.local_addr().unwrap().port());
    let tls = authority.identity("localhost").server();
    let client = tokio::spawn({
        let tls = authority.trusted();
        async move { connect(&url, tls).await.unwrap().close(CloseCode::NORMAL).await }
    });
    let (stream, _) = listener.accept().await.unwrap();
    let mut stream = tls.accept(stream).await.unwrap();
    answer_by_hand(&mut stream).await;
    // Its Close, with code 1000: 2 bytes, a key of 4, the code.
    let mut close = [0; 8];
    stream.read_exact(&mut close).await.unwrap();
    assert_eq!(close[0], 0x88);
    stream.write_all(b"\x88\x02\x03\xe8").await.unwrap();
    stream.shutdown().await.unwrap();
    assert!(client.await.unwrap().is_clean());
    assert_eq!(stream.read(&mut close).await.unwrap(), 0);
}

/// Answers a handshake as RFC 6455 §1.3 does it.
async fn answer_by_hand(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin)) {
    let head = Head::read_async(stream).await.unwrap();
    let answer = response(&accept_for(head.header("sec-websocket-key").unwrap()));
    stream.write_all(answer.as_bytes()).await.unwrap();
}

#[tokio::test]
async fn what_speaks_no_tls_does_not_disturb_a_server() {
    let authority = Authority::new();
    let port = serve(authority.identity("localhost").server()).await;
    let mut plain = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // An alert, then the end; some systems report a reset.
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/"));
    let url = format!("wss://localhost:{port}/");
    assert_echo(&mut connect(&url, authority.trusted()).await.unwrap(), "hello").await;
}

#[test]
fn files_that_cannot_be_used_are_named_with_the_reason() {
    let authority = Authority::new();
    let identity = authority.identity("localhost");
    let (one, other) = (identity.file(), authority.identity("localhost").file());
    let missing = ServerTls::from_files("no-such-file.pem", one.path()).unwrap_err();
    assert!(missing.to_string().starts_with("cannot read no-such-file.pem"), "{missing}");
    let mismatch = ServerTls::from_files(one.path(), other.path()).unwrap_err();
    assert!(mismatch.to_string().contains(one.path().to_str().unwrap()), "{mismatch}");
    assert!(matches!(ClientTls::new().root_pem(b"nothing"), Err(TlsError::NoCertificate)));
    let without_key = ServerTls::from_pem(identity.certificate.as_bytes(), b"");
    assert!(matches!(without_key, Err(TlsError::NoKey)));
}

/// More clients come back than a server remembers sessions for (256 by rustls's default).
#[tokio::test]
async fn three_hundred_clients_resume_their_sessions() {
    let authority = Authority::new();
    let port = serve(authority.identity("localhost").server()).await;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let clients: Vec<_> = (0..300).map(|_| resuming_client(&roots, version)).collect();
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
            for client in &clients {
                assert_eq!(handshake(port, client).await, expected, "{version:?}");
            }
        }
    }
}

/// A client that remembers its session.
fn resuming_client(
    roots: &RootCertStore,
    version: &'static rustls::SupportedProtocolVersion,
) -> TlsConnector {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

/// Asks for something, so that tickets arrive with the answer; says what handshake it took.
async fn handshake(port: u16, client: &TlsConnector) -> HandshakeKind {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let name = "localhost".try_into().unwrap();
    let mut stream = client.connect(name, stream).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    stream.get_ref().1.handshake_kind().unwrap()
}

/// For a program that looks at the handshake itself.
#[tokio::test]
async fn the_transport_below_tls_and_the_settings_of_rustls_make_the_same_connection() {
    let authority = Authority::new();
    let port = serve(authority.identity("localhost").server()).await;
    let client = Client::new(format!("wss://localhost:{port}/")).unwrap();
    let config = authority.trusted().to_config().await.unwrap();
    let transport = client.raw_transport().await.unwrap();
    let name = "localhost".try_into().unwrap();
    let secured = TlsConnector::from(config).connect(name, transport).await.unwrap();
    assert!(secured.get_ref().1.peer_certificates().is_some());
    let mut socket = client.open_over(secured).await.unwrap().socket;
    assert_echo(&mut socket, "by hand").await;
}
