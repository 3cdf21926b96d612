//! How many handshakes run at once, and which of them ends when another needs its permit.

use std::{future::Future, io, time::Duration};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::sleep,
};

/// How long a handshake keeps its permit though others wait for one.
const GRACE: Duration = Duration::from_secs(1);

/// Permits for handshakes.
///
/// A permit is taken when there is something to work on, so a silent connection has none. Where permits
/// are scarce the handshake that has had its permit for longest, and for a second at least, ends for
/// each connection that waits.
#[derive(Debug)]
pub struct Handshakes {
    permits: Semaphore,
    /// As many permits as there are connections that wait for a permit; a handshake that takes one ends.
    wanted: Semaphore,
}

/// A permit for one handshake.
#[derive(Debug)]
pub struct HandshakePermit<'h> {
    handshakes: &'h Handshakes,
    _permit: Option<SemaphorePermit<'h>>,
}

impl Handshakes {
    /// With that many permits, at least one.
    pub fn new(permits: usize) -> Self {
        let permits = Semaphore::new(permits.clamp(1, Semaphore::MAX_PERMITS));
        Self { permits, wanted: Semaphore::new(0) }
    }

    /// A permit, if one is free.
    pub fn try_acquire(&self) -> Option<HandshakePermit<'_>> {
        let permit = self.permits.try_acquire().ok()?;
        Some(HandshakePermit { handshakes: self, _permit: Some(permit) })
    }

    /// Waits for a permit.
    pub async fn acquire(&self) -> HandshakePermit<'_> {
        if let Some(permit) = self.try_acquire() {
            return permit;
        }
        let _want = Waiter::new(&self.wanted);
        // Never closed, so there is always a permit.
        HandshakePermit { handshakes: self, _permit: self.permits.acquire().await.ok() }
    }
}

impl HandshakePermit<'_> {
    /// Runs a handshake by this permit, which is free afterwards.
    ///
    /// # Errors
    ///
    /// Those of the handshake; [`io::ErrorKind::TimedOut`] if another one needs the permit.
    pub async fn run<T>(self, handshake: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        let yields = async {
            sleep(GRACE).await;
            if let Ok(waiter) = self.handshakes.wanted.acquire().await {
                waiter.forget();
            }
        };
        tokio::select! {
            // What has arrived by now counts.
            biased;
            done = handshake => done,
            () = yields => {
                Err(io::Error::new(io::ErrorKind::TimedOut, "another handshake needs its permit"))
            }
        }
    }
}

/// A connection that waits for a permit.
struct Waiter<'h>(&'h Semaphore);

impl<'h> Waiter<'h> {
    fn new(wanted: &'h Semaphore) -> Self {
        wanted.add_permits(1);
        Self(wanted)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        // There is none if a handshake has ended for it.
        if let Ok(waiter) = self.0.try_acquire() {
            waiter.forget();
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
            tokio::spawn(async move {
                handshakes.acquire().await.run(pending::<io::Result<()>>()).await
            })
        });
        tokio::task::yield_now().await;
        let begun = Instant::now();
        let permit = handshakes.acquire().await;
        assert_eq!(begun.elapsed(), GRACE);
        assert!(permit.run(async { Ok(()) }).await.is_ok());
        advance(GRACE * 10).await;
        let [first, second] = stalled;
        assert_eq!(first.await.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(!second.is_finished());
        assert!(handshakes.wanted.available_permits() == 0);
        second.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_handshake_keeps_its_place_while_none_waits() {
        let handshakes = Handshakes::new(1);
        let slow = async {
            sleep(GRACE * 9).await;
            Ok(())
        };
        assert!(handshakes.acquire().await.run(slow).await.is_ok());
    }
}
