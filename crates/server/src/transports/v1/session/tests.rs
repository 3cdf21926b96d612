//! Connections on several channels, whose clients read as they like and subscribe, unsubscribe and publish while
//! messages flow by groups and past them: what each client is told is compared with what was published, with its
//! commands, and with what was counted.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;
use serde_json::{Value, json};
use sockeye::{CloseCode, CloseFrame, Config, Role, WebSocket};
use sockeye_hub::{PayloadRef, Position, Publication};
use tokio::io::duplex;
use tokio::runtime::Builder;
use tokio::task::JoinHandle;

use super::super::live;
use super::*;
use crate::channels::Channels;
use crate::fanout::WORTHWHILE;
use crate::limits::peer::Peer;
use crate::options::ChannelOptions;
use crate::transport::Transport;

/// How many messages a channel keeps: a client that is further behind is told a gap.
const KEPT: usize = 30;

const CHANNELS: [&str; 3] = ["a", "b", "c"];

/// Something happens.
#[derive(Clone, Debug)]
enum Step {
    /// As many messages as the second number says are published on a channel, each with the third number of bytes.
    Publish(usize, usize, usize),
    /// A message on each channel, one behind the other.
    PublishOnAll,
    /// A client, by its number, reads that many frames, if they are there.
    Read(usize, usize),
    /// All read what is there.
    ReadAll,
    /// A client comes, whose transport takes that many bytes, and subscribes to these channels.
    Come(usize, [bool; 3]),
    /// A client leaves, without a Close or with one.
    Leave(usize, bool),
    /// A client sends these commands, one behind the other.
    Send(usize, Vec<Command>),
    /// The history of a channel is deleted.
    Forget(usize),
}

/// What a client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    /// `sub`, or `unsub` where it is subscribed.
    Toggle(usize),
    Publish(usize),
    Ping,
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        3 => (0..3_usize).prop_map(Command::Toggle),
        3 => (0..3_usize).prop_map(Command::Publish),
        1 => Just(Command::Ping),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let (channel, client) = (0..3_usize, 0..64_usize);
    prop_oneof![
        6 => (channel.clone(), 1..8_usize, 0..600_usize)
            .prop_map(|(channel, count, size)| Step::Publish(channel, count, size)),
        1 => (channel.clone(), 1..60_usize, 0..40_000_usize)
            .prop_map(|(channel, count, size)| Step::Publish(channel, count, size)),
        2 => Just(Step::PublishOnAll),
        4 => (client.clone(), 1..40_usize).prop_map(|(client, count)| Step::Read(client, count)),
        3 => Just(Step::ReadAll),
        1 => (64..8192_usize, any::<[bool; 3]>())
            .prop_map(|(capacity, channels)| Step::Come(capacity, channels)),
        1 => (client.clone(), any::<bool>()).prop_map(|(client, closes)| Step::Leave(client, closes)),
        3 => (client, prop::collection::vec(command(), 1..4))
            .prop_map(|(client, commands)| Step::Send(client, commands)),
        1 => channel.prop_map(Step::Forget),
    ]
}

struct Rig {
    app: Arc<App>,
    clients: Vec<Client>,
}

struct Client {
    socket: WebSocket,
    served: JoinHandle<()>,
    /// The number of its connection.
    number: u64,
    /// What it has sent and is not answered yet, by `id`.
    asked: HashMap<u64, Asked>,
    next_id: u64,
    /// The channels that it will be subscribed to when all its commands are executed.
    wants: HashSet<usize>,
    /// The offset behind which the next message of each channel is that it is subscribed to.
    at: HashMap<usize, u64>,
    has_unsubscribed: bool,
    /// How many messages it got.
    got: u64,
}

/// A command that is not answered yet.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Subscribe(usize),
    Unsubscribe(usize),
    Publish(usize),
    Ping,
}

fn name(channel: usize) -> ChannelName {
    CHANNELS[channel].parse().expect("it is a name")
}

fn offset(position: &Value) -> u64 {
    let position: Position = position.as_str().expect("a position").parse().expect("a position");
    position.offset
}

impl Rig {
    fn new() -> Self {
        let options = ChannelOptions { history_count: KEPT, ..ChannelOptions::default() };
        let channels = Channels::builder().options(options).build().expect("nothing is missing");
        Self { app: channels.shared(), clients: Vec::new() }
    }

