//! For operators: how a cluster is, what is wrong with it, changing it.
//!
//! | file | |
//! |---|---|
//! | `status` | its servers, shards and nodes, and what is wrong with them |
//! | `trouble` | why this node is not ready |
//! | `figures` | what this node has done, as metrics |
//! | `apply` | changing what the cluster was made with |

pub(crate) mod apply;
pub(crate) mod figures;
pub(crate) mod status;
pub(crate) mod trouble;
