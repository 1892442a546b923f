//! Does the repository still have the shape that ARCHITECTURE.md gives it? Its invariants about what is absent.
//!
//! A broken rule is named with the place that breaks it. To change a rule, change ARCHITECTURE.md and the table here.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "layering/dependencies.rs"]
mod dependencies;
#[path = "layering/platforms.rs"]
mod platforms;
#[path = "layering/repository.rs"]
mod repository;
#[path = "layering/shape.rs"]
mod shape;
#[path = "layering/source.rs"]
mod source;

/// Fails with everything that breaks a rule, at once.
fn none_may(rule: &str, broken_by: impl IntoIterator<Item = String>) {
    let broken_by: Vec<String> = broken_by.into_iter().collect();
    assert!(broken_by.is_empty(), "{rule}, but:\n  {}\n", broken_by.join("\n  "));
}