    async fn come(&mut self, capacity: usize, subscribes: [bool; 3]) {
        let (near, far) = duplex(capacity);
        let config = Config::default().keepalive(None);
        let socket = WebSocket::from_upgraded(near, Role::Client, config.clone());
        let served = WebSocket::from_upgraded(far, Role::Server, config);
        let peer = Peer::unknown();
        let caller = self.app.authority.authenticate("", peer.network()).await;
        let caller = caller.expect("there are no tokens");
        let record = self.app.register.begin(Transport::V1, None, peer);
        let session = V1Session::begin(&self.app, (caller, StreamBudget::default()), record, None);
        let number = self.connections().last().expect("it has begun").0;
        let served = tokio::spawn(live(served, Box::new(session), self.app.drain.guard()));
        let (asked, wants, at) = Default::default();
        let (next_id, has_unsubscribed, got) = Default::default();
        let mut client =
            Client { socket, served, number, asked, next_id, wants, at, has_unsubscribed, got };
        for channel in (0..3).filter(|channel| subscribes[*channel]) {
            client.send(Command::Toggle(channel));
        }
        self.clients.push(client);
    }

    /// The numbers of the connections, and how many messages are counted for each.
    fn connections(&self) -> Vec<(u64, u64)> {
        let shown = self.app.register.json(&self.app.hub, 0, usize::MAX);
        let shown = shown["connections"].as_array().expect("a list");
        let number = |shown: &Value, member| shown[member].as_u64().expect("a number");
        shown.iter().map(|shown| (number(shown, "id"), number(shown, "messages"))).collect()
    }

    fn publish(&self, channel: usize, size: usize) {
        let text = format!("{channel} {}", "x".repeat(size));
        let publication = Publication::of(PayloadRef::Text(&text));
        self.app.hub.publish(&name(channel), publication).wait().expect("there is room");
    }

    async fn step(&mut self, step: Step) {
        let count = self.clients.len();
        match step {
            Step::Publish(channel, count, size) => {
                (0..count).for_each(|_| self.publish(channel, size));
            }
            Step::PublishOnAll => (0..3).for_each(|channel| self.publish(channel, 10)),
            Step::Read(client, count_of) => {
                self.clients[client % count].read(count_of, &self.app).await;
            }
            Step::ReadAll => {
                for client in &mut self.clients {
                    client.read(usize::MAX, &self.app).await;
                }
            }
            Step::Come(capacity, channels) => self.come(capacity, channels).await,
            Step::Leave(client, closes) if count > 1 => {
                let client = self.clients.swap_remove(client % count);
                if closes {
                    self.check_leaving(client).await;
                }
            }
            Step::Leave(..) => {}
            Step::Send(client, commands) => {
                let client = &mut self.clients[client % count];
                commands.into_iter().for_each(|command| client.send(command));
            }
            Step::Forget(channel) => {
                self.app.hub.forget(&name(channel)).wait().expect("it is in memory");
            }
        }
        // Time goes on when nothing else does.
        sleep(Duration::from_millis(1)).await;
    }

    /// One that closes gets what was published before, on all its channels, and the answers to its commands.
    async fn check_leaving(&self, mut client: Client) {
        client.socket.start_close(CloseFrame::from(CloseCode::NORMAL));
        while let Some(Ok(message)) = client.socket.recv().await {
            client.take(&message, &self.app);
        }
        client.served.await.expect("it does not panic");
        assert!(client.asked.is_empty(), "{:?}", client.asked);
        for (channel, at) in client.at {
            assert_eq!(at, self.app.hub.position(&name(channel)).offset, "{}", CHANNELS[channel]);
        }
    }
}

impl Client {
    fn send(&mut self, command: Command) {
        let (asked, op) = match command {
            Command::Toggle(channel) if self.wants.remove(&channel) => {
                (Asked::Unsubscribe(channel), json!({"op": "unsub", "ch": CHANNELS[channel]}))
            }
            Command::Toggle(channel) => {
                self.wants.insert(channel);
                (Asked::Subscribe(channel), json!({"op": "sub", "ch": CHANNELS[channel]}))
            }
            Command::Publish(channel) => {
                let data = format!("{channel} its own");
                let op = json!({"op": "pub", "ch": CHANNELS[channel], "data": data});
                (Asked::Publish(channel), op)
            }
            Command::Ping => (Asked::Ping, json!({"op": "ping"})),
        };
        let mut op = op;
        op["id"] = self.next_id.into();
        self.asked.insert(self.next_id, asked);
        self.next_id += 1;
        self.socket.try_send(op.to_string()).expect("there is room for a few commands");
    }

