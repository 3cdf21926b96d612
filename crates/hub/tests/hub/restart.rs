//! What a hub with a directory goes on with after it ended.

use std::fs;
use std::path::Path;
use std::time::Duration;

use sockeye_hub::store::OpenError;
use sockeye_hub::{
    EventName, GapReason, Hub, IdempotencyKey, Item, Json, Options, Payload, Position, Publication,
    Start,
};
use sockeye_testing::eventually;
use tempfile::TempDir;

use crate::{Rig, entry, name, texts};

/// A rig whose hub can end and be opened again.
pub(crate) struct Kept {
    pub(crate) dir: TempDir,
    options: Options,
    pub(crate) rig: Rig,
}

impl Kept {
    pub(crate) fn new(options: Options) -> Self {
        let dir = TempDir::new().unwrap();
        let options = options.data(dir.path().to_owned());
        Self { rig: Rig::open(options.clone(), None), dir, options }
    }

    pub(crate) fn keeping(history_count: usize) -> Self {
        Self::new(Options::default().history_count(history_count))
    }

    /// Ends the hub and opens it again.
    pub(crate) fn restart(&mut self) {
        let time = self.end();
        self.rig = Rig::open(self.options.clone(), Some(time));
    }

    /// Ends the hub; gives the time.
    fn end(&mut self) -> u64 {
        let time = self.rig.time();
        self.rig = Rig::new(Options::default());
        time
    }
}

#[test]
fn every_acknowledged_message_is_there_after_a_restart() {
    let mut kept = Kept::keeping(10);
    let (chat, news) = (name("chat"), name("news"));
    let joined: EventName = "joined".parse().unwrap();
    let messages = [
        Publication::text("grüß dich"),
        Publication::json(Json::parse("{\"a\": 1.0}").unwrap()).event(joined.clone()),
        Publication::bytes(&[0xff, 0]),
        Publication::text(""),
    ];
    for message in messages {
        kept.rig.hub.publish(&chat, message).wait().unwrap();
        kept.rig.pass(10);
    }
    kept.rig.say(&news, "one");
    let before = kept.rig.hub.read(&chat, Start::Earliest, 10);

    kept.restart();
    let after = kept.rig.hub.read(&chat, Start::Earliest, 10);
    assert_eq!(after.at, before.at);
    assert_eq!(after.entries.len(), 4);
    for (after, before) in after.entries.iter().zip(&before.entries) {
        assert_eq!((after.position, after.ts), (before.position, before.ts));
        assert_eq!((&after.payload, &after.event), (&before.payload, &before.event));
    }
    assert!(matches!(&after.entries[1].payload, Payload::Json(json) if json == "{\"a\": 1.0}"));
    assert_eq!(after.entries[1].event, Some(joined));
    assert_eq!(texts(&kept.rig.hub.read(&news, Start::Earliest, 10).entries), ["one"]);
}

#[test]
fn positions_go_on_and_a_reader_that_resumes_misses_nothing() {
    let mut kept = Kept::keeping(10);
    let chat = name("chat");
    kept.rig.count_to(&chat, 3);
    let position = kept.rig.at(2);

    kept.restart();
    assert_eq!(kept.rig.hub.position(&chat), Position { offset: 3, ..position });
    let mut reader = kept.rig.hub.subscribe(&chat, Start::After(position));
    assert_eq!(kept.rig.say(&chat, "4"), Position { offset: 4, ..position });
    assert_eq!(crate::text(&entry(reader.try_next())), "3");
    assert_eq!(crate::text(&entry(reader.try_next())), "4");
}

