//! A file of options: TOML, whose mistakes are told with their lines.

use std::{ffi::OsString, fs, ops::Range, path::Path};

use clap::{Arg, ArgAction, Command, error::ContextKind};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// What a file says, as the arguments it stands for.
#[derive(Debug)]
pub(super) struct File(Vec<Setting>);

#[derive(Debug)]
struct Setting {
    option: String,
    arguments: Vec<OsString>,
}

impl File {
    /// Reads a file of options of `program serve`.
    ///
    /// # Errors
    ///
    /// A line that says where the file is wrong, and what to write instead.
    pub(super) fn read(path: &Path, program: &Command) -> Result<Self, String> {
        let name = path.display();
        let text =
            fs::read_to_string(path).map_err(|error| format!("cannot read {name}: {error}"))?;
        let at =
            |span: Range<usize>, what: &str| format!("{name}:{}: {what}", line_of(&text, span));
        let table = DeTable::parse(&text)
            .map_err(|error| at(error.span().unwrap_or(0..0), error.message()))?;
        let mut settings = Vec::new();
        for (key, value) in table.get_ref() {
            let setting = setting(key.get_ref(), value.get_ref(), program);
            settings.push(setting.map_err(|wrong| at(key.span(), &wrong))?);
        }
        Ok(Self(settings))
    }

    /// The arguments for what is not given elsewhere.
    pub(super) fn arguments(
        self,
        is_given: impl Fn(&str) -> bool,
    ) -> impl Iterator<Item = OsString> {
        let settings = self.0.into_iter().filter(move |setting| !is_given(&setting.option));
        settings.flat_map(|setting| setting.arguments)
    }
}

/// One key with its value, checked as the flag it stands for.
fn setting(key: &str, value: &DeValue<'_>, program: &Command) -> Result<Setting, String> {
    let option = options(program)
        .find(|option| option.get_id() == key)
        .ok_or_else(|| format!("unknown key `{key}`: see `sockeye serve --help`"))?;
    let flag = option.get_long().unwrap_or_default();
    let arguments = match (option.get_action(), value) {
        (ArgAction::SetTrue, DeValue::Boolean(on)) => {
            on.then(|| OsString::from(format!("--{flag}"))).into_iter().collect()
        }
        (ArgAction::SetTrue, _) => return Err(format!("write {key} = true or {key} = false")),
        (ArgAction::Append, DeValue::Array(values)) => {
            let texts: Option<Vec<String>> =
                values.iter().map(|value| text(Spanned::get_ref(value))).collect();
            let texts = texts.ok_or_else(|| format!("write {key} = [\"…\", \"…\"]"))?;
            texts.iter().map(|text| OsString::from(format!("--{flag}={text}"))).collect()
        }
        (_, value) => {
            let text = text(value).ok_or_else(|| format!("write {key} = \"…\""))?;
            vec![OsString::from(format!("--{flag}={text}"))]
        }
    };
    check(&arguments, flag, program)?;
    Ok(Setting { option: key.to_owned(), arguments })
}

/// All that a file may set.
pub(super) fn options(program: &Command) -> impl Iterator<Item = &Arg> {
    let serve = program.find_subcommand("serve").into_iter();
    let own = ["help", "config", "print_config"];
    serve.flat_map(Command::get_arguments).filter(move |option| {
        option.get_long().is_some() && !own.contains(&option.get_id().as_str())
    })
}

/// A value as one would write it behind a flag.
fn text(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Whether the flag takes these values. What it needs beside it is seen when all is there.
fn check(arguments: &[OsString], flag: &str, program: &Command) -> Result<(), String> {
    let alone = ["sockeye", "serve"].into_iter().map(OsString::from);
    let alone = alone.chain(arguments.iter().cloned());
    let Err(error) = program.clone().try_get_matches_from(alone) else { return Ok(()) };
    let concerned = error.get(ContextKind::InvalidArg).map(ToString::to_string);
    let is_value = error.get(ContextKind::InvalidValue).is_some();
    if !is_value || !concerned.is_some_and(|concerned| concerned.starts_with(&format!("--{flag}")))
    {
        return Ok(());
    }
    let said = error.to_string();
    let first = said.lines().next().unwrap_or_default();
    Err(first.trim_start_matches("error: ").to_owned())
}

/// The number of the line in which a span begins.
fn line_of(text: &str, span: Range<usize>) -> usize {
    text.bytes().take(span.start).filter(|byte| *byte == b'\n').count() + 1
}
