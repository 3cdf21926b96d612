//! What the modules of a crate import from each other, whatever the way: by `use`, by a path in the code or in
//! a macro's arguments, by `super`, or through a name that another module has re-exported.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use proc_macro2::{TokenStream, TokenTree};
use syn::ext::IdentExt as _;
use syn::visit::{self, Visit};
use syn::{Attribute, ImplItem, Item, ItemUse, Macro, Meta, UseTree, Visibility};

/// The names from the crate's root down to a module, or to an item in one.
type ModulePath = Vec<String>;

/// Reads a file of the crate, by its path from `lib.rs`.
type ReadFile<'r> = &'r dyn Fn(&str) -> Option<String>;

/// One module mentions something that another one defines.
#[derive(Debug)]
pub(super) struct Import {
    pub(super) file: String,
    pub(super) from: ModulePath,
    /// The module that has the definition.
    pub(super) to: ModulePath,
    /// What was written, from the crate's root on.
    pub(super) path: ModulePath,
}

/// All modules of a crate, and their imports.
#[derive(Debug)]
pub(super) struct Imports {
    modules: BTreeMap<ModulePath, Module>,
    /// The file of the root.
    root: String,
    all: Vec<Import>,
}

#[derive(Debug, Default)]
struct Module {
    file: String,
    /// What `use` has named here, and what it stands for.
    aliases: BTreeMap<String, ModulePath>,
    /// The modules of which everything is imported (`use x::*`).
    globs: Vec<ModulePath>,
    items: BTreeSet<String>,
    /// Names that `use` has brought from other crates.
    external: BTreeSet<String>,
    /// Paths into the crate, from its root on.
    mentions: Vec<ModulePath>,
}

impl Imports {
    /// Reads a crate from its root on, `lib.rs` or `main.rs`.
    pub(super) fn read(read: ReadFile<'_>, root: &str) -> Result<Self> {
        let mut modules = BTreeMap::new();
        read_file(read, root, Vec::new(), "", &mut modules)?;
        let mut imports = Self { modules, root: root.to_owned(), all: Vec::new() };
        for (from, module) in &imports.modules {
            for path in &module.mentions {
                let (file, to) = (module.file.clone(), imports.defining(path, 0));
                let is_external = |name| {
                    imports.modules.get(&to).is_some_and(|module| module.external.contains(name))
                };
                if to.is_empty() && path.first().is_some_and(is_external) {
                    continue;
                }
                imports.all.push(Import { file, from: from.clone(), to, path: path.clone() });
            }
        }
        Ok(imports)
    }

    /// The modules that have a file of their own, or are in one; not those in the root's file itself.
    pub(super) fn modules(&self) -> impl Iterator<Item = &ModulePath> {
        let below = self.modules.iter().filter(|(_, module)| module.file != self.root);
        below.map(|(path, _)| path)
    }

    pub(super) fn all(&self) -> &[Import] {
        &self.all
    }

    /// The module that defines what a path means, behind all re-exports.
    fn defining(&self, path: &[String], depth: usize) -> ModulePath {
        let mut here = Vec::new();
        for (index, name) in path.iter().enumerate() {
            let child: ModulePath = here.iter().chain([name]).cloned().collect();
            if self.modules.contains_key(&child) {
                here = child;
                continue;
            }
            let rest = &path[index + 1..];
            return match self.modules.get(&here).and_then(|module| self.exported(module, name)) {
                Some(target) if depth < 32 => self.defining(
                    &target.into_iter().chain(rest.to_vec()).collect::<Vec<_>>(),
                    depth + 1,
                ),
                _ => here,
            };
        }
        here
    }

    /// What a name stands for in a module that does not define it.
    fn exported(&self, module: &Module, name: &str) -> Option<ModulePath> {
        if module.items.contains(name) {
            return None;
        }
        let with_name = |glob: &ModulePath| glob.iter().cloned().chain([name.to_owned()]).collect();
        module.aliases.get(name).cloned().or_else(|| {
            let has = |glob: &&ModulePath| {
                let module = self.modules.get(*glob);
                let child: ModulePath = with_name(glob);
                self.modules.contains_key(&child)
                    || module.is_some_and(|module| {
                        module.items.contains(name) || module.aliases.contains_key(name)
                    })
            };
            module.globs.iter().find(has).map(with_name)
        })
    }
}

