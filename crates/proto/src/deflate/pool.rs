//! What compressing and inflating need, lent by the thread for the time of a message.
//!
//! A compressor takes some hundred KiB and an inflater some forty; a connection that is idle should
//! hold neither. So a few of each are kept per thread. This is a cache and nothing more: what is
//! taken is reset before use, results do not depend on what is kept, and there is neither I/O nor a
//! clock. It is the thread's, and not an argument of each call, because any call may need it and no
//! caller could do anything else with it.

use alloc::{vec, vec::Vec};
#[cfg(feature = "std")]
use core::cell::RefCell;

use zlib_rs::Inflate;

use super::{
    compress::{Compressor, Setting},
    params::WindowBits,
};

/// How many of a kind are kept per thread; more are in use only while messages are incomplete.
const KEPT: usize = 4;
/// The size that a scratch buffer begins with, and is cut back to.
const SCRATCH: usize = 16 << 10;

#[derive(Default)]
struct Pool {
    compressors: Vec<Compressor>,
    inflaters: Vec<Inflate>,
    scratches: Vec<Vec<u8>>,
}

#[cfg(feature = "std")]
thread_local! {
    static POOL: RefCell<Pool> = RefCell::default();
}

/// A compressor with an empty window.
pub(super) fn compressor(setting: Setting) -> Compressor {
    let kept = with(|pool| {
        let index = pool.compressors.iter().rposition(|kept| kept.setting() == setting)?;
        Some(pool.compressors.remove(index))
    });
    kept.flatten().map_or_else(|| Compressor::new(setting), Compressor::renewed)
}

/// Takes a compressor back.
pub(super) fn keep_compressor(compressor: Compressor) {
    with(|pool| keep(&mut pool.compressors, compressor));
}

/// An inflater with an empty window.
pub(super) fn inflater() -> Inflate {
    match with(|pool| pool.inflaters.pop()).flatten() {
        Some(mut inflater) => {
            inflater.reset(false);
            inflater
        }
        None => Inflate::new(false, WindowBits::MAX.as_u8()),
    }
}

/// Takes an inflater back, in whatever state.
pub(super) fn keep_inflater(inflater: Inflate) {
    with(|pool| keep(&mut pool.inflaters, inflater));
}

/// A buffer of at least 16 KiB, with anything in it.
pub(super) fn scratch() -> Vec<u8> {
    with(|pool| pool.scratches.pop()).flatten().unwrap_or_else(|| vec![0; SCRATCH])
}

/// Takes a buffer back.
pub(super) fn keep_scratch(mut scratch: Vec<u8>) {
    scratch.truncate(SCRATCH);
    scratch.shrink_to(SCRATCH);
    with(|pool| keep(&mut pool.scratches, scratch));
}

/// How many things are kept.
#[cfg(test)]
pub(super) fn kept() -> usize {
    with(|pool| pool.compressors.len() + pool.inflaters.len() + pool.scratches.len()).unwrap_or(0)
}

/// `None` while the thread ends: then nothing is kept.
#[cfg(feature = "std")]
fn with<R>(f: impl FnOnce(&mut Pool) -> R) -> Option<R> {
    POOL.try_with(|pool| f(&mut pool.borrow_mut())).ok()
}

/// Without threads to know of there is nothing that is theirs: nothing is kept.
#[cfg(not(feature = "std"))]
fn with<R>(f: impl FnOnce(&mut Pool) -> R) -> Option<R> {
    Some(f(&mut Pool::default()))
}

/// Keeps a thing, in place of the oldest if it is full.
fn keep<T>(kept: &mut Vec<T>, thing: T) {
    if kept.len() == KEPT {
        kept.remove(0);
    }
    kept.push(thing);
}
