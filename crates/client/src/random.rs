//! Random times and keys, of the system's generator.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// Any time up to that one. Without randomness it is that one.
pub(crate) fn up_to(most: Duration) -> Duration {
    let mut bytes = [0xff; 4];
    let _ = getrandom::fill(&mut bytes);
    most.mul_f64(f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX))
}

/// A key that no other publication has.
///
/// # Errors
///
/// When the system has no randomness.
pub(crate) fn key() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
