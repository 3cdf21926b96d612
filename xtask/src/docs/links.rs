//! The links between documents: each leads to a file that exists, and to a heading that it has.

use std::collections::{HashMap, HashSet};
use std::path::{Component, Path, PathBuf};

use anyhow::{Result, ensure};

use super::{Source, line_of, markdown, sources};
use crate::shell;

/// The page that lists the pages of the book.
const SUMMARY: &str = "docs/SUMMARY.md";
/// The page that lists the documents by reader.
const INDEX: &str = "docs/README.md";

/// Fails if a link leads nowhere, or a document is on neither of the lists.
pub(crate) fn check() -> Result<()> {
    let pages = sources(&["*.md"])?;
    let exists = |path: &str| shell::root().join(path).exists();
    let problems = [broken(&pages, exists), unlisted(&pages)].concat();
    for problem in &problems {
        eprintln!("{problem}");
    }
    ensure!(problems.is_empty(), "{} problems with the links of the documents", problems.len());
    eprintln!("the links of {} documents lead somewhere", pages.len());
    Ok(())
}

fn broken(pages: &[Source], exists: impl Fn(&str) -> bool) -> Vec<String> {
    let anchors: HashMap<_, _> =
        pages.iter().map(|page| (page.path.as_str(), markdown::anchors(&page.text))).collect();
    let mut problems = Vec::new();
    for page in pages {
        for link in markdown::links(&page.text).iter().filter(|link| !link.is_external()) {
            let (file, place) = link.parts();
            let target =
                if file.is_empty() { page.path.clone() } else { resolve(&page.path, file) };
            let has_place = place.is_empty()
                || anchors.get(target.as_str()).is_some_and(|anchors| anchors.contains(place));
            if !exists(&target) || !has_place {
                let line = line_of(&page.text, link.range.start);
                problems.push(format!("{}:{line}: {} leads nowhere", page.path, link.target));
            }
        }
    }
    problems
}

/// Documents that a reader of the book, or of the index, would not find.
fn unlisted(pages: &[Source]) -> Vec<String> {
    let mut problems = Vec::new();
    for list in [SUMMARY, INDEX] {
        let listed: HashSet<_> = pages
            .iter()
            .filter(|page| page.path == list)
            .flat_map(|page| markdown::links(&page.text))
            .map(|link| resolve(list, link.parts().0))
            .collect();
        let documents = pages.iter().map(|page| &page.path);
        let missing = documents.filter(|path| {
            path.starts_with("docs/")
                && ![SUMMARY, INDEX].contains(&path.as_str())
                && !listed.contains(*path)
        });
        problems.extend(missing.map(|path| format!("{list} does not list {path}")));
    }
    problems
}

/// The path from the root that a link means on the page that has it.
pub(super) fn resolve(page: &str, link: &str) -> String {
    let mut path = PathBuf::from(page);
    path.pop();
    for part in Path::new(link).components() {
        match part {
            Component::ParentDir => drop(path.pop()),
            Component::Normal(name) => path.push(name),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn a_link_names_a_file_and_a_heading_that_exist() {
        let exists = |path: &str| ["README.md", "docs/a.md", "docs/b.md"].contains(&path);
        let broken =
            |text| broken(&[page("docs/a.md", text), page("docs/b.md", "## Here")], exists);
        let good = "# Top\n[a](#top), [b](../README.md), [c](b.md#here), [d](https://x.org/y#z)";
        assert!(broken(good).is_empty());
        let expected = [
            "docs/a.md:1: #tip leads nowhere",
            "docs/a.md:3: c.md leads nowhere",
            "docs/a.md:3: b.md#there leads nowhere",
        ];
        assert_eq!(broken("[a](#tip)\n\n[b](c.md), [c](b.md#there)"), expected);
    }

    #[test]
    fn every_document_is_on_both_lists() {
        let pages = [
            page(SUMMARY, "- [a](a.md)\n- [b](library/b.md)"),
            page(INDEX, "[a](a.md)"),
            page("docs/a.md", ""),
            page("docs/library/b.md", ""),
            page("README.md", ""),
        ];
        assert_eq!(unlisted(&pages), ["docs/README.md does not list docs/library/b.md"]);
    }

    #[test]
    fn links_are_relative_to_their_page() {
        assert_eq!(
            resolve("docs/tools/bench.md", "../internals/performance.md"),
            "docs/internals/performance.md"
        );
        assert_eq!(resolve("README.md", "docs/images/"), "docs/images");
    }
}