#[test]
fn a_clock_that_was_ahead_and_corrected_is_followed_across_restarts() {
    const YEAR: u64 = 365 * 24 * 3_600_000;
    let age = Duration::from_secs(60);
    let mut kept = Kept::new(Options::default().history_age(age));
    let (chat, idle) = (name("chat"), name("idle"));
    let noon = kept.rig.time();
    let key = IdempotencyKey::new("ann", "7").unwrap();
    kept.rig.set_time(noon + YEAR);
    for channel in [&chat, &idle] {
        let ahead = Publication::text("ahead").key(key.clone());
        kept.rig.hub.publish(channel, ahead).wait().unwrap();
    }
    // Corrected while the server was down; then the channel is used, the other one is not.
    kept.rig.set_time(noon);
    kept.restart();
    kept.rig.say(&chat, "right");
    kept.rig.pass(30_000);
    kept.rig.hub.sweep();
    kept.restart();
    let page = kept.rig.hub.read(&chat, Start::Earliest, 10);
    assert_eq!(page.entries.iter().map(|entry| entry.ts).collect::<Vec<_>>(), [noon + YEAR, noon]);
    kept.rig.pass(30_001);
    let page = kept.rig.hub.read(&chat, Start::Earliest, 10);
    assert_eq!((page.entries.len(), page.at.offset), (0, 2));
    // The other one goes from the disk, too, and both forget the key.
    for _ in 0..2 {
        kept.rig.hub.sweep();
        kept.rig.pass(300_001);
    }
    kept.restart();
    assert_eq!(kept.rig.hub.read(&idle, Start::Earliest, 10).entries.len(), 0);
    for channel in [&chat, &idle] {
        let again = Publication::text("again").key(key.clone());
        kept.rig.hub.publish(channel, again).wait().unwrap();
        let page = kept.rig.hub.read(channel, Start::Earliest, 10);
        assert_eq!((texts(&page.entries), page.entries[0].ts), (vec!["again"], kept.rig.time()));
    }
}

#[test]
fn time_in_a_channel_does_not_go_back_even_if_the_clock_was_set_back_meanwhile() {
    let mut kept = Kept::keeping(10);
    let chat = name("chat");
    kept.rig.say(&chat, "one");
    let ts = kept.rig.time();
    kept.rig.set_time(ts - 60_000);
    kept.restart();
    kept.rig.say(&chat, "two");
    let page = kept.rig.hub.read(&chat, Start::Earliest, 10);
    assert_eq!(page.entries.iter().map(|entry| entry.ts).collect::<Vec<_>>(), [ts, ts]);
}

#[test]
fn the_bounds_of_the_history_hold_on_disk_too() {
    let mut kept = Kept::keeping(3);
    let chat = name("chat");
    let before = kept.rig.at(0);
    kept.rig.count_to(&chat, 10);
    kept.restart();
    let page = kept.rig.hub.read(&chat, Start::After(before), 10);
    assert_eq!(page.gap.unwrap().why, GapReason::Expired);
    assert_eq!(texts(&page.entries), ["8", "9", "10"]);

    kept.rig.pass(Duration::from_hours(25).as_millis() as u64);
    kept.restart();
    assert!(kept.rig.hub.read(&chat, Start::Earliest, 10).entries.is_empty());
    assert_eq!(kept.rig.hub.position(&chat).offset, 10, "the offset goes on");
}

#[test]
fn what_was_deleted_stays_deleted_and_is_a_gap() {
    let mut kept = Kept::keeping(10);
    let chat = name("chat");
    kept.rig.count_to(&chat, 3);
    let (middle, end) = (kept.rig.at(2), kept.rig.at(3));
    kept.rig.hub.forget(&chat).wait().unwrap();

    kept.restart();
    let page = kept.rig.hub.read(&chat, Start::After(middle), 10);
    let gap = page.gap.unwrap();
    assert_eq!((gap.why, gap.next, page.entries.len()), (GapReason::Reset, end, 0));
    assert_eq!(kept.rig.hub.read(&chat, Start::After(end), 10).gap, None);
    assert_eq!(kept.rig.say(&chat, "4").offset, 4);
}