    /// Reads what is there, as far as `count` goes.
    async fn read(&mut self, count: usize, app: &App) {
        for _ in 0..count {
            let message = tokio::select! {
                biased;
                message = self.socket.recv() => message,
                // Paused time goes on when the server has done all it can.
                () = sleep(Duration::from_millis(1)) => return,
            };
            match message {
                Some(Ok(message)) => self.take(&message, app),
                ended => panic!("{ended:?}"),
            }
        }
    }

    fn take(&mut self, message: &Message, app: &App) {
        let frame: Value = serde_json::from_str(message.as_text().expect("text")).expect("JSON");
        if let Some(id) = frame["id"].as_u64() {
            assert!(frame["ok"].is_object(), "{frame}");
            let asked = self.asked.remove(&id).expect("it was asked once");
            self.answered(asked, &frame["ok"]);
        } else if frame["hello"].is_null() {
            let channel = CHANNELS.iter().position(|name| frame["ch"] == *name);
            self.told(channel.expect("a channel"), &frame, app);
        }
    }

    fn answered(&mut self, asked: Asked, ok: &Value) {
        match asked {
            Asked::Subscribe(channel) => {
                let before = self.at.insert(channel, offset(&ok["at"]));
                assert_eq!(before, None);
            }
            Asked::Unsubscribe(channel) => {
                self.has_unsubscribed = true;
                self.at.remove(&channel).expect("it was subscribed");
            }
            // Its own message comes behind the answer.
            Asked::Publish(channel) => {
                let at = offset(&ok["at"]);
                assert!(self.at.get(&channel).is_none_or(|last| *last < at), "{at}: {:?}", self.at);
            }
            Asked::Ping => {}
        }
    }

    /// A message or a gap: of a channel that is subscribed to, and the next.
    fn told(&mut self, channel: usize, frame: &Value, app: &App) {
        let Some(at) = self.at.get_mut(&channel) else { panic!("not subscribed: {frame}") };
        let gap = &frame["gap"];
        if gap.is_null() {
            assert_eq!(offset(&frame["at"]), *at + 1, "{frame}");
            let text = frame["data"].as_str().expect("texts are published");
            assert_eq!(text.split(' ').next(), Some(&*channel.to_string()), "{frame}");
            (*at, self.got) = (*at + 1, self.got + 1);
            return;
        }
        assert_eq!(offset(&gap["after"]), *at, "{frame}");
        *at = offset(&gap["next"]);
        // All that is missing was dropped.
        let kept = app.hub.read(&name(channel), Start::Earliest, 1).entries;
        assert!(kept.first().is_none_or(|first| first.position.offset > *at), "{frame}");
    }
}

async fn run(steps: Vec<Step>) {
    let mut rig = Rig::new();
    for number in 0..WORTHWHILE + 4 {
        // All read the first channel, some of them others.
        let channels = [true, number % 8 > 0, number % 3 > 0];
        rig.come(100 + 700 * number, channels).await;
    }
    for step in steps {
        rig.step(step).await;
    }
    // One message more on each channel, when all have read: all have joined again behind it.
    for step in [Step::ReadAll, Step::PublishOnAll, Step::ReadAll] {
        rig.step(step).await;
    }
    let readers = (0..3).map(|channel| {
        rig.clients.iter().filter(|client| client.at.contains_key(&channel)).count()
    });
    let readers: Vec<usize> = readers.collect();
    // Those that had many companions once are still members.
    let (all, least) = readers.iter().fold((0, 0), |(all, least), readers| {
        (all + readers, least + if *readers >= WORTHWHILE { *readers } else { 0 })
    });
    let members = rig.app.groups.members();
    assert!((least..=all).contains(&members), "{members} of {readers:?}");
    let counted: HashMap<_, _> = rig.connections().into_iter().collect();
    for client in std::mem::take(&mut rig.clients) {
        // What was under way when a subscription ended is counted, and not sent.
        let counted = counted[&client.number];
        let is_counted = counted == client.got || client.has_unsubscribed && counted > client.got;
        assert!(is_counted, "{counted} messages are counted, and {} came", client.got);
        rig.check_leaving(client).await;
    }
    sleep(Duration::from_millis(1)).await;
    assert_eq!(rig.app.groups.count(), 0, "a group ends with its members");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn each_client_gets_all_of_each_channel_in_order_and_once_or_is_told(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.expect("a runtime starts").block_on(run(steps));
    }
}
