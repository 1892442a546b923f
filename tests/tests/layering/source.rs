//! What does the code keep out? Read as Rust reads it, so that a comment or a string breaks no rule.

use std::collections::BTreeSet;

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{Attribute, GenericParam, Generics, ImplItem, Item, ItemImpl, ItemMod, TraitItem, Type, TypeParamBound};

use crate::{
    none_may,
    repository::{files, text},
};

/// A file of code that is no test, and its items that are none.
pub(crate) struct Source {
    pub(crate) file: String,
    /// How many lines its tests take.
    pub(crate) test_lines: usize,
    items: Vec<Item>,
}

/// Every Rust file whose path begins with `under`, without its tests; files that are all test are left out.
pub(crate) fn sources(under: &str) -> Vec<Source> {
    let code = files().iter().filter(|file| file.starts_with(under) && file.ends_with(".rs"));
    let parsed: Vec<(&String, syn::File)> = code.map(|file| (file, parse(file))).collect();
    let tests: Vec<String> = parsed.iter().flat_map(|(file, code)| test_modules(file, code)).collect();
    let is_test = |file: &str| {
        tests.iter().any(|module| file == format!("{module}.rs") || file.starts_with(&format!("{module}/")))
    };
    parsed.into_iter().filter(|(file, _)| !is_test(file)).map(|(file, code)| Source::new(file, code)).collect()
}

#[test]
fn only_the_gateway_waits() {
    let stages = core().into_iter().filter(|source| !source.file.starts_with("shared/gateway/"));
    let wrong = stages.flat_map(|source| source.naming(&["async", "await", "Future"]));
    none_may("under shared/ only gateway contains `async`", wrong);
}

#[test]
fn the_core_never_asks_for_send() {
    let wrong = core().into_iter().flat_map(|source| source.naming(&["Send", "Sync"]));
    none_may("there is no Send bound under shared/", wrong);
}

#[test]
fn the_core_reads_no_clock_no_environment_and_no_randomness() {
    let wrong = core().into_iter().flat_map(|source| {
        source.naming(&["SystemTime", "Instant", "env", "thread", "process", "OsRng", "thread_rng", "getrandom"])
    });
    none_may("nothing under shared/ reads a clock, the environment or randomness, or starts a thread", wrong);
}

#[test]
fn the_core_is_the_same_on_every_target() {
    let wrong = core().into_iter().filter(|source| {
        let conditions = source.groups_after(&["cfg", "cfg_attr", "cfg_select"]);
        conditions.iter().any(|condition| {
            let platform = ["feature", "unix", "windows", "wasm"];
            condition.iter().any(|word| word.starts_with("target") || platform.contains(&word.as_str()))
        })
    });
    none_may("there is no cfg(target…) and no cfg(feature…) under shared/", wrong.map(|source| source.file));
}

#[test]
fn unsafe_is_nowhere() {
    none_may("no code is unsafe", sources("").into_iter().flat_map(|source| source.naming(&["unsafe"])));
}

#[test]
fn one_type_is_generic_over_the_platform() {
    let gateway = sources("shared/gateway/").into_iter();
    let generic: BTreeSet<String> = gateway.flat_map(|source| source.generic_over_platform()).collect();
    assert_eq!(generic, BTreeSet::from(["Gateway".to_owned()]), "exactly one type is generic over Platform");
    let elsewhere = core().into_iter().filter(|source| !source.file.starts_with("shared/gateway/"));
    none_may("only gateway knows Platform", elsewhere.flat_map(|source| source.naming(&["Platform"])));
}

#[test]
fn an_adapter_names_nothing_of_a_stage_but_its_machines() {
    let wrong = sources("functions/").into_iter().flat_map(|source| {
        let symbols = source.symbols();
        let paths = symbols.windows(4).filter(|four| four[1] == ":" && four[2] == ":");
        let is_stage = |name: &str| MACHINES.iter().any(|(stage, _)| *stage == name);
        let is_machine = |four: &[String]| MACHINES.contains(&(four[0].as_str(), four[3].as_str()));
        let strays = paths.filter(|four| is_stage(&four[0]) && !is_machine(four));
        strays.map(|four| format!("{}: {}", source.file, four.concat())).collect::<Vec<_>>()
    });
    none_may("an adapter names of a stage only the machines it hosts", wrong);
}

fn core() -> Vec<Source> {
    let core = sources("shared/");
    assert!(core.len() > 30, "only {} files are under shared/", core.len());
    core
}

impl Source {
    fn new(file: &str, mut code: syn::File) -> Self {
        let (tests, items) = code.items.drain(..).partition::<Vec<Item>, _>(|item| is_test(attributes(item)));
        let lines = |item: &Item| {
            let spans = || item.to_token_stream().into_iter().map(|token| token.span());
            let (first, last) =
                (spans().map(|span| span.start().line).min(), spans().map(|span| span.end().line).max());
            last.unwrap_or(0) + 1 - first.unwrap_or(0)
        };
        Self { file: file.to_owned(), test_lines: tests.iter().map(lines).sum(), items }
    }

    /// The identifiers, keywords and signs, in their order. Comments and literals are none.
    fn symbols(&self) -> Vec<String> {
        let mut symbols = Vec::new();
        collect(self.tokens(), &mut symbols);
        symbols
    }

    /// Which of `forbidden` it names.
    fn naming(&self, forbidden: &[&str]) -> Vec<String> {
        let named: BTreeSet<String> =
            self.symbols().into_iter().filter(|word| forbidden.contains(&word.as_str())).collect();
        named.into_iter().map(|word| format!("{}: `{word}`", self.file)).collect()
    }

