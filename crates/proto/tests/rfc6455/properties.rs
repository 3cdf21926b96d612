//! What holds for any input: what one end sends the other receives, and no bytes can do worse than
//! fail a connection once.

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use sockeye_proto::{
    CloseCode, CloseFrame, Config, Event, Fragment, Message, MessageKind, Peer, State,
    TransportState,
};

use crate::harness::{BOTH, CUTS, Cut, End, Pair, Role, close_payload, read_frames, wire};

/// What an application may do.
#[derive(Debug, Clone)]
enum Operation {
    Text(String),
    Binary(Vec<u8>),
    Fragments(MessageKind, Vec<Vec<u8>>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// Carry what was sent so far.
    Step,
}

fn sizes() -> impl Strategy<Value = usize> {
    prop_oneof![
        Just(0),
        Just(125),
        Just(126),
        Just(4095),
        Just(4096),
        Just(65535),
        Just(65536),
        0usize..300,
    ]
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    (sizes(), any::<u8>()).prop_map(|(size, seed)| {
        (0..size).map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed)).collect()
    })
}

/// A text with characters of all lengths, cut into pieces anywhere.
fn text_fragments() -> impl Strategy<Value = Vec<Vec<u8>>> {
    (any::<String>(), vec(0usize..40, 0..6)).prop_map(|(text, cuts)| {
        let mut rest = text.as_bytes();
        let mut pieces = Vec::new();
        for cut in cuts {
            let (piece, later) = rest.split_at(cut.min(rest.len()));
            pieces.push(piece.to_vec());
            rest = later;
        }
        pieces.push(rest.to_vec());
        pieces
    })
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        any::<String>().prop_map(Operation::Text),
        payload().prop_map(Operation::Binary),
        vec(vec(any::<u8>(), 0..200), 1..5)
            .prop_map(|pieces| Operation::Fragments(MessageKind::Binary, pieces)),
        text_fragments().prop_map(|pieces| Operation::Fragments(MessageKind::Text, pieces)),
        vec(any::<u8>(), 0..=125).prop_map(Operation::Ping),
        vec(any::<u8>(), 0..=125).prop_map(Operation::Pong),
        Just(Operation::Step),
    ]
}

fn cut() -> impl Strategy<Value = Cut> {
    prop_oneof![Just(Cut::Whole), Just(Cut::Bytes), any::<u64>().prop_map(Cut::Random)]
}

/// Does it at one end; gives the event that the other is to have, if there is one.
fn perform(end: &mut End, operation: &Operation) -> Option<Event> {
    let connection = &mut end.connection;
    let event = match operation {
        Operation::Text(text) => {
            connection.send(Message::from(text.as_str())).unwrap();
            Event::Message(Message::from(text.as_str()))
        }
        Operation::Binary(bytes) => {
            connection.send(Message::from(bytes.clone())).unwrap();
            Event::Message(Message::from(bytes.clone()))
        }
        Operation::Fragments(kind, pieces) => {
            for (i, piece) in pieces.iter().enumerate() {
                let last = i + 1 == pieces.len();
                let fragment = if last { Fragment::Last } else { Fragment::More };
                connection.send_fragment(*kind, piece.clone().into(), fragment).unwrap();
            }
            let whole = pieces.concat();
            Event::Message(match kind {
                MessageKind::Text => Message::from(String::from_utf8(whole).unwrap()),
                MessageKind::Binary => Message::from(whole),
            })
        }
        Operation::Ping(payload) => {
            connection.ping(payload.clone().into()).unwrap();
            Event::Ping(payload.clone().into())
        }
        Operation::Pong(payload) => {
            connection.pong(payload.clone().into()).unwrap();
            Event::Pong(payload.clone().into())
        }
        Operation::Step => return None,
    };
    end.settle();
    Some(event)
}

