//! What lies in the folder of a deployment? Read from disk once; every text is kept to show what is wrong in it.

use std::{
    cell::RefCell,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Result;

use crate::{diagnostic::Sources, failure::Failure, gateway_toml::FILE};

/// A folder with a `gateway.toml`.
pub(crate) struct Disk {
    root: PathBuf,
    sources: RefCell<Sources>,
}

impl Disk {
    /// The folder `root`, or that of the file, if it is one.
    ///
    /// # Errors
    /// There is no `gateway.toml`.
    pub(crate) fn open(root: &Path) -> Result<Self> {
        let root = if root.ends_with(FILE) { root.parent().unwrap_or(root) } else { root };
        let disk = Self { root: root.to_owned(), sources: RefCell::default() };
        disk.read(FILE).map_err(|error| {
            Failure::Usage(format!("`{}`: {error}; name the folder of a deployment", disk.root.join(FILE).display()))
        })?;
        Ok(disk)
    }

    /// The text of a file, by its path from the folder.
    pub(crate) fn read(&self, file: &str) -> Result<String, String> {
        let path = self.root.join(file);
        let size = fs::metadata(&path).map_err(|error| plainly(&error))?.len();
        if size > FILE_MAX_BYTES {
            return Err(format!("has {size} bytes, more than {FILE_MAX_BYTES}"));
        }
        let text = fs::read_to_string(&path).map_err(|error| plainly(&error))?;
        self.sources.borrow_mut().insert(file.to_owned(), text.clone());
        Ok(text)
    }

    /// The names of the files in one of its folders; none if there is no such folder.
    pub(crate) fn list(&self, folder: &str) -> Result<Vec<String>, String> {
        let entries = match fs::read_dir(self.root.join(folder)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(plainly(&error)),
        };
        let names = entries.map(|entry| {
            let entry = entry.map_err(|error| plainly(&error))?;
            entry.file_name().into_string().map_err(|name| format!("the name `{}` is no text", name.display()))
        });
        names.collect()
    }

    pub(crate) fn sources(self) -> Sources {
        self.sources.into_inner()
    }
}

fn plainly(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::InvalidData => "is not text in UTF-8".to_owned(),
        _ => error.to_string(),
    }
}

/// A bundle may not be larger either.
const FILE_MAX_BYTES: u64 = 8 * 1024 * 1024;
