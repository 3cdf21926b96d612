//! The planted server's open WebSocket.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    time::Duration,
};

use sockeye_wire::{
    Frame, Role,
    frame::{BINARY, CLOSE, FIN, Form, PING, PONG, RSV1, RSV3, TEXT, close_payload},
};

use crate::{
    codec::Codec,
    defect::Defect::{self, *},
    handshake::Deflate,
    server::{DEADLINE, FOR_EVER, drain, is_timeout},
};

/// The largest message.
const LIMIT: u64 = 8 << 20;

/// What a frame leads to.
enum Then {
    GoOn,
    End,
}

pub(crate) struct Session {
    stream: TcpStream,
    defect: Option<Defect>,
    codec: Option<Codec>,
    buffer: Vec<u8>,
    /// The first byte and the payload of a message that is not whole.
    begun: Option<(u8, Vec<u8>)>,
    fragments: usize,
    messages: usize,
    first_mask: Option<[u8; 4]>,
    pings: usize,
    takes_rest: bool,
    one_read: usize,
    role: Role,
    masks: u32,
}

impl Session {
    pub(crate) fn new(
        stream: TcpStream,
        defect: Option<Defect>,
        deflate: Option<Deflate>,
        buffer: Vec<u8>,
    ) -> Self {
        let codec = deflate.map(|agreed| Codec::new(agreed, defect));
        Self {
            stream,
            defect,
            codec,
            buffer,
            begun: None,
            fragments: 0,
            messages: 0,
            first_mask: None,
            pings: 0,
            takes_rest: false,
            one_read: 0,
            role: Role::Server,
            masks: 0,
        }
    }

    /// The same on the other end.
    pub(crate) fn of(self, role: Role) -> Self {
        Self { role, ..self }
    }

    fn has(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }

    pub(crate) fn run(mut self) -> io::Result<()> {
        if let Some(Floods | Drips | Mute) = self.defect {
            return self.never_ends();
        }
        let silence = if self.has(NoSilenceDeadline) { FOR_EVER } else { DEADLINE };
        self.stream.set_read_timeout(Some(silence))?;
        self.stream.set_write_timeout(Some(DEADLINE))?;
        let mut chunk = [0; 65_536];
        loop {
            while let Some(frame) = self.next_frame()? {
                if matches!(self.frame(frame)?, Then::End) {
                    return Ok(());
                }
            }
            if self.is_absurd() {
                return self.fail(1009);
            }
            let is_unmasked = self.role == Role::Server
                && self.buffer.get(1).is_some_and(|second| second & 0x80 == 0);
            if is_unmasked && !self.has(TakesUnmasked) && !self.has(TakesGarbage) {
                return self.fail(1002);
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => return self.ended(),
                Ok(count) => {
                    if self.has(FramesInOneRead) && !self.buffer.is_empty() {
                        self.buffer.clear();
                    }
                    self.buffer.extend_from_slice(&chunk[..count]);
                    self.one_read = 0;
                }
                Err(error) if is_timeout(&error) => return self.stream.shutdown(Shutdown::Both),
                Err(error) => return Err(error),
            }
        }
    }

    /// Whatever comes: Pings as fast as they are taken, one after the other, or nothing.
    fn never_ends(mut self) -> io::Result<()> {
        let ping = Frame::unmasked(PING, "");
        match self.defect {
            Some(Floods) => loop {
                self.stream.write_all(&ping.encode().repeat(1000))?;
            },
            Some(Drips) => loop {
                self.stream.write_all(&ping.encode())?;
                std::thread::sleep(Duration::from_millis(20));
            },
            _ => {
                drain(&mut self.stream, FOR_EVER);
                Ok(())
            }
        }
    }

