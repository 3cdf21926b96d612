//! How many handshakes run at once, and which of them ends when another needs its place.

use std::{future::Future, io, time::Duration};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::sleep,
};

/// How long a handshake keeps its place though others wait for one.
const GRACE: Duration = Duration::from_secs(1);

/// Places for handshakes.
///
/// A place is taken when there is something to work on, so a silent connection has none. Where places
/// are scarce the handshake that has had its place for longest, and for a second at least, ends for
/// each connection that waits.
#[derive(Debug)]
pub struct Handshakes {
    places: Semaphore,
    /// As many permits as there are connections that wait for a place; a handshake that takes one ends.
    wanted: Semaphore,
}

/// A place for one handshake.
#[derive(Debug)]
pub struct Place<'h> {
    handshakes: &'h Handshakes,
    _permit: Option<SemaphorePermit<'h>>,
}

impl Handshakes {
    /// Of so many places, one at least.
    pub fn new(places: usize) -> Self {
        let places = Semaphore::new(places.clamp(1, Semaphore::MAX_PERMITS));
        Self { places, wanted: Semaphore::new(0) }
    }

    /// Waits for a place.
    pub async fn place(&self) -> Place<'_> {
        if let Ok(permit) = self.places.try_acquire() {
            return Place { handshakes: self, _permit: Some(permit) };
        }
        let _want = Want::new(&self.wanted);
        // Never closed, so there is always a permit.
        Place { handshakes: self, _permit: self.places.acquire().await.ok() }
    }
}

impl Place<'_> {
    /// Runs a handshake in this place, which is free afterwards.
    ///
    /// # Errors
    ///
    /// Those of the handshake; [`io::ErrorKind::TimedOut`] if another one needs the place.
    pub async fn run<T>(self, handshake: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        let yields = async {
            sleep(GRACE).await;
            if let Ok(want) = self.handshakes.wanted.acquire().await {
                want.forget();
            }
        };
        tokio::select! {
            // What has arrived by now counts.
            biased;
            done = handshake => done,
            () = yields => {
                Err(io::Error::new(io::ErrorKind::TimedOut, "another handshake needs the place"))
            }
        }
    }
}

/// A connection that waits for a place.
struct Want<'h>(&'h Semaphore);

impl<'h> Want<'h> {
    fn new(wanted: &'h Semaphore) -> Self {
        wanted.add_permits(1);
        Self(wanted)
    }
}

impl Drop for Want<'_> {
    fn drop(&mut self) {
        // There is none if a handshake has ended for it.
        if let Ok(want) = self.0.try_acquire() {
            want.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, sync::Arc};

    use tokio::time::{Instant, advance};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stalled_handshake_ends_for_one_that_waits_and_for_no_other() {
        let handshakes = Arc::new(Handshakes::new(2));
        let stalled = [(); 2].map(|()| {
            let handshakes = Arc::clone(&handshakes);
            tokio::spawn(
                async move { handshakes.place().await.run(pending::<io::Result<()>>()).await },
            )
        });
        tokio::task::yield_now().await;
        let begun = Instant::now();
        let place = handshakes.place().await;
        assert_eq!(begun.elapsed(), GRACE);
        assert!(place.run(async { Ok(()) }).await.is_ok());
        advance(GRACE * 10).await;
        let [first, second] = stalled;
        assert_eq!(first.await.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(!second.is_finished());
        assert!(handshakes.wanted.available_permits() == 0);
        second.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_handshake_keeps_its_place_while_nobody_waits() {
        let handshakes = Handshakes::new(1);
        let slow = async {
            sleep(GRACE * 9).await;
            Ok(())
        };
        assert!(handshakes.place().await.run(slow).await.is_ok());
    }
}
