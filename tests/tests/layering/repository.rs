//! What is in the repository? Its files and crates, as git and cargo list them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use cargo_metadata::{Dependency, MetadataCommand};

/// One of our crates.
pub(crate) struct Crate {
    pub(crate) name: String,
    /// From the root, such as `shared/mcp`.
    pub(crate) folder: String,
    pub(crate) features: Vec<String>,
    /// Direct ones of every kind.
    pub(crate) dependencies: Vec<Dependency>,
}

/// Every crate of the workspace.
pub(crate) fn crates() -> &'static [Crate] {
    static CRATES: LazyLock<Vec<Crate>> = LazyLock::new(|| {
        let manifest = root().join("Cargo.toml");
        let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec().unwrap();
        let folder = |manifest: &Path| from_root(manifest.parent().unwrap());
        let read = |package: cargo_metadata::Package| Crate {
            name: package.name.to_string(),
            folder: folder(package.manifest_path.as_std_path()),
            features: package.features.into_keys().collect(),
            dependencies: package.dependencies,
        };
        metadata.packages.into_iter().map(read).collect()
    });
    &CRATES
}

/// Every file that git tracks or would add, from the root.
pub(crate) fn files() -> &'static [String] {
    static FILES: LazyLock<Vec<String>> = LazyLock::new(|| {
        let mut git = Command::new("git");
        git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root());
        let listed = git.output().unwrap();
        assert!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
        let listed = String::from_utf8(listed.stdout).unwrap();
        let there = listed.split_terminator('\0').filter(|file| root().join(file).is_file());
        there.map(str::to_owned).collect()
    });
    assert!(FILES.len() > 100, "git lists only {} files", FILES.len());
    &FILES
}

pub(crate) fn text(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("`{file}`: {error}"))
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn from_root(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned()
}
