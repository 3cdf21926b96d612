//! Push over HTTP with the program as a whole: what the guides say, and what survives a crash.

mod guides;
mod resume;
