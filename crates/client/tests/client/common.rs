//! A server in this process, what is between it and a client, and what tests do with both.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::StreamExt;
use sockeye_client::{
    Client, ClientBuilder, Error, Item, Message, Status, Subscription, Transport,
};
use sockeye_server::{ChannelOptions, LocalAddress, Server, ServerOptions};
use sockeye_testing::PATIENCE;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    time::timeout,
};

/// Starts a server, which lasts as long as the test.
pub(crate) async fn serve(channels: ChannelOptions) -> SocketAddr {
    let options = ServerOptions::default().channels(channels);
    let options = options.listen(["127.0.0.1:0".parse().unwrap()]).admin(None);
    let server = Server::bind(options).await.unwrap();
    let LocalAddress::Tcp(address) = server.local_addrs()[0].clone() else { unreachable!() };
    tokio::spawn(server.run());
    address
}

/// What becomes of a connection, by its first request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Treatment {
    Pass,
    /// It is answered with 502.
    Refuse,
    /// It is answered with 401, as by a proxy that wants a password.
    AskForPassword,
    /// It is passed on, and nothing of the answer comes back.
    Hold,
    /// It is passed on, and the connection ends with the first bytes of the answer.
    Cut,
    /// It is passed on, and the connection ends once a stream has said where it begins.
    CutOpen,
}

/// Stands between a client and a server.
pub(crate) struct Between {
    address: SocketAddr,
    server: Arc<Mutex<SocketAddr>>,
    cut: watch::Sender<u64>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Between {
    pub(crate) async fn before(
        server: SocketAddr,
        verdict: impl Fn(&str) -> Treatment + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cut, cuts) = watch::channel(0);
        let (server, heads) = (Arc::new(Mutex::new(server)), Arc::<Mutex<Vec<String>>>::default());
        let (upstream, seen, verdict) =
            (Arc::clone(&server), Arc::clone(&heads), Arc::new(verdict));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (upstream, seen) = (Arc::clone(&upstream), Arc::clone(&seen));
                let (verdict, mut cuts) = (Arc::clone(&verdict), cuts.clone());
                cuts.mark_unchanged();
                tokio::spawn(async move {
                    tokio::select! {
                        () = pass(client, &upstream, &seen, &*verdict) => {}
                        _ = cuts.changed() => {}
                    }
                });
            }
        });
        Self { address, server, cut, heads }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Ends every connection.
    pub(crate) fn cut(&self) {
        self.cut.send_modify(|cuts| *cuts += 1);
    }

    /// New connections go to this server.
    pub(crate) fn lead_to(&self, server: SocketAddr) {
        *self.server.lock().unwrap() = server;
    }

    /// How many connections had a first request with this in it.
    pub(crate) fn count(&self, sign: &str) -> usize {
        let heads = self.heads.lock().unwrap();
        heads.iter().filter(|head| head.contains(sign)).count()
    }

    /// How many connections are open.
    pub(crate) fn open(&self) -> usize {
        self.cut.receiver_count().saturating_sub(1)
    }
}

async fn pass(
    mut client: TcpStream,
    server: &Mutex<SocketAddr>,
    heads: &Mutex<Vec<String>>,
    verdict: &(impl Fn(&str) -> Treatment + ?Sized),
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match client.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let verdict = verdict(&text);
    heads.lock().unwrap().push(text);
    let refusal = match verdict {
        Treatment::Refuse => Some("502 Bad Gateway\r\nContent-Length: 0\r\n"),
        Treatment::AskForPassword => Some(
            "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"proxy\"\r\nContent-Type: text/html\r\n\
             Content-Length: 0\r\n",
        ),
        _ => None,
    };
    if let Some(refusal) = refusal {
        let answer = format!("HTTP/1.1 {refusal}Connection: close\r\n\r\n");
        let _ = client.write_all(answer.as_bytes()).await;
        return;
    }
    let address = *server.lock().unwrap();
    let Ok(mut server) = TcpStream::connect(address).await else { return };
    if server.write_all(&head).await.is_err() {
        return;
    }
    match verdict {
        Treatment::Hold => _ = tokio::io::copy(&mut client, &mut server).await,
        Treatment::Cut => {
            let (mut from, mut to) = client.split();
            let (mut answers, mut requests) = server.split();
            let mut first = [0; 16];
            tokio::select! {
                _ = tokio::io::copy(&mut from, &mut requests) => {}
                _ = answers.read(&mut first) => {}
            }
            let _ = to.shutdown().await;
        }
        Treatment::CutOpen => {
            let mut answer = Vec::new();
            while !answer.windows(4).any(|bytes| bytes == b"id: ") {
                let mut piece = [0; 1024];
                let Ok(length @ 1..) = server.read(&mut piece).await else { return };
                answer.extend_from_slice(&piece[..length]);
                let _ = client.write_all(&piece[..length]).await;
            }
        }
        Treatment::Pass | Treatment::Refuse | Treatment::AskForPassword => {
            _ = copy_bidirectional(&mut client, &mut server).await;
        }
    }
}

/// A client with short deadlines, and what it tells of its connections.
pub(crate) fn client(
    url: &str,
    transports: &[Transport],
    set: impl FnOnce(ClientBuilder) -> ClientBuilder,
) -> (Client, mpsc::UnboundedReceiver<Status>) {
    let (told, statuses) = mpsc::unbounded_channel();
    let builder = Client::builder(url)
        .transports(transports.iter().copied())
        .poll_interval(Duration::from_millis(20))
        .on_status(move |status| _ = told.send(status.clone()));
    (set(builder).build().unwrap(), statuses)
}

/// A client that uses one transport alone.
pub(crate) fn only(url: &str, transport: Transport) -> Client {
    client(url, &[transport], |builder| builder).0
}

/// Waits until a transport works.
pub(crate) async fn live(statuses: &mut mpsc::UnboundedReceiver<Status>) -> Transport {
    let waits = async {
        loop {
            if let Status::Live { transport } = statuses.recv().await.expect("the client lives") {
                return transport;
            }
        }
    };
    timeout(PATIENCE, waits).await.expect("a transport works")
}

/// The next item.
pub(crate) async fn next(subscription: &mut Subscription) -> Result<Item, Error> {
    let next = timeout(PATIENCE, subscription.next()).await;
    let channel = subscription.channel();
    let next = next.unwrap_or_else(|_| panic!("nothing comes of {channel}: {subscription:?}"));
    next.expect("the subscription goes on")
}

/// The next item, which is a message.
pub(crate) async fn message(subscription: &mut Subscription) -> Message {
    match next(subscription).await {
        Ok(Item::Message(message)) => message,
        other => panic!("not a message: {other:?}"),
    }
}

/// The text of the next item, which is a message.
pub(crate) async fn text(subscription: &mut Subscription) -> String {
    message(subscription).await.text().expect("a text")
}