/// Reads a file and the modules in it. `folder` is where its own modules are.
fn read_file(
    read: ReadFile<'_>,
    file: &str,
    path: ModulePath,
    folder: &str,
    modules: &mut BTreeMap<ModulePath, Module>,
) -> Result<()> {
    let text = read(file).with_context(|| format!("{file} is missing"))?;
    let parsed = syn::parse_file(&text).with_context(|| format!("{file} cannot be parsed"))?;
    read_items(read, file, &parsed.items, path, folder, modules)
}

fn read_items(
    read: ReadFile<'_>,
    file: &str,
    items: &[Item],
    path: ModulePath,
    folder: &str,
    modules: &mut BTreeMap<ModulePath, Module>,
) -> Result<()> {
    let mut children = BTreeSet::new();
    for item in items {
        let Item::Mod(item) = item else { continue };
        if is_for_tests(&item.attrs) || is_stand_in(&item.attrs) {
            continue;
        }
        let name = item.ident.unraw().to_string();
        let (child, folder) = (joined(&path, &name), format!("{folder}{name}/"));
        children.insert(name.clone());
        match &item.content {
            Some((_, items)) => read_items(read, file, items, child, &folder, modules)?,
            None => {
                let own = format!("{}.rs", folder.trim_end_matches('/'));
                let in_folder = format!("{folder}mod.rs");
                let file = if read(&own).is_some() { own } else { in_folder };
                read_file(read, &file, child, &folder, modules)?;
            }
        }
    }
    let module = Module { file: file.to_owned(), ..Module::default() };
    let mut reader =
        Reader { path: &path, children: &children, module, relative: Vec::new(), is_nested: false };
    items.iter().for_each(|item| reader.visit_item(item));
    let Reader { mut module, relative, .. } = reader;
    for names in relative {
        if let Some(alias) = names.first().and_then(|name| module.aliases.get(name)) {
            module.mentions.push(alias.iter().chain(&names[1..]).cloned().collect());
        }
    }
    ensure!(modules.insert(path, module).is_none(), "{file} has a module twice");
    Ok(())
}

/// Collects what one module names, without its own modules.
struct Reader<'r> {
    path: &'r [String],
    children: &'r BTreeSet<String>,
    module: Module,
    /// Paths that begin with a name which `use` may have brought here, or with another crate.
    relative: Vec<ModulePath>,
    /// Whether it is inside an item: what `use` names there is named nowhere else.
    is_nested: bool,
}

impl Reader<'_> {
    /// The path from the crate's root on; `None` where it leads to another crate.
    fn absolute(&self, names: &[String]) -> Option<ModulePath> {
        let mut here = match names.first()?.as_str() {
            "crate" => Vec::new(),
            "self" | "super" => self.path.to_vec(),
            child if self.children.contains(child) => self.path.to_vec(),
            _ => return None,
        };
        for name in names {
            match name.as_str() {
                "crate" | "self" => {}
                "super" => drop(here.pop()),
                name => here.push(name.to_owned()),
            }
        }
        Some(here)
    }

    fn mention(&mut self, names: &[String]) {
        match self.absolute(names) {
            _ if names.len() < 2 => {}
            Some(path) => self.module.mentions.push(path),
            None => self.relative.push(names.to_vec()),
        }
    }

    fn read_name(&mut self, mut path: ModulePath, name: String, alias: String) {
        if name != "self" {
            path.push(name);
        }
        let Some(path) = self.absolute(&path) else {
            if !self.is_nested {
                self.module.external.insert(alias);
            }
            return;
        };
        self.module.mentions.push(path.clone());
        if !self.is_nested {
            self.module.aliases.insert(alias, path);
        }
    }

    fn read_use(&mut self, tree: &UseTree, mut before: ModulePath) {
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.unraw().to_string());
                self.read_use(&path.tree, before);
            }
            UseTree::Name(name) => {
                let name = name.ident.unraw().to_string();
                let alias = match before.last() {
                    Some(last) if name == "self" => last.clone(),
                    _ => name.clone(),
                };
                self.read_name(before, name, alias);
            }
            UseTree::Rename(rename) => {
                let alias = rename.rename.unraw().to_string();
                self.read_name(before, rename.ident.unraw().to_string(), alias);
            }
            UseTree::Glob(_) => {
                let Some(path) = self.absolute(&before) else { return };
                self.module.mentions.push(path.clone());
                if !self.is_nested {
                    self.module.globs.push(path);
                }
            }
            UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.read_use(tree, before.clone()));
            }
        }
    }

    /// Paths in what a macro is given, which may be anything.
    fn read_tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut index = 0;
        while index < tokens.len() {
            if let TokenTree::Group(group) = &tokens[index] {
                self.read_tokens(group.stream());
            }
            let (names, length) = path_at(&tokens[index..]);
            self.mention(&names);
            index += length.max(1);
        }
    }
}

