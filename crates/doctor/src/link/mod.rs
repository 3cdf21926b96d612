//! Connections whose bytes are watched, and requests on them.

mod activity;
mod request;

pub(crate) use activity::{Activity, watched};
pub(crate) use request::{Answer, Question, Trouble, ask};
