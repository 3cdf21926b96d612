//! The report as one page, for people that do not know the RFCs.

use std::{cmp::Reverse, fmt::Write as _};

use super::{
    Outcome, Report,
    groups::{Group, grouped},
    junit::escaped,
};
use crate::{
    chapters::{self, Chapter},
    verdict::Verdict,
};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;\
color:#1b1f24;background:#fff}pre{background:#f3f4f6;padding:.6rem;overflow-x:auto;font-size:13px}\
h2{border-bottom:1px solid #d0d7de;margin-top:2.5rem}.broken{border-left:5px solid #c62828}\
.loose{border-left:5px solid #ef9f00}.information{border-left:5px solid #1e6fc4}\
section{padding:.1rem 1rem;margin:1rem 0}.tag{font-weight:600}\
table{border-collapse:collapse;display:block;overflow-x:auto}body{overflow-wrap:anywhere}\
td,th{padding:.2rem .8rem;text-align:left;border-bottom:1px solid #d0d7de}td+td,th+th{text-align:right}\
small,summary,dd{color:#57606a}dt{font-weight:600}dd{margin:0 0 .5rem}a{color:#0969da}\
@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}pre{background:#161b22}\
small,summary,dd{color:#9198a1}a{color:#58a6ff}}";

const LEGEND: &str = "<dl><dt>Broken<dd>A standard forbids this with MUST: other programs may fail to talk to this \
                      one, or trust it where they should not.<dt>Loose<dd>A standard advises against this, or no \
                      correct peer sends what is taken here.<dt>Information<dd>What this program does where the \
                      standards leave it free.<dt>Not judged<dd>Could not be tried; the reason stands beside \
                      it.</dl><p>Of each finding the bytes are shown: <code>→</code> is what this check sent, \
                      <code>←</code> is what came back, in hexadecimal and as the frames of a WebSocket.";

impl Report {
    /// A page that needs nothing else: the counts, and each finding with what the rule is for.
    #[must_use]
    pub fn to_html(&self, peer: &str) -> String {
        let counts = self.counts();
        let peer = escaped(peer);
        let interrupted = if self.is_interrupted { ", interrupted" } else { "" };
        let mut page = format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
             content=\"width=device-width\"><title>sockeye check {peer}</title><style>{STYLE}</style>\
             <h1>sockeye check</h1><p><b>{peer}</b><p>{} passed, <b>{} broken</b>, {} loose, {} for \
             information, {} known, {} not judged, in {:.1} s{interrupted}.",
            counts.passed,
            counts.broken,
            counts.loose,
            counts.information,
            counts.known,
            counts.not_judged,
            self.took.as_secs_f64(),
        );
        let mut chapters = String::new();
        page += "<table><tr><th>Chapter<th>passed<th>broken<th>loose<th>not judged";
        for chapter in chapters::ALL {
            let of = self.outcomes.iter().filter(|outcome| outcome.chapter() == chapter.name);
            let outcomes: Vec<_> = of.collect();
            if !outcomes.is_empty() {
                row(&mut page, chapter, &outcomes);
                chapter_of(&mut chapters, chapter, &outcomes);
            }
        }
        page + "</table>" + LEGEND + &chapters + "</html>\n"
    }
}

/// A chapter in the table at the top.
fn row(page: &mut String, chapter: &Chapter, outcomes: &[&Outcome]) {
    let count = |verdict| match outcomes.iter().filter(|one| one.verdict == verdict).count() {
        0 => String::new(),
        count => count.to_string(),
    };
    let _ = write!(
        page,
        "<tr><td><a href=\"#{}\">{}</a><td>{}<td><b>{}</b><td>{}<td>{}",
        chapter.name,
        escaped(chapter.title),
        count(Verdict::Passed),
        count(Verdict::Broken),
        count(Verdict::Loose),
        count(Verdict::NotJudged),
    );
}

/// A chapter: what its rules are for, and its findings, the worst first.
fn chapter_of(page: &mut String, chapter: &Chapter, outcomes: &[&Outcome]) {
    let _ = write!(
        page,
        "<h2 id=\"{}\">{}</h2><p>{}",
        chapter.name,
        escaped(chapter.title),
        escaped(chapter.about),
    );
    let mut groups = grouped(outcomes.iter().copied());
    groups.sort_by_key(|group| Reverse(group.first.verdict));
    groups.iter().for_each(|group| finding(page, group));
    not_judged(page, outcomes);
}

fn finding(page: &mut String, Group { first, others }: &Group<'_>) {
    let (class, meaning) = match first.verdict {
        Verdict::Broken => ("broken", "Broken"),
        Verdict::Loose => ("loose", "Loose"),
        Verdict::Information => ("information", "Information"),
        Verdict::Passed | Verdict::NotJudged => return,
    };
    let known = if first.is_known { " (known)" } else { "" };
    let expected = first.expected.split_once(": ");
    let (level, expected) = expected.unwrap_or(("", &first.expected));
    let demand = match level {
        "MUST" => "The standard demands",
        "SHOULD" => "The standard advises, or a careful program does",
        _ => "Possible here",
    };
    let _ = write!(
        page,
        "<section class=\"{class}\" id=\"{id}\"><h3>{title}</h3><p><span class=\"tag\">{meaning}{known}\
         </span> <small>{section}, {id}</small><p>{demand}: {expected}.<br>What came: <b>{came}</b>.\
         <p>{why}",
        id = escaped(&first.id),
        title = escaped(&first.title),
        section = link(first.section),
        expected = escaped(expected),
        came = escaped(&first.came),
        why = escaped(first.why),
    );
    let bytes = first.trace.to_text("");
    if !bytes.is_empty() {
        let open = if first.verdict == Verdict::Broken { " open" } else { "" };
        let bytes = escaped(&bytes);
        let _ =
            write!(page, "<details{open}><summary>The bytes</summary><pre>{bytes}</pre></details>");
    }
    if !others.is_empty() {
        let _ = write!(page, "<details><summary>{} more like it</summary><ul>", others.len());
        for other in others {
            let (title, id) = (escaped(&other.title), escaped(&other.id));
            let _ = write!(page, "<li id=\"{id}\">{title} <small>{id}</small>");
        }
        page.push_str("</ul></details>");
    }
    page.push_str("</section>");
}

/// A section with its page: `RFC 6455 §5.2`.
fn link(section: &str) -> String {
    let mut words = section.split(' ').skip(1);
    match (words.next(), words.next().and_then(|part| part.strip_prefix('§'))) {
        (Some(number), Some(part)) => format!(
            "<a href=\"https://www.rfc-editor.org/rfc/rfc{number}#section-{part}\">{}</a>",
            escaped(section)
        ),
        _ => escaped(section),
    }
}

fn not_judged(page: &mut String, outcomes: &[&Outcome]) {
    let not: Vec<_> = outcomes.iter().filter(|one| one.verdict == Verdict::NotJudged).collect();
    if not.is_empty() {
        return;
    }
    let _ = write!(page, "<details><summary>{} not judged</summary><table>", not.len());
    for outcome in not {
        let _ = write!(page, "<tr><td>{}<td>{}", escaped(&outcome.title), escaped(&outcome.came));
    }
    page.push_str("</table></details>");
}
