//! What do several Spin processes share? A Redis of the scenario's own.

use std::{path::Path, process::Command, sync::Mutex};

use tempfile::TempDir;

use crate::program::{Program, free_port};

/// A Redis, which keeps nothing when it ends.
pub struct Redis {
    server: Mutex<Option<Program>>,
    port: u16,
    /// After the server in this order, and so removed after it ended.
    folder: TempDir,
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
        let port = free_port();
        let redis = Self { server: Mutex::new(None), port, folder: tempfile::tempdir().unwrap() };
        redis.begin();
        redis
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends it as a crash would.
    pub fn kill(&self) {
        *self.server.lock().unwrap() = None;
    }

    /// Starts it where it was, without anything it held.
    pub fn begin(&self) {
        let folder = self.folder.path().to_str().expect("the temporary folder's path is text");
        let port = self.port.to_string();
        let options = ["--bind", "127.0.0.1", "--port", &port, "--dir", folder, "--save", "", "--appendonly", "no"];
        let options = options.map(str::to_owned);
        let server = Program::leashed(Path::new(SERVER), &options, &[], "Ready to accept connections");
        *self.server.lock().unwrap() = Some(server);
    }
}

const SERVER: &str = "redis-server";
