//! Flags, and values of flags, that several commands have.
//!
//! | file | |
//! |---|---|
//! | `listening`, `certificate` | servers: where they listen, the files of TLS |
//! | `request`, `route` | clients: headers and credentials; certificates, proxies, addresses |
//! | `compression`, `pace` | how messages are compressed, and how many a second there are |
//! | `units` | sizes and times as people write them |

pub(crate) mod certificate;
pub(crate) mod compression;
pub(crate) mod listening;
pub(crate) mod pace;
pub(crate) mod request;
pub(crate) mod route;
pub(crate) mod units;
