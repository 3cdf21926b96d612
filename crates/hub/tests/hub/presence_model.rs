//! Presence against a model that looks at every member each time it is asked.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use sockeye_hub::{ChannelName, Lease, Presence};

use crate::{Rig, name};

#[derive(Clone, Copy, Debug)]
enum Step {
    Join(Option<u8>),
    /// Drops the lease with that number, of those there are.
    Leave(usize),
    Renew {
        id: Option<u8>,
        key: u8,
        ttl: u64,
    },
    Pass(u64),
    SetBack(u64),
    Sweep,
}

fn step() -> impl Strategy<Value = Step> {
    let id = || prop::option::weighted(0.7, 0..4_u8);
    prop_oneof![
        id().prop_map(Step::Join),
        any::<usize>().prop_map(Step::Leave),
        (id(), 0..3_u8, 1..50_u64).prop_map(|(id, key, ttl)| Step::Renew { id, key, ttl }),
        (1..30_u64).prop_map(Step::Pass),
        (1..60_u64).prop_map(Step::SetBack),
        Just(Step::Sweep),
    ]
}

/// The members by leases and by renewals, which are `(at, ttl)`.
#[derive(Default)]
struct Model {
    leases: Vec<Option<u8>>,
    members: BTreeMap<u8, (u64, u64)>,
    pollers: BTreeMap<u8, (u64, u64)>,
}

impl Model {
    /// A member whose time was over once does not come back.
    fn expire(&mut self, now: u64) {
        let holds = |(at, ttl): &(u64, u64)| at.abs_diff(now) < *ttl;
        self.members.retain(|_, renewal| holds(renewal));
        self.pollers.retain(|_, renewal| holds(renewal));
    }

    fn present(&self) -> (u64, Vec<String>) {
        let nameless = self.leases.iter().filter(|id| id.is_none()).count();
        let mut ids: Vec<u8> =
            self.leases.iter().flatten().chain(self.members.keys()).copied().collect();
        ids.sort_unstable();
        ids.dedup();
        let count = (ids.len() + nameless + self.pollers.len()) as u64;
        (count, ids.iter().map(u8::to_string).collect())
    }
}

fn take(rig: &Rig, chat: &ChannelName, model: &mut Model, leases: &mut Vec<Lease>, step: Step) {
    match step {
        Step::Join(id) => {
            model.leases.push(id);
            leases.push(rig.hub.join(chat, id.map(|id| id.to_string()).as_deref()));
        }
        Step::Leave(number) => {
            if !leases.is_empty() {
                let number = number % leases.len();
                model.leases.remove(number);
                drop(leases.remove(number));
            }
        }
        Step::Renew { id, key, ttl } => {
            let now = rig.time();
            let renewals = if id.is_some() { &mut model.members } else { &mut model.pollers };
            let renewal = renewals.entry(id.unwrap_or(key)).or_insert((now, ttl));
            // Of two that end at the same time the later one counts: a clock that was set back ends it later.
            if renewal.0 + renewal.1 <= now + ttl {
                *renewal = (now, ttl);
            }
            let id = id.map(|id| id.to_string());
            rig.hub.renew(chat, &key.to_string(), id.as_deref(), Duration::from_millis(ttl));
        }
        Step::Pass(millis) => rig.pass(millis),
        Step::SetBack(millis) => rig.set_time(rig.time() - millis),
        Step::Sweep => rig.hub.sweep(),
    }
}

proptest! {
    #[test]
    fn only_members_whose_lease_expired_are_gone_at_once(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let (rig, chat) = (Rig::keeping(1), name("chat"));
        let (mut model, mut leases) = (Model::default(), Vec::new());
        for step in steps {
            take(&rig, &chat, &mut model, &mut leases, step);
            model.expire(rig.time());
            let Presence { count, members, .. } = rig.hub.presence(&chat);
            let ids = members.iter().map(|member| member.id.to_string()).collect();
            prop_assert_eq!((count, ids), model.present());
        }
        rig.pass(1000);
        drop(leases);
        rig.hub.sweep();
        prop_assert_eq!(rig.hub.figures().presence_bytes, 0);
    }
}
