//! permessage-deflate (RFC 7692), a second time: what the peer compresses is inflated here by code that
//! no library under test has, which knows how far back each byte refers.

mod encode;
mod inflate;
mod params;

pub(crate) use encode::{Block, deflated, stored, with_final_block};
pub(crate) use inflate::inflate;
pub(crate) use params::{Agreement, mistake};
