//! The tests in the sources, and the rules that their documentation names.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use super::Id;

/// Where tests are.
const FOLDERS: [&str; 2] = ["crates", "tests"];

/// A test whose documentation names rules.
#[derive(Clone, Debug)]
pub(super) struct Test {
    pub(super) name: String,
    /// Relative to the repository's root.
    pub(super) file: String,
    pub(super) rules: Vec<Id>,
}

/// All tests below `root` that name rules.
pub(super) fn tests(root: &Path) -> Result<Vec<Test>> {
    let mut files = Vec::new();
    for folder in FOLDERS {
        collect(&root.join(folder), &mut files)?;
    }
    files.sort();
    let mut tests = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        tests.extend(in_file(&path.strip_prefix(root)?.display().to_string(), &text)?);
    }
    Ok(tests)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("node_modules") {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// The tests of a file that name rules.
///
/// # Errors
///
/// A line of rules that cannot be read, or with no test below it, and a rule's number in a name.
fn in_file(file: &str, source: &str) -> Result<Vec<Test>> {
    let mut tests = Vec::new();
    let (mut rules, mut is_test) = (Vec::new(), false);
    for line in source.lines().map(str::trim_start) {
        if let Some(list) = rule_line(line) {
            rules.extend(parse(list).with_context(|| format!("{file}: `{line}`"))?);
        } else if line.starts_with("#[") {
            is_test |= line.contains("test]") || line.contains("test(");
        } else if let Some(name) = function(line).or_else(|| row(line)) {
            let marked = std::mem::take(&mut is_test) || row(line).is_some();
            ensure!(
                !marked || !begins_with_a_rule(name),
                "{file}: `{name}`: a rule's number stands in a line `/// Rule: …`, not in the name"
            );
            if !rules.is_empty() {
                ensure!(marked, "{file}: `{name}` names rules, and is not a test");
                let rules = std::mem::take(&mut rules);
                tests.push(Test { name: name.to_owned(), file: file.to_owned(), rules });
            }
        } else if !rules.is_empty() && !line.starts_with("//") {
            bail!("{file}: the rules {rules:?} stand above `{line}`, which is not a test");
        }
    }
    Ok(tests)
}

/// The list of rules in a line of documentation.
fn rule_line(line: &str) -> Option<&str> {
    let text = line.strip_prefix("/// ")?;
    text.strip_prefix("Rule: ").or_else(|| text.strip_prefix("Rules: "))
}

fn parse(list: &str) -> Result<Vec<Id>> {
    let ids = list.strip_suffix('.').context("it ends with a full stop")?.split(", ");
    ids.map(|id| Id::parse(id).with_context(|| format!("`{id}` is not a rule's number"))).collect()
}

/// The name of the function that begins in this line.
fn function(line: &str) -> Option<&str> {
    let line = line.strip_prefix("async ").unwrap_or(line);
    line.strip_prefix("fn ").and_then(|rest| rest.split(['(', '<']).next())
}

/// The name of the test in a row of a table such as `rows!`: `name => arguments;`.
fn row(line: &str) -> Option<&str> {
    let (name, _) = line.split_once(" =>")?;
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    (name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(is_name))
        .then_some(name)
}

/// Whether a name begins as `w054_` does.
fn begins_with_a_rule(name: &str) -> bool {
    let number = name.split_once('_').map(|(first, _)| first.to_ascii_uppercase());
    number.is_some_and(|number| Id::parse(&number).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: &str) -> Result<Vec<(String, Vec<String>)>> {
        let shown = |Test { name, rules, .. }| (name, rules.iter().map(Id::to_string).collect());
        Ok(in_file("file.rs", source)?.into_iter().map(shown).collect())
    }

    fn error(source: &str) -> String {
        format!("{:#}", read(source).unwrap_err())
    }

    #[test]
    fn a_test_has_the_rules_that_its_documentation_names() {
        let tests = read(
            "
            /// Rule: W54.
            #[test]
            #[should_panic]
            fn one() {}
            /// Says more.
            ///
            /// Rules: WS2, N9.
            #[tokio::test(start_paused = true)]
            async fn two() {}
            #[test]
            fn of_no_rule() {}
            fn helper<T>() {}
            rows! { fails:
                /// Rule: W57.
                a_row => 1002, &[];
                another => 1002, &[];
            }",
        );
        let expected = [("one", &["W54"][..]), ("two", &["WS2", "N9"]), ("a_row", &["W57"])].map(
            |(name, ids)| {
                (name.to_owned(), ids.iter().map(|&id| id.to_owned()).collect::<Vec<_>>())
            },
        );
        assert_eq!(tests.unwrap(), expected);
    }

    #[test]
    fn a_line_of_rules_stands_above_a_test() {
        assert!(error("/// Rule: W54.\nfn helper() {}").contains("`helper` names rules"));
        assert!(error("/// Rule: W54.\nstruct One;").contains("stand above `struct One;`"));
    }

    #[test]
    fn a_line_of_rules_has_numbers_and_a_full_stop() {
        assert!(error("/// Rule: Q54.\n#[test]\nfn one() {}").contains("`Q54`"));
        assert!(error("/// Rules: W54 and W56.\n#[test]\nfn one() {}").contains("`W54 and W56`"));
        assert!(error("/// Rule: W54\n#[test]\nfn one() {}").contains("full stop"));
    }

    #[test]
    fn a_name_has_no_rules_number() {
        assert!(error("#[test]\nfn w054_masks() {}").contains("`w054_masks`"));
        assert!(read("#[test]\nfn utf8_is_checked() {}").unwrap().is_empty());
        assert!(read("#[test]\nfn a_message_of_w1() {}").unwrap().is_empty());
    }
}
