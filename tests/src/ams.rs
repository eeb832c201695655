//! The stand-in for an AMS that is related to the registry; its program is `ams-charm`.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::daemon::binary;

/// Packs the charm `ams` into a directory. It runs the programs of this build where they are.
pub fn pack_ams(dir: &Path) -> PathBuf {
    let archive = dir.join("ams.charm");
    let mut zip = ZipWriter::new(File::create(&archive).unwrap());
    let mut add = |name: &str, mode: u32, content: &[u8]| {
        zip.start_file(name, SimpleFileOptions::default().unix_permissions(mode)).unwrap();
        zip.write_all(content).unwrap();
    };
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("ams-charm");
    for name in ["metadata.yaml", "config.yaml", "actions.yaml", "manifest.yaml"] {
        add(name, 0o644, &fs::read(sources.join(name)).unwrap());
    }
    let dispatch = format!("#!/bin/sh\nexec '{}'\n", binary("ams-charm").display());
    add("dispatch", 0o755, dispatch.as_bytes());
    zip.finish().unwrap();
    archive
}
