//! What nodes tell each other, as bytes.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::node_presence::NodePresence;
use crate::ChannelName;
use crate::backplane::{MAX_NODE_MESSAGE, NodeId};
use crate::presence::{MAX_ID_LEN, Member, PresenceChange};

/// The version of everything below. A node does not listen to another one.
const VERSION: u8 = 1;

/// The most bytes of members in a message.
pub(super) const MEMBERS: usize = 96 << 10;
// With the hashes of an answer below what a link carries.
const _: () = assert!(MEMBERS + 2 * 8 * super::node_presence::HASHES + 4096 < MAX_NODE_MESSAGE);

/// A message of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) from: NodeId,
    pub(super) body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// It is there, and has told so many changes.
    Alive { changes: u64, sign: Sign },
    /// It has left.
    Gone,
    /// A member has come there or left.
    Change { number: u64, channel: ChannelName, change: PresenceChange },
    /// It wants to know all members of the channel.
    Follow { request: u64, channel: ChannelName },
    /// A part of the members of the channel when so many changes had been told.
    Snapshot { request: u64, channel: ChannelName, part: Part },
    /// It wants to know a page of the members of the channel.
    Ask { request: u64, channel: ChannelName, after: Option<Arc<str>>, limit: u32 },
    /// That page.
    Page { request: u64, presence: NodePresence },
}

/// Why a node says that it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// It does so all the time.
    Beat,
    /// It has just come, and wants to know which others there are.
    Hello,
    /// The answer to that, or one that is ahead of what waits. It comes by another way than changes, before
    /// or after them.
    Answer,
}

/// A part of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// How many changes had been told.
    pub(super) changes: u64,
    /// Those without an id.
    pub(super) others: u64,
    pub(super) index: u32,
    pub(super) is_last: bool,
    pub(super) members: Vec<Member>,
}

impl Message {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(64);
        out.put_u8(VERSION);
        out.put_u64(self.from.0);
        match &self.body {
            Body::Alive { changes, sign } => {
                out.put_u8(0);
                out.put_u64(*changes);
                out.put_u8(*sign as u8);
            }
            Body::Gone => out.put_u8(1),
            Body::Change { number, channel, change } => {
                let (joins, member) = match change {
                    PresenceChange::Join(member) => (true, Some(member)),
                    PresenceChange::Leave(member) => (false, Some(member)),
                    PresenceChange::Anew(_) => (false, None),
                };
                out.put_u8(2);
                out.put_u64(*number);
                put_text(&mut out, channel.as_str());
                out.put_u8(u8::from(joins));
                put_members(&mut out, member.into_iter());
            }
            Body::Follow { request, channel } => {
                out.put_u8(3);
                out.put_u64(*request);
                put_text(&mut out, channel.as_str());
            }
            Body::Snapshot { request, channel, part } => {
                out.put_u8(4);
                out.put_u64(*request);
                put_text(&mut out, channel.as_str());
                out.put_u64(part.changes);
                out.put_u64(part.others);
                out.put_u32(part.index);
                out.put_u8(u8::from(part.is_last));
                put_members(&mut out, part.members.iter());
            }
            Body::Ask { request, channel, after, limit } => {
                out.put_u8(5);
                out.put_u64(*request);
                put_text(&mut out, channel.as_str());
                put_option(&mut out, after.as_deref());
                out.put_u32(*limit);
            }
            Body::Page { request, presence } => {
                out.put_u8(6);
                out.put_u64(*request);
                out.put_u64(presence.changes);
                out.put_u64(presence.count);
                out.put_u64(presence.others);
                put_members(&mut out, presence.page.iter());
                put_option(&mut out, presence.next.as_deref());
                put_hashes(&mut out, &presence.ids);
                put_hashes(&mut out, &presence.pollers);
            }
        }
        out.freeze()
    }

    /// `None` if it is of another version, or makes no sense.
    pub(super) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let from = &mut bytes;
        if from.try_get_u8().ok()? != VERSION {
            return None;
        }
        let id = NodeId(from.try_get_u64().ok()?);
        let body = match from.try_get_u8().ok()? {
            0 => Body::Alive { changes: number(from)?, sign: sign(from)? },
            1 => Body::Gone,
            2 => {
                let (number, channel, joins) = (number(from)?, channel(from)?, flag(from)?);
                let member = members(from)?.pop()?;
                let change = if joins {
                    PresenceChange::Join(member)
                } else {
                    PresenceChange::Leave(member)
                };
                Body::Change { number, channel, change }
            }
            3 => Body::Follow { request: number(from)?, channel: channel(from)? },
            4 => Body::Snapshot {
                request: number(from)?,
                channel: channel(from)?,
                part: Part {
                    changes: number(from)?,
                    others: number(from)?,
                    index: from.try_get_u32().ok()?,
                    is_last: flag(from)?,
                    members: members(from)?,
                },
            },
            5 => Body::Ask {
                request: number(from)?,
                channel: channel(from)?,
                after: option(from).ok()?,
                limit: from.try_get_u32().ok()?,
            },
            6 => Body::Page {
                request: number(from)?,
                presence: NodePresence {
                    changes: number(from)?,
                    count: number(from)?,
                    others: number(from)?,
                    page: members(from)?,
                    next: option(from).ok()?,
                    ids: hashes(from)?,
                    pollers: hashes(from)?,
                },
            },
            _ => return None,
        };
        from.is_empty().then_some(Self { from: id, body })
    }
}

fn sign(from: &mut &[u8]) -> Option<Sign> {
    match from.try_get_u8().ok()? {
        0 => Some(Sign::Beat),
        1 => Some(Sign::Hello),
        2 => Some(Sign::Answer),
        _ => None,
    }
}

