//! The peer: addresses and certificates.

#![allow(clippy::unwrap_used, reason = "a test that fails here has found something")]

#[allow(dead_code, reason = "each test file uses a part")]
mod certificates;

use std::sync::{Arc, Mutex};

use certificates::Authority;
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use sockeye::{
    Client, Direction, Incoming, PeerAddr, Server, WebSocket, http2::Connection, tls::ServerTls,
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

type Anything = Box<dyn std::error::Error + Send + Sync>;

/// What the server saw: an address before and after it accepted, and a certificate.
type Seen = (PeerAddr, Option<PeerAddr>, Option<Vec<u8>>, WebSocket);

fn serve(server: Server) -> UnboundedReceiver<Seen> {
    let (sender, seen) = unbounded_channel();
    tokio::spawn(server.run(move |incoming: Incoming| {
        let sender = sender.clone();
        async move {
            let before = incoming.peer_addr();
            let shown = incoming.peer_certificates().map(|chain| chain[0].to_vec());
            let socket = incoming.accept().await?;
            let _ = sender.send((before, socket.peer_addr(), shown, socket));
            Ok::<(), Anything>(())
        }
    }));
    seen
}

#[tokio::test]
async fn both_ends_know_where_the_other_is_even_after_the_end() {
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    let mut seen = serve(server);
    let mut client = sockeye::connect(format!("ws://{address}/")).await.unwrap();
    assert_eq!(client.peer_addr(), Some(PeerAddr::Tcp(address)));
    let (before, after, shown, socket) = seen.recv().await.unwrap();
    assert!(before.ip().unwrap().is_loopback() && shown.is_none());
    assert_eq!(Some(before), after);
    drop(socket);
    assert!(client.recv().await.is_none());
    assert_eq!(client.peer_addr(), Some(PeerAddr::Tcp(address)));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let mut seen = serve(Server::bind_unix(&path).await.unwrap());
    let client = Client::new("ws://localhost/").unwrap().unix_socket(&path);
    let client = client.connect().await.unwrap();
    assert_eq!(client.peer_addr(), Some(PeerAddr::Unix));
    let (before, after, ..) = seen.recv().await.unwrap();
    assert_eq!((before, after), (PeerAddr::Unix, Some(PeerAddr::Unix)));
}

#[tokio::test]
async fn a_server_sees_the_certificate_that_its_client_has_shown() {
    let (authority, provider) = (Authority::new(), rustls::crypto::aws_lc_rs::default_provider());
    let (own, ann) = (authority.identity("localhost"), authority.identity("ann"));
    let provider = Arc::new(provider);
    let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(der(&authority.pem)).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.allow_unauthenticated().build().unwrap())
        .with_single_cert(
            vec![der(&own.certificate)],
            PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap(),
        )
        .unwrap();
    let server = Server::bind("127.0.0.1:0").await.unwrap().tls(ServerTls::from_config(config));
    let url = format!("wss://localhost:{}/", server.local_addr().unwrap().port());
    let mut seen = serve(server);
    let file = ann.file();
    let tls = authority.trusted().identity_files(file.path(), file.path()).unwrap();
    let with = Client::new(&url).unwrap().tls(tls);
    let without = Client::new(&url).unwrap().tls(authority.trusted());
    let ann = der(&ann.certificate).to_vec();
    for (client, expected) in [(with, Some(ann)), (without, None)] {
        let over_http1 = client.clone().connect().await.unwrap();
        let connection = Connection::connect(&client).await.unwrap();
        let over_http2 = connection.open(client).await.unwrap().socket;
        for socket in [over_http1, over_http2] {
            let (before, after, shown, _) = seen.recv().await.unwrap();
            assert_eq!(shown, expected);
            assert!(before.ip().unwrap().is_loopback());
            assert_eq!(after, Some(before));
            assert!(socket.peer_addr().unwrap().ip().unwrap().is_loopback());
        }
    }
}

/// Frames as they are on the wire, and no handshake.
#[tokio::test]
async fn an_inspector_is_shown_the_bytes_of_the_connection_in_both_directions() {
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    let mut seen = serve(server);
    let shown = Arc::<Mutex<[Vec<u8>; 2]>>::default();
    let inspected = Arc::clone(&shown);
    let client = Client::new(format!("ws://{address}/")).unwrap();
    let client = client.inspect(move |direction, bytes| {
        let [sent, received] = &mut *inspected.lock().unwrap();
        match direction {
            Direction::Sent => sent.extend_from_slice(bytes),
            Direction::Received => received.extend_from_slice(bytes),
        }
    });
    let mut client = client.connect().await.unwrap();
    let (.., mut server) = seen.recv().await.unwrap();
    client.send("hello").await.unwrap();
    server.recv().await.unwrap().unwrap();
    server.send("there").await.unwrap();
    client.recv().await.unwrap().unwrap();
    let [sent, received] = &*shown.lock().unwrap();
    assert_eq!(received, b"\x81\x05there");
    let frames = sockeye_testing::frame::Frame::parse_all(sent);
    assert_eq!(frames.len(), 1);
    assert_eq!((frames[0].first, &*frames[0].payload), (0x81, &b"hello"[..]));
    assert!(frames[0].mask.is_some());
}
