//! Our client through proxies that others have made: tinyproxy (HTTP CONNECT) and microsocks (SOCKS5).

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use sockeye::tls::ClientTls;
use sockeye::{Client, ConnectError, Message};
use sockeye_testing::eventually;
use sockeye_tests::program::Sockeye;
use sockeye_tests::tls::Certificates;
use tempfile::NamedTempFile;

#[test]
fn our_client_goes_through_tinyproxy() {
    goes_through("http", Proxy::tinyproxy);
}

#[test]
fn our_client_goes_through_microsocks() {
    goes_through("socks5", Proxy::microsocks);
    goes_through("socks5h", Proxy::microsocks);
}

/// `ws://` and `wss://`, with an open proxy, and with one that asks for a password.
#[expect(clippy::print_stderr, reason = "it says which case failed")]
fn goes_through(scheme: &str, start: fn(bool) -> Proxy) {
    let certificates = Certificates::new();
    for asks_for_password in [false, true] {
        let proxy = start(asks_for_password);
        let user = if asks_for_password { "ann:secret@" } else { "" };
        let url = format!("{scheme}://{user}127.0.0.1:{}", proxy.port);
        for tls in [false, true] {
            eprintln!("{url}, with TLS: {tls}");
            let flags = certificates.flags(tls);
            let server = Sockeye::echo(&flags.iter().map(String::as_str).collect::<Vec<_>>());
            echo(&server, &url, &certificates).expect("the proxy lets us through");
            if asks_for_password {
                let wrong = url.replace("secret", "guess");
                let error = echo(&server, &wrong, &certificates).expect_err("a wrong password");
                assert!(matches!(error, ConnectError::Proxy { .. }), "{error}");
            }
        }
        drop(proxy);
        let server = Sockeye::echo(&[]);
        let error = echo(&server, &url, &certificates).expect_err("the proxy is gone");
        assert!(matches!(error, ConnectError::Proxy { .. }), "{error}");
    }
}

/// Opens a WebSocket through the proxy, and sends a message that comes back.
fn echo(server: &Sockeye, proxy: &str, certificates: &Certificates) -> Result<(), ConnectError> {
    let trusted = ClientTls::new().without_system_roots();
    let trusted = trusted.root_file(certificates.authority()).expect("an authority");
    let client = Client::new(server.ws("/")).expect("a URL").tls(trusted);
    let client = client.proxy(proxy.parse().expect("the URL of a proxy"));
    crate::block_on(async {
        let mut socket = client.connect().await?;
        let message = Message::from("through a proxy ".repeat(10_000));
        socket.send(message.clone()).await.expect("a send");
        assert!(socket.recv().await.expect("a message").expect("a message") == message);
        Ok(())
    })
}

/// A running proxy; stopped when dropped.
struct Proxy {
    child: Child,
    port: u16,
    /// What it reads at its start.
    _settings: Option<NamedTempFile>,
}

impl Proxy {
    fn tinyproxy(asks_for_password: bool) -> Self {
        let port = free_port();
        let file = NamedTempFile::new().expect("a file");
        let password = if asks_for_password { "BasicAuth ann secret" } else { "" };
        let settings = format!("Port {port}\nListen 127.0.0.1\nTimeout 60\n{password}\n");
        std::fs::write(file.path(), settings).expect("the file can be written");
        let mut command = Command::new("tinyproxy");
        command.arg("-d").arg("-c").arg(file.path());
        Self::start(command, port, Some(file))
    }

    fn microsocks(asks_for_password: bool) -> Self {
        let port = free_port();
        let mut command = Command::new("microsocks");
        command.args(["-i", "127.0.0.1", "-p", &port.to_string()]);
        if asks_for_password {
            command.args(["-u", "ann", "-P", "secret"]);
        }
        Self::start(command, port, None)
    }

    fn start(mut command: Command, port: u16, settings: Option<NamedTempFile>) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("`cargo xtask test interop` installs the proxies");
        let proxy = Self { child, port, _settings: settings };
        eventually("the proxy listens", || TcpStream::connect(("127.0.0.1", port)));
        proxy
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A free port: the proxies do not choose one by themselves.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}
