//! `ops` and charmcraft, as `tests/install-ops.sh` installs them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use crate::daemon::program_directory;

/// A Python that has them; they are installed into the directory that cargo builds into, where they are missing.
pub fn ops_python() -> PathBuf {
    static INSTALL: Mutex<()> = Mutex::new(());
    let installed = program_directory().with_file_name("ops");
    let _alone = INSTALL.lock();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("install-ops.sh");
    let status = Command::new(script).arg(&installed).status().unwrap();
    assert!(status.success(), "ops could not be installed");
    installed.join("venv/bin/python")
}
