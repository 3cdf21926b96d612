//! The PROXY protocol, versions 1 and 2: before the client's first byte a proxy says which address connects.
//!
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>

use std::io;
use std::net::IpAddr;

use proxy_header::{ParseConfig, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt};

/// What a header of version 2 begins with.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The longest header of version 1, and the longest accepted of version 2: some hundred bytes are
/// usual.
const MAX_V1: usize = 107;
const MAX_V2: usize = 4096;

/// What a proxy says of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announced {
    /// The client's address; `None` if the proxy itself connects, or does not know it.
    pub client: Option<IpAddr>,
    /// Whether the client came by TLS, if that is said.
    pub is_secure: Option<bool>,
}

/// Reads the header, and nothing of what follows.
///
/// # Errors
///
/// [`InvalidData`](io::ErrorKind::InvalidData) if there is none; errors of reading.
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

/// Byte by byte, for nothing after the line may be read.
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
    if !is_intact(header) {
        return Err(malformed("its checksum is wrong"));
    }
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

/// The type of the field with the checksum (PP2_TYPE_CRC32C).
const CHECKSUM: u8 = 0x03;

/// Whether a header of version 2 has the checksum that it says, if it says one (PROXY protocol §2.2.3).
fn is_intact(header: &[u8]) -> bool {
    let [family, ..] = header.get(SIGNATURE.len() + 1..).unwrap_or_default() else { return true };
    if !header.starts_with(SIGNATURE) {
        return true;
    }
    let addresses = match family >> 4 {
        1 => 12,
        2 => 36,
        3 => 216,
        _ => 0,
    };
    let mut at = SIGNATURE.len() + 4 + addresses;
    while let Some([kind, high, low]) = header.get(at..at + 3) {
        let (begin, length) = (at + 3, usize::from(u16::from_be_bytes([*high, *low])));
        at = begin + length;
        if *kind == CHECKSUM {
            let Some(told) = header.get(begin..at).and_then(|told| told.try_into().ok()) else {
                return false;
            };
            let mut zeroed = header.to_vec();
            zeroed[begin..at].fill(0);
            return crc32c(&zeroed) == u32::from_be_bytes(told);
        }
    }
    true
}

/// CRC-32C (RFC 9260 Appendix A). Bit by bit: a header has some hundred bytes, and few have a checksum.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            let polynomial = if crc & 1 == 1 { 0x82F6_3B78 } else { 0 };
            crc >> 1 ^ polynomial
        })
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

    /// What was parsed, and how many bytes are left.
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
        // PP2_TYPE_SSL; its lowest bit says that the client used TLS.
        let tls = [&V4[..], &[0x20, 0, 5, 1, 0, 0, 0, 0]].concat();
        assert_eq!(look(&v2(0x21, 0x11, &tls)).0.unwrap().is_secure, Some(true));
    }

    /// The check value of CRC-32C, and a header whose checksum is right, wrong, or not one.
    #[test]
    fn a_header_with_a_wrong_checksum_is_refused() {
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        for (family, addresses) in [(0x11, &V4[..]), (0x21, &[1; 36]), (0, &[])] {
            let noop = [0x04, 0, 2, 0, 0];
            let with = |told: &[u8]| {
                let length = u8::try_from(told.len()).unwrap();
                v2(0x21, family, &[addresses, &noop, &[3, 0, length], told].concat())
            };
            let right = crc32c(&with(&[0; 4]));
            assert!(look(&with(&right.to_be_bytes())).0.is_ok(), "{family}");
            for wrong in [&(right ^ 1).to_be_bytes()[..], &[0; 4], &[], &right.to_be_bytes()[..3]] {
                let refused = look(&with(wrong)).0.unwrap_err();
                assert_eq!(refused.kind(), io::ErrorKind::InvalidData, "{family} {wrong:?}");
            }
        }
    }

    #[test]
    fn bytes_that_are_not_a_header_are_refused() {
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

        /// Nothing after the header is consumed.
        #[test]
        fn nothing_else_is_read(rest in any::<Vec<u8>>(), address in any::<[u8; 4]>(), port in any::<u16>()) {
            let address = IpAddr::from(address);
            let line = format!("PROXY TCP4 {address} 10.0.0.1 {port} 443\r\n");
            let (read, left) = look(&[line.as_bytes(), &rest].concat());
            prop_assert_eq!((read.unwrap().client, left), (Some(address), rest.len()));
        }
    }
}
