//! What do several Spin processes share? A Redis of the scenario's own.

use std::{net::TcpListener, path::Path, process::Command};

use tempfile::TempDir;

use crate::program::Program;

/// A running Redis, which keeps nothing when it ends.
pub struct Redis {
    _server: Program,
    /// After the server in this order, and so removed after it ended.
    _folder: TempDir,
    /// Its address.
    pub url: String,
}

impl Redis {
    /// Starts one on a free port.
    #[must_use]
    pub fn start() -> Self {
        let is_there = Command::new(SERVER).arg("--version").output().is_ok();
        assert!(
            is_there,
            "`{SERVER}` cannot be run: it is needed for the tests (on Debian `apt install redis-server`)"
        );
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().to_str().expect("the temporary folder's path is text");
        let options = ["--bind", "127.0.0.1", "--port", &port, "--dir", place, "--save", "", "--appendonly", "no"];
        let server =
            Program::leashed(Path::new(SERVER), &options.map(str::to_owned), &[], "Ready to accept connections");
        Self { _server: server, _folder: folder, url: format!("redis://127.0.0.1:{port}") }
    }
}

const SERVER: &str = "redis-server";
