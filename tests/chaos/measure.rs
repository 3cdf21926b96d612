//! `cargo xtask chaos`: as many messages and faults as asked for, again and again for as long as
//! asked for.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use sockeye_tests::away;
use sockeye_tests::chaos::{self, Fault, Ground, Language, Plan};

/// Arguments: `disk` or `cluster`, the languages of clients with commas between them, messages, readers, listeners, kills of a disk's
/// server, seconds, and a seed if the random one is not wanted.
fn main() -> std::io::Result<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    let is_cluster = arguments.next().is_some_and(|ground| ground == "cluster");
    let words = arguments.next().unwrap_or_default();
    let languages = words.split(',').map(str::parse).collect::<Result<Vec<Language>, _>>();
    let numbers: Vec<u64> = arguments.filter_map(|argument| argument.parse().ok()).collect();
    let (Ok(languages), &[messages, hoppers, audience, kills, seconds, ref seed @ ..]) =
        (languages, numbers.as_slice())
    else {
        panic!(
            "usage: chaos disk|cluster rust,javascript,python MESSAGES READERS AUDIENCE KILLS SECONDS [SEED]"
        );
    };
    if is_cluster {
        away::without_servers(Duration::from_secs(60));
        writeln!(
            std::io::stdout(),
            "a minute without servers of NATS: every transport stayed and went on"
        )?;
    }
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let mut seed = seed.first().copied().unwrap_or_else(rand::random);
    loop {
        let data = tempfile::tempdir()?;
        let ground = match is_cluster {
            true => Ground::Cluster(Fault::ALL.to_vec()),
            false => Ground::Disk { data: data.path().to_owned(), kills: kills as usize },
        };
        writeln!(std::io::stdout(), "seed {seed}")?;
        let languages = languages.clone();
        let plan = Plan { seed, messages, hoppers, audience, languages, ..Plan::full(ground) };
        let report = chaos::run(&plan);
        writeln!(std::io::stdout(), "{report}\n")?;
        if !report.findings.is_sound() {
            return Ok(ExitCode::FAILURE);
        }
        if Instant::now() >= deadline {
            return Ok(ExitCode::SUCCESS);
        }
        seed = seed.wrapping_add(1);
    }
}
