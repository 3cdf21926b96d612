//! Where the server listens, how it stops, and the channels inside another program.

use std::time::{Duration, Instant};

use sockeye_server::{BindError, Channels, Listen, LocalAddress, Server, ServerOptions};
use sockeye_testing::eventually_async;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::time::timeout;

use crate::client::{DRAIN, SOON, TestServer, read_to_end};

async fn bind(listen: &str, open: bool) -> Result<Server, BindError> {
    let mut options = ServerOptions::default();
    options.listen = vec![listen.parse().unwrap()];
    options.channels.open = open;
    Server::bind(options).await
}

#[tokio::test]
async fn an_address_that_others_reach_needs_to_be_opened() {
    for address in ["0.0.0.0:0", "[::]:0"] {
        let refused = bind(address, false).await.unwrap_err().to_string();
        assert!(refused.contains(address), "{refused}");
        assert!(refused.contains("`auth_key`") && refused.contains("`open`"), "{refused}");
    }
    bind("0.0.0.0:0", true).await.unwrap();
    for address in ["127.0.0.1:0", "127.0.0.2:0", "localhost:0"] {
        bind(address, false).await.unwrap();
    }
}

#[tokio::test]
async fn an_address_that_is_taken_or_none_is_named_in_the_error() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for address in [address.as_str(), "127.0.0.1", "127.0.0.1:http", "unix:/nowhere/at/all"] {
        let refused = bind(address, false).await.unwrap_err().to_string();
        assert!(refused.starts_with(&format!("cannot listen on {address}: ")), "{refused}");
    }
}

#[tokio::test]
async fn the_real_addresses_are_told() {
    let mut options = ServerOptions::default();
    options.listen = vec!["127.0.0.1:0".parse().unwrap(), "127.0.0.1:0".parse().unwrap()];
    let server = Server::bind(options).await.unwrap();
    let ports: Vec<u16> = server.local_addrs().iter().map(|a| a.tcp().unwrap().port()).collect();
    assert!(ports[0] != 0 && ports[1] != 0 && ports[0] != ports[1], "{ports:?}");
    let shown = server.local_addrs()[0].to_string();
    assert_eq!(shown, format!("http://127.0.0.1:{}", ports[0]));
}

