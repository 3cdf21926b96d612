//! The client over TLS: every transport, and a server that it does not trust.

use std::net::SocketAddr;

use sockeye_client::{
    Client, Error, Payload, Publication, Transport,
    sockeye::tls::{ClientTls, ServerTls},
};
use sockeye_server::{LocalAddress, Server, ServerOptions};

use crate::common::{client, live, message, next, text};

/// Starts a server of the name `localhost` behind TLS, and says how a client trusts it.
async fn serve() -> (SocketAddr, ClientTls) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let tls = ServerTls::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
    let options = ServerOptions::default().tls(tls).admin(None);
    let server = Server::bind(options.listen(["127.0.0.1:0".parse().unwrap()])).await.unwrap();
    let LocalAddress::Tls(address) = server.local_addrs()[0].clone() else { unreachable!() };
    tokio::spawn(server.run());
    (address, ClientTls::new().root_pem(certificate.as_bytes()).unwrap())
}

#[tokio::test]
async fn every_transport_reads_and_publishes_over_tls() {
    let (server, tls) = serve().await;
    let url = format!("https://localhost:{}/", server.port());
    for transport in Transport::ALL {
        let trust = tls.clone();
        let (client, mut statuses) = client(&url, &[transport], |builder| {
            builder.connect_with(move |client| client.tls(trust.clone()).no_proxy())
        });
        let mut chat = client.subscribe(transport.name()).after("earliest");
        client.publish(transport.name(), Payload::from(vec![0, 255])).await.unwrap();
        assert!(message(&mut chat).await.is_binary(), "{transport}");
        assert_eq!(live(&mut statuses).await, transport);
        let many = client.publish_all([Publication::new(transport.name(), "many")]).await.unwrap();
        assert!(many[0].is_ok(), "{transport}");
        assert_eq!(text(&mut chat).await, "many", "{transport}");
        client.publish(transport.name(), "one").await.unwrap();
        assert_eq!(text(&mut chat).await, "one", "{transport}");
        assert_eq!(client.read(transport.name(), "earliest", 9).await.unwrap().messages.len(), 3);
        assert!(client.members(transport.name(), None).await.unwrap().count > 0, "{transport}");
    }
}

/// A certificate that is not trusted now is not trusted in a second either: the application is told.
#[tokio::test]
async fn a_certificate_that_is_not_trusted_ends_a_subscription_on_every_transport() {
    let (server, _) = serve().await;
    let url = format!("https://localhost:{}/", server.port());
    for transport in Transport::ALL {
        let (client, _statuses) =
            client(&url, &[transport], |builder| builder.connect_with(|client| client.no_proxy()));
        let error = next(&mut client.subscribe("chat")).await.unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }), "{transport}: {error}");
        assert!(error.to_string().contains(&url), "{transport}: {error}");
        assert!(client.publish("chat", "text").await.is_err(), "{transport}");
    }
}

/// `http://` to a server behind TLS is a mistake in the URL.
#[tokio::test]
async fn a_request_without_tls_to_a_server_with_tls_fails() {
    let (server, _) = serve().await;
    let client = Client::new(format!("http://127.0.0.1:{}/", server.port())).unwrap();
    let error = client.read("chat", "earliest", 1).await.unwrap_err();
    assert!(error.to_string().contains("http"), "{error}");
}
