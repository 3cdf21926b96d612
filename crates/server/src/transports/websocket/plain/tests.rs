//! Delivery to many clients that read as they like, by groups and past them: what each client got is compared with
//! what was published, and what was counted with what each got.

use proptest::prelude::*;
use sockeye::{Config, Role, WebSocket};
use tokio::io::duplex;
use tokio::runtime::Builder;

use super::*;
use crate::Channels;
use crate::fanout::WORTHWHILE;
use crate::metrics::connections::Deliveries;
use crate::options::ChannelOptions;

/// How many messages the channel keeps: a client that is further behind is closed.
const KEPT: usize = 30;

/// Something happens.
#[derive(Clone, Debug)]
enum Step {
    /// As many messages as the first number says are published, each with the second number of bytes.
    Publish(usize, usize),
    /// A client, by its number, reads that many messages, if they are there.
    Read(usize, usize),
    /// All read what is there.
    ReadAll,
    /// A client comes, whose transport takes that many bytes.
    Come(usize),
    /// A client, by its number, publishes.
    Send(usize),
    /// So long nothing happens that connections which have received something have no task again.
    Rest,
    /// A client leaves, without a Close or with one.
    Leave(usize, bool),
    /// The history is deleted.
    Forget,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..8_usize, 0..600_usize).prop_map(|(count, size)| Step::Publish(count, size)),
        1 => (1..60_usize, 0..40_000_usize).prop_map(|(count, size)| Step::Publish(count, size)),
        4 => (0..64_usize, 1..40_usize).prop_map(|(client, count)| Step::Read(client, count)),
        3 => Just(Step::ReadAll),
        1 => (64..8192_usize).prop_map(Step::Come),
        1 => (0..64_usize, any::<bool>()).prop_map(|(client, closes)| Step::Leave(client, closes)),
        1 => Just(Step::Forget),
        2 => (0..64_usize).prop_map(Step::Send),
        1 => Just(Step::Rest),
    ]
}

struct Rig {
    app: Arc<App>,
    channel: ChannelName,
    published: usize,
    /// After how many messages the history was deleted.
    forgotten: Vec<usize>,
    clients: Vec<Client>,
}

struct Client {
    socket: WebSocket,
    /// What the server has counted.
    counted: Deliveries,
    /// How many messages there were when it came.
    begun: usize,
    got: Vec<usize>,
}

impl Rig {
    fn new() -> Self {
        let options = ChannelOptions::default().history_count(KEPT);
        let channels = Channels::builder().options(options).build().expect("they are in memory");
        Self {
            app: channels.shared(),
            channel: "chat".parse().expect("it is a name"),
            published: 0,
            forgotten: Vec::new(),
            clients: Vec::new(),
        }
    }

    fn come(&mut self, capacity: usize) {
        let (near, far) = duplex(capacity);
        let config = Config::default().keepalive(None);
        let socket = WebSocket::from_upgraded(near, Role::Client, config.clone());
        let (incoming, outgoing) = WebSocket::from_upgraded(far, Role::Server, config).split();
        incoming.hold_close();
        let app = Arc::clone(&self.app);
        let reader = app.hub.subscribe(&self.channel, Start::Now);
        let record = app.register.begin(Transport::Ws, None, Peer::unknown());
        let channel_read = record.reads(&reader, Start::Now);
        let counted = channel_read.deliveries();
        let session = PlainSession {
            caller: Caller::unchecked(),
            guard: app.drain.guard(),
            stream_budget: StreamBudget::default(),
            presence: None,
            membership: None,
            ends: Ends::never(),
            pace: None,
            app,
            reader,
            channel_read,
            record,
            incoming,
            outgoing,
        };
        tokio::spawn(session.begin());
        self.clients.push(Client { socket, counted, begun: self.published, got: Vec::new() });
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Publish(count, size) => {
                for _ in 0..count {
                    let text = format!("{} {}", self.published, "x".repeat(size));
                    let publication = Publication::of(PayloadRef::Text(&text));
                    self.app.hub.publish(&self.channel, publication).wait().expect("there is room");
                    self.published += 1;
                }
            }
            Step::Read(client, count) => {
                let count_of = self.clients.len();
                if let Some(client) = self.clients.get_mut(client % count_of.max(1)) {
                    client.read(count).await;
                }
            }
            Step::ReadAll => {
                for client in &mut self.clients {
                    client.read(usize::MAX).await;
                }
            }
            Step::Come(capacity) => self.come(capacity),
            Step::Send(client) => {
                let index = client % self.clients.len();
                let text = format!("{} from a client", self.published);
                // One that is closed may not publish.
                let before = self.app.hub.position(&self.channel).offset;
                let _ = self.clients[index].socket.try_send(&*text);
                sleep(Duration::from_millis(1)).await;
                let after = self.app.hub.position(&self.channel).offset;
                self.published += usize::from(after > before);
            }
            Step::Rest => sleep(LINGER * 2).await,
            Step::Leave(client, closes) => {
                if self.clients.len() > 1 {
                    let client = self.clients.swap_remove(client % self.clients.len());
                    self.check_leaving(client, closes).await;
                }
            }
            Step::Forget => {
                self.app.hub.forget(&self.channel).wait().expect("it is in memory");
                self.forgotten.push(self.published);
            }
        }
        // Time goes on when nothing else does.
        sleep(Duration::from_millis(1)).await;
    }

    /// One that closes gets what was published before.
    async fn check_leaving(&self, mut client: Client, closes: bool) {
        if closes {
            client.socket.start_close(CloseFrame::from(CloseCode::NORMAL));
            client.read_to_end().await;
            let code = client.socket.closed().expect("it has ended").code();
            self.check(&client, code);
        }
    }

    /// In order, each once, and nothing is missing but what was deleted or, at the end, what the close tells.
    fn check(&self, Client { got, begun, counted, .. }: &Client, code: u16) {
        let mut next = *begun;
        for number in got {
            let is_next = *number == next;
            // Everything up to there was deleted.
            let is_excused = *number > next && self.forgotten.contains(number);
            assert!(is_next || is_excused, "{number} and not {next}: {got:?}");
            next = number + 1;
        }
        let is_all = next == self.published || self.forgotten.contains(&self.published);
        let is_told = code == MISSING.0;
        assert!(is_all || is_told, "up to {next} of {}: {code}", self.published);
        assert_eq!(counted.messages(), got.len() as u64, "messages are counted");
    }
}

