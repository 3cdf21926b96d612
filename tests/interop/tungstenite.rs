//! Rust's tokio-tungstenite, which knows no compression: its client on our servers, our client on its
//! server, over TCP and over TLS.

use std::sync::Arc;

use futures_util::{SinkExt as _, StreamExt as _};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sockeye::tls::ClientTls;
use sockeye::{Client, CloseCode, CloseFrame, DeflateConfig};
use sockeye_tests::program::Sockeye;
use sockeye_tests::tls::{Certificates, VARIANTS};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{accept_async, client_async};

const SIZES: [usize; 6] = [0, 125, 126, 65_535, 65_536, 1 << 20];

#[test]
fn its_client_talks_to_echo() {
    let certificates = Certificates::new();
    for variant in VARIANTS {
        eprintln!("{variant:?}");
        let deflate = if variant.deflate { "on" } else { "off" };
        let flags = certificates.flags(variant.tls);
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        let server = Sockeye::echo(&[&["--deflate", deflate], &flags[..]].concat());
        talk_to(&server, "/", variant.tls, &certificates, &SIZES);
    }
}

#[test]
fn its_client_talks_to_a_channel() {
    let certificates = Certificates::new();
    for tls in [false, true] {
        let flags = certificates.flags(tls);
        let server = Sockeye::serve(&flags.iter().map(String::as_str).collect::<Vec<_>>());
        talk_to(&server, "/c/interop", tls, &certificates, &SIZES[..5]);
    }
}

#[test]
fn our_client_talks_to_its_server() {
    let certificates = Certificates::new();
    for variant in VARIANTS {
        eprintln!("{variant:?}");
        crate::block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let address = listener.local_addr().expect("its address");
            let acceptor = variant.tls.then(|| acceptor(&certificates));
            let server = tokio::spawn(async move {
                let (stream, _) = listener.accept().await.expect("a connection");
                match acceptor {
                    Some(tls) => serve(tls.accept(stream).await.expect("TLS")).await,
                    None => serve(stream).await,
                }
            });
            let scheme = if variant.tls { "wss" } else { "ws" };
            let client = Client::new(format!("{scheme}://{address}/")).expect("a URL");
            let trusted = ClientTls::new().without_system_roots();
            let trusted = trusted.root_file(certificates.authority()).expect("an authority");
            let client = client.tls(trusted).deflate(variant.deflate.then(DeflateConfig::default));
            let mut socket = client.connect().await.expect("the server lets us in");
            // It declines whatever it is offered.
            assert!(socket.deflate().is_none());
            for size in SIZES {
                for message in [sockeye::Message::from("x".repeat(size)), vec![0xA5; size].into()] {
                    socket.send(message.clone()).await.expect("a send");
                    let back = socket.recv().await.expect("a message").expect("a message");
                    assert!(back == message, "the same message comes back");
                }
            }
            let code = CloseCode::try_from(4321).expect("a code for applications");
            let closed = socket.close(CloseFrame::new(code, "bye").expect("it is short")).await;
            assert!(closed.is_clean());
            assert_eq!(
                server.await.expect("a server that does not panic"),
                (4321, "bye".to_owned())
            );
        });
    }
}

/// Its client sends messages that come back, a ping, and a close that is answered.
fn talk_to(server: &Sockeye, path: &str, tls: bool, certificates: &Certificates, sizes: &[usize]) {
    let url = server.ws(path);
    crate::block_on(async {
        let stream = TcpStream::connect(server.address()).await.expect("a connection");
        if tls {
            let name = ServerName::try_from("127.0.0.1").expect("a name");
            let stream = connector(certificates).connect(name, stream).await.expect("TLS");
            converse(&url, stream, sizes).await;
        } else {
            converse(&url, stream, sizes).await;
        }
    });
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(url: &str, stream: S, sizes: &[usize]) {
    let (mut socket, _) = client_async(url, stream).await.expect("the server lets it in");
    for &size in sizes {
        for message in [Message::from("x".repeat(size)), Message::from(vec![0xA5; size])] {
            socket.send(message.clone()).await.expect("a send");
            let back = socket.next().await.expect("a message").expect("a message");
            assert!(back == message, "the same message comes back");
        }
    }
    socket.send(Message::Ping("are you there?".into())).await.expect("a ping");
    let pong = socket.next().await.expect("a pong").expect("a pong");
    assert_eq!(pong, Message::Pong("are you there?".into()));
    socket.close(None).await.expect("a close");
    while let Some(message) = socket.next().await {
        assert!(message.expect("a clean end").is_close());
    }
}

/// Its server sends back what comes, and gives the code and reason that it was closed with.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> (u16, String) {
    let mut socket = accept_async(stream).await.expect("our handshake is in order");
    while let Some(message) = socket.next().await {
        match message.expect("a message") {
            Message::Close(frame) => {
                let frame = frame.expect("a code");
                // Its answer is written by looking for what comes next.
                while socket.next().await.is_some() {}
                return (frame.code.into(), frame.reason.to_string());
            }
            message => socket.send(message).await.expect("a send"),
        }
    }
    panic!("it was not closed");
}

fn connector(certificates: &Certificates) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(certificates.authority()).expect("an authority");
    roots.add(authority).expect("an authority");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

fn acceptor(certificates: &Certificates) -> TlsAcceptor {
    TlsAcceptor::from(certificates.server_config())
}
