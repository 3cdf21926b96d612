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
        let _ = match value(option, serve).map(without_secrets) {
            Some(value) => writeln!(shown, "# {help}\n{key} = {value}\n"),
            None => writeln!(shown, "# {help}\n# {key} =\n"),
        };
    }
    shown.truncate(shown.trim_end().len());
    shown
}

/// The same without users, passwords and queries in URLs, which may have a secret: what is shown may be passed on.
fn without_secrets(value: Value) -> Value {
    match &value {
        Value::String(text) if text.contains("://") => {
            Value::String(text.split(',').map(url_without_secrets).collect::<Vec<_>>().join(","))
        }
        _ => value,
    }
}

fn url_without_secrets(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (server, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let server = match server.rsplit_once('@') {
        // Where the one ends and the other begins is not known.
        Some((login, _)) if login.contains('?') => return format!("{scheme}://…"),
        Some((_, host)) => format!("…@{host}"),
        None => server.to_owned(),
    };
    match format!("{scheme}://{server}{path}").split_once('?') {
        Some((shown, _)) => format!("{shown}?…"),
        None => format!("{scheme}://{server}{path}"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_of_a_url_is_shown() {
        for (url, shown) in [
            ("https://a.example/b", "https://a.example/b"),
            ("https://u:secret@a.example/b", "https://…@a.example/b"),
            ("https://a.example/b?key=secret", "https://a.example/b?…"),
            ("https://a.example?key=secret", "https://a.example?…"),
            ("https://u:secret@a.example/b?m=x@secret", "https://…@a.example/b?…"),
            ("https://a.example/b?m=x@y&key=secret", "https://a.example/b?…"),
            ("https://a.example?m=x@y&key=secret", "https://…"),
            ("nats://u:secret@a:1,nats://b:2", "nats://…@a:1,nats://b:2"),
            ("127.0.0.1:8080", "127.0.0.1:8080"),
        ] {
            assert_eq!(without_secrets(url.into()), shown.into(), "{url}");
        }
    }
}
