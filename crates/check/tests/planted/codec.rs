//! The planted server's compression, by a library that the checks do not use.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::{
    defect::Defect::{self, *},
    handshake::Deflate,
};

pub(crate) struct Codec {
    agreed: Deflate,
    defect: Option<Defect>,
    compress: Compress,
    decompress: Decompress,
}

impl Codec {
    pub(crate) fn new(agreed: Deflate, defect: Option<Defect>) -> Self {
        let bits = if defect == Some(LeavesWindow) { 15 } else { agreed.server_bits };
        Self {
            agreed,
            defect,
            compress: Compress::new_with_window_bits(Compression::default(), false, bits),
            decompress: Decompress::new_with_window_bits(false, 15),
        }
    }

    pub(crate) fn deflate(&mut self, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(payload.len() + 1024);
        let before = self.compress.total_in();
        loop {
            let at = (self.compress.total_in() - before) as usize;
            out.reserve(1024);
            let _ = self.compress.compress_vec(&payload[at..], &mut out, FlushCompress::Sync);
            if out.len() < out.capacity() {
                break;
            }
        }
        if self.agreed.server_fresh && self.defect != Some(KeepsContext) {
            self.compress.reset();
        }
        out.truncate(out.len().saturating_sub(4));
        out
    }

    pub(crate) fn inflate(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        let refused = match self.defect {
            Some(NoBfinal) => payload.first().is_some_and(|first| first & 1 == 1),
            Some(NoStored) => {
                payload.first().is_some_and(|first| first & 7 == 0) && payload.len() > 1
            }
            Some(NoEmptyMessage) => payload == [0],
            _ => false,
        };
        if refused {
            return None;
        }
        let whole = [payload, &[0, 0, 0xFF, 0xFF]].concat();
        let (mut out, mut input) = (Vec::new(), &whole[..]);
        loop {
            out.reserve(65_536);
            let before = self.decompress.total_in();
            let status =
                self.decompress.decompress_vec(input, &mut out, FlushDecompress::Sync).ok()?;
            input = &input[(self.decompress.total_in() - before) as usize..];
            if status == Status::StreamEnd {
                self.decompress.reset(false);
            }
            if input.is_empty() && out.len() < out.capacity() {
                break;
            }
        }
        if self.defect == Some(InflatesWrongly) {
            out.push(b'!');
        }
        if self.agreed.client_fresh || self.defect == Some(ForgetsContext) {
            self.decompress.reset(false);
        }
        Some(out)
    }
}
