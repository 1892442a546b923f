//! What do the subcommands do? Each is one file: its options, what it does, what it prints.

pub(crate) mod bundle;
pub(crate) mod check;
pub(crate) mod pins;
pub(crate) mod plan;
pub(crate) mod push;
pub(crate) mod rollback;
pub(crate) mod usage;

use std::path::Path;

use anyhow::Result;

use crate::{
    check::{Checked, Sound},
    diagnostic::Severity,
    failure::Failure,
    output,
};

/// The configuration in `folder`, if it holds together.
///
/// # Errors
/// It does not; what is wrong went to standard error.
pub(crate) fn sound(folder: &Path) -> Result<Sound> {
    let Checked { sources, diagnostics, sound, .. } = crate::check::check(folder)?;
    let errors = diagnostics.iter().filter(|one| one.severity == Severity::Error);
    for one in errors.clone() {
        output::note(&format!("{}\n", one.render(&sources)));
    }
    sound.ok_or_else(|| {
        let errors = output::count(errors.count(), "error");
        Failure::Refused(format!("`{}` has {errors}; nothing was done", folder.display())).into()
    })
}
