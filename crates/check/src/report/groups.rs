//! Findings that are alike, so that one defect is not told forty times.

use super::Outcome;

/// Outcomes that expect the same and found the same: the first of them, and the others.
pub(super) struct Group<'o> {
    pub(super) first: &'o Outcome,
    pub(super) others: Vec<&'o Outcome>,
}

/// The groups of these outcomes, in the order of their first ones.
pub(super) fn grouped<'o>(outcomes: impl Iterator<Item = &'o Outcome>) -> Vec<Group<'o>> {
    let mut groups: Vec<Group<'o>> = Vec::new();
    for outcome in outcomes {
        match groups.iter_mut().find(|group| are_alike(group.first, outcome)) {
            Some(group) => group.others.push(outcome),
            None => groups.push(Group { first: outcome, others: Vec::new() }),
        }
    }
    groups
}

fn are_alike(one: &Outcome, other: &Outcome) -> bool {
    (one.verdict, one.is_known) == (other.verdict, other.is_known)
        && one.expected == other.expected
        && one.came == other.came
}