#[test]
fn a_repetition_is_known_after_a_restart_even_when_its_entry_is_gone() {
    let mut kept = Kept::keeping(1);
    let chat = name("chat");
    let key = || IdempotencyKey::new("ann", "k1").unwrap();
    let first = kept.rig.hub.publish(&chat, Publication::text("1").key(key())).wait().unwrap();
    kept.rig.count_to(&chat, 3);

    kept.restart();
    let again = kept.rig.hub.publish(&chat, Publication::text("1").key(key()));
    assert_eq!(again.wait(), Ok(first));
    kept.rig.pass(IdempotencyKey::REMEMBERED.as_millis() as u64 + 1);
    kept.restart();
    let new = kept.rig.hub.publish(&chat, Publication::text("1").key(key()));
    assert_eq!(new.wait().unwrap().offset, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_publications_under_way_get_their_positions_in_the_order_of_the_calls() {
    let kept = Kept::keeping(10_000);
    let (chat, news) = (name("chat"), name("news"));
    let mut reader = kept.rig.hub.subscribe(&chat, Start::Now);
    let mut under_way = Vec::new();
    for number in 0..2_000 {
        let text = number.to_string();
        let key = IdempotencyKey::new("", &text).unwrap();
        let publication = Publication::text(&text).key(key);
        let first = kept.rig.hub.publish(&chat, publication.clone());
        // Repeated before it is known what became of the first.
        under_way.push((first, kept.rig.hub.publish(&chat, publication)));
        drop(kept.rig.hub.publish(&news, Publication::text(&text)));
    }
    for (offset, (first, again)) in (1..).zip(under_way) {
        assert_eq!(first.await, Ok(kept.rig.at(offset)));
        assert_eq!(again.await, Ok(kept.rig.at(offset)));
    }
    for number in 0..2_000 {
        match reader.next().await {
            Item::Entry(entry) => assert_eq!(crate::text(&entry), number.to_string()),
            item => panic!("{item:?}"),
        }
    }
}

#[test]
fn an_unused_channel_is_not_held_in_memory_when_memory_is_short() {
    let kept = Kept::new(Options::default().max_bytes(10_000));
    let payload = "x".repeat(900);
    // Far more than memory may hold, in channels that are used one after the other.
    for number in 0..100 {
        let channel = name(&format!("room-{number}"));
        kept.rig.say(&channel, &payload);
        kept.rig.say(&channel, "and");
        kept.rig.hub.sweep();
        kept.rig.hub.sweep();
    }
    assert!(kept.rig.hub.figures().bytes <= 10_000, "{:?}", kept.rig.hub.figures());
    for number in 0..100 {
        let page = kept.rig.hub.read(&name(&format!("room-{number}")), Start::Earliest, 10);
        assert_eq!(texts(&page.entries), [&payload, "and"]);
    }
    assert!(kept.rig.hub.figures().bytes <= 12_000, "{:?}", kept.rig.hub.figures());
}

#[test]
fn idle_channels_make_room_for_new_ones_and_no_position_is_given_twice() {
    let mut kept =
        Kept::new(Options::default().max_channels(4).history_age(Duration::from_secs(1)));
    let mut newest = 0;
    for round in 0..20 {
        let channel = name(["a", "b", "c", "d", "e"][round % 5]);
        let position = kept.rig.say(&channel, "hello");
        if round % 5 == 0 {
            assert!(position.offset > newest, "{position} was given before");
            newest = position.offset;
        }
        kept.rig.pass(1_001);
        if round % 7 == 6 {
            kept.restart();
        }
        // Too old; dropped on disk; the channel let go of; the channel dropped on disk.
        for _ in 0..3 {
            kept.rig.hub.sweep();
            kept.rig.hub.forget(&name("the-sweep-waits")).wait().unwrap();
        }
    }
}

/// What the files in a directory take, in bytes, but for the journal, whose size has a bound of its
/// own.
fn disk_usage(dir: &Path) -> u64 {
    let mut sum = 0;
    // Files come and go under way.
    for file in fs::read_dir(dir).into_iter().flatten().flatten() {
        let (path, Ok(metadata)) = (file.path(), file.metadata()) else { continue };
        sum += match metadata.is_dir() {
            true => disk_usage(&path),
            false if path.extension().is_some_and(|ending| ending == "jnl") => 0,
            false => metadata.len(),
        };
    }
    sum
}

#[test]
fn what_is_deleted_leaves_the_disk() {
    let kept = Kept::new(Options::default().history_bytes(64 << 20));
    let chat = name("chat");
    let payload = vec![b'x'; 256 << 10];
    let mut before = 0;
    while before < 32 << 20 {
        assert!(kept.rig.hub.position(&chat).offset < 1_000, "it never comes to the disk");
        kept.rig.hub.publish(&chat, Publication::bytes(&payload)).wait().unwrap();
        before = disk_usage(kept.dir.path());
    }
    kept.rig.hub.forget(&chat).wait().unwrap();
    eventually("the messages leave the disk", || {
        kept.rig.hub.sweep();
        // Which waits until the sweep is done.
        kept.rig.hub.forget(&chat).wait().unwrap();
        let left = disk_usage(kept.dir.path());
        if left <= before / 4 { Ok(()) } else { Err(left) }
    });
    kept.rig.say(&chat, "goes on");
}

#[test]
fn two_hubs_do_not_share_a_directory() {
    let kept = Kept::keeping(10);
    let data = Some(kept.dir.path().to_owned());
    match Hub::open(Options::default().data(data)) {
        Err(error @ OpenError::Locked(_)) => {
            assert!(error.to_string().contains("is in use by another process"));
        }
        other => panic!("{other:?}"),
    }
    kept.rig.say(&name("chat"), "still at work");
}

#[test]
fn a_directory_that_cannot_be_used_is_named() {
    let kept = Kept::keeping(10);
    let file = kept.dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Hub::open(Options::default().data(file.clone())).unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }));
    assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
}

