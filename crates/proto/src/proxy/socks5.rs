//! SOCKS5: asks a proxy for a connection (RFC 1928), with name and password (RFC 1929).

use core::{fmt, net::IpAddr};

use bytes::{Buf, BufMut, BytesMut};

use super::Credentials;

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const PASSWORD: u8 = 2;
const CONNECT: u8 = 1;

/// Where a SOCKS5 proxy is to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Socks5Target {
    /// An address.
    Ip(IpAddr),
    /// A name of 1 to 255 bytes that the proxy looks up.
    Name(String),
}

/// Opens a connection through a SOCKS5 proxy, from the client's side.
///
/// ```
/// use bytes::BytesMut;
/// use sockeye_proto::proxy::{Socks5, Socks5Target};
///
/// let target = Socks5Target::Name("example.org".to_owned());
/// let mut socks = Socks5::new(target, 80, None)?;
/// let (mut input, mut output) = (BytesMut::new(), BytesMut::new());
/// assert!(!socks.poll(&mut input, &mut output)?);
/// assert_eq!(output[..], [5, 1, 0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Socks5 {
    target: Socks5Target,
    port: u16,
    credentials: Option<Credentials>,
    waits_for: Step,
}

/// What the proxy has to say next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Nothing: we speak first.
    Nothing,
    Method,
    AuthenticationReply,
    Reply,
}

impl Socks5 {
    /// Asks for a connection to this target and port.
    ///
    /// # Errors
    ///
    /// When the name of the target, the user or the password has not 1 to 255 bytes.
    pub fn new(
        target: Socks5Target,
        port: u16,
        credentials: Option<Credentials>,
    ) -> Result<Self, InvalidSocks5> {
        let fits = |bytes: &[u8]| (1..=255).contains(&bytes.len());
        if matches!(&target, Socks5Target::Name(name) if !fits(name.as_bytes())) {
            return Err(InvalidSocks5::Name);
        }
        if credentials.as_ref().is_some_and(|known| !fits(&known.user) || !fits(&known.password)) {
            return Err(InvalidSocks5::Credentials);
        }
        Ok(Self { target, port, credentials, waits_for: Step::Nothing })
    }

    /// Takes in what has arrived and puts out what is to be sent; `true` once the connection is open:
    /// what is left in `input` then comes from the target.
    ///
    /// Call it first with an empty input, then after appending more bytes. An error is final.
    ///
    /// # Errors
    ///
    /// When the proxy refuses, or does not speak SOCKS5.
    pub fn poll(
        &mut self,
        input: &mut BytesMut,
        output: &mut BytesMut,
    ) -> Result<bool, Socks5Error> {
        loop {
            self.waits_for = match self.waits_for {
                Step::Nothing => {
                    self.greet(output);
                    Step::Method
                }
                Step::Method => {
                    let Some([version, method]) = take(input) else { return Ok(false) };
                    self.answer_method(version, method, output)?
                }
                Step::AuthenticationReply => {
                    // The version of the sub-negotiation, then 0 for success (RFC 1929 §2).
                    let Some([_, status]) = take(input) else { return Ok(false) };
                    if status != 0 {
                        return Err(Socks5Error::Credentials);
                    }
                    self.ask(output);
                    Step::Reply
                }
                Step::Reply => return poll_reply(input),
            };
        }
    }

    fn greet(&self, output: &mut BytesMut) {
        match self.credentials {
            None => output.put_slice(&[VERSION, 1, NO_AUTHENTICATION]),
            Some(_) => output.put_slice(&[VERSION, 2, NO_AUTHENTICATION, PASSWORD]),
        }
    }

    fn answer_method(
        &self,
        version: u8,
        method: u8,
        output: &mut BytesMut,
    ) -> Result<Step, Socks5Error> {
        if version != VERSION {
            return Err(Socks5Error::Version(version));
        }
        match (method, &self.credentials) {
            (NO_AUTHENTICATION, _) => {
                self.ask(output);
                Ok(Step::Reply)
            }
            (PASSWORD, Some(Credentials { user, password })) => {
                output.put_u8(1);
                put_short(user, output);
                put_short(password, output);
                Ok(Step::AuthenticationReply)
            }
            _ => Err(Socks5Error::Method),
        }
    }

