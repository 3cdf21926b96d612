//! Rings of io_uring, by which what goes to many sockets is handed to Linux at once.

#[cfg(not(all(
    feature = "uring",
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")
)))]
#[path = "absent.rs"]
mod kernel;
#[cfg(all(
    feature = "uring",
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")
))]
mod kernel;

use std::{
    fmt, io,
    sync::{Mutex, MutexGuard, PoisonError},
};

use self::kernel::Ring;
pub(crate) use self::kernel::{Socket, socket};

/// How many sockets one system call is for at most.
pub(crate) const AT_ONCE: usize = 64;

/// Rings of io_uring, by which what is sent to many connections is handed to Linux in one system call for each 64 of
/// them, in place of one for each.
///
/// Each call of [`try_send_frames`](Self::try_send_frames) takes a ring for itself. A ring has 12 KiB of memory and a file
/// descriptor.
pub struct SendRings {
    idle: Mutex<Vec<Ring>>,
}

/// A ring that is in use. It is idle again when this is dropped, unless it is broken.
pub(crate) struct RingInUse<'a> {
    rings: &'a SendRings,
    ring: Option<Ring>,
}

impl SendRings {
    /// That many rings, one at least: as many threads send at once. A thread that finds none sends on each connection by
    /// itself.
    ///
    /// # Errors
    ///
    /// Where there is no io_uring (`Unsupported`: another system, a Linux before 5.6, or this crate without its feature `uring`), where it is forbidden (`PermissionDenied`: by
    /// `kernel.io_uring_disabled`, or by the filter of system calls of a container), and where the descriptors or the memory for
    /// it are lacking.
    pub fn new(count: usize) -> io::Result<Self> {
        let mut rings = (0..count.max(1)).map(|_| Ring::new()).collect::<io::Result<Vec<_>>>()?;
        rings.iter_mut().try_for_each(Ring::try_out)?;
        Ok(Self { idle: Mutex::new(rings) })
    }

    /// Takes a ring, if one is idle.
    pub(crate) fn take(&self) -> Option<RingInUse<'_>> {
        let ring = Some(self.idle().pop()?);
        Some(RingInUse { rings: self, ring })
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Ring>> {
        // Consistent between any two statements, so a panic elsewhere does not matter.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RingInUse<'_> {
    /// Sends the bytes on each socket, [`AT_ONCE`] at most, without waiting for any. The outcomes are put behind the others:
    /// bytes taken, `WouldBlock` also for a socket that the kernel was not asked for.
    pub(crate) fn send(
        &mut self,
        sockets: &[Socket<'_>],
        bytes: &[u8],
        outcomes: &mut Vec<io::Result<usize>>,
    ) {
        let mut numbers = [NOT_ASKED; AT_ONCE];
        let numbers = &mut numbers[..sockets.len().min(AT_ONCE)];
        if let Some(ring) = &mut self.ring
            && ring.is_whole()
            && let Err(error) = ring.send(sockets, bytes, numbers)
        {
            tracing::warn!(%error, "a ring of io_uring is given up: what it was for is sent without it");
        }
        outcomes.extend(numbers.iter().map(|number| outcome(*number)));
    }
}

impl Drop for RingInUse<'_> {
    fn drop(&mut self) {
        self.rings.idle().extend(self.ring.take().filter(Ring::is_whole));
    }
}

/// What stands for an outcome before there is one: no number of an error is as large.
const NOT_ASKED: i32 = i32::MIN;

/// The outcome as the kernel tells it: how many bytes, or the negative number of an error.
fn outcome(number: i32) -> io::Result<usize> {
    match usize::try_from(number) {
        Ok(taken) => Ok(taken),
        Err(_) if number == NOT_ASKED => Err(io::ErrorKind::WouldBlock.into()),
        Err(_) => Err(io::Error::from_raw_os_error(-number)),
    }
}

impl fmt::Debug for SendRings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendRings").field("idle", &self.idle().len()).finish()
    }
}
