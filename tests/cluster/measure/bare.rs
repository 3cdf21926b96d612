//! The bare client of NATS: what publishes and listens without Sockeye.

use std::io::{self, BufRead as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use async_nats::{Client, Subscriber};
use futures_util::StreamExt as _;
use sockeye_testing::PATIENCE;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// The runtime of everything bare.
pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime")
}

pub(crate) async fn connect(url: &str) -> Client {
    async_nats::connect(url).await.expect("NATS is there")
}

pub(crate) async fn subscribe(client: &Client, subject: &str) -> Subscriber {
    let subscriber = client.subscribe(subject.to_owned()).await.expect("it subscribes");
    client.flush().await.expect("NATS is there");
    subscriber
}

/// Waits until a message of this subject is stored: a server may not know yet who leads its stream.
pub(crate) async fn reach(client: &Client, subject: &str) {
    let stored = async {
        loop {
            let answer = client.request(subject.to_owned(), vec![b'x'; 128].into()).await;
            if answer.is_ok_and(|answer| answer.payload.starts_with(b"{\"stream\"")) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, stored).await.expect("NATS acknowledges");
}

/// Publishes to a stream, with no more than that many messages without an acknowledgement.
pub(crate) struct Publisher {
    client: Client,
    inbox: String,
    window: Arc<Semaphore>,
    acknowledged: Arc<AtomicU64>,
}

impl Publisher {
    pub(crate) async fn new(client: Client, window: usize) -> Self {
        let inbox = client.new_inbox();
        let mut acks = subscribe(&client, &inbox).await;
        let (window, acknowledged) =
            (Arc::new(Semaphore::new(window)), Arc::new(AtomicU64::new(0)));
        let (permits, count) = (Arc::clone(&window), Arc::clone(&acknowledged));
        tokio::spawn(async move {
            while let Some(ack) = acks.next().await {
                assert!(ack.payload.starts_with(b"{\"stream\""), "{:?}", ack.payload);
                count.fetch_add(1, Relaxed);
                permits.add_permits(1);
            }
        });
        Self { client, inbox, window, acknowledged }
    }

    pub(crate) async fn publish(&self, subject: String, payload: Vec<u8>) {
        match self.window.try_acquire() {
            Ok(permit) => permit.forget(),
            Err(_) => {
                let permit = timeout(PATIENCE, self.window.acquire()).await;
                permit.expect("NATS acknowledges").expect("it is open").forget();
            }
        }
        let sent = self.client.publish_with_reply(subject, self.inbox.clone(), payload.into());
        sent.await.expect("NATS is there");
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Relaxed)
    }

    /// Waits until that many are acknowledged.
    pub(crate) async fn reaches(&self, count: u64) {
        let reached = async {
            while self.acknowledged() < count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, reached).await.expect("NATS acknowledges");
    }

    /// Publishes messages of 128 bytes at a steady rate, and gives how many.
    pub(crate) async fn publish_steadily(&self, subject: &str, rate: u64, time: Duration) -> u64 {
        let (begun, before, mut sent) = (Instant::now(), self.acknowledged(), 0);
        while begun.elapsed() < time {
            let due = (begun.elapsed().as_secs_f64() * rate as f64) as u64;
            while sent < due {
                self.publish(subject.to_owned(), vec![b'x'; 128]).await;
                sent += 1;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.reaches(before + sent).await;
        sent
    }
}

/// A process that does nothing but listen to a subject.
pub(crate) struct Listener {
    child: Child,
    /// Its end is that of the process.
    _input: ChildStdin,
}

impl Listener {
    pub(crate) fn start(url: &str, subject: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("its own path"));
        command.args(["listen", url, subject]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let mut line = String::new();
        let output = output.expect("it is piped");
        io::BufReader::new(output).read_line(&mut line).expect("it says that it listens");
        Self { child, _input: input.expect("it is piped") }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Listens until the input ends.
pub(crate) fn listen(url: &str, subject: &str) -> io::Result<()> {
    let runtime = runtime();
    runtime.block_on(async {
        let client = connect(url).await;
        let mut subscriber = subscribe(&client, subject).await;
        tokio::spawn(async move { while subscriber.next().await.is_some() {} });
        let mut out = io::stdout();
        writeln!(out, "listening")
    })?;
    let _ = io::stdin().read_line(&mut String::new());
    Ok(())
}
