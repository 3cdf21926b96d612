//! Streams to many clients that read as they like, by groups and past them: what each client got is compared with what
//! was published, and what was counted with what each got. The bytes are those of a response of HTTP/1.1.

use proptest::prelude::*;
use serde_json::Value;
use sockeye::internals::PendingConnections;
use sockeye_hub::{Hub, Options, PayloadRef, Publication};
use tokio::io::{AsyncReadExt, DuplexStream, duplex};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::*;
use crate::conn::detach::{Detached, Persistence, Work};
use crate::conn::response_writer::write_response;
use crate::fanout::WORTHWHILE;
use crate::metrics::Metrics;
use crate::metrics::connections::{ConnectionRegister, Deliveries};
use crate::net::shared_io::SharedIo;
use crate::net::write_deadline::WriteDeadline;

/// How many messages the channel keeps: a client that is further behind gets a gap.
const KEPT: usize = 30;

const HEARTBEAT: Duration = Duration::from_secs(1);

/// Something happens.
#[derive(Clone, Debug)]
enum Step {
    /// As many messages as the first number says are published, each with the second number of bytes.
    Publish(usize, usize),
    /// A client, by its number, reads that many bytes, if they are there.
    Read(usize, usize),
    /// All read what is there.
    ReadAll,
    /// A client comes, whose connection takes that many bytes.
    Come(usize),
    /// A client leaves.
    Leave(usize),
    /// The server ends the stream of a client.
    End(usize),
    /// The history is deleted.
    Forget,
    /// It is time for the heartbeat.
    Beat,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..8_usize, 0..600_usize).prop_map(|(count, size)| Step::Publish(count, size)),
        1 => (1..60_usize, 0..12_000_usize).prop_map(|(count, size)| Step::Publish(count, size)),
        4 => (0..64_usize, 1..9000_usize).prop_map(|(client, bytes)| Step::Read(client, bytes)),
        3 => Just(Step::ReadAll),
        1 => (64..8192_usize).prop_map(Step::Come),
        1 => (0..64_usize).prop_map(Step::Leave),
        1 => (0..64_usize).prop_map(Step::End),
        1 => Just(Step::Forget),
        2 => Just(Step::Beat),
    ]
}

struct Rig {
    hub: Hub,
    channel: ChannelName,
    groups: Arc<Groups>,
    register: Arc<ConnectionRegister>,
    published: usize,
    /// How many clients have come.
    come: usize,
    clients: Vec<Client>,
}

struct Client {
    form: Form,
    is_chunked: bool,
    io: DuplexStream,
    read: Vec<u8>,
    /// Has the server end the stream.
    end: Option<oneshot::Sender<()>>,
    served: JoinHandle<bool>,
    counted: Deliveries,
    /// How many messages there were when it came.
    begun: usize,
}

/// What a client was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Message(usize),
    Gap,
}

impl Rig {
    fn new() -> Self {
        let register = ConnectionRegister::new(Arc::new(Metrics::new(Arc::default(), None)));
        Self {
            hub: Hub::new(Options::default().history_count(KEPT)),
            channel: "chat".parse().expect("it is a name"),
            groups: Groups::new(Arc::clone(&register), None),
            register,
            published: 0,
            come: 0,
            clients: Vec::new(),
        }
    }

    fn come(&mut self, capacity: usize) {
        let form = [Form::Events, Form::MetaEvents, Form::Lines][self.come % 3];
        let is_chunked = !self.come.is_multiple_of(5);
        self.come += 1;
        let (near, far) = duplex(capacity);
        let reader = self.hub.subscribe(&self.channel, Start::Now);
        let record = self.register.begin(form.transport(), None, Peer::unknown());
        let channel_read = record.reads(&reader, Start::Now);
        let counted = channel_read.deliveries();
        let (end, ends) = oneshot::channel();
        let live = Live {
            form,
            reader,
            channel_read,
            record,
            ready: vec![].into_iter(),
            heartbeat: heartbeat(HEARTBEAT),
            ending: Box::pin(async {
                match ends.await {
                    Ok(()) => StreamEnd::Disconnected,
                    Err(_) => pending().await,
                }
            }),
            left: None,
            stream_budget: StreamBudget::default(),
            direct: Some(Direct::new(&self.groups)),
            _presence: None,
        };
        let persistence = if is_chunked { Persistence::KeepAlive } else { Persistence::Http10 };
        let detached = Detached { work: Work::Streaming(Box::new(live.response())), persistence };
        let pending = PendingConnections::default().register();
        let mut io = SharedIo::new(WriteDeadline::new(far, Duration::from_secs(3600), pending));
        let served = tokio::spawn(async move { write_response(&mut io, detached).await.is_ok() });
        let begun = self.published;
        let (read, end) = (Vec::new(), Some(end));
        let client = Client { form, is_chunked, io: near, read, end, served, counted, begun };
        self.clients.push(client);
    }