    fn ask(&self, output: &mut BytesMut) {
        output.put_slice(&[VERSION, CONNECT, 0]);
        match &self.target {
            Socks5Target::Ip(IpAddr::V4(address)) => {
                output.put_u8(1);
                output.put_slice(&address.octets());
            }
            Socks5Target::Ip(IpAddr::V6(address)) => {
                output.put_u8(4);
                output.put_slice(&address.octets());
            }
            Socks5Target::Name(name) => {
                output.put_u8(3);
                put_short(name.as_bytes(), output);
            }
        }
        output.put_u16(self.port);
    }
}

/// The reply, with the address that the proxy connected from, which is of no interest but to be
/// read to its last byte.
fn poll_reply(input: &mut BytesMut) -> Result<bool, Socks5Error> {
    if let Some(&version) = input.first().filter(|&&version| version != VERSION) {
        return Err(Socks5Error::Version(version));
    }
    if let Some(&code) = input.get(1).filter(|&&code| code != 0) {
        return Err(Socks5Error::Refused(Reply(code)));
    }
    let address = match (input.get(3), input.get(4)) {
        (Some(1), _) => 4,
        (Some(4), _) => 16,
        (Some(3), Some(&length)) => 1 + usize::from(length),
        (Some(3) | None, None) => return Ok(false),
        (Some(&kind), _) => return Err(Socks5Error::AddressType(kind)),
        (None, Some(_)) => return Ok(false),
    };
    let length = 4 + address + 2;
    if input.len() < length {
        return Ok(false);
    }
    input.advance(length);
    Ok(true)
}

fn take<const N: usize>(input: &mut BytesMut) -> Option<[u8; N]> {
    let taken = *input.first_chunk()?;
    input.advance(N);
    Some(taken)
}

/// At most 255 bytes, their number first.
fn put_short(bytes: &[u8], output: &mut BytesMut) {
    // Checked when this was made.
    output.put_u8(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
    output.put_slice(bytes);
}

/// What was asked for cannot be expressed in SOCKS5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSocks5 {
    /// A name or password that is empty or too long (RFC 1929 §2).
    #[error("a name and a password for a SOCKS5 proxy must have 1 to 255 bytes")]
    Credentials,
    /// A host's name that is empty or too long (RFC 1928 §5).
    #[error("the name of a host must have 1 to 255 bytes for a SOCKS5 proxy")]
    Name,
}

/// The proxy does not open a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Socks5Error {
    /// An address of a type that SOCKS5 does not have.
    #[error("its answer has an address of the unknown type {0}")]
    AddressType(u8),
    /// It does not know this name with this password.
    #[error("it does not accept name and password")]
    Credentials,
    /// It wants to be spoken to in another way: with name and password, if there were none.
    #[error("it requires another authentication method than was offered")]
    Method,
    /// It was asked and does not connect.
    #[error("{0}")]
    Refused(Reply),
    /// Not SOCKS5.
    #[error("it does not speak SOCKS5: its version is {0}")]
    Version(u8),
}

