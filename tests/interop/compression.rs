//! permessage-deflate with Tornado, Mojolicious and Netty, each with its own offer and its own answer:
//! their clients fail when they are forbidden unasked to refer to earlier messages, or do so all the
//! same, and two of their servers answer `permessage-deflate` whatever was offered.

use std::process::Command;

use sockeye::{Client, CloseCode, DeflateConfig, Message};
use sockeye_tests::program::Sockeye;
use sockeye_tests::script::{Script, folder, python};

/// Makes the tests of both directions for each library.
macro_rules! both_ways {
    ($($module:ident: $library:ident;)+) => {
        $(mod $module {
            use super::Library::$library;

            #[test]
            fn its_client_talks_compressed_to_echo_and_to_a_channel() {
                super::its_client_talks_compressed($library);
            }

            #[test]
            fn our_client_talks_compressed_to_its_server() {
                super::our_client_talks_compressed($library);
            }
        })+
    };
}

both_ways! {
    tornado: Tornado;
    mojolicious: Mojolicious;
    netty: Netty;
}

#[derive(Clone, Copy, Debug)]
enum Library {
    Tornado,
    Mojolicious,
    Netty,
}

/// Where Debian puts Netty, and what of it a WebSocket needs.
const NETTY: [&str; 7] =
    ["buffer", "codec", "codec-http", "common", "handler", "resolver", "transport"];

impl Library {
    fn start(self, arguments: &[&str]) -> Script {
        let (mut command, file) = match self {
            Self::Tornado => (Command::new(python()), "compression.py"),
            Self::Mojolicious => (Command::new("perl"), "compression.pl"),
            Self::Netty => {
                let jars = NETTY.map(|part| format!("/usr/share/java/netty-{part}.jar"));
                let mut java = Command::new("java");
                java.args(["-cp", &jars.join(":")]);
                (java, "compression.java")
            }
        };
        command.arg(folder().join("interop").join(file)).args(arguments);
        Script::spawn(&mut command)
    }
}

fn its_client_talks_compressed(library: Library) {
    let (echo, channels) = (Sockeye::echo(&[]), Sockeye::serve(&[]));
    for url in [echo.ws("/"), channels.ws("/c/compression")] {
        let mut client = library.start(&["client", &url]);
        let report = client.report().expect("what was agreed on");
        let agreed = report["extensions"].as_str().expect("a text");
        assert_eq!(agreed, "permessage-deflate", "{url}");
        client.finish();
    }
}

fn our_client_talks_compressed(library: Library) {
    let mut server = library.start(&["server"]);
    let port = server.report().expect("the server's port")["port"].clone();
    let takeover = DeflateConfig::default().server_takeover(true).client_takeover(true);
    for config in [DeflateConfig::default(), takeover] {
        crate::block_on(async {
            let client = Client::new(format!("ws://127.0.0.1:{port}/")).expect("a URL");
            let mut ws = client.deflate(config).connect().await.expect("the server lets us in");
            assert!(ws.deflate().is_some(), "{library:?} compresses");
            for number in 0..5 {
                let text = format!("{number}: {}", "the same text again, ".repeat(40));
                for message in [Message::from(text.clone()), Message::from(text.into_bytes())] {
                    ws.send(message.clone()).await.expect("a send");
                    assert_eq!(ws.recv().await.expect("a message").expect("no error"), message);
                }
            }
            assert!(ws.close(CloseCode::NORMAL).await.is_clean(), "{library:?}");
        });
    }
}
