//! Waiting for what nothing announces.

use std::fmt::{Debug, Display};
use std::thread;
use std::time::{Duration, Instant};

/// How long tests wait for something that should come at once, on a busy machine too.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How long a condition may take, on a busy machine too: less than nextest gives a test.
const DEADLINE: Duration = Duration::from_secs(60);

/// How often a condition is looked at.
const INTERVAL: Duration = Duration::from_millis(5);

/// What a condition gives: whether it holds, or what there is once it does.
pub trait Outcome {
    /// What there is once the condition holds.
    type Value;

    /// # Errors
    ///
    /// What there is instead, as the failure of the test shows it.
    fn outcome(self) -> Result<Self::Value, String>;
}

impl Outcome for bool {
    type Value = ();

    fn outcome(self) -> Result<(), String> {
        if self { Ok(()) } else { Err(String::new()) }
    }
}

impl<T> Outcome for Option<T> {
    type Value = T;

    fn outcome(self) -> Result<T, String> {
        self.ok_or_else(String::new)
    }
}

impl<T, E: Debug> Outcome for Result<T, E> {
    type Value = T;

    fn outcome(self) -> Result<T, String> {
        self.map_err(|instead| format!(", but: {instead:?}"))
    }
}

/// Looks again and again whether `condition` holds, and gives what it gives then.
///
/// # Panics
///
/// After a minute, with `what` it waited for, and with what there was instead if `condition` gives a
/// `Result`.
#[track_caller]
pub fn eventually<T: Outcome>(what: impl Display, condition: impl FnMut() -> T) -> T::Value {
    within(DEADLINE, &what, condition)
}

#[track_caller]
fn within<T: Outcome>(
    time: Duration,
    what: &impl Display,
    mut condition: impl FnMut() -> T,
) -> T::Value {
    let deadline = Instant::now() + time;
    loop {
        match condition().outcome() {
            Ok(value) => return value,
            Err(instead) => assert!(Instant::now() < deadline, "{}", missing(time, what, &instead)),
        }
        thread::sleep(INTERVAL);
    }
}

/// As [`eventually`], for a condition that is awaited, on tokio's clock. A look at it that takes
/// longer than the minute is a failure too.
///
/// # Panics
///
/// As [`eventually`] does.
#[cfg(feature = "tokio")]
pub async fn eventually_async<T: Outcome>(
    what: impl Display,
    mut condition: impl AsyncFnMut() -> T,
) -> T::Value {
    let mut instead = String::new();
    let holds = async {
        loop {
            match condition().await.outcome() {
                Ok(value) => return value,
                Err(last) => instead = last,
            }
            tokio::time::sleep(INTERVAL).await;
        }
    };
    let value = tokio::time::timeout(DEADLINE, holds).await;
    value.unwrap_or_else(|_| panic!("{}", missing(DEADLINE, &what, &instead)))
}

fn missing(time: Duration, what: &impl Display, instead: &str) -> String {
    format!("waited {time:?} for this: {what}{instead}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_looked_at_until_it_holds() {
        let mut count = 0;
        let value = eventually("three looks", || {
            count += 1;
            (count == 3).then_some(count)
        });
        assert_eq!(value, 3);
        eventually("what is true", || true);
    }

    #[test]
    #[should_panic(expected = "waited 10ms for this: a reader, but: 7")]
    fn the_failure_says_what_was_waited_for_and_what_there_was() {
        within(Duration::from_millis(10), &"a reader", || Err::<(), _>(7));
    }

    #[cfg(feature = "tokio")]
    #[tokio::test(start_paused = true)]
    async fn a_condition_is_awaited_until_it_holds() {
        let mut count = 0;
        eventually_async("three looks", async || {
            count += 1;
            count == 3
        })
        .await;
        assert_eq!(count, 3);
    }

    #[cfg(feature = "tokio")]
    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "waited 60s for this: a reader, but: 7")]
    async fn the_failure_of_what_is_awaited_says_the_same() {
        eventually_async("a reader", async || Err::<(), _>(7)).await;
    }
}
