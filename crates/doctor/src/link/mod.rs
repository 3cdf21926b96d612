//! Connections whose bytes are counted, and requests on them.

mod counted;
mod request;

pub(crate) use counted::{Activity, Counted};
pub(crate) use request::{Answer, Question, Trouble, ask};