    /// The client has sent its last byte.
    fn ended(&self) -> io::Result<()> {
        if self.has(NoHalfClose) {
            std::thread::sleep(FOR_EVER);
        }
        if self.has(StopsWhenCut) { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    fn next_frame(&mut self) -> io::Result<Option<Frame>> {
        let Some((mut frame, count)) = Frame::parse(&self.buffer) else {
            return Ok(None);
        };
        self.one_read += 1;
        if self.has(OneFrameARead) && self.one_read > 1 {
            self.buffer.clear();
            return Ok(None);
        }
        let masked = self.buffer[count - frame.payload.len()..count].to_vec();
        self.buffer.drain(..count);
        let first = *self.first_mask.get_or_insert(frame.mask.unwrap_or_default());
        let key = match self.defect {
            Some(FirstMask) => Some(first),
            Some(ThreeByteMask) if matches!(frame.mask, Some([0, 0, 0, _])) => Some([0; 4]),
            _ => None,
        };
        if let Some(key) = key {
            frame.payload =
                masked.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        }
        Ok(Some(frame))
    }

    /// Whether a frame is announced that is larger than any message may be.
    fn is_absurd(&self) -> bool {
        let length = self.buffer.get(2..10).and_then(|bytes| bytes.first_chunk().copied());
        let length = length.map(u64::from_be_bytes).filter(|_| self.buffer[1] & 0x7F == 127);
        length.is_some_and(|length| match self.defect {
            Some(NoLimit) => false,
            Some(TakesBit63) => length & !(1 << 63) > LIMIT,
            _ => length > LIMIT,
        })
    }

    /// Fails the connection with this code.
    fn fail(&mut self, code: u16) -> io::Result<()> {
        // A client that is gone needs none.
        let closed = self.close(&close_payload(code, ""));
        if self.has(StopsBehindMistake) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        closed?;
        if self.has(NoCloseDeadline) {
            std::thread::sleep(FOR_EVER);
        }
        self.stream.shutdown(Shutdown::Write)?;
        drain(&mut self.stream, DEADLINE);
        Ok(())
    }

    fn close(&mut self, payload: &[u8]) -> io::Result<()> {
        let payload = match self.defect {
            Some(SendsHalfCode) => vec![3],
            Some(Sends1005) => close_payload(1005, ""),
            Some(SendsBadReason) => close_payload(1000, b"\xFF"),
            _ => payload.to_vec(),
        };
        self.write(Frame::unmasked(CLOSE, payload))?;
        if self.has(SendsBehindClose) {
            self.write(Frame::unmasked(PONG, "late"))?;
        }
        if self.has(SendsTextBehindClose) {
            self.write(Frame::unmasked(TEXT, "late"))?;
        }
        Ok(())
    }

    fn write(&mut self, frame: Frame) -> io::Result<()> {
        self.masks += 1;
        let frame = match (self.role, self.defect) {
            (Role::Client, Some(NoMask)) => frame,
            (Role::Client, Some(SameMask)) | (Role::Server, Some(Masks)) => {
                frame.mask([1, 2, 3, 4])
            }
            (Role::Client, _) => frame.mask(self.masks.to_be_bytes()),
            (Role::Server, _) => frame,
        };
        self.stream.write_all(&frame.encode())
    }

    fn end(&mut self, code: u16) -> io::Result<Then> {
        self.fail(code)?;
        Ok(Then::End)
    }

    fn frame(&mut self, frame: Frame) -> io::Result<Then> {
        let opcode = frame.opcode();
        let bits = frame.first >> 4 & 7;
        let is_compressed = bits & 4 != 0 && self.codec.is_some() && matches!(opcode, 1 | 2);
        let bits = if is_compressed { bits & 3 } else { bits };
        let is_control = opcode >= 8;
        let whole_bits = frame.first >> 4 & 7;
        let is_unknown = matches!(opcode, 3..=7 | 11..=15);
        let is_wrong = bits != 0 && !self.has(TakesRsv(whole_bits))
            || is_unknown && !self.has(TakesOpcode(opcode))
            || frame.mask.is_none() && self.role == Role::Server && !self.has(TakesUnmasked)
            || frame.mask.is_some() && self.role == Role::Client && !self.has(TakesMasked)
            || frame.mask == Some([0; 4]) && self.has(ZeroMask)
            || frame.mask == Some([0xFF; 4]) && self.has(OnesMask)
            || frame.form != Form::shortest(frame.length) && !self.has(TakesLongForms)
            || is_control && !frame.fin() && !self.has(TakesFragmentedControl)
            || is_control && frame.length > 125 && !self.has(TakesLongControl);
        if is_wrong {
            return if self.has(TakesGarbage) { Ok(Then::GoOn) } else { self.end(1002) };
        }
        if is_control && !frame.fin() {
            self.takes_rest = true;
        }
        match opcode {
            0x8 => self.close_frame(frame),
            0x9 => self.ping(frame),
            0xA if self.has(RefusesPong) || self.has(RefusesPongInside) && self.begun.is_some() => {
                self.end(1002)
            }
            0xA if self.has(PongsPongs) => {
                self.write(Frame::unmasked(PONG, &frame.payload))?;
                Ok(Then::GoOn)
            }
            0..=2 => self.data(frame, is_compressed),
            _ => Ok(Then::GoOn),
        }
    }

    fn ping(&mut self, frame: Frame) -> io::Result<Then> {
        let is_inside = self.begun.is_some();
        self.pings += 1;
        if self.has(PingEndsMessage) && is_inside {
            self.begun = None;
        }
        if self.pings > 2000 && self.has(StopsAtPings) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let payload = match self.defect {
            Some(NoPong) => return Ok(Then::GoOn),
            Some(NoPongInside) if is_inside => return Ok(Then::GoOn),
            Some(FirstPongAlone) if self.pings > 1 => return Ok(Then::GoOn),
            Some(FewPings) if self.pings > 100 => return self.end(1008),
            Some(PingEndsConnection) => return self.end(1000),
            Some(EmptyPong) => Vec::new(),
            Some(ShortPong) => frame.payload[..frame.payload.len().min(100)].to_vec(),
            Some(TextPong) => String::from_utf8_lossy(&frame.payload).into_owned().into_bytes(),
            Some(SendsLongPong) => vec![b'x'; 126],
            _ => frame.payload,
        };
        let first = if self.has(SendsFragmentedPong) { PONG & !FIN } else { PONG };
        self.write(Frame::unmasked(first, payload))?;
        Ok(Then::GoOn)
    }

    fn close_frame(&mut self, frame: Frame) -> io::Result<Then> {
        let payload = &frame.payload[..];
        let code = payload.first_chunk().copied().map(u16::from_be_bytes);
        let reason = payload.get(2..).unwrap_or_default();
        let is_defined =
            code.is_none_or(|code| matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999));
        if payload.len() == 1 && !self.has(TakesHalfCode) || !is_defined && !self.has(EchoesAnyCode)
        {
            return self.end(1002);
        }
        if str::from_utf8(reason).is_err() && !self.has(NoReasonCheck) {
            return self.end(1007);
        }
        if reason.len() > 100 && self.has(ShortReasons) {
            return self.stream.shutdown(Shutdown::Both).map(|()| Then::End);
        }
        let more = !self.buffer.is_empty();
        let is_ignored = self.has(NoCloseAnswer)
            || self.has(NoCloseInside) && self.begun.is_some()
            || self.has(NoCloseIfMoreFollows) && more
            || self.has(NoCloseBehindMessage) && self.messages > 0;
        if is_ignored {
            std::thread::sleep(FOR_EVER);
        }
        if self.has(EchoesBehindClose) {
            while let Some(frame) = self.next_frame()? {
                self.write(Frame::unmasked(frame.first, frame.payload))?;
            }
        }
        let answer = match code {
            Some(_) if self.has(ClosesWith1000) => close_payload(1000, ""),
            Some(code) => close_payload(code, ""),
            None => Vec::new(),
        };
        let closed = self.close(&answer);
        if self.has(StopsBehindClose) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        closed?;
        if self.has(KeepsOpen) {
            std::thread::sleep(FOR_EVER);
        }
        self.stream.shutdown(Shutdown::Write)?;
        drain(&mut self.stream, DEADLINE);
        Ok(Then::End)
    }

    fn data(&mut self, frame: Frame, is_compressed: bool) -> io::Result<Then> {
        if self.begun.is_none() && frame.opcode() == 0 {
            if self.takes_rest {
                return Ok(Then::GoOn);
            }
            if !self.has(TakesStray) {
                return self.end(1002);
            }
            return self.echo(TEXT, frame.payload);
        }
        if self.begun.is_some() && frame.opcode() != 0 {
            if !self.has(TakesMessageInMessage) {
                return self.end(1002);
            }
            self.begun = None;
        }
        let is_first = frame.opcode() != 0;
        self.fragments = if is_first { 1 } else { self.fragments + 1 };
        if self.fragments > 50_000 && self.has(StopsAtFragments) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let no_fragments = self.has(NoFragments) || self.has(FewFragments) && self.fragments > 100;
        let no_compressed = self.has(NoCompressedFragments) && is_compressed;
        if (no_fragments || no_compressed) && !frame.fin() {
            return self.end(1003);
        }
        let rsv1 = if is_compressed { RSV1 } else { 0 };
        let (first, mut payload) = self.begun.take().unwrap_or((frame.opcode() | rsv1, Vec::new()));
        if self.has(ChecksFragments) && first & 0xF == 1 && str::from_utf8(&frame.payload).is_err()
        {
            return self.end(1007);
        }
        payload.extend_from_slice(&frame.payload);
        let is_text = first == 1;
        if is_text && !self.has(Utf8AtTheEnd) && self.is_wrong_text(&payload, frame.fin(), is_first)
        {
            return self.end(1007);
        }
        if frame.fin() {
            return self.message(first, payload, is_first);
        }
        self.begun = Some((first, payload));
        Ok(Then::GoOn)
    }

    /// Whether a text, of which this has come, cannot become right.
    fn is_wrong_text(&self, payload: &[u8], is_whole: bool, is_first: bool) -> bool {
        let checked = match self.defect {
            Some(NoUtf8Check) => return false,
            Some(NoFragmentedUtf8Check) if !is_whole || !is_first => return false,
            Some(ChecksBegin) => &payload[..payload.len().min(65_536)],
            _ => payload,
        };
        match str::from_utf8(checked) {
            Ok(text) => {
                let is_odd = |character: char| {
                    let point = u32::from(character);
                    self.has(NoNoncharacters) && (point & 0xFFFE == 0xFFFE || point == 0xFDD0)
                        || self.has(OnlyAscii) && !(0x02..0x7F).contains(&point)
                };
                text.chars().any(is_odd)
            }
            Err(error) => is_whole || error.error_len().is_some(),
        }
    }

    fn message(&mut self, first: u8, payload: Vec<u8>, is_one_frame: bool) -> io::Result<Then> {
        self.messages += 1;
        if self.messages > 20 && self.has(StopsAtMessages) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let is_text = first & 0xF == 1;
        let is_compressed = first & RSV1 != 0;
        let payload = match &mut self.codec {
            Some(codec) if is_compressed => match codec.inflate(&payload) {
                Some(payload) => payload,
                None if self.defect == Some(TakesBadDeflate) => payload,
                None => return self.end(1007),
            },
            Some(_) if self.defect == Some(NoPlainMessages) && !is_compressed => {
                return self.end(1002);
            }
            _ => payload,
        };
        let is_unchecked = self.has(NoCompressedUtf8Check) && is_compressed;
        if is_text && !is_unchecked && self.is_wrong_text(&payload, true, is_one_frame) {
            return self.end(1007);
        }
        let bytes = payload.len();
        let wrong = match self.defect {
            Some(ChecksBinary) => !is_text && str::from_utf8(&payload).is_err(),
            Some(MiddleLimit) => bytes > 1 << 21,
            Some(SmallInflate) => is_compressed && bytes > 100,
            _ => false,
        };
        if wrong {
            return self.end(if self.has(MiddleLimit) { 1009 } else { 1007 });
        }
        self.echo(if is_text { TEXT } else { BINARY }, payload)
    }

    fn echo(&mut self, first: u8, mut payload: Vec<u8>) -> io::Result<Then> {
        let first = if self.has(TextAsBinary) { BINARY } else { first };
        match self.defect {
            Some(BreaksLength(length)) if length == payload.len() => payload.push(b'!'),
            Some(SevenBits) => payload.iter_mut().for_each(|byte| *byte &= 0x7F),
            Some(SendsOpcode3) => self.write(Frame::unmasked(FIN | 3, ""))?,
            Some(SendsStray) => self.write(Frame::unmasked(FIN, "stray"))?,
            Some(SendsMessageInMessage) => self.write(Frame::unmasked(TEXT & !FIN, ""))?,
            Some(SendsBadDeflate) if self.codec.is_some() => {
                self.write(Frame::unmasked(BINARY | RSV1, [0xFF; 8]))?;
            }
            // What is at its end already is answered no more.
            Some(DropsAtHalfClose) if payload == b"last" => {
                drain(&mut self.stream, DEADLINE);
                return Ok(Then::End);
            }
            _ => {}
        }
        let mut frame = match &mut self.codec {
            Some(codec) if !payload.is_empty() => {
                Frame::unmasked(first | RSV1, codec.deflate(&payload))
            }
            _ => Frame::unmasked(first, payload),
        };
        if self.has(SendsRsv3) {
            frame.first |= RSV3;
        }
        if self.has(SendsLongForm) {
            frame = frame.form(Form::Bits64);
        }
        self.write(frame)?;
        if self.has(SendsBadText) {
            self.write(Frame::unmasked(TEXT, b"\xFF"))?;
        }
        Ok(Then::GoOn)
    }
}
