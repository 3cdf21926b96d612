//! Which folder of a crate may import from which: a part of `cargo xtask test format`.
//!
//! [`LAYOUTS`] has the rules of each crate, [`imports`] reads what its files import. Only folders are held
//! to the rules; inside of one, files import from each other as they like. Code for tests may import
//! anything.

mod builders;
mod imports;
mod lengths;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::fs;

use anyhow::{Result, bail, ensure};

use self::imports::{Import, Imports};
use crate::shell;

/// The folders of one crate, and the direction of imports between them.
struct Layout {
    /// Where its `lib.rs` is, or its `main.rs`.
    sources: &'static str,
    /// Each rule is a chain of the crate's folders, or files, without `.rs`. What stands left of an arrow
    /// may import from all that stands right of it, in this rule and in those that begin there. A folder
    /// may be named with one around it (`transports/v1`); what is not named belongs to the folder around
    /// it. Each file of the crate has to belong to one; its root alone may import anything.
    rules: &'static [&'static str],
}

/// To have a crate checked, add its rules.
const LAYOUTS: &[Layout] = &[
    Layout {
        sources: "crates/wire/src",
        rules: &["{show, mistakes} → frame → role", "{handshake, http2}"],
    },
    Layout {
        sources: "crates/proto/src",
        rules: &[
            "proxy → handshake → deflate → {frame, extensions}",
            "handshake → extensions → token",
            "connection → {config, closed, deflate, mask, utf8}",
            "{closed, frame} → error → close → text",
            "frame → message → text",
            "utf8 → text",
        ],
    },
    Layout {
        sources: "crates/sockeye/src",
        rules: &[
            "{web, reconnect} → client → tls → net → socket → socket/core → {ring, error, clock, random, header}",
            "{server, upgrade} → {connections, request, tls}",
            "request → header",
            "connections → socket",
        ],
    },
    Layout {
        sources: "crates/server/src",
        rules: &[
            "server → channels → routes → transports/several → {transports/stream, transports/v1} → transports/websocket",
            "transports/websocket → transports → app → fanout → {metrics, lifecycle, auth} → http → net → log → rate",
            "transports → conn → {metrics, lifecycle}",
            "metrics → limits → options → auth",
            "metrics → tap → json",
            "app → trace → http",
            "options → trace",
            "transports → json",
            "{options, net, http} → option_names",
            "options → events → {channel_rule, log}",
            "{lifecycle, events} → background",
            "{channels, app, options, auth} → channel_rule",
            "http → transport",
        ],
    },
    Layout {
        sources: "crates/hub/src",
        rules: &[
            "hub → publish → channels → {stats, presence, backplane}",
            "backplane → error → {store, accounts} → names",
            "{stats, store} → log → options → names",
            "presence → {options, backplane}",
        ],
    },
    Layout {
        sources: "crates/cluster/src",
        rules: &[
            "node → {operate, presence, records}",
            "{operate, records} → publish → shard → streams → nats → {error, message} → options",
            "presence → message",
        ],
    },
    Layout {
        sources: "crates/check/src",
        rules: &[
            "run → report → {probe, chapters}",
            "probe → judge → {head, http2, request, verdict}",
            "{head, http2} → target → link",
            "verdict → link → {case, deflate, trace}",
            "chapters → {case, deflate}",
        ],
    },
    Layout {
        sources: "crates/doctor/src",
        rules: &[
            "run → {checks, report}",
            "checks → {exam, link}",
            "exam → {finding, target}",
            "link → {span, target}",
            "report → {finding, span}",
            "checks → span",
        ],
    },
    Layout {
        sources: "crates/cli/src",
        rules: &[
            "serve → {cluster, log} → flags → system → terminal",
            "serve → config",
            "connect → publish → channel → errors → flags",
            "{bench, doctor, subscribe, tap} → channel",
            "{check, token} → errors",
            "{echo, listen, token} → flags",
            "help → terminal",
        ],
    },
    Layout {
        sources: "crates/client/src",
        rules: &[
            "client → {connection, name} → error → failure",
            "connection → {queue, status, feed, publication} → message → {position, presence}",
            "{connection, feed} → websocket → {frame, endpoint, token}",
            "frame → {message, failure}",
            "connection → token → failure",
            "{queue, status} → error",
            "{feed, publication} → http → endpoint → failure → platform → random",
            "{connection, status} → transport",
            "{connection, publication} → random",
        ],
    },
    Layout { sources: "crates/testing/src", rules: &["clock", "docs", "wait"] },
];

