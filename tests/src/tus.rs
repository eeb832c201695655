//! Clients of the tus protocol that others wrote, as `tests/install-tus.sh` installs them.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::certificates::Person;
use crate::relay::Relay;
use crate::signers::installed;

/// A client of somebody else's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TusClient {
    /// Python's tuspy, which sends pieces of so many bytes, each with its checksum where it is told to.
    Tuspy(usize, bool),
    /// JavaScript's tus-js-client, which sends all at once, and begins with the creation where it is told to.
    TusJs(bool),
}

impl TusClient {
    /// Begins to upload a file as version 1 of an application, through a relay.
    pub fn begin(self, relay: &Relay, person: &Person, name: &str, file: &Path, fingerprint: &str) -> Child {
        let dir = installed("tus");
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tus");
        let (program, script) = match self {
            Self::Tuspy(..) => (dir.join("venv/bin/python"), scripts.join("upload.py")),
            Self::TusJs(_) => (PathBuf::from("node"), scripts.join("upload.mjs")),
        };
        let task = json!({
            "url": format!("https://{}/1.0/uploads", relay.address()),
            "certificate": person.certificate_file,
            "key": person.key_file,
            "file": file,
            "metadata": {
                "name": name, "version": "1", "architecture": "aarch64", "fingerprint": fingerprint,
            },
            "attempts": 60,
            "chunk_size": match self { Self::Tuspy(size, _) => json!(size), Self::TusJs(_) => json!(1 << 30) },
            "checksum": matches!(self, Self::Tuspy(_, true)),
            "with_creation": matches!(self, Self::TusJs(true)),
        });
        let mut child = Command::new(&program)
            .arg(script)
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {}: {error}", program.display()));
        child.stdin.take().unwrap().write_all(task.to_string().as_bytes()).unwrap();
        child
    }
}