    /// The words in the brackets that follow each of `names`.
    fn groups_after(&self, names: &[&str]) -> Vec<Vec<String>> {
        let mut groups = Vec::new();
        brackets(self.tokens(), names, &mut groups);
        groups
    }

    /// The macros among its items, each by its name with what it is given.
    pub(crate) fn macros(&self) -> impl Iterator<Item = (String, TokenStream)> {
        self.items.iter().filter_map(|item| match item {
            Item::Macro(one) => Some((one.mac.path.segments.last()?.ident.to_string(), one.mac.tokens.clone())),
            _ => None,
        })
    }

    fn tokens(&self) -> TokenStream {
        self.items.iter().map(quote::ToTokens::to_token_stream).collect()
    }

    /// The types, functions and traits with a parameter that is a Platform, and those it is implemented for.
    fn generic_over_platform(&self) -> Vec<String> {
        let mut names = Vec::new();
        for item in &self.items {
            match item {
                Item::Struct(one) if over_platform(&one.generics) => names.push(one.ident.to_string()),
                Item::Enum(one) if over_platform(&one.generics) => names.push(one.ident.to_string()),
                Item::Type(one) if over_platform(&one.generics) => names.push(one.ident.to_string()),
                Item::Fn(one) if over_platform(&one.sig.generics) => names.push(one.sig.ident.to_string()),
                Item::Trait(one) => {
                    let generic = one
                        .items
                        .iter()
                        .any(|item| matches!(item, TraitItem::Fn(method) if over_platform(&method.sig.generics)));
                    names.extend((generic || over_platform(&one.generics)).then(|| one.ident.to_string()));
                }
                Item::Impl(one) if over_platform(&one.generics) || has_generic_method(one) => {
                    names.push(implementor(one))
                }
                _ => {}
            }
        }
        names
    }
}

fn has_generic_method(one: &ItemImpl) -> bool {
    one.items.iter().any(|item| matches!(item, ImplItem::Fn(method) if over_platform(&method.sig.generics)))
}

fn implementor(one: &ItemImpl) -> String {
    match &*one.self_ty {
        Type::Path(path) => path.path.segments.last().unwrap().ident.to_string(),
        other => other.to_token_stream().to_string(),
    }
}

fn over_platform(generics: &Generics) -> bool {
    let bound = |bound: &TypeParamBound| {
        let TypeParamBound::Trait(bound) = bound else { return false };
        bound.path.segments.last().is_some_and(|segment| segment.ident == "Platform")
    };
    let parameters = generics.params.iter().any(|parameter| match parameter {
        GenericParam::Type(parameter) => parameter.bounds.iter().any(bound),
        _ => false,
    });
    let clauses = generics.where_clause.iter().flat_map(|clause| &clause.predicates);
    parameters
        || clauses.into_iter().any(|clause| match clause {
            syn::WherePredicate::Type(clause) => clause.bounds.iter().any(bound),
            _ => false,
        })
}

fn parse(file: &str) -> syn::File {
    syn::parse_file(&text(file)).unwrap_or_else(|error| panic!("`{file}`: {error}"))
}

/// The paths, without `.rs`, of the modules of `file` that are only built for tests.
fn test_modules(file: &str, code: &syn::File) -> Vec<String> {
    let stem = file.strip_suffix(".rs").unwrap();
    let (folder, name) = stem.rsplit_once('/').unwrap_or(("", stem));
    let inside = if ["lib", "main", "mod"].contains(&name) { folder } else { stem };
    let modules = code.items.iter().filter_map(|item| match item {
        Item::Mod(ItemMod { attrs, ident, content: None, .. }) if is_test(attrs) => Some(format!("{inside}/{ident}")),
        _ => None,
    });
    modules.collect()
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|one| {
        one.path().is_ident("test")
            || (one.path().is_ident("cfg") && one.meta.to_token_stream().to_string() == "cfg (test)")
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(one) => &one.attrs,
        Item::Fn(one) => &one.attrs,
        Item::Impl(one) => &one.attrs,
        Item::Mod(one) => &one.attrs,
        Item::Static(one) => &one.attrs,
        Item::Struct(one) => &one.attrs,
        Item::Use(one) => &one.attrs,
        _ => &[],
    }
}

fn collect(tokens: TokenStream, symbols: &mut Vec<String>) {
    for token in tokens {
        match token {
            TokenTree::Ident(word) => symbols.push(word.to_string()),
            TokenTree::Punct(sign) => symbols.push(sign.to_string()),
            TokenTree::Group(group) => {
                symbols.push("(".to_owned());
                collect(group.stream(), symbols);
            }
            TokenTree::Literal(_) => {}
        }
    }
}

fn brackets(tokens: TokenStream, names: &[&str], groups: &mut Vec<Vec<String>>) {
    let mut is_named = false;
    for token in tokens {
        match token {
            TokenTree::Ident(word) => is_named = names.iter().any(|name| word == name),
            TokenTree::Group(group) => {
                if is_named {
                    groups.push(Vec::new());
                    collect(group.stream(), groups.last_mut().unwrap());
                }
                brackets(group.stream(), names, groups);
                is_named = false;
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// The stages whose machines an adapter hosts.
const MACHINES: [(&str, &str); 6] = [
    ("audit", "Chain"),
    ("quota", "Ledger"),
    ("quota", "Usage"),
    ("registry", "Release"),
    ("session", "Session"),
    ("upstream", "Breaker"),
];
