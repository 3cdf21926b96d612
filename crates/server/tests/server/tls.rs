//! The server behind TLS: `https://`, `wss://`, and which pages are its own.

use http::{HeaderValue, header::ORIGIN};
use sockeye::{
    Client,
    tls::{ClientTls, ServerTls},
};
use sockeye_server::{Listen, Server, ServerOptions};

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
    tokio::spawn(server.run(std::future::pending()));

    let trusted = ClientTls::new().without_system_roots().root_pem(certificate.as_bytes()).unwrap();
    let open = |origin: String| {
        let origin = HeaderValue::try_from(origin).unwrap();
        let client = Client::new(&format!("wss://localhost:{port}/c/chat")).unwrap();
        client.header(ORIGIN, origin).tls(trusted.clone()).connect()
    };
    let mut socket = open(format!("https://localhost:{port}")).await.unwrap();
    assert!(socket.close(sockeye::CloseCode::NORMAL, "").await.is_ok());
    let error = open(format!("http://localhost:{port}")).await.unwrap_err();
    assert!(error.to_string().contains("403"), "{error}");
}