/// Checks all crates.
pub(crate) fn check() -> Result<()> {
    let mut wrong = String::new();
    for Layout { sources, rules } in LAYOUTS {
        let folder = shell::root().join(sources);
        let root = if folder.join("lib.rs").exists() { "lib.rs" } else { "main.rs" };
        let imports = Imports::read(&|file| fs::read_to_string(folder.join(file)).ok(), root)?;
        for problem in problems(&imports, &Rules::parse(rules)?) {
            writeln!(wrong, "{sources}: {problem}")?;
        }
    }
    ensure!(wrong.is_empty(), "folders import against the rules of xtask/src/layout\n{wrong}");
    lengths::check()?;
    builders::check()
}

/// Rules that were read: from each folder those that its rules name directly.
#[derive(Debug, Default)]
struct Rules(BTreeMap<String, BTreeSet<String>>);

impl Rules {
    fn parse(rules: &[&str]) -> Result<Self> {
        let mut all = Self::default();
        for rule in rules {
            let groups: Vec<Vec<String>> = rule.split('→').map(group).collect();
            for folder in groups.iter().flatten() {
                ensure!(!folder.is_empty(), "a rule names an empty folder: {rule}");
                all.0.entry(folder.clone()).or_default();
            }
            for pair in groups.windows(2) {
                for from in &pair[0] {
                    all.0.entry(from.clone()).or_default().extend(pair[1].iter().cloned());
                }
            }
        }
        if let Some(circle) = all.0.keys().find_map(|folder| path(&all.0, folder, folder)) {
            bail!("the rules themselves are a circle: {}", circle.join(" → "));
        }
        Ok(all)
    }

    /// The innermost folder of the rules that a module is in.
    fn folder_of(&self, module: &[String]) -> Option<&str> {
        (1..=module.len()).rev().find_map(|length| {
            let (folder, _) = self.0.get_key_value(&module[..length].join("/"))?;
            Some(folder.as_str())
        })
    }

    fn allow(&self, from: &str, to: &str) -> bool {
        path(&self.0, from, to).is_some()
    }
}

/// `{a, b}`, or `a` alone.
fn group(text: &str) -> Vec<String> {
    let text = text.trim();
    let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text);
    inner.split(',').map(|name| name.trim().to_owned()).collect()
}

/// The shortest way from one folder to another along the arrows, both ends included. From a folder to itself
/// it is a circle.
fn path(arrows: &BTreeMap<String, BTreeSet<String>>, from: &str, to: &str) -> Option<Vec<String>> {
    let (mut came_from, mut next) = (BTreeMap::new(), VecDeque::from([from]));
    while let Some(here) = next.pop_front() {
        for there in arrows.get(here).into_iter().flatten() {
            if came_from.contains_key(there.as_str()) {
                continue;
            }
            came_from.insert(there.as_str(), here);
            if there == to {
                let mut path = vec![to.to_owned()];
                let mut at = to;
                loop {
                    at = came_from[at];
                    path.push(at.to_owned());
                    if at == from {
                        path.reverse();
                        return Some(path);
                    }
                }
            }
            next.push_back(there);
        }
    }
    None
}

/// What is wrong with a crate, in sentences.
fn problems(imports: &Imports, rules: &Rules) -> Vec<String> {
    let mut problems = Vec::new();
    let (mut known, mut arrows, mut examples) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
    for module in imports.modules() {
        match rules.folder_of(module) {
            Some(folder) => drop(known.insert(folder)),
            None => problems.push(format!("no rule names `{}`", module.join("/"))),
        }
    }
    for import in imports.all() {
        let Some(from) = rules.folder_of(&import.from) else { continue };
        if import.to.is_empty() {
            problems.push(format!("{} imports what the root itself defines", example(import)));
            continue;
        }
        let Some(to) = rules.folder_of(&import.to).filter(|to| *to != from) else { continue };
        let reached: &mut BTreeSet<String> = arrows.entry(from.to_owned()).or_default();
        reached.insert(to.to_owned());
        examples.entry((from.to_owned(), to.to_owned())).or_insert(import);
    }
    let missing = rules.0.keys().filter(|folder| !known.contains(folder.as_str()));
    problems.extend(missing.map(|folder| format!("a rule names `{folder}`, and there is none")));
    for ((from, to), import) in &examples {
        if rules.allow(from, to) {
            continue;
        }
        let mut problem = format!("`{from}` may not import from `{to}`: {}", example(import));
        if let Some(back) = path(&arrows, to, from) {
            problem += &format!("\n    it closes a circle: {from} → {}", back.join(" → "));
            for pair in back.windows(2) {
                let import = examples[&(pair[0].clone(), pair[1].clone())];
                problem += &format!("\n      {} → {}: {}", pair[0], pair[1], example(import));
            }
        }
        problems.push(problem);
    }
    problems
}

/// Where an import stands, and what it names.
fn example(import: &Import) -> String {
    format!("{} has crate::{}", import.file, import.path.join("::"))
}
