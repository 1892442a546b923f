//! How large is the Worker, as Cloudflare counts it?

use std::{fs, io::Write, path::Path};

use anyhow::Result;
use flate2::{Compression, write::GzEncoder};

/// The bytes of all its modules together.
#[derive(Clone, Copy)]
pub(super) struct ModuleSize {
    pub(super) plain_bytes: usize,
    pub(super) gzip_bytes: usize,
}

pub(super) fn measure(folder: &Path) -> Result<ModuleSize> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let mut plain_bytes = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "js" || extension == "mjs" || extension == "wasm") {
            let bytes = fs::read(&path)?;
            plain_bytes += bytes.len();
            encoder.write_all(&bytes)?;
        }
    }
    Ok(ModuleSize { plain_bytes, gzip_bytes: encoder.finish()?.len() })
}
