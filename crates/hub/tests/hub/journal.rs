//! The journal as it is read before the store is opened: what is whole is found, whatever follows it.

use proptest::collection::vec;
use proptest::prelude::*;
use sockeye_hub::internals::journal::{End, read};
use xxhash_rust::xxh3::xxh3_64;

#[derive(Clone, Debug)]
enum Item {
    Value(Vec<u8>, Vec<u8>),
    Deletion(Vec<u8>),
    Clear,
}

impl Item {
    fn any() -> impl Strategy<Value = Self> {
        let bytes = |len| vec(any::<u8>(), 0..len);
        prop_oneof![
            // No key is that of the row about the store.
            (bytes(40), bytes(9000))
                .prop_map(|(key, value)| Self::Value([b"e".to_vec(), key].concat(), value)),
            bytes(40).prop_map(Self::Deletion),
            Just(Self::Clear),
        ]
    }

    fn encode(&self) -> Vec<u8> {
        let table = 1_u64.to_le_bytes();
        let (kind, key, value) = match self {
            Self::Value(key, value) => (0, key, &value[..]),
            Self::Deletion(key) => (1, key, &[][..]),
            Self::Clear => return [&[4][..], &table].concat(),
        };
        let len = (value.len() as u32).to_le_bytes();
        let key_len = (key.len() as u16).to_le_bytes();
        [&[2, kind, 0][..], &table, &key_len, &len, &len, key, value].concat()
    }
}

fn batch(sequence: u64, writes: u64, items: &[Item]) -> Vec<u8> {
    let meta = Item::Value(b"m".to_vec(), format!("1 k3f9 0 1 1 9 {writes}").into_bytes());
    let items: Vec<_> = items.iter().chain([&meta]).map(Item::encode).collect();
    let (count, items) = (items.len() as u32, items.concat());
    [
        &[1][..],
        &count.to_le_bytes(),
        &sequence.to_le_bytes(),
        &items,
        &[3],
        &xxh3_64(&items).to_le_bytes(),
        b"FJL\x03",
    ]
    .concat()
}

fn journal(batches: &[Vec<Item>]) -> Vec<Vec<u8>> {
    let number = |place: usize| place as u64 + 1;
    let batches = batches.iter().enumerate();
    batches.map(|(place, items)| batch(3 * number(place), number(place), items)).collect()
}

fn end(journal: &[u8]) -> End {
    read(journal, End::default(), None).unwrap()
}

proptest! {
    #[test]
    fn any_bytes_have_an_end_and_reading_up_to_it_gives_the_same(
        batches in vec(vec(Item::any(), 0..3), 0..3), bytes in vec(any::<u8>(), 0..300),
    ) {
        let journal = [journal(&batches).concat(), bytes].concat();
        let found = end(&journal);
        prop_assert!(found.batches >= batches.len() as u64);
        prop_assert_eq!(end(&journal[..found.offset as usize]), found);
    }

    #[test]
    fn whatever_is_torn_of_the_last_batch_those_before_it_are_found(
        batches in vec(vec(Item::any(), 0..4), 1..5), at in any::<prop::sample::Index>(),
        len in 1_usize..9000, byte in any::<u8>(), bits in 1..=255_u8, kind in 0..3,
    ) {
        let pieces = journal(&batches);
        let (mut journal, last) = (pieces.concat(), pieces.last().unwrap().len());
        prop_assert_eq!(end(&journal).offset as usize, journal.len());
        prop_assert_eq!(end(&journal).writes, Some(batches.len() as u64));

        let begin = journal.len() - last;
        let at = begin + at.index(last);
        let whole = journal.clone();
        match kind {
            0 => journal.truncate(at),
            1 => journal[at] ^= bits,
            _ => {
                let torn = at..(at + len).min(journal.len());
                journal[torn].fill(byte);
            }
        }
        let found = end(&journal).offset as usize;
        // The sequence number has no checksum.
        let same_but_number =
            journal.len() == whole.len() && journal[begin + 13..] == whole[begin + 13..];
        prop_assert!(found == begin || found == whole.len() && same_but_number, "{found}");
    }

    #[test]
    fn where_batches_are_missing_between_two_files_the_second_has_none(
        batches in vec(vec(Item::any(), 0..2), 3..6), missing in 0_usize..2,
    ) {
        let pieces = journal(&batches);
        let first = end(&pieces[0]);
        let rest = pieces[1 + missing..].concat();
        let second = read(&rest[..], first, None).unwrap();
        let expected = if missing == 0 { rest.len() } else { 0 };
        prop_assert_eq!(second.offset as usize, expected);
        prop_assert!(second.writes >= first.writes);
    }
}

#[test]
fn a_sequence_number_that_cannot_be_is_no_batch() {
    for sequence in [0, 2, 3, 1 << 40, 1 << 63, u64::MAX] {
        let journal = [batch(3, 1, &[]), batch(sequence, 2, &[])].concat();
        assert_eq!(end(&journal).batches, 1, "{sequence}");
    }
    assert_eq!(end(&batch(1 << 63, 1, &[])).batches, 0);
}