/// Why a proxy does not connect (RFC 1928 §6): the code of its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply(pub u8);

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            1 => "it failed",
            2 => "its rules do not allow the connection",
            3 => "the network cannot be reached from it",
            4 => "the host cannot be reached from it",
            5 => "the host refuses the connection",
            6 => "the connection took too many hops",
            7 => "it cannot connect, only other things",
            8 => "it does not understand this type of address",
            code => return write!(f, "it refuses with the unknown code {code}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> Socks5Target {
        Socks5Target::Name("h.example".to_owned())
    }

    fn known() -> Option<Credentials> {
        Some(Credentials { user: b"ann".to_vec(), password: b"pass".to_vec() })
    }

    /// What is sent to a proxy that sends this, and the outcome.
    fn talk(mut socks: Socks5, proxy: &[u8]) -> (Vec<u8>, Result<bool, Socks5Error>, BytesMut) {
        let (mut input, mut output) = (BytesMut::new(), BytesMut::new());
        let mut result = socks.poll(&mut input, &mut output);
        for &byte in proxy {
            if result != Ok(false) {
                input.put_u8(byte);
                continue;
            }
            input.put_u8(byte);
            result = socks.poll(&mut input, &mut output);
        }
        (output.to_vec(), result, input)
    }

    /// Rule: X9.
    #[test]
    fn without_credentials_only_the_method_without_is_offered() {
        let (said, ..) = talk(Socks5::new(name(), 80, None).unwrap(), b"");
        assert_eq!(said, [5, 1, 0]);
        let (said, ..) = talk(Socks5::new(name(), 80, known()).unwrap(), b"");
        assert_eq!(said, [5, 2, 0, 2]);
        let (_, result, _) = talk(Socks5::new(name(), 80, None).unwrap(), &[5, 0xff]);
        assert_eq!(result, Err(Socks5Error::Method));
        let (_, result, _) = talk(Socks5::new(name(), 80, None).unwrap(), &[5, 2]);
        assert_eq!(result, Err(Socks5Error::Method));
        let (_, result, _) = talk(Socks5::new(name(), 80, None).unwrap(), b"HTTP/1.1 400");
        assert_eq!(result, Err(Socks5Error::Version(b'H')));
    }

    /// Rule: X10.
    #[test]
    fn name_and_password_are_given_when_asked_for() {
        let (said, ..) = talk(Socks5::new(name(), 80, known()).unwrap(), &[5, 2]);
        assert_eq!(said[4..], *b"\x01\x03ann\x04pass");
        let (_, result, _) = talk(Socks5::new(name(), 80, known()).unwrap(), &[5, 2, 1, 1]);
        assert_eq!(result, Err(Socks5Error::Credentials));
        for length in [0, 256] {
            let credentials = Credentials { user: vec![b'a'; length], password: b"b".to_vec() };
            let refused = Socks5::new(name(), 80, Some(credentials));
            assert_eq!(refused.unwrap_err(), InvalidSocks5::Credentials);
        }
    }

    /// Rule: X11.
    #[test]
    fn the_target_is_a_name_or_an_address() {
        let cases = [
            (name(), &b"\x05\x01\x00\x03\x09h.example\x00\x50"[..]),
            (Socks5Target::Ip([127, 0, 0, 1].into()), b"\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50"),
            (
                Socks5Target::Ip([0, 0, 0, 0, 0, 0, 0, 1].into()),
                b"\x05\x01\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x50",
            ),
        ];
        for (target, request) in cases {
            let (said, ..) = talk(Socks5::new(target, 80, None).unwrap(), &[5, 0]);
            assert_eq!(said[3..], *request);
        }
        let long = Socks5Target::Name("a".repeat(256));
        assert_eq!(Socks5::new(long, 80, None).unwrap_err(), InvalidSocks5::Name);
    }

    /// Rule: X12.
    #[test]
    fn each_reply_is_told_apart() {
        let texts: Vec<String> = (1..=9)
            .map(|code| {
                let socks = Socks5::new(name(), 80, None).unwrap();
                let (_, result, _) = talk(socks, &[5, 0, 5, code]);
                assert_eq!(result, Err(Socks5Error::Refused(Reply(code))));
                Reply(code).to_string()
            })
            .collect();
        for (i, text) in texts.iter().enumerate() {
            assert!(!texts[..i].contains(text), "{text}");
        }
    }

    /// Rule: X13.
    #[test]
    fn the_reply_is_read_to_its_last_byte_whatever_address_it_has() {
        for address in [&b"\x01aaaa"[..], b"\x04aaaaaaaaaaaaaaaa", b"\x03\x00", b"\x03\x05aaaaa"] {
            let proxy = [&[5, 0, 5, 0, 0], address, &[0, 80], b"first bytes"].concat();
            let (_, result, left) = talk(Socks5::new(name(), 80, None).unwrap(), &proxy);
            assert_eq!((result, &left[..]), (Ok(true), &b"first bytes"[..]));
        }
        let (_, result, _) = talk(Socks5::new(name(), 80, None).unwrap(), &[5, 0, 5, 0, 0, 9]);
        assert_eq!(result, Err(Socks5Error::AddressType(9)));
    }
}
