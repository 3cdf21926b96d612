//! A list in the order of numbers, in pieces: it takes little more than a pointer for each, and what comes and goes moves
//! one piece.

use std::collections::BTreeMap;

/// What is in the list.
pub(super) trait Numbered {
    /// Its own number.
    fn number(&self) -> u64;
}

/// The most that are in one piece.
const PIECE: usize = 64;

#[derive(Debug)]
pub(super) struct ByNumber<T> {
    /// By a number that is not greater than any in the piece, and greater than all in the one before. None is empty.
    pieces: BTreeMap<u64, Vec<T>>,
    len: usize,
}

impl<T> Default for ByNumber<T> {
    fn default() -> Self {
        Self { pieces: BTreeMap::new(), len: 0 }
    }
}

impl<T: Numbered> ByNumber<T> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds one whose number is new.
    pub(super) fn insert(&mut self, new: T) {
        let number = new.number();
        self.len += 1;
        if let Some((_, piece)) = self.pieces.range_mut(..=number).next_back() {
            let index = piece.partition_point(|other| other.number() < number);
            if piece.len() < PIECE {
                return piece.insert(index, new);
            }
            if index < PIECE {
                // Numbers that rise fill each piece; this one comes late.
                let behind = piece.split_off(PIECE / 2);
                self.pieces.insert(behind[0].number(), behind);
                self.len -= 1;
                return self.insert(new);
            }
        }
        let mut piece = Vec::with_capacity(PIECE);
        piece.push(new);
        self.pieces.insert(number, piece);
    }

    pub(super) fn get(&self, number: u64) -> Option<&T> {
        let (_, piece) = self.pieces.range(..=number).next_back()?;
        piece.binary_search_by_key(&number, T::number).ok().map(|index| &piece[index])
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<T> {
        let (key, piece) = self.pieces.range_mut(..=number).next_back()?;
        let index = piece.binary_search_by_key(&number, T::number).ok()?;
        let (key, removed) = (*key, piece.remove(index));
        self.len -= 1;
        if piece.is_empty() {
            self.pieces.remove(&key);
        } else if piece.len() <= PIECE / 4 {
            self.join_neighbours(key);
        }
        Some(removed)
    }

    /// Puts a short piece and the one behind it, or before it, in one.
    fn join_neighbours(&mut self, key: u64) {
        let behind = self.pieces.range(key + 1..).next().map(|(next, _)| (key, *next));
        let before = self.pieces.range(..key).next_back().map(|(last, _)| (*last, key));
        for (first, second) in behind.into_iter().chain(before) {
            let length = |key: &u64| self.pieces.get(key).map_or(PIECE, Vec::len);
            if length(&first) + length(&second) <= PIECE / 2
                && let Some(mut moved) = self.pieces.remove(&second)
                && let Some(piece) = self.pieces.get_mut(&first)
            {
                piece.append(&mut moved);
                return;
            }
        }
    }

    /// Those with greater numbers, in order.
    pub(super) fn after(&self, number: u64) -> impl Iterator<Item = &T> {
        let begin = self.pieces.range(..=number).next_back().map_or(number, |(key, _)| *key);
        let items = self.pieces.range(begin..).flat_map(|(_, piece)| piece);
        items.skip_while(move |item| item.number() <= number)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl Numbered for u64 {
        fn number(&self) -> u64 {
            *self
        }
    }

    /// How full the pieces are.
    fn room(list: &ByNumber<u64>) -> usize {
        list.pieces.values().map(Vec::capacity).sum()
    }

    #[test]
    fn numbers_that_rise_fill_the_pieces_and_few_that_stay_have_few() {
        let mut list = ByNumber::default();
        (0..100_000).for_each(|number| list.insert(number));
        assert!(room(&list) < 100_100, "{}", room(&list));
        (0..100_000).filter(|number| number % 1000 > 0).for_each(|number| {
            list.remove(number);
        });
        assert!((list.len(), room(&list) < 800) == (100, true), "{}", room(&list));
    }

    proptest! {
        #[test]
        fn it_has_what_was_inserted_and_not_removed_in_order(
            steps in prop::collection::vec((0..300_u64, 0..4_u8), 0..1500),
        ) {
            let (mut list, mut model) = (ByNumber::default(), std::collections::BTreeSet::new());
            for (number, step) in steps {
                if step == 0 {
                    prop_assert_eq!(list.remove(number).is_some(), model.remove(&number));
                } else if model.insert(number) {
                    list.insert(number);
                }
                prop_assert_eq!(list.get(number).is_some(), model.contains(&number));
            }
            prop_assert_eq!(list.len(), model.len());
            for number in (0..300).step_by(17) {
                let expected = model.range(number + 1..);
                prop_assert!(list.after(number).eq(expected));
            }
            prop_assert!(list.pieces.values().all(|piece| (1..=PIECE).contains(&piece.len())));
        }
    }
}
