//! Which scenario does not run everywhere, and why? `tests/README.md` tells it, as the scenarios themselves say it.

use std::fmt::Write as _;

use proc_macro2::{Literal, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::Lit;

use crate::{repository::text, source::sources};

/// Scenarios that run on the same platforms for the same reason.
struct Group {
    platforms: &'static [Platform],
    /// None for those that run everywhere.
    reason: Option<String>,
    scenarios: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Platform {
    Memory,
    Workerd,
    Spin,
}

#[test]
fn the_readme_names_every_scenario_that_does_not_run_everywhere() {
    let page = text("tests/README.md");
    let told = page.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END)).map(|(told, _)| told.trim());
    let expected = table(&groups());
    let told = told.unwrap_or_else(|| panic!("`{BEGIN}` and `{END}` are missing in tests/README.md"));
    assert!(told == expected.trim(), "tests/README.md has to say from `{BEGIN}` on:\n\n{expected}\n{END}\n");
}

/// What all scenarios say of themselves, those with the same reason together.
fn groups() -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for source in sources("tests/scenarios/") {
        let file = source.file.trim_start_matches("tests/scenarios/").trim_end_matches(".rs");
        for (name, tokens) in source.macros() {
            let Some((_, platforms)) = MACROS.iter().find(|(known, _)| *known == name) else { continue };
            for (reason, names) in read(tokens) {
                let scenarios = names.into_iter().map(|name| format!("`{file}::{name}`"));
                match groups.iter_mut().find(|group| group.platforms == *platforms && group.reason == reason) {
                    Some(group) => group.scenarios.extend(scenarios),
                    None => groups.push(Group { platforms, reason, scenarios: scenarios.collect() }),
                }
            }
        }
    }
    assert!(groups.len() > 5, "the scenarios are not found");
    groups
}

/// `"reason": a, b; "other": c`, or names alone.
fn read(tokens: TokenStream) -> Vec<(Option<String>, Vec<String>)> {
    let mut read: Vec<(Option<String>, Vec<String>)> = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Literal(reason) => read.push((Some(spelled(reason)), Vec::new())),
            TokenTree::Ident(name) => {
                if read.is_empty() {
                    read.push((None, Vec::new()));
                }
                read.last_mut().unwrap().1.push(name.to_string());
            }
            TokenTree::Group(_) | TokenTree::Punct(_) => {}
        }
    }
    read
}

fn spelled(literal: Literal) -> String {
    match Lit::new(literal) {
        Lit::Str(text) => text.value(),
        other => panic!("a reason is a text, not `{}`", other.to_token_stream()),
    }
}

fn table(groups: &[Group]) -> String {
    let all: usize = groups.iter().map(|group| group.scenarios.len()).sum();
    let on = |platform: Platform| -> usize {
        let there = groups.iter().filter(|group| group.platforms.contains(&platform));
        there.map(|group| group.scenarios.len()).sum()
    };
    let [memory, workerd, spin] = Platform::ALL.map(on);
    let mut table = format!("Of {all} scenarios {memory} run in memory, {workerd} on workerd, {spin} on Spin.\n\n");
    table.push_str("| not on | because | scenarios |\n|---|---|---|\n");
    for (_, platforms) in MACROS {
        for group in groups.iter().filter(|group| group.platforms == platforms) {
            let Some(reason) = &group.reason else { continue };
            let absent = Platform::ALL.into_iter().filter(|one| !platforms.contains(one)).map(Platform::name);
            let absent = absent.collect::<Vec<_>>().join(", ");
            writeln!(table, "| {absent} | {reason} | {} |", group.scenarios.join(", ")).unwrap();
        }
    }
    table
}

impl Platform {
    const ALL: [Self; 3] = [Self::Memory, Self::Workerd, Self::Spin];

    const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Workerd => "workerd",
            Self::Spin => "Spin",
        }
    }
}

/// The macros of `scenarios/main.rs`, and where their scenarios run.
const MACROS: [(&str, &[Platform]); 7] = [
    ("scenarios", &Platform::ALL),
    ("not_on_spin", &[Platform::Memory, Platform::Workerd]),
    ("not_on_workerd", &[Platform::Memory, Platform::Spin]),
    ("not_in_memory", &[Platform::Workerd, Platform::Spin]),
    ("memory_only", &[Platform::Memory]),
    ("workerd_only", &[Platform::Workerd]),
    ("spin_only", &[Platform::Spin]),
];
const BEGIN: &str = "<!-- `tests/layering/platforms.rs` compares from here -->";
const END: &str = "<!-- to here -->";
