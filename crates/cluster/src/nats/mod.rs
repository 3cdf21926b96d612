//! NATS, as a cluster uses it.
//!
//! | file | |
//! |---|---|
//! | `connection` | the connection, to whichever server there is |
//! | `permissions` | what the user may do there |
//! | `waiting` | what a node waits for while it joins |
//! | `traffic` | the requests under way, for a server that is about to stop |
//! | `api` | the few requests to JetStream |

pub(crate) mod api;
pub(crate) mod connection;
pub(crate) mod permissions;
pub(crate) mod traffic;
pub(crate) mod waiting;
