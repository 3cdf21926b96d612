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
            let setting = match (key.get_ref().as_ref(), value.get_ref()) {
                ("channel", DeValue::Array(tables)) if tables.iter().any(is_table) => {
                    rules(tables, program)
                }
                (key_text, value) => {
                    setting(key_text, value, program).map_err(|wrong| (key.span(), wrong))
                }
            };
            settings.push(setting.map_err(|(span, wrong)| at(span, &wrong))?);
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
        (ArgAction::Append, DeValue::Table(_)) => {
            return Err(format!("write [[{key}]], in two brackets, for each rule"));
        }
        (_, value) => {
            let text = text(value).ok_or_else(|| format!("write {key} = \"…\""))?;
            vec![OsString::from(format!("--{flag}={text}"))]
        }
    };
    check(&arguments, flag, program)?;
    Ok(Setting { option: key.to_owned(), arguments })
}

fn is_table(value: &Spanned<DeValue<'_>>) -> bool {
    matches!(value.get_ref(), DeValue::Table(_))
}

/// `[[channel]]`: each table is the rule that the flag has in one line, and each of its lines is checked by itself.
fn rules(
    tables: &[Spanned<DeValue<'_>>],
    program: &Command,
) -> Result<Setting, (Range<usize>, String)> {
    let mut arguments = Vec::new();
    for table in tables {
        let wrong = || "write match = \"PATTERN\" in each [[channel]], as in match = \"device:*\"";
        let no_match = || (table.span(), wrong().to_owned());
        let DeValue::Table(settings) = table.get_ref() else { return Err(no_match()) };
        let pattern = settings.get("match").ok_or_else(no_match)?;
        let span = pattern.span();
        let pattern = word(pattern.get_ref()).ok_or_else(|| (span.clone(), wrong().to_owned()))?;
        let argument = |settings: &str| OsString::from(format!("--channel={pattern}{settings}"));
        check(&[argument("")], "channel", program).map_err(|wrong| (span, wrong))?;
        let mut line = String::new();
        for (key, value) in settings.iter().filter(|(key, _)| key.get_ref() != "match") {
            let name = key.get_ref();
            let setting = word(value.get_ref()).map(|value| format!(" {name}={value}"));
            let setting = setting.ok_or_else(|| (key.span(), format!("write {name} = \"…\"")))?;
            let checked = check(&[argument(&setting)], "channel", program);
            checked.map_err(|wrong| (key.span(), wrong))?;
            line.push_str(&setting);
        }
        arguments.push(argument(&line));
    }
    Ok(Setting { option: "channel".to_owned(), arguments })
}

/// A value that is one word on a line of settings.
fn word(value: &DeValue<'_>) -> Option<String> {
    let text = match value {
        DeValue::Boolean(is_on) => is_on.to_string(),
        value => text(value)?,
    };
    let is_word =
        !text.is_empty() && !text.contains([',', '=']) && !text.contains(char::is_whitespace);
    is_word.then_some(text)
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
