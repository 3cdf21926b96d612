//! That no file and no function is too long to be read in one go: a part of `cargo xtask test format`.

use anyhow::{Context as _, Result, ensure};
use syn::visit::{self, Visit};
use syn::{Block, ImplItemFn, ItemFn, Signature, TraitItemFn};

use crate::docs::sources;

/// The most lines of a file.
const FILE: usize = 600;
/// The most lines of a function, from `fn` to its last brace.
const FUNCTION: usize = 60;

/// Sources of the Rust crates and of the browser's code.
const FILES: [&str; 5] = ["*.rs", "*.js", "*.mjs", "*.css", "*.html"];
/// What a command writes.
const WRITTEN: &str = "clients/js/served/";

/// Checks all sources.
pub(super) fn check() -> Result<()> {
    let mut wrong = Vec::new();
    for file in sources(&FILES)?.iter().filter(|file| !file.path.starts_with(WRITTEN)) {
        let long = too_long(&file.text, file.path.ends_with(".rs"));
        let long = long.with_context(|| format!("{} cannot be parsed", file.path))?;
        wrong.extend(long.iter().map(|what| format!("{}: {what}", file.path)));
    }
    let most = format!("files have at most {FILE} lines, functions {FUNCTION}");
    ensure!(wrong.is_empty(), "{most}\n{}", wrong.join("\n"));
    Ok(())
}

/// What in a file is too long.
fn too_long(text: &str, is_rust: bool) -> syn::Result<Vec<String>> {
    let lines = text.lines().count();
    let mut long = Functions(Vec::new());
    if lines > FILE {
        long.0.push(format!("{lines} lines"));
    }
    if is_rust {
        long.visit_file(&syn::parse_file(text)?);
    }
    Ok(long.0)
}

/// The functions that are too long, with their lengths.
struct Functions(Vec<String>);

impl Functions {
    fn measure(&mut self, signature: &Signature, body: &Block) {
        let lines =
            body.brace_token.span.close().end().line - signature.fn_token.span.start().line + 1;
        if lines > FUNCTION {
            self.0.push(format!("`{}` has {lines} lines", signature.ident));
        }
    }
}

impl<'a> Visit<'a> for Functions {
    fn visit_item_fn(&mut self, item: &'a ItemFn) {
        self.measure(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'a ImplItemFn) {
        self.measure(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'a TraitItemFn) {
        if let Some(body) = &item.default {
            self.measure(&item.sig, body);
        }
        visit::visit_trait_item_fn(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_more_lines_is_told_with_its_length() {
        let lines = |count| too_long(&"a\n".repeat(count), false).unwrap();
        assert!(lines(FILE).is_empty());
        assert_eq!(lines(FILE + 1), ["601 lines"]);
    }

    #[test]
    fn a_function_of_more_lines_is_named_wherever_it_is() {
        for (before, after) in [("", ""), ("impl A {", "}"), ("trait A {", "}"), ("mod a {", "}")] {
            let function = |lines| {
                let body = "a();\n".repeat(lines - 2);
                too_long(&format!("{before}\n/// Long.\nfn f() {{\n{body}}}\n{after}"), true)
                    .unwrap()
            };
            assert!(function(FUNCTION).is_empty());
            assert_eq!(function(FUNCTION + 1), ["`f` has 61 lines"]);
        }
    }
}
