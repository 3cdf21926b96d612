//! The PROXY protocol, versions 1 and 2: a proxy says before the client's first byte who connects.
//!
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>

use std::io;
use std::net::IpAddr;

use proxy_header::{ParseConfig, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt};

/// What a header of version 2 begins with.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The longest header of version 1, and what is taken of version 2: there are some hundred bytes in use.
const MAX_V1: usize = 107;
const MAX_V2: usize = 4096;

/// What a proxy says of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announced {
    /// Who connects; `None` if it is the proxy itself, or not known to it.
    pub client: Option<IpAddr>,
    /// Whether the client came by TLS, if that is said.
    pub is_secure: Option<bool>,
}

/// Reads the header, and nothing of what follows.
///
/// # Errors
///
/// [`InvalidData`](io::ErrorKind::InvalidData) if there is none; those of reading.
pub async fn read(io: &mut (impl AsyncRead + Unpin)) -> io::Result<Announced> {
    let mut header = vec![0; SIGNATURE.len()];
    io.read_exact(&mut header).await?;
    match () {
        () if header == SIGNATURE => read_v2(io, &mut header).await?,
        () if header.starts_with(b"PROXY ") => read_v1(io, &mut header).await?,
        () => return Err(malformed("it begins with something else")),
    }
    parse(&header)
}

/// Byte by byte, for what follows the line is not to be read.
async fn read_v1(io: &mut (impl AsyncRead + Unpin), header: &mut Vec<u8>) -> io::Result<()> {
    while header.last() != Some(&b'\n') {
        if header.len() == MAX_V1 {
            return Err(malformed("its line is too long"));
        }
        header.push(io.read_u8().await?);
    }
    Ok(())
}

async fn read_v2(io: &mut (impl AsyncRead + Unpin), header: &mut Vec<u8>) -> io::Result<()> {
    let mut rest = [0; 4];
    io.read_exact(&mut rest).await?;
    let [.., high, low] = rest;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > MAX_V2 {
        return Err(malformed("it is too long"));
    }
    header.extend_from_slice(&rest);
    let begin = header.len();
    header.resize(begin + length, 0);
    io.read_exact(&mut header[begin..]).await?;
    Ok(())
}

fn parse(header: &[u8]) -> io::Result<Announced> {
    let parsed = ProxyHeader::parse(header, ParseConfig::default());
    let (parsed, length) = parsed.map_err(|error| malformed(&error.to_string()))?;
    if length != header.len() {
        return Err(malformed("it is longer than it says"));
    }
    Ok(Announced {
        client: parsed.proxied_address().map(|addresses| addresses.source.ip()),
        is_secure: parsed.ssl().map(|ssl| ssl.client_ssl()),
    })
}

fn malformed(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("no header of the PROXY protocol: {why}"))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use proptest::prelude::*;

    use super::*;

    /// What is read, and what is left.
    fn look(bytes: &[u8]) -> (io::Result<Announced>, usize) {
        let mut rest = bytes;
        let read = read(&mut rest).now_or_never().expect("bytes do not wait");
        (read, rest.len())
    }

    fn client(bytes: &[u8]) -> Option<String> {
        look(bytes).0.unwrap().client.map(|client| client.to_string())
    }

    /// A header of version 2 with this command, family and rest.
    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &length, rest].concat()
    }

    const V4: [u8; 12] = [203, 0, 113, 9, 10, 0, 0, 1, 1, 2, 3, 4];

    #[test]
    fn a_proxy_names_its_client_in_a_line() {
        let line = b"PROXY TCP4 203.0.113.9 10.0.0.1 56324 443\r\nGET /";
        assert_eq!((client(line).as_deref(), look(line).1), (Some("203.0.113.9"), 5));
        let line = b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n";
        assert_eq!(client(line).as_deref(), Some("2001:db8::1"));
        assert_eq!(client(b"PROXY UNKNOWN\r\n"), None);
        assert_eq!(client(b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n"), None);
    }

    #[test]
    fn a_proxy_names_its_client_in_bytes() {
        assert_eq!(client(&v2(0x21, 0x11, &V4)).as_deref(), Some("203.0.113.9"));
        let v6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[1], &[0; 20]].concat();
        assert_eq!(client(&v2(0x21, 0x21, &v6)).as_deref(), Some("2001:db8::1"));
        assert_eq!(client(&v2(0x20, 0, &[])), None, "LOCAL: the proxy looks whether we live");
        assert_eq!(client(&v2(0x21, 0x31, &[0; 216])), None, "a Unix socket");
        // PP2_TYPE_SSL, of which the lowest bit says that it was TLS.
        let tls = [&V4[..], &[0x20, 0, 5, 1, 0, 0, 0, 0]].concat();
        assert_eq!(look(&v2(0x21, 0x11, &tls)).0.unwrap().is_secure, Some(true));
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let long = [b"PROXY TCP4 ".as_slice(), &[b'1'; 200], b"\r\n"].concat();
        let bad: [&[u8]; 7] = [
            b"GET / HTTP/1.1\r\n\r\n",
            b"PROXY TCP4 203.0.113.9\r\n",
            b"PROXY TCP4 a b 1 2\r\n......",
            b"PROXY TCP9 203.0.113.9 10.0.0.1 1 2\r\n",
            &long,
            &v2(0x31, 0x11, &V4),
            &v2(0x21, 0x11, &V4[..4]),
        ];
        for bytes in bad {
            assert_eq!(look(bytes).0.unwrap_err().kind(), io::ErrorKind::InvalidData, "{bytes:?}");
        }
        let breaks_off = look(&v2(0x21, 0x11, &V4)[..20]).0.unwrap_err();
        assert_eq!(breaks_off.kind(), io::ErrorKind::UnexpectedEof);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in any::<Vec<u8>>(), begin in 0..3_usize) {
            let begin: &[u8] = [&b""[..], b"PROXY TCP4 ", SIGNATURE][begin];
            let _ = look(&[begin, &bytes].concat());
        }

        /// Of what follows a header nothing is taken.
        #[test]
        fn nothing_else_is_read(rest in any::<Vec<u8>>(), address in any::<[u8; 4]>(), port in any::<u16>()) {
            let address = IpAddr::from(address);
            let line = format!("PROXY TCP4 {address} 10.0.0.1 {port} 443\r\n");
            let (read, left) = look(&[line.as_bytes(), &rest].concat());
            prop_assert_eq!((read.unwrap().client, left), (Some(address), rest.len()));
        }
    }
}
