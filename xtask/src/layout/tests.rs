//! The checker itself, on crates with a circle in them.

use super::*;

/// What is wrong with a crate of these files.
fn wrong(files: &[(&str, &str)], rules: &[&str]) -> Vec<String> {
    let read = |wanted: &str| {
        let found = files.iter().find(|(file, _)| *file == wanted);
        found.map(|(_, text)| (*text).to_owned())
    };
    problems(&Imports::read(&read, "lib.rs").unwrap(), &Rules::parse(rules).unwrap())
}

/// A crate with two folders, of which `upper` may import from `lower`.
fn wrong_in_lower(lower: &str) -> Vec<String> {
    let files = [
        (
            "lib.rs",
            "mod lower; mod upper; pub use std::sync::Arc; pub use upper::Thing as Gadget; pub use crate::upper::inner;",
        ),
        ("upper/mod.rs", "pub(crate) mod inner; use crate::lower::Base; pub struct Thing(Base);"),
        ("upper/inner.rs", "pub fn run() {}"),
        ("lower.rs", lower),
    ];
    wrong(&files, &["upper → lower"])
}

#[test]
fn a_planted_circle_is_printed() {
    let wrong = wrong_in_lower("use crate::upper::Thing; pub struct Base;");
    let [circle] = wrong.as_slice() else { panic!("{wrong:?}") };
    assert!(circle.contains("`lower` may not import from `upper`"), "{circle}");
    assert!(circle.contains("lower.rs has crate::upper::Thing"), "{circle}");
    assert!(circle.contains("lower → upper → lower"), "{circle}");
    assert!(circle.contains("upper/mod.rs has crate::lower::Base"), "{circle}");
}

#[test]
fn an_import_counts_however_it_is_written() {
    for way in [
        "use crate::upper::inner::run;",
        "use crate::{upper::{inner::{self}}};",
        "use super::upper::inner as other;",
        "use crate::upper::*;",
        // By the root's re-exports.
        "use crate::Gadget;",
        "fn f() { crate::inner::run() }",
        "fn f() -> crate::upper::Thing { todo!() }",
        "fn f() { let _ = vec![super::upper::inner::run()]; }",
        "fn f() { use crate::upper::inner; }",
        "impl Base { fn f() { crate::upper::inner::run() } }",
        "mod deep { use super::super::upper::Thing; }",
    ] {
        let wrong = wrong_in_lower(&format!("pub struct Base; {way}"));
        assert!(wrong.iter().any(|problem| problem.contains("circle")), "{way}: {wrong:?}");
    }
}

#[test]
fn what_is_no_import_does_not_count() {
    for other in [
        "/// [`Thing`](crate::upper::Thing)\npub struct Base;",
        "pub struct Base; #[cfg(test)] mod tests { use crate::upper::Thing; }",
        "pub struct Base; #[cfg(test)] use crate::upper::Thing;",
        "pub struct Base; impl Base { #[cfg(test)] fn f() { crate::upper::inner::run() } }",
        "pub struct Base; pub(crate) mod inner { pub(in crate::lower) struct A; }",
        "pub struct Base; use std::upper::Thing;",
        // What the root re-exports of other crates.
        "pub struct Base; use crate::Arc; fn f() { crate::Arc::new(()) }",
    ] {
        assert_eq!(wrong_in_lower(other), Vec::<String>::new(), "{other}");
    }
}

#[test]
fn a_rule_holds_all_the_way_down_and_for_the_innermost_folder() {
    let files = [
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a.rs", "use crate::c::C;"),
        ("b/mod.rs", "pub(crate) mod first; pub(crate) mod second;"),
        ("b/first.rs", "use super::second::B;"),
        ("b/second.rs", "pub(crate) struct B;"),
        ("c.rs", "pub(crate) struct C;"),
    ];
    assert_eq!(wrong(&files, &["a → b → c"]), Vec::<String>::new());
    assert_eq!(wrong(&files, &["a → {b/first, b} → c", "b/first → b"]), Vec::<String>::new());
    assert_eq!(wrong(&files, &["a → b → {b/first, c}"]).len(), 1);
    assert_eq!(wrong(&files, &["c → b → a"]).len(), 1);
    let files = [
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "use crate::b; fn f() { b::inner::g() }"),
        ("b/mod.rs", "pub mod inner;"),
        ("b/inner.rs", "pub fn g() {}"),
    ];
    assert_eq!(wrong(&files, &["a → b", "b/inner"]).len(), 1);
}

#[test]
fn every_file_has_a_folder_and_every_folder_files() {
    let root = "mod a; mod b; pub mod internals { pub use crate::a::A; }";
    let files = [("lib.rs", root), ("a.rs", "pub struct A;"), ("b.rs", "")];
    assert_eq!(wrong(&files, &["a"]), ["no rule names `b`"]);
    assert_eq!(wrong(&files, &["a → b → c"]), ["a rule names `c`, and there is none"]);
}

#[test]
fn rules_are_no_circle() {
    let error = Rules::parse(&["a → {b, c} → d", "d → a"]).unwrap_err().to_string();
    assert!(error.contains("a → b → d → a"), "{error}");
}
