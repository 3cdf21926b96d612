//! Time and other tasks, for tests whose connections are real ones: nothing is waited for by the clock on
//! the wall.

use std::time::Duration;

/// How long the clock stands still between two steps, counted in turns of the other tasks.
const TURNS: usize = 50;

/// Lets that much time pass on the runtime's clock, in steps, each of which the other tasks see. The runtime
/// is one of a single thread, as `#[tokio::test]` makes it.
pub async fn pass(time: Duration) {
    tokio::time::pause();
    let step = Duration::from_millis(10);
    let mut left = time;
    while !left.is_zero() {
        let now = step.min(left);
        tokio::time::advance(now).await;
        left -= now;
        // No task waits for the clock meanwhile: it goes on only here.
        others_run().await;
    }
    tokio::time::resume();
}

/// Lets the other tasks of the thread do what they can do by now, with what has come from the network.
pub async fn others_run() {
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
}
