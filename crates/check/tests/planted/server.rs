//! A right echo server, small and with the frame codec of the tests, that one defect can be planted in.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    defect::Defect::{self, *},
    handshake::{self, Accepted},
    session::Session,
};

/// How long a client may take for its request, to be silent, to answer a Close.
pub(crate) const DEADLINE: Duration = Duration::from_secs(8);
/// What a server without a deadline waits, as far as a test can tell.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(60);

/// Starts a server with a defect, or a right one. Its threads end with the process.
pub(crate) fn start(defect: Option<Defect>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let is_stopped = Arc::new(AtomicBool::new(false));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            if is_stopped.load(Relaxed) {
                return;
            }
            let is_stopped = Arc::clone(&is_stopped);
            thread::spawn(move || {
                // A client that vanishes is nothing wrong with the server.
                if serve(stream, defect).is_err_and(|error| stops(&error, defect)) {
                    is_stopped.store(true, Relaxed);
                }
            });
        }
    });
    address
}

/// Whether this end of a connection ends the server.
fn stops(error: &io::Error, defect: Option<Defect>) -> bool {
    match defect {
        Some(StopsWhenCut) => error.kind() != io::ErrorKind::InvalidInput,
        Some(StopsWhenCutInHandshake) => error.kind() == io::ErrorKind::InvalidInput,
        Some(
            StopsAtFragments | StopsAtMessages | StopsAtPings | StopsBehindClose
            | StopsBehindMistake,
        ) => error.kind() == io::ErrorKind::OutOfMemory,
        _ => false,
    }
}

fn serve(mut stream: TcpStream, defect: Option<Defect>) -> io::Result<()> {
    let has = |wanted| defect == Some(wanted);
    stream.set_nodelay(true)?;
    let Some((head, rest)) = read_head(&mut stream, defect)? else {
        return stream.shutdown(Shutdown::Both);
    };
    if has(SilentHandshake) {
        thread::sleep(FOR_EVER);
    }
    match handshake::answer(&head, defect) {
        Ok(Accepted { response, deflate }) => {
            stream.write_all(response.as_bytes())?;
            Session::new(stream, defect, deflate, rest).run()
        }
        Err(refusal) => {
            stream.write_all(refusal.as_bytes())?;
            stream.shutdown(Shutdown::Write)?;
            drain(&mut stream, DEADLINE);
            Ok(())
        }
    }
}

/// Reads to the end, so that what was written last is not lost in a reset.
pub(crate) fn drain(stream: &mut TcpStream, within: Duration) {
    let _ = stream.set_read_timeout(Some(within));
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
}

/// The head and what came with it; `None` if the connection is to end without a response.
fn read_head(
    stream: &mut TcpStream,
    defect: Option<Defect>,
) -> io::Result<Option<(String, Vec<u8>)>> {
    let has = |wanted| defect == Some(wanted);
    let until = Instant::now() + if has(NoHeadDeadline) { FOR_EVER } else { DEADLINE };
    let most = if has(SmallHead) { 2048 } else { 65_536 };
    let (mut head, mut chunk) = (Vec::new(), [0; 16_384]);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut chunk) {
            Ok(0) => return Err(io::ErrorKind::InvalidInput.into()),
            Ok(count) => head.extend_from_slice(&chunk[..count]),
            Err(error) if is_timeout(&error) => return Ok(None),
            Err(_) => return Err(io::ErrorKind::InvalidInput.into()),
        }
        if has(SmallHead) && head.len() > most {
            stream.write_all(b"HTTP/1.1 431 Too Large\r\nContent-Length: 0\r\n\r\n")?;
            return Ok(None);
        }
        if let Some(at) = head.windows(4).position(|end| end == b"\r\n\r\n") {
            let rest = head.split_off(at + 4);
            return Ok(Some((String::from_utf8_lossy(&head).into_owned(), rest)));
        }
        if has(HeadInOneRead) || head.len() > most && !has(EndlessHead) {
            stream.write_all(b"HTTP/1.1 431 Too Large\r\nContent-Length: 0\r\n\r\n")?;
            stream.shutdown(Shutdown::Write)?;
            drain(stream, DEADLINE);
            return Ok(None);
        }
    }
}

pub(crate) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
