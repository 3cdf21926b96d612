//! Channels: an ordered log per channel, read by cursors.
