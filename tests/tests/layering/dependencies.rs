//! Who may import whom? By the manifests, dependencies of tests and builds included.

use std::collections::BTreeSet;

use cargo_metadata::DependencyKind;

use crate::{
    none_may,
    repository::{Crate, crates},
};

/// Which of our crates the crate in `folder` may import; `None` is any.
fn may_import(folder: &str) -> Option<&'static [&'static str]> {
    match folder {
        "shared/mcp" => Some(&[]),
        "shared/machine" => Some(&["mcp"]),
        "shared/gateway" | "tests" => None,
        "connector" => Some(&["bridge", "mcp"]),
        "cli" => Some(&["audit", "gateway", "mcp", "policy"]),
        "xtask" => Some(&["gateway", "mcp"]),
        // They stand around the gateway, and know nothing of it.
        "tests/spin-bare" | "tests/spin-host" => Some(&[]),
        // An adapter hosts the machines: it has to name them.
        _ if folder.starts_with("functions/") => {
            Some(&["audit", "gateway", "machine", "mcp", "quota", "registry", "session", "upstream"])
        }
        _ if folder.starts_with("shared/") => Some(&["machine", "mcp"]),
        _ => panic!("`{folder}` is new: say here what it may import"),
    }
}

#[test]
fn crates_import_only_what_lies_below_them() {
    let ours: BTreeSet<&str> = crates().iter().map(|one| one.name.as_str()).collect();
    let wrong = crates().iter().flat_map(|one| {
        let allowed = may_import(&one.folder);
        let imported = one.dependencies.iter().filter(|dependency| ours.contains(dependency.name.as_str()));
        let stray = imported.filter(move |to| allowed.is_some_and(|allowed| !allowed.contains(&to.name.as_str())));
        stray.map(|to| format!("{} imports {}", one.folder, to.name))
    });
    none_may("crates import only what ARCHITECTURE.md says", wrong);
}

#[test]
fn nobody_imports_an_adapter_or_a_program() {
    let wrong = crates().iter().flat_map(|one| {
        let ends = |name: &str| crates().iter().any(|other| other.name == name && !other.folder.starts_with("shared/"));
        let stray = one.dependencies.iter().filter(move |to| to.path.is_some() && ends(&to.name));
        stray.filter(|_| one.folder != "tests").map(|to| format!("{} imports {}", one.folder, to.name))
    });
    none_may("only what is under shared/ is imported", wrong);
}

#[test]
fn an_sdk_stops_at_its_adapter() {
    let wrong = crates().iter().flat_map(|one| {
        let is_home = |folders: &[&str]| folders.contains(&one.folder.as_str());
        let foreign = move |name: &str| SDKS.iter().any(|(folders, names)| !is_home(folders) && names.contains(&name));
        let stray = one.dependencies.iter().filter(move |to| foreign(&to.name));
        stray.map(|to| format!("{} imports {}", one.folder, to.name))
    });
    none_may("only an adapter imports its platform's SDK", wrong);
}

#[test]
fn the_core_imports_no_clock_no_randomness_and_no_runtime() {
    let wrong = core().flat_map(|one| {
        let built_in = one.dependencies.iter().filter(|to| to.kind != DependencyKind::Development);
        let stray = built_in.filter(|to| EFFECTS.contains(&to.name.as_str()));
        stray.map(|to| format!("{} imports {}", one.folder, to.name))
    });
    none_may("crates under shared/ take time and randomness as arguments", wrong);
}

#[test]
fn the_core_has_one_form_whatever_it_is_built_for() {
    let features = core().flat_map(|one| one.features.iter().map(|feature| format!("{} has `{feature}`", one.folder)));
    none_may("no crate under shared/ has a Cargo feature", features);
    let targets = core().flat_map(|one| {
        let conditional = one.dependencies.iter().filter(|to| to.target.is_some() || to.optional);
        conditional.map(|to| format!("{} imports {} on a condition", one.folder, to.name))
    });
    none_may("no crate under shared/ imports on a condition", targets);
}

fn core() -> impl Iterator<Item = &'static Crate> {
    let core: Vec<&Crate> = crates().iter().filter(|one| one.folder.starts_with("shared/")).collect();
    assert!(core.len() >= 13, "only {} crates are under shared/", core.len());
    core.into_iter()
}

/// What only these folders may import: adapters, and what is measured beside one. `.cargo/deny.toml` says the same of
/// `worker` for the whole graph.
const SDKS: [(&[&str], &[&str]); 2] = [
    (
        &["functions/worker"],
        &["worker", "worker-macros", "worker-sys", "web-sys", "js-sys", "wasm-bindgen", "wasm-bindgen-futures"],
    ),
    (&["functions/spin", "tests/spin-bare"], &["spin-sdk", "wasi", "wit-bindgen"]),
];
const EFFECTS: [&str; 12] = [
    "chrono",
    "fastrand",
    "getrandom",
    "hyper",
    "rand",
    "rand_core",
    "reqwest",
    "smol",
    "time",
    "tokio",
    "uuid",
    "web-time",
];
