//! `cargo xtask book`: the documents as a book with a search, made by mdBook.
//!
//! mdBook calls this program back (`book.toml`) for links that leave `docs/`: what is not in the book has
//! no page there.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde_json::Value;

use super::links::{self, resolve};
use super::markdown;
use crate::prepare::{self, Need};
use crate::shell;

/// What `cargo xtask book` is told.
#[derive(Args)]
pub(crate) struct Options {
    /// Open it in a browser
    #[arg(long)]
    open: bool,
}

/// Builds the book into `target/book`. Fails if a link in it leads nowhere.
pub(crate) fn run(options: &Options) -> Result<()> {
    links::check()?;
    prepare::prepare(&[Need::CargoTool("mdbook")])?;
    let folder = shell::target()?.join("book");
    let destination = folder.to_string_lossy();
    let open = options.open.then_some("--open");
    let words = ["build", "--dest-dir", &destination].into_iter().chain(open);
    shell::run(&mut shell::command("mdbook", words))?;
    check_pages(&folder)?;
    eprintln!("{}", folder.join("index.html").display());
    Ok(())
}

/// What mdBook gives its preprocessors, and how it asks which formats they know.
#[derive(Args)]
pub(crate) struct Preprocess {
    /// `supports html`: whether that format is known
    question: Vec<String>,
}

/// Reads the book from standard input and writes it, without links that leave it, to standard output.
pub(crate) fn preprocess(options: &Preprocess) -> Result<()> {
    if !options.question.is_empty() {
        return Ok(());
    }
    let (context, mut book): (Value, Value) = serde_json::from_reader(io::stdin())?;
    let repository = context.pointer("/config/output/html/git-repository-url");
    rewrite(&mut book, repository.and_then(Value::as_str));
    Ok(serde_json::to_writer(io::stdout(), &book)?)
}

/// Rewrites the text of all chapters, however deep they are.
fn rewrite(value: &mut Value, repository: Option<&str>) {
    if let Some(path) = value.get("source_path").and_then(Value::as_str).map(str::to_owned)
        && let Some(Value::String(content)) = value.get_mut("content")
    {
        *content = inside(&format!("docs/{path}"), content, repository);
    }
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| rewrite(value, repository)),
        Value::Object(values) => values.values_mut().for_each(|value| rewrite(value, repository)),
        _ => {}
    }
}

/// A page whose links to files that are not in the book lead to the repository's site, or, where none is
/// known, are their text and the file's path.
fn inside(page: &str, text: &str, repository: Option<&str>) -> String {
    let mut result = String::new();
    let mut end = 0;
    for link in markdown::links(text) {
        let target = resolve(page, link.parts().0);
        if link.is_external() || link.parts().0.is_empty() || target.starts_with("docs/") {
            continue;
        }
        result += &text[end..link.range.start];
        result += &match repository {
            Some(site) => format!("[{}]({site}/blob/main/{target})", link.text),
            None if link.text.starts_with('`') => {
                format!("<span title=\"{target}\">{}</span>", link.text)
            }
            None => format!("{} (`{target}`)", link.text),
        };
        end = link.range.end;
    }
    result + &text[end..]
}

/// Fails if a page of the book links to a page, or to a place on one, that does not exist.
fn check_pages(folder: &Path) -> Result<()> {
    let mut files = Vec::new();
    collect_pages(folder, &mut files)?;
    let mut pages = HashMap::new();
    for file in files {
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let path = file.strip_prefix(folder)?.display().to_string();
        pages.insert(path, text);
    }
    let places: HashMap<_, HashSet<_>> = pages
        .iter()
        .map(|(path, text)| (path.as_str(), attributes(text, "id").collect()))
        .collect();
    let mut broken = Vec::new();
    for (page, text) in &pages {
        for link in attributes(text, "href").chain(attributes(text, "src")) {
            let (file, place) = link.split_once('#').unwrap_or((link, ""));
            if link.contains(':') {
                continue;
            }
            let target = if file.is_empty() { page.clone() } else { resolve(page, file) };
            let has_place = place.is_empty()
                || places.get(target.as_str()).is_none_or(|places| places.contains(place));
            if !folder.join(&target).exists() || !has_place {
                broken.push(format!("{page}: {link} leads nowhere"));
            }
        }
    }
    broken.iter().for_each(|problem| eprintln!("{problem}"));
    ensure!(broken.is_empty(), "{} broken links in the book", broken.len());
    eprintln!("the links of {} pages of the book lead somewhere", pages.len());
    Ok(())
}

/// The pages, except those that mdBook makes of others.
fn collect_pages(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let is_made =
            ["404.html", "print.html", "toc.html"].iter().any(|name| path.ends_with(name));
        if path.is_dir() {
            collect_pages(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "html") && !is_made {
            files.push(path);
        }
    }
    Ok(())
}

/// The values of an attribute in HTML that mdBook wrote.
fn attributes<'a>(html: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let begin = format!(" {name}=\"");
    html.match_indices(&begin)
        .map(|(at, begin)| &html[at + begin.len()..])
        .filter_map(|rest| rest.split('"').next())
        .collect::<Vec<_>>()
        .into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_leave_the_book_name_the_file() {
        let text = "[log](log.md), [it](#it), [site](https://x.org), [the\nexample](../../examples/a.rs), [`w1`](../../tests/b.rs).";
        let expected = "[log](log.md), [it](#it), [site](https://x.org), the\nexample (`examples/a.rs`), <span title=\"tests/b.rs\">`w1`</span>.";
        assert_eq!(inside("docs/library/client.md", text, None), expected);
        let with_site =
            inside("docs/README.md", "[a](../README.md)", Some("https://git.example/s"));
        assert_eq!(with_site, "[a](https://git.example/s/blob/main/README.md)");
    }

    #[test]
    fn chapters_are_found_however_deep() {
        let mut book = serde_json::json!({ "items": [{ "Chapter": {
            "content": "", "source_path": "a.md", "sub_items": [
                { "Chapter": { "content": "[x](../y)", "source_path": "b.md" } },
            ],
        }}]});
        rewrite(&mut book, None);
        let content = book.pointer("/items/0/Chapter/sub_items/0/Chapter/content");
        assert_eq!(content.and_then(Value::as_str), Some("x (`y`)"));
    }
}
