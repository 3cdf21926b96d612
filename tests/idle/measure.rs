//! `cargo xtask idle`: the memory that an idle connection costs `sockeye echo`.

use std::io::Write as _;

use sockeye_tests::idle;
use sockeye_tests::program::Sockeye;

fn main() -> std::io::Result<()> {
    let argument = std::env::args().nth(1);
    let connections = argument.and_then(|count| count.parse().ok()).unwrap_or(10_000);
    idle::raise_file_limit(connections);
    let server = Sockeye::echo(&[]);
    let before = server.resident_bytes();
    let mut peers = idle::open(server.address(), connections);
    let idle = server.resident_bytes();
    for peer in &mut peers {
        peer.echo(&"x".repeat(1024));
    }
    let used = server.resident_bytes();
    let each = |after: u64| after.saturating_sub(before) / connections as u64;
    let mut out = std::io::stdout();
    writeln!(out, "{connections} connections; the server alone: {} KiB", before / 1024)?;
    writeln!(out, "each, never used: {} bytes", each(idle))?;
    writeln!(out, "each, after a message of 1 KiB: {} bytes", each(used))
}
