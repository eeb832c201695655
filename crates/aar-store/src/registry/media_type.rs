//! What an image is packed in, told by its first bytes.

/// The media type of an image that begins with `head`, else what the publisher declared.
pub(super) fn of(head: &[u8], declared: Option<&str>) -> String {
    const MAGIC: &[(&[u8], &str)] = &[
        (b"BZh", "application/x-bzip2"),
        (b"PK\x03\x04", "application/zip"),
        (b"\x1f\x8b", "application/gzip"),
        (b"\xfd7zXZ\0", "application/x-xz"),
        (b"\x28\xb5\x2f\xfd", "application/zstd"),
    ];
    let known = MAGIC.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, media_type)| *media_type);
    known.or(declared).unwrap_or("application/octet-stream").to_owned()
}
