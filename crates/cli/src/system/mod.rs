//! The system that the program runs on.
//!
//! | file | |
//! |---|---|
//! | `stop`, `signals` | how it is asked to stop or to reload |
//! | `processors` | how many processors it has |
//! | `clock` | the time of day, as it is told |
//! | `fingerprints` | whether files have changed |

pub(crate) mod clock;
pub(crate) mod fingerprints;
pub(crate) mod processors;
pub(crate) mod signals;
pub(crate) mod stop;
