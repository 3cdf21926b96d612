//! The configuration of `sockeye serve`: flags win, then the environment, then a file.
//!
//! Options are declared once, as flags. A file's keys are their names with `_`; what it says of an
//! option that neither a flag nor the environment speaks of goes in among the arguments, so that it
//! is checked, refused and explained like a flag.

pub(crate) mod environment;
mod file;
mod show;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt::Display,
    path::{Path, PathBuf},
    str::FromStr,
};

use clap::{Args, Command, error::ErrorKind, parser::ValueSource};
use sockeye_server::ChannelName;
use toml::Value;

use self::file::File;
pub(crate) use self::show::{show, values};

/// The file that is read when none is named, if it is there.
const DEFAULT_FILE: &str = "sockeye.toml";

/// Each option's value in all sources together; `None` where nothing is said and there is no default.
pub(crate) type Values = BTreeMap<String, Option<Value>>;

#[derive(Debug, Args)]
#[command(next_help_heading = "Configuration")]
pub(crate) struct Config {
    /// Read options from this file too: keys are the options' names with _, as in max_message = "1M".
    /// Without it sockeye.toml is read, if it is here
    #[arg(long, value_name = "FILE", env = "SOCKEYE_CONFIG")]
    config: Option<PathBuf>,

    /// Show what flags, environment and file come to, as a file, and exit; of a channel, what holds for it
    #[arg(long, value_name = "CHANNEL", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "", value_parser = shown)]
    print_config: Option<Shown>,
}

impl Config {
    /// What is to be shown, if anything.
    pub(crate) fn shown(&self) -> Option<&Shown> {
        self.print_config.as_ref()
    }
}

/// What `--print-config` shows.
#[derive(Clone, Debug)]
pub(crate) enum Shown {
    All,
    Of(ChannelName),
}

fn shown(channel: &str) -> Result<Shown, <ChannelName as FromStr>::Err> {
    match channel {
        "" => Ok(Shown::All),
        channel => channel.parse().map(Shown::Of),
    }
}

/// The arguments with those options of the file that are set neither by flags nor by the environment.
///
/// # Errors
///
/// A line that says where the file is wrong.
pub(crate) fn with_file(
    program: &Command,
    mut given: Vec<OsString>,
) -> Result<Vec<OsString>, clap::Error> {
    // What is wrong with the arguments is said later, when all of them are there.
    let found = program.clone().ignore_errors(true).try_get_matches_from(&given);
    let Ok(found) = found else { return Ok(given) };
    let Some(("serve", serve)) = found.subcommand() else { return Ok(given) };
    let named = serve.get_one::<PathBuf>("config").map(PathBuf::as_path);
    let Some(path) = named.or_else(|| Some(Path::new(DEFAULT_FILE)).filter(|path| path.exists()))
    else {
        return Ok(given);
    };
    let is_given = |option: &str| {
        let source = serve.value_source(option);
        matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable))
    };
    match File::read(path, program) {
        Ok(file) => given.extend(file.arguments(is_given)),
        Err(wrong) => return Err(refused(program, wrong)),
    }
    Ok(given)
}

/// What is wrong with the configuration of `serve`, as clap says it.
fn refused(program: &Command, wrong: impl Display) -> clap::Error {
    let mut serve = program.find_subcommand("serve").unwrap_or(program).clone();
    serve.error(ErrorKind::ValueValidation, wrong)
}