/// The names that `::` joins where the tokens begin, and how many tokens they are.
fn path_at(tokens: &[TokenTree]) -> (ModulePath, usize) {
    let (mut names, mut length) = (Vec::new(), 0);
    while let Some(TokenTree::Ident(name)) = tokens.get(length) {
        names.push(name.unraw().to_string());
        length += 1;
        let is_colon = |token: Option<&TokenTree>| matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == ':');
        if !(is_colon(tokens.get(length)) && is_colon(tokens.get(length + 1))) {
            break;
        }
        length += 2;
    }
    (names, length)
}

impl<'a> Visit<'a> for Reader<'_> {
    fn visit_item(&mut self, item: &'a Item) {
        let (name, attributes) = match item {
            Item::Mod(_) => return,
            Item::Const(item) => (Some(&item.ident), &item.attrs),
            Item::Enum(item) => (Some(&item.ident), &item.attrs),
            Item::Fn(item) => (Some(&item.sig.ident), &item.attrs),
            Item::Impl(item) => (None, &item.attrs),
            Item::Macro(item) => (item.ident.as_ref(), &item.attrs),
            Item::Static(item) => (Some(&item.ident), &item.attrs),
            Item::Struct(item) => (Some(&item.ident), &item.attrs),
            Item::Trait(item) => (Some(&item.ident), &item.attrs),
            Item::Type(item) => (Some(&item.ident), &item.attrs),
            Item::Union(item) => (Some(&item.ident), &item.attrs),
            Item::Use(item) => (None, &item.attrs),
            _ => return visit::visit_item(self, item),
        };
        if is_for_tests(attributes) {
            return;
        }
        if let Some(name) = name.filter(|_| !self.is_nested) {
            self.module.items.insert(name.unraw().to_string());
        }
        if let Item::Use(item) = item {
            return self.visit_item_use(item);
        }
        let was_nested = std::mem::replace(&mut self.is_nested, true);
        visit::visit_item(self, item);
        self.is_nested = was_nested;
    }

    fn visit_impl_item(&mut self, item: &'a ImplItem) {
        let is_for_tests = match item {
            ImplItem::Fn(item) => is_for_tests(&item.attrs),
            ImplItem::Const(item) => is_for_tests(&item.attrs),
            _ => false,
        };
        if !is_for_tests {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'a ItemUse) {
        self.read_use(&item.tree, Vec::new());
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        let names: ModulePath =
            path.segments.iter().map(|segment| segment.ident.unraw().to_string()).collect();
        self.mention(&names);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'a Macro) {
        self.visit_path(&item.path);
        self.read_tokens(item.tokens.clone());
    }

    /// `pub(super)` imports nothing.
    fn visit_visibility(&mut self, _: &'a Visibility) {}

    /// Neither do documentation and options of macros.
    fn visit_attribute(&mut self, _: &'a Attribute) {}
}

/// Whether something is compiled for tests alone.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => {
            let condition = list.tokens.to_string();
            condition == "test" || condition.starts_with("all (test")
        }
        _ => false,
    })
}

/// Whether a module stands in for another of its name, whose feature is off.
fn is_stand_in(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| attribute.path().is_ident("path"))
}

fn joined(path: &[String], name: &str) -> ModulePath {
    path.iter().cloned().chain([name.to_owned()]).collect()
}
