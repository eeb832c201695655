//! The charm as it is given to Juju.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::daemon::program_directory;

/// Packs the charm, with the programs of this build, into a directory. Nothing is compressed, which takes less than a
/// second.
///
/// # Panics
/// A program is missing: build them with `cargo build --workspace --bins`.
pub fn pack_charm(dir: &Path) -> PathBuf {
    let archive = dir.join("aar.charm");
    let packed = pack_command(&program_directory(), &archive).output().unwrap();
    assert!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
    archive
}

/// The command that packs the programs of a directory into an archive.
pub fn pack_command(programs: &Path, archive: &Path) -> Command {
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/charm.sh"));
    command.arg(programs).arg(architecture).arg(archive).env("ZIPOPT", "-0").stdin(Stdio::null());
    command
}
