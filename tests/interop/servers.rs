//! Our clients, the library and `sockeye connect`, on servers made with Python's `websockets` and
//! Node's `ws`.

use serde_json::json;
use sockeye::tls::ClientTls;
use sockeye::{Client, CloseCode, CloseFrame, DeflateConfig, Message, Peer, WebSocket};
use sockeye_tests::program::Running;
use sockeye_tests::script::{Language, Script};
use sockeye_tests::tls::{Certificates, VARIANTS, Variant};

const SIZES: [usize; 8] = [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 20];

/// Makes a test of each function for each language, in which they talk over TLS and not, compressed and not.
macro_rules! with_each_language {
    ($($name:ident),+) => {
        with_each_language!(@ python Python $($name),+);
        with_each_language!(@ node Node $($name),+);
    };
    (@ $module:ident $language:ident $($name:ident),+) => {
        mod $module {
            $(#[test]
            fn $name() {
                let certificates = super::Certificates::new();
                for variant in super::VARIANTS {
                    eprintln!("{variant:?}");
                    super::$name(super::Server::start(super::Language::$language, variant, &certificates));
                }
            })+
        }
    };
}

with_each_language!(
    messages_of_all_sizes_come_back,
    fragmented_messages_arrive_whole,
    the_servers_ping_is_answered,
    our_ping_is_answered,
    our_close_arrives_with_code_and_reason,
    the_servers_close_arrives_with_code_and_reason,
    connect_sends_lines_and_closes_with_1000
);

/// A running server in another language.
struct Server<'a> {
    script: Script,
    url: String,
    variant: Variant,
    certificates: &'a Certificates,
}

impl<'a> Server<'a> {
    fn start(language: Language, variant: Variant, certificates: &'a Certificates) -> Self {
        let mode = if variant.deflate { "deflate" } else { "plain" };
        let (certificate, key) = (certificates.certificate(), certificates.key());
        let arguments = [mode, &certificate, &key];
        let arguments = if variant.tls { &arguments } else { &arguments[..1] };
        let mut script = Script::start(language, "server", arguments, certificates);
        let port = script.report().expect("the server's port")["port"].clone();
        let scheme = if variant.tls { "wss" } else { "ws" };
        Self { script, url: format!("{scheme}://127.0.0.1:{port}"), variant, certificates }
    }

    async fn open(&self, path: &str) -> WebSocket {
        let url = format!("{}{path}", self.url);
        let client = Client::new(&url).expect("a WebSocket's URL");
        let client = client.deflate(self.variant.deflate.then(DeflateConfig::default));
        let trusted = ClientTls::new().without_system_roots();
        let trusted = trusted.root_file(self.certificates.authority()).expect("an authority");
        let socket = client.tls(trusted).connect().await.expect("the server lets us in");
        assert_eq!(socket.deflate().is_some(), self.variant.deflate);
        socket
    }

    /// The server saw the connection close with this code and reason.
    fn assert_closed(&mut self, code: u16, reason: &str) {
        let report = self.script.report().expect("a report of the close");
        assert_eq!(report, json!({ "code": code, "reason": reason }));
    }
}

fn messages_of_all_sizes_come_back(mut server: Server<'_>) {
    crate::block_on(async {
        let mut ws = server.open("/").await;
        for size in SIZES {
            assert_comes_back(&mut ws, Message::from("x".repeat(size))).await;
            assert_comes_back(&mut ws, Message::from(vec![0xA5; size])).await;
        }
        ws.close(CloseCode::NORMAL).await;
    });
    server.assert_closed(1000, "");
}

async fn assert_comes_back(ws: &mut WebSocket, message: Message) {
    ws.send(message.clone()).await.expect("a send");
    assert!(receive(ws).await == message, "the same message comes back");
}

fn fragmented_messages_arrive_whole(server: Server<'_>) {
    crate::block_on(async {
        let mut ws = server.open("/fragments").await;
        assert_eq!(receive(&mut ws).await, Message::from("sockeye 🐟"));
        assert_eq!(receive(&mut ws).await, Message::from(vec![0x00, 0xFF, 0xFE]));
    });
}

fn the_servers_ping_is_answered(server: Server<'_>) {
    crate::block_on(async {
        let mut ws = server.open("/ping").await;
        assert_eq!(receive(&mut ws).await, Message::from("the pong came"));
    });
}

fn our_ping_is_answered(server: Server<'_>) {
    crate::block_on(async {
        let ws = server.open("/").await;
        ws.ping().await.expect("a pong");
    });
}

fn our_close_arrives_with_code_and_reason(mut server: Server<'_>) {
    crate::block_on(async {
        let mut ws = server.open("/").await;
        let code = CloseCode::try_from(4321).expect("a code for applications");
        ws.close(CloseFrame::new(code, "tschüß").expect("it is short")).await;
        assert!(ws.recv().await.is_none(), "nothing comes after the close");
    });
    server.assert_closed(4321, "tschüß");
}

fn the_servers_close_arrives_with_code_and_reason(mut server: Server<'_>) {
    crate::block_on(async {
        let mut ws = server.open("/close").await;
        assert!(ws.recv().await.is_none(), "a normal close is not an error");
        let closed = ws.closed().expect("the server closed");
        assert_eq!((closed.code(), closed.reason()), (4001, "enough"));
        assert_eq!(closed.initiator, Peer::Remote);
        assert!(closed.is_clean());
    });
    server.assert_closed(4001, "enough");
}

fn connect_sends_lines_and_closes_with_1000(mut server: Server<'_>) {
    let authority = server.certificates.authority();
    let authority = authority.to_string_lossy();
    let mut client = Running::start(&["connect", "--cacert", &authority, &server.url]);
    client.assert_echoed();
    server.assert_closed(1000, "");
    client.assert_succeeds();
}

async fn receive(ws: &mut WebSocket) -> Message {
    ws.recv().await.expect("a message, not the end").expect("a message, not an error")
}
