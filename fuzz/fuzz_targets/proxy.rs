//! What proxies answer: any bytes open a tunnel or give one error, however they are cut, and what
//! follows the answer belongs to the tunnel.
#![no_main]

use arbitrary::Arbitrary;
use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use sockeye_proto::proxy::{Credentials, HttpConnect, Socks5, Socks5Target};

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    /// What the proxy says before anything else, to come closer to a good end.
    beginning: Beginning,
    answer: &'a [u8],
    credentials: Option<(&'a str, &'a str)>,
    name: Option<&'a str>,
    cut: u8,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Beginning {
    Nothing,
    Success,
    NoAuthentication,
    Password,
    Connected,
}

impl Beginning {
    fn bytes(self) -> &'static [u8] {
        match self {
            Self::Nothing => b"",
            Self::Success => b"HTTP/1.1 200 OK\r\n",
            Self::NoAuthentication => b"\x05\x00",
            Self::Password => b"\x05\x02\x01\x00",
            Self::Connected => b"\x05\x00\x05\x00\x00\x03",
        }
    }
}

/// How it ended, with what was left in the input: `None` if it wants more. And what was said.
type Outcome = (Option<Result<Vec<u8>, String>>, Vec<u8>);

/// Feeds the bytes in pieces of `cut` to one side of the conversation.
fn converse(
    bytes: &[u8],
    cut: usize,
    mut poll: impl FnMut(&mut BytesMut, &mut BytesMut) -> Result<bool, String>,
) -> Outcome {
    let (mut input, mut output) = (BytesMut::new(), BytesMut::new());
    let mut pieces = bytes.chunks(cut);
    loop {
        match poll(&mut input, &mut output) {
            Ok(true) => {
                let later: Vec<u8> = pieces.flatten().copied().collect();
                return (Some(Ok([&input[..], &later].concat())), output.to_vec());
            }
            Ok(false) => {}
            Err(error) => return (Some(Err(error)), output.to_vec()),
        }
        let Some(piece) = pieces.next() else { return (None, output.to_vec()) };
        input.extend_from_slice(piece);
    }
}

fn http(bytes: &[u8], cut: usize, credentials: Option<&Credentials>) -> Outcome {
    let mut connect = HttpConnect::new(&"h.example:443".parse().expect("a host"), credentials);
    let ends = connect.request().windows(4).filter(|window| window == b"\r\n\r\n").count();
    assert_eq!(ends, 1, "the request is one head");
    converse(bytes, cut, |input, _| match connect.poll_response(input) {
        Ok(response) => {
            assert!(response.as_ref().is_none_or(|response| response.status().is_success()));
            Ok(response.is_some())
        }
        Err(error) => Err(error.to_string()),
    })
}

fn socks(bytes: &[u8], cut: usize, target: &Socks5Target, known: Option<&Credentials>) -> Outcome {
    let Ok(mut socks) = Socks5::new(target.clone(), 443, known.cloned()) else {
        return (None, Vec::new());
    };
    converse(bytes, cut, |input, output| {
        socks.poll(input, output).map_err(|error| error.to_string())
    })
}

fuzz_target!(|input: Input<'_>| {
    let bytes = [input.beginning.bytes(), input.answer].concat();
    let whole = bytes.len().max(1);
    let credentials = input.credentials.map(|(user, password)| Credentials {
        user: user.as_bytes().to_vec(),
        password: password.as_bytes().to_vec(),
    });
    let target = match input.name {
        Some(name) => Socks5Target::Name(name.to_owned()),
        None => Socks5Target::Ip([192, 0, 2, 1].into()),
    };
    for cut in [1, 1 + usize::from(input.cut)] {
        let known = credentials.as_ref();
        assert_eq!(http(&bytes, cut, known), http(&bytes, whole, known));
        let told = socks(&bytes, cut, &target, known);
        assert_eq!(told, socks(&bytes, whole, &target, known));
        // A greeting, a name and a password, a request: nothing more is ever said.
        assert!(told.1.len() <= 4 + 513 + 262);
        if let (Some(Ok(left)), _) = told {
            assert!(bytes.ends_with(&left), "what follows is the tunnel's");
        }
    }
});
