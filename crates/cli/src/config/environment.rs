//! Variables of the environment that are set to nothing, as `SOCKEYE_LISTEN=` or what a file for
//! containers makes of a variable that it does not know: they count as not set.
//!
//! Where that would switch protection off it is an error instead: a server is not to be open because a
//! name was misspelt. For the same reason a variable whose name is nearly that of an option is an error. Others are
//! left alone: container platforms set variables such as `SOCKEYE_SERVICE_HOST` by themselves.

use std::{collections::BTreeSet, env, error::Error as _, ffi::OsString};

use clap::{
    Arg, ArgAction, ArgMatches, Command,
    error::{ContextKind, ContextValue, ErrorKind},
    parser::ValueSource,
};

/// Options of `serve` without which there is less protection.
const PROTECTION: [&str; 17] = [
    "auth_audience",
    "auth_issuer",
    "auth_key",
    "authorize_cacert",
    "authorize_secret",
    "authorize_url",
    "channel",
    "events_cacert",
    "events_secret",
    "jwks",
    "jwks_cacert",
    "max_connections_per_address",
    "max_connections_per_subject",
    "max_publications_per_subject",
    "max_requests_per_address",
    "tls_cert",
    "tls_key",
];

/// The program, deaf to variables that are empty.
pub(crate) fn without_empty(program: Command) -> Command {
    program.mut_subcommands(|command| {
        let deaf = |option| if is_empty(&option) { option.env(None::<&str>) } else { option };
        without_empty(command.mut_args(deaf))
    })
}

/// Whether an empty variable would switch protection off, which nothing else has switched on, or a variable is misspelt.
///
/// # Errors
///
/// A line that names the variable.
pub(crate) fn check(program: &Command, serve: &ArgMatches) -> Result<(), clap::Error> {
    if let Some((misspelt, meant)) = misspelt(program) {
        let wrong = format!("there is no variable {misspelt}: write {meant}, or unset it");
        return Err(super::refused(program, wrong));
    }
    for option in PROTECTION {
        let variable = format!("SOCKEYE_{}", option.to_ascii_uppercase());
        let is_empty = env::var_os(&variable).is_some_and(|value| value.is_empty());
        if is_empty && serve.value_source(option) != Some(ValueSource::CommandLine) {
            let flag = option.replace('_', "-");
            let wrong =
                format!("{variable} is empty: give it a value, or unset it to do without --{flag}");
            return Err(super::refused(program, wrong));
        }
    }
    Ok(())
}

/// A variable that no option has, and the one that is nearly called so.
fn misspelt(program: &Command) -> Option<(String, String)> {
    let options = program.get_subcommands().flat_map(Command::get_arguments);
    let known: BTreeSet<_> = options.filter_map(|option| option.get_env()?.to_str()).collect();
    // The program does not know the empty ones any more.
    let given = env::vars_os().filter(|(_, value)| !value.is_empty());
    let names = given.filter_map(|(name, _)| name.into_string().ok());
    let mut unknown = names.filter(|name| !known.contains(name.as_str()));
    unknown.find_map(|name| {
        let option = name.strip_prefix("SOCKEYE_")?;
        let options = known.iter().filter_map(|known| known.strip_prefix("SOCKEYE_"));
        let near = options.filter_map(|known| Some((distance(option, known)?, known)));
        let (_, meant) = near.min()?;
        Some((format!("SOCKEYE_{option}"), format!("SOCKEYE_{meant}")))
    })
}

/// How far a name is from one that it may be meant for: apart from `_` they differ by a letter, or by two where they are
/// long. Short ones are words of their own.
fn distance(name: &str, known: &str) -> Option<usize> {
    let [name, known] = [name, known].map(|text| text.replace('_', "").to_ascii_uppercase());
    let most = match known.len() {
        0..=4 => 0,
        5..=7 => 1,
        _ => 2,
    };
    Some(strsim::osa_distance(&name, &known)).filter(|distance| *distance <= most)
}

/// The error, said of the variable that a wrong value comes from, if it comes from one.
pub(crate) fn blame(program: &Command, wrong: clap::Error) -> clap::Error {
    let found = variable_of(program, &wrong);
    let Some((mut serve, variable, value, how)) = found else { return wrong };
    let how = how.map_or_else(String::new, |how| format!(": {how}"));
    let told = format!("invalid value '{value}' in {variable}{how}");
    serve.error(ErrorKind::ValueValidation, told)
}

/// The command, the variable, its value and what to write instead.
fn variable_of(
    program: &Command,
    wrong: &clap::Error,
) -> Option<(Command, String, String, Option<String>)> {
    let text = |kind| match wrong.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    let (shown, value) = (text(ContextKind::InvalidArg)?, text(ContextKind::InvalidValue)?);
    let flag = shown.split(' ').next()?;
    let is_given = |argument: OsString| {
        argument.to_str().is_some_and(|text| text.split('=').next() == Some(flag))
    };
    if env::args_os().any(is_given) {
        return None;
    }
    let command = program.find_subcommand(env::args_os().nth(1)?)?;
    let option = command.get_arguments().find(|option| {
        option.get_long().is_some_and(|long| flag.strip_prefix("--") == Some(long))
    })?;
    let variable = option.get_env()?.to_str()?;
    if !env::var(variable).is_ok_and(|all| all.contains(&value)) {
        return None;
    }
    let how = match option.get_action() {
        ArgAction::SetTrue => Some("write 1, true, yes, 0, false or no".to_owned()),
        _ => wrong.source().map(ToString::to_string),
    };
    Some((command.clone(), variable.to_owned(), value, how))
}

fn is_empty(option: &Arg) -> bool {
    option.get_env().is_some_and(|name| env::var_os(name).is_some_and(|value| value.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn a_name_that_differs_by_a_letter_or_two_is_misspelt() {
        for (name, known) in [
            ("AUTHKEY", "AUTH_KEY"),
            ("AUTH_KEYS", "AUTH_KEY"),
            ("MAX_MESAGE", "MAX_MESSAGE"),
            ("LITSEN", "LISTEN"),
            ("log", "LOG"),
        ] {
            assert!(distance(name, known).is_some(), "{name}");
        }
        assert!(
            distance("CLUSTER_CRED", "CLUSTER_CREDS") < distance("CLUSTER_CRED", "CLUSTER_CERT")
        );
        for name in
            ["PORT", "SERVICE_HOST", "PORT_8080_TCP", "VERSION", "IMAGE", "ID", "IP", "DATE"]
        {
            for known in ["LOG", "DATA", "OPEN", "IO", "OTLP", "LISTEN", "AUTH_KEY", "TOKEN"] {
                assert_eq!(distance(name, known), None, "{name} {known}");
            }
        }
    }
}
