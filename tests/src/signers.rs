//! Signers of CloudFront URLs that others wrote, as `tests/install-signers.sh` installs them.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

/// A signer of somebody else's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signer {
    /// `CloudFrontSigner` of Python's botocore. Does not know `Hash-Algorithm`, which is missing from its URLs.
    Botocore,
    /// JavaScript's `@aws-sdk/cloudfront-signer`. For RSA keys only.
    AwsSdk,
}

/// A URL that is to be signed.
#[derive(Debug, Clone)]
pub struct ToSign<'a> {
    /// The URL, encoded.
    pub url: &'a str,
    /// In seconds since 1970.
    pub expires: u64,
    /// CloudFront's identifier of the key.
    pub keypair_id: &'a str,
    /// A PEM file.
    pub private_key: &'a Path,
    /// Whether it is to be SHA-256, not SHA-1.
    pub sha256: bool,
}

impl Signer {
    /// The URLs with their signatures.
    pub fn sign(self, tasks: &[ToSign<'_>]) -> Vec<String> {
        let dir = installed("signers");
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("signers");
        let (program, script) = match self {
            Self::Botocore => (dir.join("venv/bin/python"), scripts.join("sign.py")),
            Self::AwsSdk => (PathBuf::from("node"), scripts.join("sign.mjs")),
        };
        let tasks: Vec<_> = tasks
            .iter()
            .map(|task| {
                json!({
                    "url": task.url, "expires": task.expires, "keypair_id": task.keypair_id,
                    "private_key": task.private_key, "sha256": task.sha256,
                })
            })
            .collect();
        let mut command = Command::new(&program);
        command.arg(script).current_dir(dir).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("cannot run {}: {error}", program.display()));
        child.stdin.take().unwrap().write_all(json!(tasks).to_string().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{self:?} failed: {}", output.status);
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// Where `tests/install-<what>.sh` has put what it installs: in the directory that cargo builds into.
pub(crate) fn installed(what: &str) -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let is_profile = |dir: &&Path| !dir.ends_with("deps");
    let dir = program.ancestors().skip(1).find(is_profile).unwrap().with_file_name(what);
    assert!(
        dir.join("installed").exists(),
        "what to compare with is missing: run `tests/install-{what}.sh {}`",
        dir.display()
    );
    dir
}