/// The journal's file, and how much of it is written.
fn journal(dir: &Path) -> (std::path::PathBuf, Vec<u8>) {
    let files = fs::read_dir(dir.join("channels")).unwrap().map(|file| file.unwrap().path());
    let path = files.filter(|path| path.extension().is_some_and(|e| e == "jnl")).max().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    bytes.truncate(end);
    (path, bytes)
}

#[test]
fn a_torn_tail_is_cut_off_and_everything_acknowledged_is_there() {
    let mut kept = Kept::keeping(10);
    let chat = name("chat");
    for round in 1..=5 {
        kept.rig.say(&chat, &round.to_string());
        let epoch = kept.rig.hub.epoch();
        let time = kept.end();
        // The beginning of one more write, whose publisher was not told that it is kept.
        let (path, mut written) = journal(kept.dir.path());
        written.extend_from_within(..40 * round);
        fs::write(&path, &written).unwrap();

        kept.rig = Rig::open(kept.options.clone(), Some(time));
        assert_eq!(kept.rig.hub.epoch(), epoch);
        let entries = kept.rig.hub.read(&chat, Start::Earliest, 10).entries;
        assert_eq!(texts(&entries), ["1", "2", "3", "4", "5"][..round]);
    }
}

#[test]
fn where_acknowledged_messages_are_lost_a_new_epoch_begins() {
    let mut kept = Kept::keeping(10);
    let chat = name("chat");
    kept.rig.count_to(&chat, 3);
    let position = kept.rig.at(3);
    let time = kept.end();
    // The end of the last write is gone, though it had been synced.
    let (path, written) = journal(kept.dir.path());
    fs::write(&path, &written[..written.len() - 20]).unwrap();

    kept.rig = Rig::open(kept.options.clone(), Some(time));
    assert_ne!(kept.rig.hub.epoch(), position.epoch);
    let page = kept.rig.hub.read(&chat, Start::After(position), 10);
    assert_eq!(page.gap.unwrap().why, GapReason::Reset);
    assert_eq!(texts(&kept.rig.hub.read(&chat, Start::Earliest, 10).entries), ["1", "2"]);
    let epoch = kept.rig.hub.epoch();
    kept.restart();
    assert_eq!(kept.rig.hub.epoch(), epoch, "which stays");
}

#[test]
fn unused_channels_leave_memory_before_it_is_full_and_used_ones_stay() {
    let kept = Kept::new(Options::default().max_bytes(20_000));
    let (busy, idle) = (name("busy"), name("idle"));
    let payload = "x".repeat(6_000);
    kept.rig.say(&busy, &payload);
    kept.rig.say(&idle, &payload);
    for _ in 0..3 {
        kept.rig.hub.sweep();
        assert_eq!(kept.rig.hub.read(&busy, Start::Earliest, 10).entries.len(), 1);
    }
    assert_eq!(kept.rig.hub.figures().entries, 1, "of the two only one is in memory");
    assert_eq!(kept.rig.hub.read(&idle, Start::Earliest, 10).entries.len(), 1);
}
