//! What is behind the handles of a connection: its [state], its transport, the tasks that wait for
//! it, and the [driver](background) that serves it while none does.

pub(super) mod arrival;
pub(super) mod attachment;
pub(super) mod background;
pub(super) mod connection_id;
pub(super) mod delivery;
mod frames;
pub(super) mod handlers;
mod input;
mod lifecycle;
mod outgoing;
mod parked;
pub(super) mod peer_addr;
mod pings;
mod read_buffers;
mod receive;
pub(super) mod shared;
pub(super) mod state;
mod timer_wheel;
mod transmit;
pub(super) mod transport;