    async fn step(&mut self, step: Step) {
        let count = self.clients.len();
        match step {
            Step::Publish(count, size) => {
                for _ in 0..count {
                    let text = format!("{} {}", self.published, "x".repeat(size));
                    let publication = Publication::of(PayloadRef::Text(&text));
                    self.hub.publish(&self.channel, publication).wait().expect("there is room");
                    self.published += 1;
                }
            }
            Step::Read(client, bytes) => self.clients[client % count].read(bytes).await,
            Step::ReadAll => {
                for client in &mut self.clients {
                    client.read(usize::MAX).await;
                }
            }
            Step::Come(capacity) => self.come(capacity),
            Step::Leave(client) if count > 1 => drop(self.clients.swap_remove(client % count)),
            Step::End(client) if count > 1 => {
                let client = self.clients.swap_remove(client % count);
                self.check_ended(client).await;
            }
            Step::Leave(_) | Step::End(_) => {}
            Step::Forget => {
                self.hub.forget(&self.channel).wait().expect("it is in memory");
            }
            Step::Beat => sleep(HEARTBEAT).await,
        }
        // Time goes on when nothing else does.
        sleep(Duration::from_millis(1)).await;
    }

    /// One whose stream is ended gets the end of the body behind what was written.
    async fn check_ended(&self, mut client: Client) {
        client.end.take().expect("it is ended once").send(()).expect("it is open");
        while !client.served.is_finished() {
            client.read(usize::MAX).await;
            // A connection that ends waits for the client's end.
            sleep(Duration::from_millis(1)).await;
        }
        client.read(usize::MAX).await;
        assert!(client.served.await.expect("it does not panic"), "the response is whole");
        let body = body(&client.read, client.is_chunked, true);
        check(&client.form, &body, client.begun, &client.counted);
    }
}

/// In order, each once, and nothing is missing but what a gap tells; and what is counted is that. How many messages it
/// has, and was told to miss.
fn check(form: &Form, body: &[u8], begun: usize, counted: &Deliveries) -> usize {
    let (told, heartbeats) = told(*form, body);
    let (mut next, mut messages, mut is_excused) = (begun, 0, false);
    for told in &told {
        match *told {
            Told::Gap => is_excused = true,
            Told::Message(number) => {
                let is_next = number == next || (is_excused && number > next);
                assert!(is_next, "{number} and not {next}: {told:?}");
                (next, messages, is_excused) = (number + 1, messages + 1, false);
            }
        }
    }
    let bytes = body.len() - heartbeats * form.heartbeat().len();
    assert_eq!((counted.messages(), counted.bytes()), (messages, bytes as u64), "{told:?}");
    if is_excused { usize::MAX } else { next }
}

impl Client {
    /// Reads what is there, as far as `count` bytes go.
    async fn read(&mut self, count: usize) {
        let end = self.read.len().saturating_add(count);
        while self.read.len() < end && self.read_some(end).await {}
    }

    async fn read_some(&mut self, end: usize) -> bool {
        let mut buffer = vec![0; (end - self.read.len()).min(4096)];
        tokio::select! {
            biased;
            read = self.io.read(&mut buffer) => {
                let count = read.expect("the connection is not reset");
                self.read.extend_from_slice(&buffer[..count]);
                count > 0
            }
            // Paused time goes on when the server has done all it can.
            () = sleep(Duration::from_millis(1)) => false,
        }
    }
}

/// The body of a response of which that much is read. Each chunk is whole, if all is read that was written.
fn body(response: &[u8], is_chunked: bool, has_ended: bool) -> Vec<u8> {
    let find = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).position(|it| it == what);
    let head = find(response, b"\r\n\r\n").expect("the head is whole");
    let mut rest = &response[head + 4..];
    if !is_chunked {
        return rest.to_vec();
    }
    let (mut body, mut is_last) = (Vec::new(), false);
    while !rest.is_empty() {
        assert!(!is_last, "nothing follows the last chunk");
        let line = find(rest, b"\r\n").expect("the length of the chunk is whole");
        let length = std::str::from_utf8(&rest[..line]).expect("it is text");
        let length = usize::from_str_radix(length, 16).expect("it is a number");
        let (data, after) = rest[line + 2..].split_at(length);
        body.extend_from_slice(data);
        rest = after.strip_prefix(b"\r\n").expect("the chunk ends behind its data");
        is_last = length == 0;
    }
    assert_eq!(is_last, has_ended);
    body
}

