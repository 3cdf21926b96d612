//! HTTP/2 over TLS: negotiated by ALPN, or not.

#[allow(dead_code, reason = "another test uses the rest")]
#[path = "../certificates/mod.rs"]
pub(crate) mod certificates;

use std::sync::Arc;

use certificates::Authority;
use hyper::{
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use sockeye::{Client, ConnectError, http2::Connection, tls::ClientTls};
use tokio::{net::TcpListener, sync::mpsc::unbounded_channel};
use tokio_rustls::TlsAcceptor;

use crate::harness::answer;

/// An echo server that knows these protocols; gives a client that trusts it.
async fn serve(protocols: &[&[u8]], extended_connect: bool) -> Client {
    let authority = Authority::new();
    let identity = authority.identity("localhost");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, mut sockets) = unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let sender = sender.clone();
            let service = service_fn(move |request| answer(request, sender.clone()));
            if is_http2 {
                let mut http = http2::Builder::new(TokioExecutor::new());
                if extended_connect {
                    http.enable_connect_protocol();
                }
                tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
            } else {
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connection.with_upgrades());
            }
        }
    });
    tokio::spawn(async move {
        while let Some(mut socket) = sockets.recv().await {
            while let Some(Ok(message)) = socket.recv().await {
                let _ = socket.send(message).await;
            }
        }
    });
    client(port, authority.trusted())
}

fn client(port: u16, tls: ClientTls) -> Client {
    Client::new(format!("wss://localhost:{port}/chat")).unwrap().tls(tls)
}

async fn assert_echo(connection: &Connection, client: Client) {
    let opened = connection.open(client).await.unwrap();
    let status = if connection.is_shared() { 200 } else { 101 };
    assert_eq!(opened.response.status(), status);
    let mut socket = opened.socket;
    socket.send("hello").await.unwrap();
    assert_eq!(socket.recv().await.unwrap().unwrap().as_text(), Some("hello"));
}

/// Rules: H5, H14.
#[tokio::test]
async fn over_tls_http_2_is_negotiated() {
    let client = serve(&[b"h2", b"http/1.1"], true).await;
    for connection in [Connection::connect(&client).await, Connection::negotiate(&client).await] {
        let connection = connection.unwrap();
        assert!(connection.is_shared());
        assert_echo(&connection, client.clone()).await;
    }
    let opened = Connection::connect(&client).await.unwrap().open(client).await.unwrap();
    let request = String::from_utf8(opened.request.to_vec()).unwrap();
    assert!(request.contains(":scheme: https\r\n"), "{request}");
}

/// Rule: H14.
#[tokio::test]
async fn without_http_2_or_the_setting_the_client_falls_back_to_http_1_1() {
    let servers: [(&[&[u8]], bool); 3] =
        [(&[b"http/1.1"], true), (&[b"h2", b"http/1.1"], false), (&[], true)];
    for (protocols, extended_connect) in servers {
        let client = serve(protocols, extended_connect).await;
        let error = Connection::connect(&client).await.unwrap_err();
        assert!(matches!(error, ConnectError::NoExtendedConnect), "{error}");
        let connection = Connection::negotiate(&client).await.unwrap();
        assert!(!connection.is_shared());
        assert_echo(&connection, client).await;
    }
}

/// Rule: H14.
#[tokio::test]
async fn without_tls_nothing_is_negotiated_and_http_1_1_spoken() {
    let server = sockeye::Server::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", server.local_addr().unwrap());
    tokio::spawn(server.run(|incoming: sockeye::Incoming| async {
        let mut socket = incoming.accept().await?;
        while let Some(message) = socket.recv().await {
            socket.send(message?).await?;
        }
        Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    }));
    let client = Client::new(&url).unwrap();
    let connection = Connection::negotiate(&client).await.unwrap();
    assert_echo(&connection, client).await;
}
