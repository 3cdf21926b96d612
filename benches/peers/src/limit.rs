//! The limit: one epoll loop, one buffer to read into, one to write from, and no more protocol
//! than the measurement needs. It checks nothing.

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd as _, AsRawFd as _};

use rustix::event::epoll;

use crate::handshake;
use crate::ring::Ring;

/// What the kernel says of a socket that is full.
const EAGAIN: i32 = -rustix::io::Errno::AGAIN.raw_os_error();

/// What is done with a message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    Echo,
    FanOut,
    /// The same, sent by io_uring.
    FanOutByRing,
}

/// What is read at once.
const BUFFER: usize = 512 * 1024;

struct Connection {
    stream: TcpStream,
    is_open: bool,
    /// Whether a Close has come: it goes back, and that is all.
    is_closed: bool,
    /// The beginning of a frame that has not come whole.
    partial: Vec<u8>,
    /// What the socket did not take.
    unsent: Vec<u8>,
}

/// Serves for ever.
pub(crate) fn run(work: Work) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("listening on {}", listener.local_addr()?);
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let interest = epoll::EventFlags::IN;
    epoll::add(&poll, &listener, epoll::EventData::new_u64(u64::MAX), interest)?;
    let mut connections: HashMap<u64, Connection> = HashMap::new();
    let (mut buffer, mut out) = (vec![0; BUFFER], Vec::with_capacity(BUFFER));
    let mut events = Vec::with_capacity(1024);
    let mut ring = (work == Work::FanOutByRing).then(Ring::new).transpose()?;
    loop {
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None)?;
        let mut to_all = Vec::new();
        for event in events.drain(..) {
            let id = event.data.u64();
            if id == u64::MAX {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                let id = stream.as_raw_fd() as u64;
                let both = interest | epoll::EventFlags::OUT | epoll::EventFlags::ET;
                epoll::add(&poll, stream.as_fd(), epoll::EventData::new_u64(id), both)?;
                let (partial, unsent) = (Vec::new(), Vec::new());
                let (is_open, is_closed) = (false, false);
                let new = Connection { stream, is_open, is_closed, partial, unsent };
                connections.insert(id, new);
                continue;
            }
            let Some(connection) = connections.get_mut(&id) else { continue };
            out.clear();
            let lives = connection.read(&mut buffer, &mut out);
            if work != Work::Echo && connection.is_open && !out.starts_with(b"HTTP") {
                to_all.append(&mut out);
            }
            if connection.write(&out).is_err() || !lives {
                connections.remove(&id);
            }
        }
        match &mut ring {
            _ if to_all.is_empty() => {}
            Some(ring) => send_by(ring, &mut connections, &to_all)?,
            None => connections.retain(|_, connection| connection.write(&to_all).is_ok()),
        }
    }
}

impl Connection {
    /// Reads all there is, and puts what is to be sent back into `out`. False at the end.
    fn read(&mut self, buffer: &mut [u8], out: &mut Vec<u8>) -> bool {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return false,
                Ok(count) => {
                    let is_all = count < buffer.len();
                    if self.partial.is_empty() {
                        let used = self.take(&mut buffer[..count], out);
                        self.partial.extend_from_slice(&buffer[used..count]);
                    } else {
                        let mut whole = std::mem::take(&mut self.partial);
                        whole.extend_from_slice(&buffer[..count]);
                        let used = self.take(&mut whole, out);
                        whole.drain(..used);
                        self.partial = whole;
                    }
                    if is_all || self.is_closed {
                        return !self.is_closed;
                    }
                }
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
    }

    /// Takes the handshake or the frames at the beginning of `bytes`; gives how much that was.
    fn take(&mut self, bytes: &mut [u8], out: &mut Vec<u8>) -> usize {
        let mut used = 0;
        if !self.is_open {
            let Some((answer, end)) = handshake::answer(bytes) else { return 0 };
            out.extend_from_slice(answer.as_bytes());
            self.is_open = true;
            used = end;
        }
        while let Some(length) = echo(&mut bytes[used..], out) {
            self.is_closed |= is_close(bytes[used]);
            used += length;
        }
        used
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.unsent.is_empty() {
            self.unsent.extend_from_slice(bytes);
            let all = std::mem::take(&mut self.unsent);
            let sent = send(&mut self.stream, &all)?;
            self.unsent = all[sent..].to_vec();
        } else if !bytes.is_empty() {
            let sent = send(&mut self.stream, bytes)?;
            self.unsent.extend_from_slice(&bytes[sent..]);
        }
        Ok(())
    }
}

/// Sends to all by the ring, and by itself to each that has something unsent.
fn send_by(
    ring: &mut Ring,
    connections: &mut HashMap<u64, Connection>,
    bytes: &[u8],
) -> io::Result<()> {
    let free = connections.values().filter(|connection| connection.unsent.is_empty());
    let sockets: Vec<_> = free.map(|connection| connection.stream.as_raw_fd()).collect();
    connections
        .retain(|_, connection| connection.unsent.is_empty() || connection.write(bytes).is_ok());
    let outcomes = ring.send(&sockets, bytes)?;
    for (socket, outcome) in sockets.into_iter().zip(outcomes) {
        let id = socket as u64;
        match outcome {
            EAGAIN => connections.get_mut(&id).expect("it is there").unsent.extend(bytes),
            ..0 => drop(connections.remove(&id)),
            sent => {
                let rest = &bytes[sent as usize..];
                connections.get_mut(&id).expect("it is there").unsent.extend(rest);
            }
        }
    }
    Ok(())
}

fn send(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    match stream.write(bytes) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        sent => sent,
    }
}

/// The frame at the beginning of `bytes`, unmasked and put into `out` as a server sends it; its
/// length, if it has come whole.
pub(crate) fn echo(bytes: &mut [u8], out: &mut Vec<u8>) -> Option<usize> {
    let (first, short) = (*bytes.first()?, *bytes.get(1)? & 0x7F);
    let (header, length) = match short {
        126 => (4, u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?).into()),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize),
        short => (2, short.into()),
    };
    let key: [u8; 4] = bytes.get(header..header + 4)?.try_into().ok()?;
    let payload = bytes.get_mut(header + 4..header + 4 + length)?;
    unmask(payload, key);
    out.extend_from_slice(&[first, short]);
    out.extend_from_slice(&bytes[2..header]);
    out.extend_from_slice(&bytes[header + 4..header + 4 + length]);
    Some(header + 4 + length)
}

/// Whether the frame that begins so is a Close (RFC 6455 §5.2).
pub(crate) fn is_close(first: u8) -> bool {
    first & 0x0F == 8
}

fn unmask(payload: &mut [u8], key: [u8; 4]) {
    let wide = u64::from_ne_bytes([key, key].concat().try_into().expect("two keys are 8 bytes"));
    let (chunks, rest) = payload.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    rest.iter_mut().zip(key.into_iter().cycle()).for_each(|(byte, key)| *byte ^= key);
}