/// The messages and gaps of a body, and how many heartbeats are between them.
fn told(form: Form, body: &[u8]) -> (Vec<Told>, usize) {
    let body = std::str::from_utf8(body).expect("it is text");
    let (mut all, mut heartbeats, mut is_gap) = (Vec::new(), 0, false);
    for line in body.lines() {
        match (form, line) {
            (Form::Lines, "") | (Form::Events | Form::MetaEvents, ":") => heartbeats += 1,
            (_, "event: gap") => is_gap = true,
            (Form::Events, line) => match line.strip_prefix("data: ") {
                Some(_) if std::mem::take(&mut is_gap) => all.push(Told::Gap),
                Some(text) => all.push(Told::Message(number(text))),
                None => {}
            },
            (Form::MetaEvents, line) => match line.strip_prefix("data: ") {
                Some(_) if std::mem::take(&mut is_gap) => all.push(Told::Gap),
                Some(text) => all.push(of_json(text)),
                None => {}
            },
            (Form::Lines, line) => all.push(of_json(line)),
        }
    }
    (all, heartbeats)
}

fn of_json(line: &str) -> Told {
    let json: Value = serde_json::from_str(line).expect("it is JSON");
    match json["data"].as_str() {
        Some(text) => Told::Message(number(text)),
        None => {
            assert!(json["gap"].is_object(), "{json}");
            Told::Gap
        }
    }
}

fn number(text: &str) -> usize {
    let (number, _) = text.split_once(' ').expect("a number is before the rest");
    number.parse().expect("it is a number")
}

async fn run(steps: Vec<Step>) {
    let mut rig = Rig::new();
    for number in 0..WORTHWHILE + 4 {
        rig.come(100 + 700 * number);
    }
    for step in steps {
        rig.step(step).await;
    }
    // One message more, when all have read: all have joined again behind it, each form of them its own group.
    for step in [Step::ReadAll, Step::Publish(1, 0), Step::ReadAll] {
        rig.step(step).await;
    }
    let open = rig.clients.len();
    if open >= WORTHWHILE {
        assert_eq!(rig.groups.members(), open);
    }
    for client in &rig.clients {
        let body = body(&client.read, client.is_chunked, false);
        let next = check(&client.form, &body, client.begun, &client.counted);
        assert_eq!(next, rig.published);
    }
    for client in std::mem::take(&mut rig.clients) {
        rig.check_ended(client).await;
    }
    sleep(Duration::from_millis(1)).await;
    assert_eq!(rig.groups.count(), 0, "a group ends with its members");
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

/// A group writes to the members alone; a heartbeat comes to each of them at its time, and all stay members.
#[tokio::test(start_paused = true)]
async fn members_get_heartbeats_and_stay_members() {
    let mut rig = Rig::new();
    for _ in 0..WORTHWHILE {
        rig.come(1 << 16);
    }
    // The first of them came when there were few.
    for step in [Step::Publish(1, 10), Step::Beat, Step::Beat] {
        rig.step(step).await;
    }
    assert_eq!(rig.groups.members(), WORTHWHILE);
    rig.step(Step::Publish(2, 10)).await;
    assert_eq!(rig.groups.members(), WORTHWHILE);
    rig.step(Step::ReadAll).await;
    for client in &rig.clients {
        let body = body(&client.read, client.is_chunked, false);
        let (told, heartbeats) = told(client.form, &body);
        let messages = [0, 1, 2].map(Told::Message);
        assert_eq!((&told[..], heartbeats), (&messages[..], 2), "{:?}", client.form);
    }
}

/// A client that does not read holds one run, by a group as by its own task.
#[tokio::test(start_paused = true)]
async fn a_member_that_does_not_read_is_given_one_run() {
    let mut rig = Rig::new();
    for _ in 0..WORTHWHILE {
        rig.come(1 << 10);
    }
    for step in [Step::Publish(1, 10), Step::ReadAll, Step::Publish(1, 10), Step::ReadAll] {
        rig.step(step).await;
    }
    assert_eq!(rig.groups.members(), WORTHWHILE);
    // 600 bytes are taken at once, then there is room for a part of a message.
    for _ in 0..20 {
        rig.step(Step::Publish(1, 600)).await;
    }
    assert_eq!(rig.groups.members(), 0);
    for client in &rig.clients {
        assert!(client.counted.messages() <= 2 + 2, "{}", client.counted.messages());
    }
}