/// The events without the pongs: those that answer pings come among the others.
fn without_pongs(events: Vec<Event>) -> Vec<Event> {
    events.into_iter().filter(|event| !matches!(event, Event::Pong(_))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..Default::default() })]

    #[test]
    fn what_one_end_sends_the_other_receives(
        operations in vec((any::<bool>(), operation()), 0..12),
        cut in cut(),
        code in prop_oneof![1000u16..=1003, 1007u16..=1014, 3000u16..=4999],
        reason in "\\PC{0,30}",
    ) {
        let mut pair = Pair::new(&Config::default(), cut);
        let (mut to_server, mut to_client) = (vec![], vec![]);
        for (from_client, operation) in &operations {
            match (from_client, operation) {
                (_, Operation::Step) => { pair.step(); }
                (true, _) => to_server.extend(perform(&mut pair.client, operation)),
                (false, _) => to_client.extend(perform(&mut pair.server, operation)),
            }
        }
        pair.drive();
        prop_assert_eq!(without_pongs(pair.server.events()), without_pongs(to_server));
        prop_assert_eq!(without_pongs(pair.client.events()), without_pongs(to_client));

        let frame = CloseFrame::new(CloseCode::try_from(code).unwrap(), reason.as_str()).unwrap();
        pair.client.connection.close(Some(frame), pair.client.now);
        pair.client.settle();
        pair.drive();
        for (end, initiator) in [(&pair.client, Peer::Local), (&pair.server, Peer::Remote)] {
            let closed = end.closed();
            prop_assert!(closed.is_clean());
            prop_assert_eq!((closed.code(), closed.reason()), (code, reason.as_str()));
            prop_assert_eq!(closed.initiator, initiator);
            prop_assert_eq!(end.connection.transport(), TransportState::Close);
        }
    }

    /// Rule: W123.
    #[test]
    fn any_bytes_give_events_or_one_end_however_they_are_cut(
        bytes in vec(any::<u8>(), 0..300),
        seed: u64,
    ) {
        for role in BOTH {
            judge_everywhere(role, &bytes, seed)?;
        }
    }

    /// Rule: W123.
    #[test]
    fn frames_in_any_order_give_events_or_one_end_however_they_are_cut(
        frames in vec(
            (
                prop_oneof![
                    8 => prop::sample::select(&[0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x89, 0x8a][..]),
                    1 => Just(0x88u8),
                    1 => any::<u8>(),
                ],
                prop_oneof![vec(any::<u8>(), 0..150), any::<String>().prop_map(String::into_bytes)],
            ),
            0..20,
        ),
        seed: u64,
    ) {
        for role in BOTH {
            let bytes: Vec<u8> =
                frames.iter().flat_map(|(first, body)| wire(role.peer(), *first, body)).collect();
            judge_everywhere(role, &bytes, seed)?;
        }
    }

    /// Rules: W109, W110, W111.
    #[test]
    fn any_close_body_is_answered_with_its_own_code_or_with_the_one_it_earns(
        body in prop_oneof![
            vec(any::<u8>(), 0..=125),
            (any::<u16>(), "\\PC{0,30}").prop_map(|(code, reason)| close_payload(code, &reason)),
        ],
    ) {
        let body = &body[..body.len().min(125)];
        for role in BOTH {
            let mut end = End::new(role, Config::default(), Cut::Whole);
            end.feed_frame(0x88, body);
            let frames = end.frames();
            prop_assert_eq!(frames.len(), 1);
            let closed = end.closed();
            if closed.is_clean() {
                prop_assert_eq!(&frames[0].1, body);
            } else {
                let earned = closed.failure.unwrap().close_code().unwrap().as_u16();
                prop_assert_eq!(&frames[0].1[..2], &earned.to_be_bytes());
            }
        }
    }
}

/// Feeds the bytes cut in several ways, then the end of the transport: the same trace each time, and
/// one that keeps to the contract.
fn judge_everywhere(role: Role, bytes: &[u8], seed: u64) -> Result<(), TestCaseError> {
    let traces = CUTS[..2].iter().copied().chain([Cut::Random(seed)]).map(|cut| {
        let mut end = End::new(role, Config::default(), cut);
        end.feed(bytes);
        end.eof();
        end.closed();
        let state = (end.connection.state(), end.connection.transport());
        (end.events(), end.sent(), state)
    });
    let traces: Vec<_> = traces.collect();
    prop_assert_eq!(&traces[0], &traces[1]);
    prop_assert_eq!(&traces[0], &traces[2]);
    prop_assert_eq!(traces[0].2, (State::Closed, TransportState::Close));
    // Pings were answered, in order, up to a Close at most; nothing else was sent.
    let pings = traces[0].0.iter().filter_map(|event| match event {
        Event::Ping(payload) => Some(payload.clone()),
        _ => None,
    });
    let frames = read_frames(&traces[0].1, role);
    let pongs: Vec<Bytes> = frames
        .iter()
        .filter(|((first, _), _)| *first == 0x8a)
        .map(|((_, payload), _)| payload.clone().into())
        .collect();
    prop_assert_eq!(pings.collect::<Vec<_>>(), pongs);
    let closes = frames.iter().position(|((first, _), _)| *first == 0x88);
    prop_assert!(closes.is_none_or(|position| position + 1 == frames.len()));
    Ok(())
}
