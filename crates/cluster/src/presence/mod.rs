//! What hubs tell each other of their members: over core NATS, where nothing of it is stored.

mod outbox;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_nats::client::PublishErrorKind;
use async_nats::connection::State;
use async_nats::{Client, Subscriber};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use sockeye_hub::backplane::{Amount, Figure, NodeId, NodeLink, NodeSink};
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};

use crate::message::subjects::Names;
use crate::presence::outbox::{NextSend, Outbox, OutboxItem};

/// How often the hub looks at the others.
const TICK: Duration = Duration::from_millis(250);
/// How long until a subscription is tried again.
const PAUSE: Duration = Duration::from_millis(250);
/// How long a message may take to be handed over, and how long all of them at the end.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);
/// How many bytes are on their way to the server at once: behind them waits the next sign of life.
const WINDOW: usize = 128 << 10;
/// How long the server may take for those, until more is sent nevertheless.
const ECHO: Duration = Duration::from_secs(5);

/// The link of one hub, if it has asked for one.
#[derive(Debug, Default)]
pub(crate) struct Members {
    link: OnceLock<(Link, Arc<dyn NodeSink>)>,
    /// What there is to carry, until it is begun.
    idle: Mutex<Option<Idle>>,
}

#[derive(Debug)]
struct Idle {
    subjects: NodeSubjects,
    sink: Arc<dyn NodeSink>,
    outbox: Arc<Outbox>,
}

/// Under what nodes talk to all others, show that they are alive, and to this one.
#[derive(Debug)]
struct NodeSubjects {
    all: String,
    signs: String,
    this: String,
}

#[derive(Clone, Debug)]
struct Link {
    names: Arc<Names>,
    outbox: Arc<Outbox>,
}

impl NodeLink for Link {
    fn send(&self, to: Option<NodeId>, message: Bytes) {
        self.outbox.push(OutboxItem::Send(self.names.node_subject(to), message));
    }

    fn show_life(&self, sign: Bytes) {
        self.outbox.set_sign(sign);
    }
}

impl Members {
    /// A link for the hub, which carries nothing before it is [started](Self::start).
    pub(crate) fn link(
        &self,
        names: Arc<Names>,
        node: NodeId,
        sink: Arc<dyn NodeSink>,
    ) -> Arc<dyn NodeLink> {
        let outbox = Arc::<Outbox>::default();
        let subjects = NodeSubjects {
            all: names.node_subject(None),
            signs: names.signs_subject(),
            this: names.node_subject(Some(node)),
        };
        let link = Link { names, outbox: Arc::clone(&outbox) };
        let _ = self.link.set((link.clone(), Arc::clone(&sink)));
        *self.idle() = Some(Idle { subjects, sink, outbox });
        Arc::new(link)
    }

    /// Begins to carry what the hub says and hears, until the runtime ends.
    pub(crate) fn start(&self, client: &Client, runtime: &Handle) {
        if let Some(idle) = self.idle().take() {
            runtime.spawn(run(client.clone(), idle));
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Option<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until what was sent has gone out, or two seconds.
    pub(crate) fn flush(&self) -> impl Future<Output = ()> + use<> {
        let outbox = self.link.get().map(|(link, _)| Arc::clone(&link.outbox));
        async move {
            let (done, is_done) = oneshot::channel();
            let Some(outbox) = outbox else { return };
            outbox.push(OutboxItem::Flush(done));
            let _ = timeout(2 * SEND_TIMEOUT, is_done).await;
        }
    }

    pub(crate) fn figures(&self) -> Vec<Figure> {
        let Some((link, sink)) = self.link.get() else { return Vec::new() };
        let mut figures = sink.figures();
        figures.push(Figure {
            name: "presence_unsent",
            help: "Messages of presence that were not sent: too much waited, or one was too large",
            amount: Amount::Count(link.outbox.lost()),
        });
        figures
    }
}

/// Carries both ways.
async fn run(client: Client, Idle { subjects, sink, outbox }: Idle) {
    let NodeSubjects { all, signs, this } = subjects;
    let to_all = subscribed(&client, &all).await;
    let mut alive = subscribed(&client, &signs).await;
    let to_this = subscribed(&client, &this).await;
    let echoed = Arc::<Notify>::default();
    // The server knows of the subscriptions before it gets what others answer to.
    let sender = MemberSender { client, outbox, signs, this, echoed: Arc::clone(&echoed) };
    tokio::spawn(sender.run());
    let mut messages = stream::select(to_all, to_this);
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Signs of life are heard though much else waits.
        tokio::select! {
            biased;
            _ = tick.tick() => sink.tick(),
            sign = alive.next() => match sign {
                Some(sign) => sink.heard(sign.payload),
                None => return,
            },
            message = messages.next() => match message {
                Some(message) if message.payload.is_empty() => echoed.notify_one(),
                Some(message) => sink.heard(message.payload),
                None => return,
            },
        }
    }
}

async fn subscribed(client: &Client, subject: &str) -> Subscriber {
    loop {
        match client.subscribe(subject.to_owned()).await {
            Ok(subscriber) => return subscriber,
            Err(error) => tracing::warn!(subject, %error, "other nodes cannot be heard"),
        }
        sleep(PAUSE).await;
    }
}

/// Sends what there is, no faster than the server takes it: so a sign of life waits behind little, however
/// much there is and however slow the network.
struct MemberSender {
    client: Client,
    outbox: Arc<Outbox>,
    signs: String,
    this: String,
    /// Told when an empty message to this node itself has come back: all before it is at the server.
    echoed: Arc<Notify>,
}

impl MemberSender {
    async fn run(self) {
        // What was sent since the last echo, and until when the next is waited for.
        let (mut sent, mut echo) = (0, None::<Instant>);
        loop {
            let until = echo.unwrap_or_else(Instant::now);
            tokio::select! {
                biased;
                () = self.echoed.notified(), if echo.is_some() => (sent, echo) = (0, None),
                () = sleep_until(until), if echo.is_some() => (sent, echo) = (0, None),
                next = self.outbox.next(echo.is_none()) => match next {
                    NextSend::Sign(sign) => self.send(self.signs.clone(), sign).await,
                    NextSend::Item(OutboxItem::Send(subject, message)) => {
                        sent += message.len();
                        self.send(subject, message).await;
                    }
                    NextSend::Item(OutboxItem::Flush(done)) => {
                        let _ = timeout(SEND_TIMEOUT, self.client.flush()).await;
                        let _ = done.send(());
                    }
                },
            }
            if sent >= WINDOW && echo.is_none() && self.is_connected() {
                self.send(self.this.clone(), Bytes::new()).await;
                echo = Some(Instant::now() + ECHO);
            }
        }
    }

    fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    async fn send(&self, subject: String, message: Bytes) {
        // What async-nats takes without a connection it would send much later.
        if !self.is_connected() {
            return;
        }
        match timeout(SEND_TIMEOUT, self.client.publish(subject, message)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) if error.kind() == PublishErrorKind::MaxPayloadExceeded => {
                self.outbox.count_lost();
                tracing::warn!(
                    "a message on presence is larger than max_payload of NATS: raise it"
                );
            }
            Ok(Err(_)) | Err(_) => self.outbox.count_lost(),
        }
    }
}
