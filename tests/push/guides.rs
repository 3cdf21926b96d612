//! The curl lines of the guides, run as they stand.

use std::process::Command;

use sockeye_tests::nats;
use sockeye_tests::program::Sockeye;

#[test]
fn the_lines_of_the_channel_guide_work() {
    let guide = include_str!("../../docs/channels/channels.md");
    let (guide, end) = guide.split_once("\n## The end of a channel\n").expect("the section");
    run_lines_of(guide);
    // A cluster cannot end channels yet.
    if nats::given().is_none() {
        run_lines_of(end);
    }
}

#[test]
fn the_lines_of_the_transport_guide_work() {
    run_lines_of(include_str!("../../docs/channels/choosing-a-transport.md"));
}

/// Runs each line that is a curl command, against a server of the test's own. Streams are left
/// after a while, and have shown something by then.
fn run_lines_of(guide: &str) {
    let mut server = Sockeye::serve(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("photo.jpg"), [0xff, 0xd8, 0xff]).expect("it is writable");
    let _ = sockeye_tests::curl::curl(&["-d", "something to read", &server.http("/c/chat")]);
    let lines: Vec<_> = guide.lines().filter(|line| line.starts_with("curl ")).collect();
    assert!(!lines.is_empty());
    for line in lines {
        let command = line.replace("127.0.0.1:8080", &server.address().to_string());
        let command = command.replacen("curl ", "curl -sS --fail-with-body --max-time 2 ", 1);
        let output = Command::new("sh").args(["-c", &command]).current_dir(folder.path()).output();
        let output = output.expect("there is a shell");
        let is_stream = line.contains(" -N ");
        // 28: the time is over, as it has to be for a stream.
        let expected = if is_stream { 28 } else { 0 };
        let why = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(expected), "{line}: {why}");
        let shows_nothing = line.contains("DELETE");
        assert_eq!(output.stdout.is_empty(), shows_nothing, "{line}");
    }
    server.assert_sound();
}
