//! Push over HTTP with the program as a whole: what the guides say, and what survives a restart.

mod guides;
mod resume;