/// How many bytes of a message a member takes.
pub(super) fn size(member: &Member) -> usize {
    2 + member.id.len() + 8
}

/// Names and ids are at most 255 bytes, so their lengths fit.
fn put_text(out: &mut BytesMut, text: &str) {
    out.put_u16(text.len() as u16);
    out.put_slice(text.as_bytes());
}

fn put_option(out: &mut BytesMut, text: Option<&str>) {
    out.put_u8(u8::from(text.is_some()));
    if let Some(text) = text {
        put_text(out, text);
    }
}

fn put_members<'m>(out: &mut BytesMut, members: impl ExactSizeIterator<Item = &'m Member>) {
    out.put_u32(members.len() as u32);
    for member in members {
        put_text(out, &member.id);
        out.put_u64(member.since);
    }
}

fn put_hashes(out: &mut BytesMut, hashes: &[u64]) {
    out.put_u32(hashes.len() as u32);
    hashes.iter().for_each(|hash| out.put_u64(*hash));
}

fn number(from: &mut &[u8]) -> Option<u64> {
    from.try_get_u64().ok()
}

fn flag(from: &mut &[u8]) -> Option<bool> {
    Some(from.try_get_u8().ok()? != 0)
}

fn text<'m>(from: &mut &'m [u8]) -> Option<&'m str> {
    let length = usize::from(from.try_get_u16().ok()?);
    let (text, rest) = from.split_at_checked(length)?;
    *from = rest;
    str::from_utf8(text).ok()
}

fn id(from: &mut &[u8]) -> Option<Arc<str>> {
    text(from).filter(|id| id.len() <= MAX_ID_LEN).map(Arc::from)
}

fn channel(from: &mut &[u8]) -> Option<ChannelName> {
    text(from)?.parse().ok()
}

/// An error if there should be one, and there is none.
fn option(from: &mut &[u8]) -> Result<Option<Arc<str>>, ()> {
    match flag(from) {
        Some(true) => id(from).map(Some).ok_or(()),
        Some(false) => Ok(None),
        None => Err(()),
    }
}

/// Memory grows with what is there, not with the length that is named.
fn members(from: &mut &[u8]) -> Option<Vec<Member>> {
    let length = from.try_get_u32().ok()?;
    (0..length).map(|_| Some(Member { id: id(from)?, since: number(from)? })).collect()
}

fn hashes(from: &mut &[u8]) -> Option<Vec<u64>> {
    let length = from.try_get_u32().ok()?;
    (0..length).map(|_| number(from)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn member() -> impl Strategy<Value = Member> {
        ("\\PC{0,60}", any::<u64>()).prop_map(|(id, since)| Member { id: id.into(), since })
    }

    fn body() -> impl Strategy<Value = Body> {
        let channel =
            || "[a-zA-Z0-9][a-zA-Z0-9_.:~@-]{0,60}".prop_map(|name| name.parse().unwrap());
        let id = || proptest::option::of("\\PC{0,60}".prop_map(Arc::<str>::from));
        let change = (member(), any::<bool>()).prop_map(|(member, joins)| {
            if joins { PresenceChange::Join(member) } else { PresenceChange::Leave(member) }
        });
        let part = (any::<(u64, u64, u32, bool)>(), vec(member(), 0..5)).prop_map(
            |((changes, others, index, is_last), members)| Part {
                changes,
                others,
                index,
                is_last,
                members,
            },
        );
        let presence =
            (any::<(u64, u64, u64)>(), vec(member(), 0..5), id(), vec(any::<u64>(), 0..5))
                .prop_map(|((changes, count, others), page, next, hashes)| NodePresence {
                    changes,
                    count,
                    others,
                    page,
                    next,
                    ids: hashes.clone(),
                    pollers: hashes,
                });
        prop_oneof![
            (any::<u64>(), prop_oneof![Just(Sign::Beat), Just(Sign::Hello), Just(Sign::Answer)])
                .prop_map(|(changes, sign)| Body::Alive { changes, sign }),
            Just(Body::Gone),
            (any::<u64>(), channel(), change).prop_map(|(number, channel, change)| Body::Change {
                number,
                channel,
                change
            }),
            (any::<u64>(), channel())
                .prop_map(|(request, channel)| Body::Follow { request, channel }),
            (any::<u64>(), channel(), part).prop_map(|(request, channel, part)| Body::Snapshot {
                request,
                channel,
                part
            }),
            (any::<u64>(), channel(), id(), any::<u32>()).prop_map(
                |(request, channel, after, limit)| Body::Ask { request, channel, after, limit }
            ),
            (any::<u64>(), presence)
                .prop_map(|(request, presence)| Body::Page { request, presence }),
        ]
    }

    proptest! {
        #[test]
        fn a_message_is_read_as_it_was_written(from: u64, body in body()) {
            let message = Message { from: NodeId(from), body };
            prop_assert_eq!(Message::decode(&message.encode()), Some(message));
        }

        #[test]
        fn a_message_that_is_cut_off_or_changed_is_read_or_not(
            from: u64, body in body(), at: prop::sample::Index, to: u8, cut: bool,
        ) {
            let mut bytes = Message { from: NodeId(from), body }.encode().to_vec();
            let at = at.index(bytes.len());
            if cut {
                bytes.truncate(at);
                prop_assert_eq!(Message::decode(&bytes), None);
            } else {
                bytes[at] = to;
                let _ = Message::decode(&bytes);
            }
        }

        #[test]
        fn any_bytes_are_a_message_or_not(bytes: Vec<u8>) {
            let _ = Message::decode(&bytes);
        }
    }
}
