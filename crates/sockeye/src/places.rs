//! Numbered places, the lowest possible: what a register of many costs no more than what stands in it.

use std::mem;

/// Places for `T`s, each known by its number until it is given back.
#[derive(Debug)]
pub(crate) struct Places<T> {
    places: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Places<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Places<T> {
    /// How many are taken.
    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Takes a place; gives its number.
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        if let Some(free) = self.free.pop() {
            self.places[free as usize] = Some(value);
            return free;
        }
        self.places.push(Some(value));
        // What stands here takes memory of its own: there are never so many.
        (self.places.len() - 1) as u32
    }

    /// What stands at this place, which is taken.
    pub(crate) fn get_mut(&mut self, place: u32) -> Option<&mut T> {
        self.places.get_mut(place as usize)?.as_mut()
    }

    /// Gives a place back. The last one takes the memory with it that a crowd has left.
    pub(crate) fn remove(&mut self, place: u32) -> Option<T> {
        let removed = self.places.get_mut(place as usize)?.take()?;
        self.free.push(place);
        if self.len() == 0 {
            mem::take(self);
        }
        Some(removed)
    }

    /// All that stand here.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_given_back_is_taken_again_before_a_new_one() {
        let mut places = Places::default();
        let numbers = ["a", "b", "c"].map(|name| places.insert(name));
        assert_eq!(numbers, [0, 1, 2]);
        assert_eq!(places.remove(1), Some("b"));
        assert_eq!(places.remove(1), None);
        assert_eq!((places.len(), places.insert("d"), places.insert("e")), (2, 1, 3));
        assert_eq!(places.get_mut(1), Some(&mut "d"));
        assert_eq!(places.iter().copied().collect::<Vec<_>>(), ["a", "d", "c", "e"]);
    }

    #[test]
    fn nothing_stays_of_a_crowd_that_has_left() {
        let mut places = Places::default();
        (0..1000).for_each(|number| assert_eq!(places.insert(number), number));
        (0..1000).for_each(|number| assert_eq!(places.remove(number), Some(number)));
        assert_eq!((places.len(), places.places.capacity(), places.free.capacity()), (0, 0, 0));
    }
}
