//! The cases, a file for each chapter: data that can be read beside the RFC.

mod close;
mod compression;
mod control;
mod endings;
mod fragmentation;
mod framing;
mod http2;
mod limits;
mod masking;
mod negotiation;
mod opening;
mod own;
mod response;
mod utf8;

use std::sync::LazyLock;

use sockeye_wire::Role;

use crate::case::Case;

/// Cases about one subject.
#[derive(Clone, Copy, Debug)]
pub struct Chapter {
    /// What the ids of its cases begin with.
    pub name: &'static str,
    /// Its title.
    pub title: &'static str,
    /// What its rules are for, for a reader that does not know the RFC.
    pub about: &'static str,
    /// Its cases.
    pub cases: fn() -> Vec<Case>,
}

/// All chapters, in the order of reports.
pub const ALL: &[Chapter] = &[
    opening::CHAPTER,
    response::CHAPTER,
    framing::CHAPTER,
    masking::CHAPTER,
    fragmentation::CHAPTER,
    control::CHAPTER,
    utf8::CHAPTER,
    close::CHAPTER,
    negotiation::CHAPTER,
    compression::CHAPTER,
    limits::CHAPTER,
    endings::CHAPTER,
    http2::CHAPTER,
    own::CHAPTER,
];

/// Every case, made once: some are megabytes that are computed.
static CASES: LazyLock<Vec<Case>> =
    LazyLock::new(|| ALL.iter().flat_map(|chapter| (chapter.cases)()).collect());

/// All cases for peers of this role.
pub fn all(peer: Role) -> impl Iterator<Item = &'static Case> {
    CASES.iter().filter(move |case| case.side.is_none_or(|side| side == peer))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_case_has_an_id_of_its_own_in_its_chapter() {
        let mut ids = BTreeSet::new();
        for chapter in ALL {
            for case in (chapter.cases)() {
                assert_eq!(case.chapter(), chapter.name, "{}", case.id);
                assert!(case.section.starts_with("RFC "), "{}: {}", case.id, case.section);
                assert!(ids.insert(case.id.clone()), "{} stands twice", case.id);
            }
        }
    }

    #[test]
    fn there_are_several_hundred_cases_for_servers_and_for_clients() {
        let (servers, clients) = (all(Role::Server).count(), all(Role::Client).count());
        assert!(servers >= 300 && clients >= 250, "{servers} and {clients}");
    }
}
