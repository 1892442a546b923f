//! A deployment's folder to be changed at will, and the program run in it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

/// A copy of the example.
pub(crate) struct Deployment(TempDir);

impl Deployment {
    pub(crate) fn example() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for file in ["gateway.toml", "keys.json", "policies/files.cedar", "pins/files.json"] {
            let to = folder.path().join(file);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(source().join("example").join(file), to).unwrap();
        }
        Self(folder)
    }

    /// With something wrong in every file.
    pub(crate) fn broken() -> Self {
        let deployment = Self::example();
        deployment.change("gateway.toml", "url = \"http://127.0.0.1:8787\"", "url = \"http://mcp.example.com\"");
        deployment.change("gateway.toml", "scopes = [\"mcp\"]", "scopes = [\"mcp\"]\ntimeout = 3000\npins = \"lock\"");
        deployment.change("gateway.toml", "requests_per_minute = 600", "requests_per_minute = \"600\"");
        deployment.change("gateway.toml", "tokens_per_day = 20000000", "tokens_per_day = 0");
        deployment.change("gateway.toml", "server = \"files\"", "server = \"file\"");
        deployment.change(
            "policies/files.cedar",
            "action == Action::\"files/read_file\"",
            "action == Action::\"files/raed_file\"",
        );
        deployment.change("policies/files.cedar", "context.arguments.path", "context.arguments.paht");
        deployment.change("pins/files.json", "\"description\": \"Writes", "\"Description\": \"Writes");
        deployment.write("pins/gone.json", "[{]");
        deployment
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().to_owned()
    }

    pub(crate) fn read(&self, file: &str) -> String {
        fs::read_to_string(self.0.path().join(file)).unwrap()
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        fs::write(self.0.path().join(file), text).unwrap();
    }

    pub(crate) fn change(&self, file: &str, old: &str, new: &str) {
        let text = self.read(file);
        assert!(text.contains(old), "{file} holds no {old}");
        self.write(file, &text.replacen(old, new, 1));
    }
}

/// Runs the program in `folder`, with no gateway and no token.
pub(crate) fn turnpike(args: &[&str], folder: &Path) -> Output {
    command(args, folder).output().unwrap()
}

pub(crate) fn command(args: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_turnpike"));
    command.args(args).current_dir(folder).env_remove("TURNPIKE_URL").env_remove("TURNPIKE_TOKEN");
    command.stdin(std::process::Stdio::null());
    command
}

pub(crate) fn stdout(out: &Output) -> String {
    String::from_utf8(out.stdout.clone()).unwrap()
}

pub(crate) fn stderr(out: &Output) -> String {
    String::from_utf8(out.stderr.clone()).unwrap()
}

/// `text` is what the golden file `name` holds; with TURNPIKE_BLESS set it is written there.
pub(crate) fn golden(name: &str, text: &str) {
    let file = source().join("golden").join(name);
    if std::env::var_os("TURNPIKE_BLESS").is_some() {
        fs::write(&file, text).unwrap();
    }
    let expected = fs::read_to_string(&file).unwrap();
    assert!(text == expected, "{name} is not what was said:\n{text}");
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}