#[tokio::test]
async fn a_unix_socket_serves_and_is_gone_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sockeye.sock");
    // A server died here and left its file.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let server = bind(&format!("unix:{}", path.display()), false).await.unwrap();
    assert_eq!(server.local_addrs(), [LocalAddress::Unix(path.clone())]);
    let second = bind(&format!("unix:{}", path.display()), false).await.unwrap_err();
    assert!(matches!(second, BindError::Io { address: Listen::Unix(_), .. }), "{second}");

    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(server.run_until(async {
        let _ = stopped.await;
    }));
    let mut stream = UnixStream::connect(&path).await.unwrap();
    let request = b"GET /c/chat HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

    drop(stop);
    timeout(SOON, running).await.unwrap().unwrap().unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn it_stops_at_once_without_connections() {
    let server = TestServer::start().await;
    server.publish("/c/chat", "hello").await;
    let address = server.address;
    let begun = Instant::now();
    server.stop().await;
    assert!(begun.elapsed() < DRAIN / 2, "{:?}", begun.elapsed());
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn connections_that_idle_do_not_hold_it() {
    let server = TestServer::start().await;
    let _silent = TcpStream::connect(server.address).await.unwrap();
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(b"GET /c/chat HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    idle.readable().await.unwrap();
    let begun = Instant::now();
    server.stop().await;
    assert!(begun.elapsed() < DRAIN / 2, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_request_in_progress_is_answered() {
    let server = TestServer::start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = "POST /c/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    // `100 Continue` says that the request is being read.
    stream.readable().await.unwrap();
    let running = server.begin_to_stop();
    stream.write_all(b"0123456789").await.unwrap();
    let answer = read_to_end(stream).await;
    assert!(answer.contains("HTTP/1.1 201 "), "{answer}");
    timeout(SOON, running).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_never_finishes_is_cut_off() {
    let server = TestServer::with(|options| options.drain = Duration::from_millis(100)).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = "POST /c/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.readable().await.unwrap();
    server.stop().await;
    assert!(!read_to_end(stream).await.contains("201"));
}

/// The console's page and all files that it names, as a browser finds them.
#[tokio::test]
#[cfg(feature = "console")]
async fn the_console_works_under_the_path_that_an_embedding_program_gives_it() {
    let channels = Channels::builder().build().unwrap();
    let inner = axum::Router::new().nest("/live", channels.router());
    let program = axum::Router::new()
        .nest("/live", channels.router())
        .nest("/deep", inner)
        .nest_service("/service", channels.router());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, program).await });
    let get = async |path: &str| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        read_to_end(stream).await
    };
    let location = |answer: &str| {
        let line = answer.lines().find(|line| line.to_ascii_lowercase().starts_with("location: "));
        line.map(|line| line["location: ".len()..].to_owned())
    };

    for address in ["/live", "/deep/live", "/service", "/service/"] {
        let (mut path, mut answer) = (address.to_owned(), get(address).await);
        if let Some(elsewhere) = location(&answer) {
            assert!(answer.starts_with("HTTP/1.1 307 "), "{answer}");
            (path, answer) = (elsewhere.clone(), get(&elsewhere).await);
        }
        assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
        let folder = &path[..=path.rfind('/').unwrap()];
        assert_eq!(folder.trim_end_matches('/'), address.trim_end_matches('/'));
        // What the page loads is beside it.
        let names = answer.split(['"', '\'']).filter(|name| {
            let path = name.split('?').next().unwrap_or_default();
            [".css", ".js", ".svg"].iter().any(|end| path.ends_with(end)) && !path.contains(' ')
        });
        let mut count = 0;
        for name in names {
            let file = get(&format!("{folder}{name}")).await;
            assert!(file.starts_with("HTTP/1.1 200 "), "{folder}{name}: {file}");
            count += 1;
        }
        assert!(count >= 6, "the page at {path} names {count} files");
    }
    let answer = get("/live?lang=zh").await;
    assert_eq!(location(&answer).as_deref(), Some("/live/index.html?lang=zh"));
    assert!(get("/live/nothing").await.starts_with("HTTP/1.1 404 "));
}

#[tokio::test]
async fn the_channels_live_inside_another_program() {
    let channels = Channels::builder().build().unwrap();
    let program = axum::Router::new()
        .route("/", axum::routing::get(async || "the program's own page"))
        .nest("/live", channels.router());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, program).await });

    let ask = async |line: &str, headers: &str| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let host = "Host: localhost\r\nConnection: close";
        let request = format!("{line} HTTP/1.1\r\n{host}\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        read_to_end(stream).await
    };
    let posted = ask("POST /live/c/chat", "").await;
    assert!(posted.starts_with("HTTP/1.1 201 "), "{posted}");
    assert!(ask("GET /", "").await.ends_with("the program's own page"));
    let position = channels.hub().position(&"chat".parse().unwrap());
    assert!(posted.ends_with(&format!("{{\"at\":\"{position}\"}}")), "{posted}");

    // What waits in the server's own way gets the true response here, too.
    let waiting = ask("GET /live/c/chat?wait=30", "");
    let publishing = async {
        eventually_async("a long poll waits", async || match channels.hub().figures().readers {
            1 => Ok(()),
            readers => Err(readers),
        })
        .await;
        ask("POST /live/c/chat", "").await
    };
    let (polled, posted) = tokio::join!(waiting, publishing);
    let at = posted.rsplit('"').nth(1).unwrap();
    assert!(polled.starts_with("HTTP/1.1 200 ") && polled.contains(at), "{polled}");
    assert!(
        polled.to_ascii_lowercase().contains("\r\npreference-applied: wait=30\r\n"),
        "{polled}"
    );
    let head = ask("HEAD /live/c/chat", "").await;
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains(at), "{head}");
    assert!(!head.to_ascii_lowercase().contains("content-length"), "no length is known: {head}");
    let missing = ask("HEAD /live/c/chat%ff", "").await;
    assert!(missing.starts_with("HTTP/1.1 400 ") && missing.ends_with("\r\n\r\n"), "{missing}");

    // The program stops: new requests are refused.
    assert_eq!(channels.drain(SOON).await, 0);
    let refused = ask("GET /live/c/chat", "Upgrade: websocket\r\n").await;
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert!(refused.contains("\"unavailable\""), "{refused}");
}
