//! `ops`, the library that most charms are written with, and charmcraft, the tool that packs them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use crate::daemon::program_directory;

/// A Python that has them; they are installed into the directory that cargo builds into, where they are missing.
pub fn ops_python() -> PathBuf {
    static INSTALL: Mutex<()> = Mutex::new(());
    let installed = program_directory().with_file_name("ops");
    let _alone = INSTALL.lock();
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut install = Command::new(tests.join("install-python.sh"));
    let status = install.arg(&installed).arg(tests.join("ops/requirements.txt")).status().unwrap();
    assert!(status.success(), "ops could not be installed");
    installed.join("bin/python")
}
