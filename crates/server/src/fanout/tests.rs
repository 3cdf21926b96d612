//! What is published while a group writes: each member is given all of it, in order and once.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use proptest::prelude::*;
use sockeye_hub::{ChannelName, Hub, Options, PayloadRef, Publication, Start};
use tokio::runtime::Builder;
use tokio::task::yield_now;

use super::*;
use crate::limits::peer::Peer;
use crate::metrics::Metrics;
use crate::metrics::connections::ConnectionRecord;
use crate::net::shared_io::{Framing, TryWrite};

/// A message is a letter.
static WIRE: Wire = wire(Budget::entries(64));
static WIRE_OF_FOUR: Wire = wire(Budget::entries(4));

const fn wire(at_once: Budget) -> Wire {
    static FORM: RunForm = RunForm::new();
    Wire {
        transport: Transport::Sse,
        at_once,
        form: &FORM,
        encode: |_, entries| {
            let letters = entries.iter().flat_map(|entry| entry.payload.as_bytes().to_vec());
            letters.collect::<Vec<_>>().into()
        },
        counted: |_, bytes| bytes.len(),
    }
}

/// A channel, and what is published on it by the way.
#[derive(Debug)]
struct Stage {
    hub: Hub,
    channel: ChannelName,
    /// How many writes there have been.
    writes: AtomicUsize,
    /// How many messages are published during which writes.
    meanwhile: Vec<(usize, usize)>,
    published: AtomicUsize,
}

/// What a member was given, in how many writes, and which write it refuses.
struct Paper {
    stage: Arc<Stage>,
    text: Mutex<Vec<Bytes>>,
    refused: Option<usize>,
}

impl Stage {
    fn publish(&self, count: usize) {
        for _ in 0..count {
            let letter = [b'a' + (self.published.fetch_add(1, Relaxed) % 26) as u8];
            let publication = Publication::of(PayloadRef::Bytes(&letter));
            self.hub.publish(&self.channel, publication).wait().expect("there is room");
        }
    }
}

/// The first messages.
fn letters(count: usize) -> Vec<u8> {
    (0..count).map(|number| b'a' + (number % 26) as u8).collect()
}

impl Paper {
    fn text(&self) -> Vec<u8> {
        self.text.lock().expect("no panic").concat()
    }
}

impl TryWrite for Paper {
    fn try_write(&self, bytes: &Bytes) -> Delivery {
        let write = self.stage.writes.fetch_add(1, Relaxed);
        for (during, count) in &self.stage.meanwhile {
            if *during == write {
                self.stage.publish(*count);
            }
        }
        let mut text = self.text.lock().expect("no panic");
        if self.refused == Some(text.len()) {
            return Delivery::Refused;
        }
        text.push(bytes.clone());
        Delivery::Written
    }
}

/// A member, its task and what it was given.
type Joined = (Reader, ConnectionRecord, ChannelRead, Membership, Arc<Paper>);

async fn run(
    wire: &'static Wire,
    refused: &[Option<usize>],
    meanwhile: Vec<(usize, usize)>,
) -> (Arc<Stage>, Vec<Joined>) {
    let register = ConnectionRegister::new(Arc::new(Metrics::new(Arc::default(), None)));
    let groups = Groups::new(Arc::clone(&register), None);
    let stage = Arc::new(Stage {
        hub: Hub::new(Options::default()),
        channel: "chat".parse().expect("it is a name"),
        writes: AtomicUsize::new(0),
        meanwhile,
        published: AtomicUsize::new(0),
    });
    let readers: Vec<_> =
        refused.iter().map(|_| stage.hub.subscribe(&stage.channel, Start::Now)).collect();
    let join = |(reader, refused): (Reader, &Option<usize>)| {
        let record = register.begin(Transport::Sse, None, Peer::unknown());
        let read = record.reads(&reader, Start::Now);
        let paper = Arc::new(Paper {
            stage: Arc::clone(&stage),
            text: Mutex::default(),
            refused: *refused,
        });
        let io = Arc::new(BodyIo::default());
        io.show(Arc::<Paper>::clone(&paper), Framing::Bare);
        let outlet = || Outlet::Body(io);
        let membership = groups.join((&reader, &read), wire, outlet).expect("it joins");
        (reader, record, read, membership, paper)
    };
    let joined: Vec<_> = readers.into_iter().zip(refused).map(join).collect();
    stage.publish(1);
    // Until nothing is written any more: other tasks run in between.
    let mut quiet = (0, 0);
    while quiet.1 < 4 {
        yield_now().await;
        let now = (stage.writes.load(Relaxed), stage.published.load(Relaxed));
        quiet = if quiet.0 == now.0 + now.1 { (quiet.0, quiet.1 + 1) } else { (now.0 + now.1, 0) };
    }
    (stage, joined)
}

#[tokio::test]
async fn what_is_published_meanwhile_goes_with_the_rest() {
    let (stage, joined) = run(&WIRE, &[None; 40], vec![(0, 2)]).await;
    assert!(joined.iter().all(|(.., paper)| paper.text() == b"abc"));
    // Sixteen had the first one by then.
    assert_eq!(stage.writes.load(Relaxed), 40 + 16);
}

#[tokio::test]
async fn no_member_is_given_more_at_once_than_its_transport_takes() {
    let (_, joined) = run(&WIRE_OF_FOUR, &[None; 40], vec![(0, 2), (16, 2), (30, 40)]).await;
    let all = letters(45);
    for (.., paper) in &joined {
        assert_eq!(paper.text(), all);
        assert!(paper.text.lock().unwrap().iter().all(|bytes| bytes.len() <= 4));
    }
}

proptest! {
    #[test]
    fn each_member_is_given_all_in_order_and_once_and_says_up_to_where(
        refused in prop::collection::vec(prop::option::weighted(0.2, 0..4_usize), 16..150),
        meanwhile in prop::collection::vec((0..400_usize, 1..4_usize), 0..30),
        is_of_four: bool,
    ) {
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let wire = if is_of_four { &WIRE_OF_FOUR } else { &WIRE };
            let (stage, joined) = run(wire, &refused, meanwhile).await;
            let published = stage.published.load(Relaxed);
            for (_, _, _, membership, paper) in &joined {
                let given = paper.text();
                let all = letters(given.len());
                assert_eq!(given, all);
                let left = membership.leave();
                assert_eq!(left.offset, given.len() as u64);
                assert!(given.len() == published || paper.refused == Some(paper.text.lock().unwrap().len()));
            }
        });
    }
}
