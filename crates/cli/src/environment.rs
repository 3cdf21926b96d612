//! Variables of the environment that are set to nothing, as `SOCKEYE_LISTEN=` or what a file for
//! containers makes of a variable that it does not know: they count as not set.
//!
//! Where that would switch protection off it is an error instead: a server is not to be open because a
//! name was misspelt.

use std::env;

use clap::{Arg, ArgMatches, Command, error::ErrorKind, parser::ValueSource};

/// Options of `serve` without which there is less protection.
const PROTECTION: [&str; 6] = [
    "auth_audience",
    "auth_key",
    "max_connections_per_address",
    "max_requests_per_address",
    "tls_cert",
    "tls_key",
];

/// The program, deaf to variables that are empty.
pub(crate) fn without_empty(program: Command) -> Command {
    program.mut_subcommands(|command| {
        command.mut_args(|option| if is_empty(&option) { option.env(None::<&str>) } else { option })
    })
}

/// Whether an empty variable would switch protection off, which nothing else has switched on.
///
/// # Errors
///
/// A line that names the variable.
pub(crate) fn check(program: &Command, serve: &ArgMatches) -> Result<(), clap::Error> {
    for option in PROTECTION {
        let variable = format!("SOCKEYE_{}", option.to_ascii_uppercase());
        let is_empty = env::var_os(&variable).is_some_and(|value| value.is_empty());
        if is_empty && serve.value_source(option) != Some(ValueSource::CommandLine) {
            let mut serve = program.find_subcommand("serve").unwrap_or(program).clone();
            let flag = option.replace('_', "-");
            let wrong =
                format!("{variable} is empty: give it a value, or unset it to do without --{flag}");
            return Err(serve.error(ErrorKind::ValueValidation, wrong));
        }
    }
    Ok(())
}

fn is_empty(option: &Arg) -> bool {
    option.get_env().is_some_and(|name| env::var_os(name).is_some_and(|value| value.is_empty()))
}
