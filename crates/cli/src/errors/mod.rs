//! Errors that say what to do: wrong usage, and no connection.

pub(crate) mod explain;
pub(crate) mod usage;
