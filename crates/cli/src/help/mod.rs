//! What is made of the definitions of the command line beside `--help`.

pub(crate) mod completions;
// Examples name what only the features give.
#[cfg(all(test, unix, feature = "cluster", feature = "fjall"))]
mod examples;
pub(crate) mod man;
