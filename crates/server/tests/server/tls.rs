//! The server behind TLS: `https://`, `wss://`, and which pages are its own.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, header::ORIGIN};
use rustls::pki_types::ServerName;
use sockeye::{
    Client,
    tls::{ClientTls, ServerTls},
};
use sockeye_server::{Listen, Server, ServerOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::client::{SOON, TestServer};

/// TLS of a server of this name, and of a client that trusts it.
pub(crate) fn certified(name: &str) -> (ServerTls, rustls::ClientConfig) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let trust = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (ServerTls::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap(), trust)
}

/// A server behind TLS, and how its clients trust it.
pub(crate) struct Secure {
    pub(crate) server: TestServer,
    connector: TlsConnector,
}

impl Secure {
    pub(crate) async fn with(change: impl FnOnce(&mut ServerOptions)) -> Self {
        let (tls, trust) = certified("localhost");
        let server = TestServer::with(|options| {
            options.tls = Some(tls);
            change(options);
        })
        .await;
        Self { server, connector: TlsConnector::from(Arc::new(trust)) }
    }

    /// Speaks HTTP/1.1 over a connection that leads to the server.
    pub(crate) async fn over(&self, stream: TcpStream) -> TlsStream<TcpStream> {
        let name = ServerName::try_from("localhost").unwrap();
        self.connector.connect(name, stream).await.unwrap()
    }

    pub(crate) async fn connect(&self) -> TlsStream<TcpStream> {
        self.over(TcpStream::connect(self.server.address).await.unwrap()).await
    }
}

#[tokio::test]
async fn over_tls_a_page_of_the_https_origin_is_the_servers_own() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let mut options = ServerOptions::default();
    options.listen = vec![Listen::Tcp("127.0.0.1:0".to_owned())];
    options.tls = Some(ServerTls::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap());
    let server = Server::bind(options).await.unwrap();
    let address = server.local_addrs()[0].clone();
    let port = address.tcp().unwrap().port();
    assert_eq!(address.to_string(), format!("https://127.0.0.1:{port}"));
    tokio::spawn(server.run());

    let trusted = ClientTls::new().without_system_roots().root_pem(certificate.as_bytes()).unwrap();
    let open = |origin: String| {
        let origin = HeaderValue::try_from(origin).unwrap();
        let client = Client::new(format!("wss://localhost:{port}/c/chat")).unwrap();
        client.header(ORIGIN, origin).tls(trusted.clone()).connect()
    };
    let mut socket = open(format!("https://localhost:{port}")).await.unwrap();
    assert!(socket.close(sockeye::CloseCode::NORMAL).await.is_clean());
    let error = open(format!("http://localhost:{port}")).await.unwrap_err();
    assert!(error.to_string().contains("403"), "{error}");
}

#[tokio::test]
async fn an_unfinished_handshake_does_not_keep_the_only_place() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let server = TestServer::with(|options| {
        options.tls = Some(ServerTls::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap());
        options.max_handshakes = 1;
        options.head_timeout = Duration::from_secs(2);
    })
    .await;
    let _silent = TcpStream::connect(server.address).await.unwrap();
    let trusted = ClientTls::new().without_system_roots().root_pem(certificate.as_bytes()).unwrap();
    let url = format!("wss://localhost:{}/c/chat", server.address.port());
    let open = Client::new(&url).unwrap().tls(trusted).connect();
    assert!(timeout(SOON, open).await.expect("it is its turn").is_ok());
}

/// A browser remembers it for the name, and for every port of it.
#[tokio::test]
async fn names_of_the_server_are_for_tls_alone_and_loopback_is_not_one() {
    let (tls, trust) = certified("chat.example");
    let server = TestServer::with(|options| {
        options.tls = Some(tls);
        options.channels.open = true;
    })
    .await;
    let connector = TlsConnector::from(Arc::new(trust));
    let ask = async |host: &str| {
        let stream = TcpStream::connect(server.address).await.unwrap();
        let name = ServerName::try_from("chat.example").unwrap();
        let mut stream = connector.connect(name, stream).await.unwrap();
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(SOON, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        answer
    };
    assert!(ask("chat.example").await.contains("strict-transport-security: max-age=31536000\r\n"));
    for host in ["localhost", "127.0.0.1:8443"] {
        assert!(!ask(host).await.contains("strict-transport-security"), "{host}");
    }
    let plain = TestServer::with(|options| options.channels.open = true).await;
    assert_eq!(plain.get("/").await.header("strict-transport-security"), "");
}
