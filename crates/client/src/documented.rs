//! The guide says the numbers of the code.

use sockeye_testing::assert_documented;

use crate::{
    client::{BUFFER, MOST_LINES},
    connection::{HELD_REQUESTS, HELLO_WITHIN, MAX_CHANNELS},
    endpoint::PAGE,
    feed::SILENCE,
    queue::MAX_BYTES,
};

#[test]
fn the_guide_says_the_numbers_of_the_code() {
    let (queue, page) = (MAX_BYTES >> 20, PAGE >> 20);
    let (silence, hello) = (SILENCE.as_secs(), HELLO_WITHIN.as_secs());
    let sentences = [
        format!("up to `buffer` items ({BUFFER}) or {queue} MiB, and then at the server"),
        format!("one WebSocket for up to {MAX_CHANNELS} channels"),
        format!("on HTTP/1.1: {HELD_REQUESTS} that the server holds"),
        format!("sends up to {MOST_LINES} in a request"),
        format!("a page may have {page} MiB more"),
        format!("a stream that is silent for {silence} s is given up"),
        format!("brings nothing for {hello} s on a WebSocket"),
    ];
    for sentence in sentences {
        assert_documented("library/channels-client.md", &sentence);
    }
    assert_documented("channels/channels.md", &format!("| silence in a stream | {silence} s |"));
    assert_documented("channels/channels.md", &format!("| {page} MiB more than a message |"));
}
