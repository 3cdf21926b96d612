//! `sockeye check`: is that WebSocket server, or client, correct?

mod client;
mod colours;
mod files;
mod progress;
mod server;

use std::{collections::HashSet, fmt::Display, path::PathBuf, process::ExitCode};

use anyhow::anyhow;
use clap::Args;
use sockeye_check::{CheckError, Options, Report, Role, chapters};

use crate::{
    errors::usage::WrongUsage,
    flags::certificate::Certificate,
    flags::request::{Request, url},
    flags::route::Route,
    flags::units::{Time, deadline, listen_address, number},
    terminal::output::{complain, complain_at_the_end, print_as_it_is, print_line},
};

/// Check a WebSocket server, or with --listen a client, against every rule of its standards
///
/// Each case sends something, right or wrong, and looks at what comes: several hundred of RFC 6455
/// and RFC 7692, side by side, each twice before it is called a fault. "broken" is against a MUST,
/// "loose" against a SHOULD or lenient where a strict peer is safer, "info" what the peer does where
/// it is free. Messages are judged on servers that echo; whether this one does, and whether it
/// compresses, is found out first. It exits with 1 if a rule is broken, with 2 where nothing was
/// checked: on wrong usage, or where the URL is that of no WebSocket. Ctrl-C ends it with what was
/// found until then.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sockeye check ws://127.0.0.1:9001
  sockeye check --only close --only utf8/wrong ws://127.0.0.1:9001
  sockeye check --skip limits -v wss://echo.example/socket
  sockeye check --cacert authority.pem -H 'Cookie: id=1' wss://internal.example
  sockeye check --html report.html --junit report.xml ws://127.0.0.1:9001
  sockeye check --write-baseline known.txt ws://127.0.0.1:9001
  sockeye check --baseline known.txt ws://127.0.0.1:9001
  sockeye check --listen 127.0.0.1:9002
  sockeye check --listen :9443 --tls-cert chain.pem --tls-key key.pem
  sockeye check --list")]
pub(crate) struct Check {
    /// The server: ws://HOST[:PORT]/PATH, or wss://
    #[arg(value_parser = url, required_unless_present_any = ["listen", "list"])]
    url: Option<String>,

    /// Check a client instead: it connects here again and again, one connection for each case, and
    /// sends every message back
    #[arg(long, value_name = "ADDR", value_parser = listen_address, conflicts_with = "url")]
    listen: Option<String>,

    /// Try the cases whose id begins like this, such as close or utf8/wrong; may be given several times
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    only: Vec<String>,

    /// Leave out the cases whose id begins like this; may be given several times
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    skip: Vec<String>,

    /// Print everything as JSON
    #[arg(long)]
    json: bool,

    /// Write the result as JUnit's XML, for continuous integration
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,

    /// Write a page that explains each finding
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Known failures, a line for each ('broken ID', 'loose ID'): only others count
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,

    /// Write the failures found as a file for --baseline, and exit with 0
    #[arg(long, value_name = "FILE")]
    write_baseline: Option<PathBuf>,

    /// Show every case with its bytes, not only what was found
    #[arg(short, long)]
    verbose: bool,

    /// List the cases, and connect to nothing
    #[arg(long, conflicts_with = "url")]
    list: bool,

    /// How many connections are open at a time
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = number::<usize>)]
    jobs: usize,

    /// How long an answer may take
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = deadline)]
    timeout: Time,

    /// How long the whole check may take: what is not tried by then is not judged, and it exits with 1
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = deadline)]
    max_time: Time,

    #[command(flatten)]
    request: Request,

    #[command(flatten)]
    route: Route,

    #[command(flatten)]
    certificate: Certificate,
}

impl Check {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        if self.list {
            print_line(self.list().trim_end())?;
            return Ok(ExitCode::SUCCESS);
        }
        let role = if self.listen.is_some() { Role::Client } else { Role::Server };
        if self.options().cases(role).is_empty() {
            return Err(wrong_usage(
                "no case is left by --only and --skip: --list shows their ids",
            ));
        }
        let baseline = self.read_baseline().map_err(|wrong| wrong_usage(format!("{wrong:#}")))?;
        self.try_files().map_err(|wrong| wrong_usage(format!("{wrong:#}")))?;
        for id in baseline.unknown(role) {
            complain(format_args!(
                "warning: {id} in the baseline is not a case for {}: misspelt, or renamed",
                if role == Role::Server { "servers" } else { "clients" }
            ));
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let checked = runtime.block_on(async {
            match &self.listen {
                Some(address) => client::check(&self, address).await,
                None => server::check(&self).await,
            }
        });
        runtime.shutdown_background();
        match checked {
            Ok((peer, report)) => self.conclude(&peer, report, &baseline),
            Err(error) => match error.downcast_ref() {
                // 1 says that a rule is broken: here nothing was looked at.
                Some(CheckError::NoWebSocket(_) | CheckError::Floods(_)) => {
                    complain_at_the_end(format_args!("sockeye: {error}"));
                    Ok(ExitCode::from(2))
                }
                Some(CheckError::Unreachable(why)) => {
                    let url = self.url.as_deref().unwrap_or_default();
                    Err(anyhow!("cannot connect to {url}: {why}"))
                }
                _ => Err(error),
            },
        }
    }

    fn options(&self) -> Options {
        Options::default()
            .only(self.only.clone())
            .skip(self.skip.clone())
            .jobs(self.jobs)
            .answer_timeout(self.timeout.0)
            .max_time(self.max_time.0)
    }

    /// The cases that are chosen, by chapter: id, section, title.
    fn list(&self) -> String {
        let options = self.options();
        let chosen: HashSet<_> = [Role::Server, Role::Client]
            .into_iter()
            .flat_map(|role| options.cases(role))
            .map(|case| case.id)
            .collect();
        let mut text = String::new();
        for chapter in chapters::ALL {
            let mut cases = (chapter.cases)();
            cases.retain(|case| chosen.contains(&case.id));
            if !cases.is_empty() {
                text += &format!("{}: {} cases\n", chapter.title, cases.len());
            }
            for case in cases {
                text += &format!("  {:<40} {} · {}\n", case.id, case.section, case.title);
            }
        }
        text
    }

    /// Writes what was found to everywhere that it was asked for.
    fn conclude(
        &self,
        peer: &str,
        mut report: Report,
        baseline: &sockeye_check::Baseline,
    ) -> anyhow::Result<ExitCode> {
        let fixed = baseline.apply(&mut report);
        // What cannot be written any more is printed all the same.
        let written = self.write_files(peer, &report);
        if self.json {
            let mut json = report.to_json(peer);
            json["fixed"] = fixed.into();
            print_line(&serde_json::to_string_pretty(&json)?)?;
        } else {
            let mut text = report.to_text(self.verbose);
            for id in fixed {
                text += &format!("  fixed: {id} passes: remove it from the baseline\n");
            }
            match colours::are_shown() {
                true => print_as_it_is(colours::coloured(text.trim_end()))?,
                false => print_line(text.trim_end())?,
            }
        }
        written?;
        let fails = report.is_interrupted || report.is_broken() && self.write_baseline.is_none();
        Ok(if fails { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// The program ends with 2: 1 says that a rule is broken.
fn wrong_usage(why: impl Display) -> anyhow::Error {
    WrongUsage::new("check", why).into()
}
