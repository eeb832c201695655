//! Downloads that the registry does not serve itself: clients are told a URL at which the image lies.

use std::fmt;

use aar_model::Digest;
use async_trait::async_trait;

use crate::Result;

/// Knows URLs from which clients fetch images past the registry.
#[async_trait]
pub trait Downloads: Send + Sync + 'static {
    /// A URL that serves the image by GET to whoever has it, for a while.
    async fn url(&self, download: &Download<'_>) -> Result<SignedUrl>;
}

/// What is to be downloaded, and what the client should be told with the bytes, where the place can tell it.
#[derive(Debug, Clone, Copy)]
pub struct Download<'a> {
    /// The image.
    pub image: &'a Digest,
    /// For `Content-Type`.
    pub media_type: &'a str,
    /// For `Content-Disposition`, without quotes or control characters.
    pub file_name: &'a str,
}

/// A URL that opens an image for whoever has it: a secret, which shows itself only where [`reveal`](Self::reveal) asks.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedUrl(Box<str>);

impl SignedUrl {
    /// Keeps `url` from sight.
    pub fn new(url: impl Into<Box<str>>) -> Self {
        Self(url.into())
    }

    /// The URL with its signature, for the client and nobody else.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.0.split_once('?').map_or(&*self.0, |(address, _)| address);
        write!(f, "{address}?…")
    }
}
