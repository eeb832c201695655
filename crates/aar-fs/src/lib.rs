//! Images, records and trust on the local file system.
