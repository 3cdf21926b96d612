//! `cargo xtask chaos`: as many messages and kills as asked for, again and again for as long as
//! asked for.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use sockeye_tests::chaos::{self, Plan};

/// Arguments: messages, kills, seconds, and a seed if the random one is not wanted.
fn main() -> std::io::Result<ExitCode> {
    let numbers: Vec<u64> =
        std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let &[messages, kills, seconds, ref seed @ ..] = numbers.as_slice() else {
        panic!("usage: chaos MESSAGES KILLS SECONDS [SEED]");
    };
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let mut seed = seed.first().copied().unwrap_or_else(rand::random);
    loop {
        let data = tempfile::tempdir()?;
        let path = data.path().to_owned();
        let plan = Plan { seed, messages, kills, publishers: 32, hoppers: 8, data: path };
        let report = chaos::run(&plan);
        writeln!(std::io::stdout(), "{report}\n")?;
        if !report.verdict.is_sound() {
            return Ok(ExitCode::FAILURE);
        }
        if Instant::now() >= deadline {
            return Ok(ExitCode::SUCCESS);
        }
        seed = seed.wrapping_add(1);
    }
}
