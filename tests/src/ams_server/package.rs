//! Application packages.

use std::io::{Cursor, Read, Write};

use bzip2::Compression;
use bzip2::read::BzDecoder;
use bzip2::write::BzEncoder;
use serde_json::Value;
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

/// What a package is packed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packed {
    /// tar.bz2
    TarBzip2,
    /// zip
    Zip,
}

/// A package with a manifest that names the application and has more lines of YAML, and with some other content.
pub fn package(packed: Packed, name: &str, manifest: &str, content: &[u8]) -> Vec<u8> {
    let manifest = format!("name: {name}\n{manifest}");
    let files = [("app.apk", content), ("manifest.yaml", manifest.as_bytes())];
    match packed {
        Packed::TarBzip2 => {
            let mut tar = tar::Builder::new(BzEncoder::new(Vec::new(), Compression::fast()));
            for (name, content) in files {
                let mut header = tar::Header::new_gnu();
                header.set_size(content.len() as u64);
                header.set_mode(0o644);
                tar.append_data(&mut header, name, content).unwrap();
            }
            tar.into_inner().unwrap().finish().unwrap()
        }
        Packed::Zip => {
            let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
            for (name, content) in files {
                zip.start_file(name, SimpleFileOptions::default()).unwrap();
                zip.write_all(content).unwrap();
            }
            zip.finish().unwrap().into_inner()
        }
    }
}

/// The manifest of a package; an error is what AMS would say.
pub(super) fn manifest(package: &[u8], zip_is_known: bool) -> Result<Value, String> {
    let mut text = String::new();
    if package.starts_with(b"BZh") {
        let mut archive = tar::Archive::new(BzDecoder::new(package));
        for entry in archive.entries().map_err(|e| e.to_string())? {
            let mut entry = entry.map_err(|e| e.to_string())?;
            if entry.path().is_ok_and(|path| path.ends_with("manifest.yaml")) {
                entry.read_to_string(&mut text).map_err(|e| e.to_string())?;
            }
        }
    } else if package.starts_with(b"PK") && zip_is_known {
        let mut archive = ZipArchive::new(Cursor::new(package)).map_err(|e| e.to_string())?;
        let mut entry = archive.by_name("manifest.yaml").map_err(|e| e.to_string())?;
        entry.read_to_string(&mut text).map_err(|e| e.to_string())?;
    } else {
        return Err("unknown package format".into());
    }
    let manifest: Value = serde_yaml::from_str(&text).map_err(|e| e.to_string())?;
    if manifest["name"].is_string() { Ok(manifest) } else { Err("manifest has no name".into()) }
}
