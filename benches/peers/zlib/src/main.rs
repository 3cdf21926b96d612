//! The servers that insist on the C zlib; a program of their own, because in one with the others
//! flate2 would give it to them all, and they are faster with zlib-rs.

mod ratchet;
#[path = "../../src/serve.rs"]
mod serve;
mod soketto;

use std::io;

fn main() -> io::Result<()> {
    let name = std::env::args().nth(1).unwrap_or_default();
    match name.as_str() {
        "ratchet" => serve::serve(ratchet::echo),
        "ratchet-deflate" => serve::serve(ratchet::echo_compressed),
        "soketto" => serve::serve(soketto::echo),
        "soketto-deflate" => serve::serve(soketto::echo_compressed),
        _ => {
            eprintln!("usage: sockeye-peers-zlib NAME; the names are in src/main.rs");
            std::process::exit(2);
        }
    }
}
