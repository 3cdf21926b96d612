//! Push over HTTP with the program as a whole: what the guides say.

mod guides;
