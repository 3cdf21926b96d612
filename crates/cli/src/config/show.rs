//! `--print-config`: what all sources come to, as a file that says the same.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, ArgMatches, Command};
use toml::Value;

use super::{Values, file};

/// Each option with what it is for, and its value; without one it is left out by a `#`.
pub(crate) fn show(program: &Command, serve: &ArgMatches) -> String {
    let mut shown = String::new();
    for option in file::options(program).filter(|option| !option.is_hide_set()) {
        let key = option.get_id().as_str();
        let help = option.get_help().map(ToString::to_string).unwrap_or_default();
        // Writing to a string does not fail.
        let _ = match value(option, serve).map(without_logins) {
            Some(value) => writeln!(shown, "# {help}\n{key} = {value}\n"),
            None => writeln!(shown, "# {help}\n# {key} =\n"),
        };
    }
    shown.truncate(shown.trim_end().len());
    shown
}

/// The same without users and passwords in URLs: what is shown may be passed on.
fn without_logins(value: Value) -> Value {
    let Value::String(text) = &value else { return value };
    let hidden = text.split(',').map(|url| match url.split_once("://") {
        Some((scheme, rest)) => match rest.rsplit_once('@') {
            Some((_, host)) => format!("{scheme}://…@{host}"),
            None => url.to_owned(),
        },
        None => url.to_owned(),
    });
    match text.contains("://") {
        true => Value::String(hidden.collect::<Vec<_>>().join(",")),
        false => value,
    }
}

/// Each option by its key, with its value.
pub(crate) fn values(program: &Command, serve: &ArgMatches) -> Values {
    file::options(program)
        .map(|option| (option.get_id().to_string(), value(option, serve)))
        .collect()
}

fn value(option: &Arg, serve: &ArgMatches) -> Option<Value> {
    let key = option.get_id().as_str();
    if matches!(option.get_action(), ArgAction::SetTrue) {
        return Some(serve.get_flag(key).into());
    }
    let mut texts = serve.get_raw(key)?.map(|text| text.to_string_lossy().trim().to_owned());
    match option.get_action() {
        ArgAction::Append => Some(Value::Array(texts.map(scalar).collect())),
        _ => texts.next().map(scalar),
    }
}

/// A number as a number, where that says the same.
fn scalar(text: String) -> Value {
    match text.parse::<i64>() {
        Ok(number) if number.to_string() == text => number.into(),
        _ => text.into(),
    }
}