impl Client {
    /// Reads what is there, as far as `count` goes.
    async fn read(&mut self, count: usize) {
        for _ in 0..count {
            let message = tokio::select! {
                biased;
                message = self.socket.recv() => message,
                // Paused time goes on when the server has done all it can.
                () = sleep(Duration::from_millis(1)) => return,
            };
            match message {
                Some(Ok(message)) => self.take(&message),
                _ => return,
            }
        }
    }

    async fn read_to_end(&mut self) {
        while let Some(Ok(message)) = self.socket.recv().await {
            self.take(&message);
        }
    }

    fn take(&mut self, message: &Message) {
        let text = message.as_text().expect("texts are published");
        let (number, _) = text.split_once(' ').expect("a number is before the rest");
        self.got.push(number.parse().expect("it is a number"));
    }
}

async fn run(steps: Vec<Step>) {
    let mut rig = Rig::new();
    for number in 0..WORTHWHILE + 4 {
        rig.come(100 + 700 * number);
    }
    for step in steps {
        rig.step(step).await;
    }
    // One message more, when all have read: all that are still served have joined again behind it.
    for step in [Step::ReadAll, Step::Publish(1, 0), Step::ReadAll] {
        rig.step(step).await;
    }
    let open = rig.app.hub.figures().readers as usize;
    if open >= WORTHWHILE {
        assert_eq!(rig.app.groups.members(), open);
        // Nothing is left to do for them.
        rig.step(Step::Rest).await;
        assert_eq!(parked::count::<PlainSession>(), open);
    }
    for client in std::mem::take(&mut rig.clients) {
        rig.check_leaving(client, true).await;
    }
    sleep(Duration::from_millis(1)).await;
    assert_eq!(rig.app.groups.count(), 0, "a group ends with its members");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn each_client_gets_all_in_order_and_once_or_is_told(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.expect("a runtime starts").block_on(run(steps));
    }
}

/// Groups of two runtimes on one channel: those of one end with it, and take nothing from the other.
#[test]
fn a_group_ends_with_its_runtime_and_others_go_on() {
    let runtime = || Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let (first, second) = (runtime(), runtime());
    let mut rig = Rig::new();
    for runtime in [&first, &second] {
        runtime.block_on(async {
            for _ in 0..WORTHWHILE {
                rig.come(1 << 10);
            }
        });
    }
    for runtime in [&first, &second] {
        runtime.block_on(async { sleep(Duration::from_millis(1)).await });
    }
    assert!(rig.app.groups.count() == 2 && rig.app.groups.members() > WORTHWHILE);
    drop(first);
    assert_eq!(rig.app.groups.count(), 1);
    second.block_on(async {
        rig.step(Step::Publish(3, 100)).await;
        for client in &mut rig.clients[WORTHWHILE..] {
            client.read(usize::MAX).await;
            assert_eq!(client.got, [0, 1, 2]);
        }
    });
}

/// With the header of its `Arc`: what a connection has in place of a task while a group delivers.
#[test]
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn a_parked_connection_has_136_bytes() {
    let size = 2 * size_of::<usize>() + size_of::<parked::ParkedSession<PlainSession>>();
    assert_eq!(size, 136);
}
