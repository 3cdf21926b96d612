//! WebSockets without tokio: the protocol core on plain threads and `std::net`.
//!
//!     cargo run -p sockeye-examples --example blocking
//!
//! A server in one thread, a client in another; both are driven by the same few lines, `Socket`.
//! `docs/library/proto-without-tokio.md` explains them.

use std::{
    error::Error,
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use bytes::{Buf, BytesMut};
use http::HeaderMap;
use sockeye_proto::{
    CloseCode, Config, Connection, Event, Message, TransportState,
    handshake::{
        ClientHandshake, ClientRequest, HeadLimits, Offer, ServerHandshake, encode_response,
    },
};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = thread::spawn(move || serve_one(&listener));

    let mut socket = Socket::connect(&address.to_string(), "/")?;
    socket.connection.send(Message::from("hello"))?;
    while let Some(event) = socket.next()? {
        match event {
            Event::Message(message) => {
                println!("the client got {message:?}");
                socket.connection.close(Some(CloseCode::NORMAL.into()), socket.began.elapsed());
            }
            Event::Closed(closed) => println!("the client: {closed}"),
            // Parts come only where they are asked for.
            Event::Part(_) | Event::Ping(_) | Event::Pong(_) => {}
        }
    }
    server.join().map_err(|_| "the server panicked")?
}

/// Accepts one client and sends every message back.
fn serve_one(listener: &TcpListener) -> Result<()> {
    let (stream, _) = listener.accept()?;
    let mut socket = Socket::accept(stream)?;
    while let Some(event) = socket.next()? {
        match event {
            Event::Message(message) => socket.connection.send(message)?,
            Event::Closed(closed) => println!("the server: {closed}"),
            Event::Part(_) | Event::Ping(_) | Event::Pong(_) => {}
        }
    }
    Ok(())
}

/// A connection with the transport below it, and what was received but not understood yet.
struct Socket {
    stream: TcpStream,
    connection: Connection,
    /// What the connection's time counts from.
    began: Instant,
    input: BytesMut,
}

/// How long the other end may take for its part of the handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

impl Socket {
    /// The client's handshake: send the request, read the response.
    fn connect(host: &str, target: &str) -> Result<Self> {
        let mut stream = TcpStream::connect(host)?;
        stream.set_nodelay(true)?;
        let request = ClientRequest::new(host.parse()?, target.parse()?);
        let mut handshake = ClientHandshake::new(request, random()?)?;
        stream.write_all(handshake.request())?;

        let mut input = BytesMut::new();
        let deadline = Instant::now() + HANDSHAKE_TIMEOUT;
        while handshake.poll_response(&mut input)?.is_none() {
            read_head(&mut stream, &mut input, deadline)?;
        }
        // RFC 6455 §10.3: keys that cannot be predicted. Without them the process ends.
        let masks = || random().expect("the system has random numbers");
        let connection = Connection::client(Config::default(), Box::new(masks), Duration::ZERO);
        Ok(Self { stream, connection, began: Instant::now(), input })
    }

    /// The server's handshake: read the request, answer it.
    fn accept(mut stream: TcpStream) -> Result<Self> {
        stream.set_nodelay(true)?;
        let mut handshake = ServerHandshake::new(HeadLimits::default());
        let mut input = BytesMut::new();
        let deadline = Instant::now() + HANDSHAKE_TIMEOUT;
        let offer = loop {
            // A refusal is an answer too: it says in HTTP what was wrong.
            match handshake.poll_request(&mut input) {
                Ok(None) => read_head(&mut stream, &mut input, deadline)?,
                Ok(Some(request)) => break Offer::from_request(&request),
                Err(refusal) => break Err(refusal),
            }
        };
        let offer = match offer {
            Ok(offer) => offer,
            Err(refusal) => {
                stream.write_all(&refusal.encode())?;
                return Err(refusal.text().into());
            }
        };
        let response = offer.accept(None, HeaderMap::new())?;
        stream.write_all(&encode_response(&response.map(|()| "")))?;
        let connection = Connection::server(Config::default(), Duration::ZERO);
        Ok(Self { stream, connection, began: Instant::now(), input })
    }

    /// The next event; `None` once the transport is at its end. Call it until then, also after
    /// `Event::Closed`: it is what brings the connection to a good end.
    fn next(&mut self) -> io::Result<Option<Event>> {
        loop {
            if let Some(event) = self.connection.poll_event(&mut self.input, self.began.elapsed()) {
                return Ok(Some(event));
            }
            self.write()?;
            match self.connection.transport() {
                TransportState::Open => {}
                // Doing it again does no harm; what still comes is read and thrown away.
                TransportState::HalfClose => drop(self.stream.shutdown(Shutdown::Write)),
                TransportState::Close => return Ok(None),
            }
            self.read()?;
        }
    }

    /// Writes all that is queued: messages, and the pongs and the Close that the application did not ask for.
    fn write(&mut self) -> io::Result<()> {
        while self.connection.transmit().has_remaining() {
            let outbox = self.connection.transmit();
            let written = self.stream.write(outbox.chunk())?;
            outbox.advance(written);
        }
        Ok(())
    }

    /// Waits for bytes, the end, or the next deadline, whichever comes first.
    fn read(&mut self) -> io::Result<()> {
        let now = self.began.elapsed();
        let wait = self.connection.poll_timeout().map(|at| at.saturating_sub(now));
        if wait == Some(Duration::ZERO) {
            self.connection.handle_timeout(now);
            return Ok(());
        }
        self.stream.set_read_timeout(wait)?;
        let mut chunk = [0; 16 << 10];
        match self.stream.read(&mut chunk) {
            Ok(0) => self.connection.handle_eof(self.began.elapsed()),
            Ok(count) => self.input.extend_from_slice(&chunk[..count]),
            // The time is up: the next round looks at the deadline.
            Err(error) if is_timeout(&error) || error.kind() == ErrorKind::Interrupted => {}
            // A reset is an end as well; how it counts is the connection's to say.
            Err(_) => self.connection.handle_eof(self.began.elapsed()),
        }
        Ok(())
    }
}

/// Reads a little more of a head that must be there by the deadline.
fn read_head(stream: &mut TcpStream, input: &mut BytesMut, deadline: Instant) -> io::Result<()> {
    let left = deadline.duration_since(Instant::now());
    if left.is_zero() {
        return Err(ErrorKind::TimedOut.into());
    }
    stream.set_read_timeout(Some(left))?;
    let mut chunk = [0; 4 << 10];
    match stream.read(&mut chunk)? {
        0 => Err(ErrorKind::UnexpectedEof.into()),
        count => {
            input.extend_from_slice(&chunk[..count]);
            Ok(())
        }
    }
}

/// Systems differ in what they call it.
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Bytes from the system's generator.
fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes)
}
