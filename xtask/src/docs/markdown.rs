//! What the checks want to know of a Markdown page.

use std::collections::HashSet;
use std::ops::Range;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// A link or an image.
pub(super) struct Link {
    /// Where it points, as it is written.
    pub(super) target: String,
    /// Its bytes in the page, from the bracket to the end.
    pub(super) range: Range<usize>,
    /// The text between its brackets, as it is written.
    pub(super) text: String,
}

impl Link {
    /// Whether it leads to another site.
    pub(super) fn is_external(&self) -> bool {
        self.target.contains("://") || self.target.starts_with("mailto:")
    }

    /// The file, and the place in it; either may be empty.
    pub(super) fn parts(&self) -> (&str, &str) {
        self.target.split_once('#').unwrap_or((&self.target, ""))
    }
}

/// All links of a page, in their order.
pub(super) fn links(text: &str) -> Vec<Link> {
    let mut links = Vec::new();
    for (event, range) in Parser::new_ext(text, options()).into_offset_iter() {
        let Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) = event else {
            continue;
        };
        let source = &text[range.clone()];
        let inner =
            source.find('[').zip(source.rfind("](")).map(|(from, to)| &source[from + 1..to]);
        links.push(Link {
            target: dest_url.to_string(),
            text: inner.unwrap_or_default().to_owned(),
            range,
        });
    }
    links
}

/// What stands in the page as code within a line.
pub(super) fn codes(text: &str) -> Vec<String> {
    let events = Parser::new_ext(text, options());
    let codes = events.filter_map(|event| match event {
        Event::Code(code) => Some(code.to_string()),
        _ => None,
    });
    codes.collect()
}

/// The fragments that lead to a heading of the page, by the rule of GitHub, which mdBook shares: letters
/// and digits in lower case, hyphens for spaces, and a number behind a name that comes again.
pub(super) fn anchors(text: &str) -> HashSet<String> {
    let (mut anchors, mut heading) = (HashSet::new(), None::<String>);
    for event in Parser::new_ext(text, options()) {
        match (event, &mut heading) {
            (Event::Start(Tag::Heading { .. }), _) => heading = Some(String::new()),
            (Event::Text(text) | Event::Code(text), Some(heading)) => heading.push_str(&text),
            (Event::End(TagEnd::Heading(_)), _) => {
                let name = slug(&heading.take().unwrap_or_default());
                let numbered = (1..).map(|number| format!("{name}-{number}"));
                let mut names = std::iter::once(name.clone()).chain(numbered);
                anchors.extend(names.find(|name| !anchors.contains(name)));
            }
            _ => {}
        }
    }
    anchors
}

fn slug(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn options() -> Options {
    Options::ENABLE_TABLES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_are_found_by_their_words() {
        let anchors = anchors("# The log, `sse` and more\n## Limits\n## Limits\n    # code\n");
        let mut anchors: Vec<_> = anchors.into_iter().collect();
        anchors.sort_unstable();
        assert_eq!(anchors, ["limits", "limits-1", "the-log-sse-and-more"]);
    }

    #[test]
    fn links_in_code_are_no_links() {
        let links =
            links("See [the\nlog](log.md#cursors), `[a](b)`.\n```\n[c](d)\n```\n![e](f.png)");
        let found = links.iter().map(|link| (link.parts(), link.text.as_str()));
        let expected = [(("log.md", "cursors"), "the\nlog"), (("f.png", ""), "e")];
        assert_eq!(found.collect::<Vec<_>>(), expected);
    }
}
