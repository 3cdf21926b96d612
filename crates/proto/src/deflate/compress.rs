//! The sending direction: a message, or its fragments, as DEFLATE (RFC 7692 §7.2.1).

use alloc::{boxed::Box, vec::Vec};

use zlib_rs::{Deflate, DeflateFlush};

use super::{
    TAIL,
    params::{Direction, WindowBits},
    pool,
};

/// What the codec is asked to leave free in the output, so that it does not repeat a flush's end.
const ROOM: usize = 16;

/// What a compressor is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) window: WindowBits,
    pub(super) level: u8,
    pub(super) blocks: Blocks,
}

/// How many symbols a block may have. The codec has three bytes for each, and clears them all for
/// each block, however short it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blocks {
    /// 2,047: for messages that cannot have more, and where the connection holds the memory.
    Short,
    /// 16,383: where the thread lends the memory.
    Long,
}

impl Blocks {
    /// Those that a message all alone should have.
    pub(super) fn for_length(length: usize) -> Self {
        if length < 2047 { Self::Short } else { Self::Long }
    }

    /// The number of symbols as the codec wants it: a power of two, less 6.
    fn memory_level(self) -> i32 {
        match self {
            Self::Short => 5,
            Self::Long => 8,
        }
    }
}

/// One stream of DEFLATE being written.
pub(super) struct Compressor {
    deflate: Deflate,
    setting: Setting,
}

impl Compressor {
    pub(super) fn new(setting: Setting) -> Self {
        // The codec cannot have a window of 2^8 bytes, nor can zlib; but with one of 2^9 it refers
        // back by 512 - 262 bytes at most, which a receiver with 2^8 = 256 bytes can follow.
        let window = setting.window.as_u8().max(9);
        let config = zlib_rs::DeflateConfig {
            level: i32::from(setting.level.clamp(1, 9)),
            window_bits: -i32::from(window), // negative: without a header
            mem_level: setting.blocks.memory_level(),
            ..zlib_rs::DeflateConfig::default()
        };
        Self { deflate: Deflate::new_with_config(config), setting }
    }

    pub(super) fn setting(&self) -> Setting {
        self.setting
    }

    /// The same with an empty window.
    pub(super) fn renewed(mut self) -> Self {
        self.deflate.reset();
        self
    }

    /// Compresses `input` into the beginning of `output`, which grows where it must, up to the end of
    /// an empty stored block; gives how many bytes it came to.
    fn compress(&mut self, mut input: &[u8], output: &mut Vec<u8>) -> usize {
        let mut filled = 0;
        let likely = input.len() + input.len() / 8 + 4 * ROOM;
        if output.len() < likely {
            output.resize(likely, 0);
        }
        loop {
            if output.len() - filled < ROOM {
                output.resize(2 * output.len(), 0);
            }
            let (read, written) = (self.deflate.total_in(), self.deflate.total_out());
            self.deflate
                .compress(input, &mut output[filled..], DeflateFlush::SyncFlush)
                .expect("the codec was made with valid parameters, and was never finished");
            input = &input[(self.deflate.total_in() - read) as usize..];
            filled += (self.deflate.total_out() - written) as usize;
            if input.is_empty() && filled < output.len() {
                return filled;
            }
        }
    }

    /// The same as the end of a message: without the tail that is not sent.
    fn compress_last(&mut self, input: &[u8], output: &mut Vec<u8>) -> usize {
        match self.compress(input, output) {
            // Nothing to say since the last flush: one more empty block (RFC 7692 §7.2.3.6).
            0 => {
                output[0] = 0;
                1
            }
            filled => {
                debug_assert!(output[..filled].ends_with(&TAIL));
                filled - TAIL.len()
            }
        }
    }
}

/// The sending direction of a connection.
pub(crate) struct Outbound {
    takeover: bool,
    window: WindowBits,
    level: u8,
    /// The connection's own, with context takeover; made for the first message.
    held: Option<Box<Compressor>>,
    /// The thread's, while a message is being sent in fragments.
    lent: Option<Box<Compressor>>,
}

impl Outbound {
    pub(super) fn new(direction: Direction, level: u8) -> Self {
        let (takeover, window) = (direction.takeover, direction.window);
        Self { takeover, window, level, held: None, lent: None }
    }

    fn setting(&self, blocks: Blocks) -> Setting {
        Setting { window: self.window, level: self.level, blocks }
    }

    /// Whether a message prepared with an empty window of 2^15 bytes may be sent as it is.
    #[cfg(feature = "std")]
    pub(crate) fn takes_prepared(&self, length: usize) -> bool {
        let window = self.window;
        !self.takeover && (window == WindowBits::MAX || length <= window.bytes())
    }

    /// Compresses a whole message and hands the result to `send`. False if nothing was handed over:
    /// the message would not become smaller, and is to be sent as it is.
    pub(crate) fn message(&mut self, payload: &[u8], send: impl FnOnce(&[u8])) -> bool {
        let mut scratch = pool::scratch();
        let length = if self.takeover {
            self.held().compress_last(payload, &mut scratch)
        } else {
            let blocks = Blocks::for_length(payload.len());
            compress_alone(self.setting(blocks), payload, &mut scratch)
        };
        // With context takeover the message is in the window now, and so the peer must get it.
        let useful = self.takeover || length < payload.len();
        if useful {
            send(&scratch[..length]);
        }
        pool::keep_scratch(scratch);
        useful
    }

    /// Compresses the next fragment of a message and hands the result to `send`.
    pub(crate) fn fragment(&mut self, payload: &[u8], last: bool, send: impl FnOnce(&[u8])) {
        let mut scratch = pool::scratch();
        let setting = self.setting(Blocks::Long);
        let compressor = if self.takeover {
            self.held()
        } else {
            self.lent.get_or_insert_with(|| Box::new(pool::compressor(setting)))
        };
        let length = if last {
            compressor.compress_last(payload, &mut scratch)
        } else {
            compressor.compress(payload, &mut scratch)
        };
        send(&scratch[..length]);
        pool::keep_scratch(scratch);
        if last && let Some(lent) = self.lent.take() {
            pool::keep_compressor(*lent);
        }
    }

    fn held(&mut self) -> &mut Box<Compressor> {
        let setting = self.setting(Blocks::Short);
        self.held.get_or_insert_with(|| Box::new(Compressor::new(setting)))
    }

    #[cfg(test)]
    pub(super) fn is_holding(&self) -> bool {
        self.held.is_some() || self.lent.is_some()
    }

    /// Gives up the window: the next message starts from an empty one. A sender may do so at any time.
    pub(crate) fn release(&mut self) {
        self.held = None;
    }
}

/// Compresses a message from an empty window into the beginning of `output`; gives its length.
pub(super) fn compress_alone(setting: Setting, payload: &[u8], output: &mut Vec<u8>) -> usize {
    let mut compressor = pool::compressor(setting);
    let length = compressor.compress_last(payload, output);
    pool::keep_compressor(compressor);
    length
}
