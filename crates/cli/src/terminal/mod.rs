//! What the program reads and prints.
//!
//! | file | |
//! |---|---|
//! | `output` | stdout and stderr, without a panic where the other end is gone |
//! | `visible` | text of a peer's, made harmless for a terminal |
//! | `prompt`, `progress` | a line editor, and how far something long is |
//! | `input` | stdin, cut into messages |

pub(crate) mod input;
pub(crate) mod output;
pub(crate) mod progress;
pub(crate) mod prompt;
pub(crate) mod visible;
