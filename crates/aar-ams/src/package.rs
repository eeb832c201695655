//! Application packages: what AMS makes applications of.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use aar_config::from_yaml;
use bzip2::read::MultiBzDecoder;
use serde::Deserialize;
use tar::Archive;
use zip::ZipArchive;
use zip::result::ZipError;

use crate::error::{Error, Result};

/// The file at the top of a package that describes the application.
const MANIFEST: &str = "manifest.yaml";
/// The longest manifest, in bytes.
const MAX_MANIFEST: u64 = 1024 * 1024;
/// How many times as long as a package its content may be, and how long in any case, in bytes: whatever unpacks to more
/// is made to keep others busy.
const MAX_RATIO: u64 = 1000;
const MIN_UNPACKED: u64 = 256 * 1024 * 1024;

/// What a package is packed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    /// A tar archive compressed by bzip2.
    TarBzip2,
    /// A zip archive.
    Zip,
}

/// A package, as its manifest describes it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) packing: Packing,
    /// The application's name.
    pub(crate) name: String,
}

#[derive(Default, Deserialize)]
struct Manifest {
    name: Option<String>,
}

impl Package {
    /// Reads what is in `path`; as far as the manifest, which may be at the end.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let read_error = |e| Error::file("read", path)(e);
        let mut file = File::open(path).map_err(Error::file("open", path))?;
        let mut magic = [0; 4];
        let length = file.read(&mut magic).map_err(read_error)?;
        file.seek(SeekFrom::Start(0)).map_err(read_error)?;
        let (packing, manifest) = match &magic[..length] {
            [b'B', b'Z', b'h', ..] => (Packing::TarBzip2, in_tar(file)),
            [b'P', b'K', 3, 4] => (Packing::Zip, in_zip(file)),
            _ => return Err(Error::NoPackage("it is neither a tar.bz2 nor a zip archive".into())),
        };
        let manifest = manifest.map_err(|e| Error::NoPackage(format!("the archive cannot be read: {e}")))?;
        let Some(manifest) = manifest else {
            return Err(Error::NoPackage(format!("it has no {MANIFEST}")));
        };
        let wrong =
            |e: aar_config::ConfigError| Error::NoPackage(format!("its manifest cannot be read: {e}"));
        let manifest: Manifest = from_yaml(&manifest, Path::new(MANIFEST)).map_err(wrong)?;
        match manifest.name {
            Some(name) => Ok(Self { packing, name }),
            None => Err(Error::NoPackage("its manifest has no name".into())),
        }
    }
}

fn in_tar(file: File) -> io::Result<Option<String>> {
    let limit = MIN_UNPACKED.max(file.metadata()?.len().saturating_mul(MAX_RATIO));
    let mut archive = Archive::new(MultiBzDecoder::new(BufReader::new(file)).take(limit));
    // Raw, as headers that extend others are held in memory otherwise, however long. The manifest's name needs none.
    for entry in archive.entries()?.raw(true) {
        let entry = entry?;
        let path = entry.path()?;
        if path.strip_prefix(".").unwrap_or(&path) == Path::new(MANIFEST) {
            return text(entry).map(Some);
        }
    }
    Ok(None)
}

fn in_zip(file: File) -> io::Result<Option<String>> {
    let mut archive = ZipArchive::new(BufReader::new(file))?;
    match archive.by_name(MANIFEST) {
        Ok(entry) => text(entry).map(Some),
        Err(ZipError::FileNotFound) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

fn text(entry: impl Read) -> io::Result<String> {
    let mut text = String::new();
    entry.take(MAX_MANIFEST).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::{Duration, Instant};

    use bzip2::Compression;
    use bzip2::write::BzEncoder;
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    fn written(bytes: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("package");
        std::fs::write(&path, bytes).unwrap();
        (dir, path)
    }

    fn tar(files: &[(&str, &str)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(BzEncoder::new(Vec::new(), Compression::best()));
        for (name, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, name, content.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap()
    }

    /// A tar archive of a few kilobytes with one entry of 8 GiB of zeros.
    fn bomb(entry_type: tar::EntryType) -> Vec<u8> {
        let compressed = |bytes: &[u8]| {
            let mut encoder = BzEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        };
        let zeros = vec![0; 32 * 1024 * 1024];
        let mut header = tar::Header::new_gnu();
        header.set_size(256 * zeros.len() as u64);
        header.set_entry_type(entry_type);
        header.set_cksum();
        [compressed(header.as_bytes()), compressed(&zeros).repeat(256)].concat()
    }

    fn zip(files: &[(&str, &str)]) -> Vec<u8> {
        let mut zip = ZipWriter::new(io::Cursor::new(Vec::new()));
        for (name, content) in files {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(content.as_bytes()).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    fn read(bytes: &[u8]) -> std::result::Result<(Packing, String), String> {
        let (_dir, path) = written(bytes);
        Package::read(&path).map(|it| (it.packing, it.name)).map_err(|e| e.to_string())
    }

    #[test]
    fn the_manifest_names_the_application_in_both_packings() {
        let files = [("app.apk", "bytes"), ("manifest.yaml", "name: game\nimage: jammy\n")];
        assert_eq!(read(&tar(&files)), Ok((Packing::TarBzip2, "game".into())));
        assert_eq!(read(&tar(&[("./manifest.yaml", "name: game")])), Ok((Packing::TarBzip2, "game".into())));
        assert_eq!(read(&zip(&files)), Ok((Packing::Zip, "game".into())));
    }

    #[test]
    fn a_long_name_does_not_hide_the_manifest() {
        let long = "directory/".repeat(30) + "app.apk";
        let files = [(&*long, "bytes"), ("manifest.yaml", "name: game")];
        assert_eq!(read(&tar(&files)), Ok((Packing::TarBzip2, "game".into())));
    }

    #[test]
    fn a_header_that_would_fill_the_memory_is_not_read() {
        use tar::EntryType;
        for entry_type in [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader] {
            let bomb = bomb(entry_type);
            assert!(bomb.len() < 64 * 1024, "{}", bomb.len());
            let begun = Instant::now();
            let error = read(&bomb).unwrap_err();
            assert!(error.ends_with("unexpected EOF during skip"), "{error}");
            assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
        }
    }

    #[test]
    fn what_is_no_package_is_told_from_one() {
        let exported = [("metadata.yaml", "architecture: x86_64"), ("rootfs/manifest.yaml", "name: game")];
        for archive in [tar(&exported), zip(&exported)] {
            assert_eq!(
                read(&archive),
                Err("the image is no application package: it has no manifest.yaml".into())
            );
        }
        assert!(read(b"anything").unwrap_err().ends_with("neither a tar.bz2 nor a zip archive"));
        assert!(read(b"").unwrap_err().ends_with("neither a tar.bz2 nor a zip archive"));
        assert!(read(b"BZh9 and then garbage").unwrap_err().contains("cannot be read"));
        assert!(read(b"PK\x03\x04 and then garbage").unwrap_err().contains("cannot be read"));
        assert!(read(&zip(&[("manifest.yaml", "image: jammy")])).unwrap_err().ends_with("has no name"));
        assert!(read(&zip(&[("manifest.yaml", ": {")])).unwrap_err().contains("manifest cannot be read"));
        let whole = tar(&[("app.apk", "bytes"), ("manifest.yaml", "name: game")]);
        assert!(read(&whole[..whole.len() / 2]).unwrap_err().contains("cannot be read"));
    }
}
