//! That options can get a field more without breaking a program: a part of `cargo xtask test format`.
//!
//! A public struct of options with public fields is `#[non_exhaustive]`, so that no program writes it as a
//! literal, and each field has a method of its name that sets it.

use anyhow::{Result, ensure};
use regex_lite::Regex;

use crate::docs::sources;

/// How structs of options are named.
const NAMES: &str = "(?:Options|Config|Limits|Init|Offer|Backoff|Budget|Keepalive)";

/// Checks the libraries.
pub(super) fn check() -> Result<()> {
    let mut wrong = Vec::new();
    for file in sources(&["crates/*/src/*.rs"])? {
        wrong.extend(
            problems(&file.text)?.iter().map(|problem| format!("{}: {problem}", file.path)),
        );
    }
    ensure!(wrong.is_empty(), "options are made by builder methods\n{}", wrong.join("\n"));
    Ok(())
}

fn problems(text: &str) -> Result<Vec<String>> {
    let options =
        Regex::new(&format!(r"(?m)^((?:#\[.*\]\n)*)pub struct (\w*{NAMES}) \{{\n([^}}]*)"))?;
    let field = Regex::new(r"(?m)^    pub (\w+):")?;
    let mut wrong = Vec::new();
    for found in options.captures_iter(text) {
        let (attributes, name, body) = (&found[1], &found[2], &found[3]);
        let fields: Vec<_> = field.captures_iter(body).map(|field| field[1].to_owned()).collect();
        if !fields.is_empty() && !attributes.contains("#[non_exhaustive]") {
            wrong.push(format!("`{name}` has public fields and is not `#[non_exhaustive]`"));
        }
        for field in fields {
            // What is a list may have a method that adds to it: `offer` for `offers`.
            let method = field.strip_suffix('s').unwrap_or(&field);
            if !Regex::new(&format!(r"pub (?:const )?fn {method}s?\("))?.is_match(text) {
                wrong.push(format!("no method sets `{name}::{field}`"));
            }
        }
    }
    Ok(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_public_field_has_a_method_and_the_struct_cannot_be_a_literal() {
        let method = "impl AOptions {\n    pub fn b(mut self, b: u8) -> Self {";
        let open =
            format!("#[derive(Debug)]\npub struct AOptions {{\n    pub b: u8,\n}}\n{method}");
        let wrong = |text: &str| problems(text).expect("they are regular expressions");
        assert_eq!(wrong(&open), ["`AOptions` has public fields and is not `#[non_exhaustive]`"]);
        let closed = open.replace("pub struct", "#[non_exhaustive]\npub struct");
        assert!(wrong(&closed).is_empty());
        assert_eq!(wrong(&closed.replace("fn b(", "fn c(")), ["no method sets `AOptions::b`"]);
        assert!(wrong("pub struct AOptions {\n    b: u8,\n}").is_empty());
        assert!(wrong("pub(crate) struct AOptions {\n    pub b: u8,\n}").is_empty());
    }
}
