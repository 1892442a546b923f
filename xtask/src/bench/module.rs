//! How large is what is deployed, as a platform counts it?

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use flate2::{Compression, write::GzEncoder};

/// The bytes of all modules together.
#[derive(Clone, Copy)]
pub(super) struct ModuleSize {
    pub(super) plain_bytes: usize,
    pub(super) gzip_bytes: usize,
}

/// Of a Worker's folder, or of a component's file.
pub(super) fn measure(built: &Path) -> Result<ModuleSize> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let mut plain_bytes = 0;
    for path in modules(built)? {
        let bytes = fs::read(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        plain_bytes += bytes.len();
        encoder.write_all(&bytes)?;
    }
    Ok(ModuleSize { plain_bytes, gzip_bytes: encoder.finish()?.len() })
}

fn modules(built: &Path) -> Result<Vec<PathBuf>> {
    if !built.is_dir() {
        return Ok(vec![built.to_owned()]);
    }
    let is_module =
        |path: &PathBuf| path.extension().is_some_and(|kind| kind == "js" || kind == "mjs" || kind == "wasm");
    Ok(fs::read_dir(built)?.flatten().map(|entry| entry.path()).filter(is_module).collect())
}
