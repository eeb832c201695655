//! An image on its way out. Where the store breaks off or stalls, it is asked for the rest.

use std::ops::Range;

use aar_model::Digest;
use aar_store::{ByteStream, Error, Result};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tracing::debug;

use crate::client::Client;
use crate::error::{S3Error, corrupt};

/// How often in a row the store may break off before it has sent anything.
const RESUMPTIONS: u32 = 5;

struct Reader {
    client: Client,
    image: Digest,
    key: String,
    left: Range<u64>,
    body: Option<rusoto_core::ByteStream>,
    resumptions: u32,
}

/// Reads `range`, which is not empty, of an image.
pub(crate) async fn open(
    client: Client,
    image: Digest,
    key: String,
    range: Range<u64>,
) -> Result<ByteStream> {
    let mut reader = Reader { client, image, key, left: range, body: None, resumptions: 0 };
    reader.ask().await?;
    Ok(Box::pin(stream::unfold(reader, async |mut reader| {
        let chunk = reader.next().await.transpose()?;
        if chunk.is_err() {
            // Nothing follows.
            reader.left = 0..0;
        }
        Some((chunk, reader))
    })))
}

impl Reader {
    /// Asks the store for what is left.
    async fn ask(&mut self) -> Result<()> {
        let range = format!("bytes={}-{}", self.left.start, self.left.end - 1);
        let output = match self.client.open(&self.key, &range).await {
            Ok(output) => output,
            Err(error) if error.is_missing() => return Err(Error::NotFound(self.image)),
            Err(S3Error::Refused { status: 416, .. }) => {
                return Err(corrupt(&self.key, format!("it ends before byte {}", self.left.start)));
            }
            Err(error) => return Err(error.at("read", &self.key)),
        };
        let expected = self.left.end - self.left.start;
        match output.content_length.map(u64::try_from) {
            Some(Ok(length)) if length != expected => {
                Err(corrupt(&self.key, format!("{length} bytes come where {expected} are expected")))
            }
            _ => {
                self.body = output.body;
                Ok(())
            }
        }
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        while !self.left.is_empty() {
            let problem = match &mut self.body {
                Some(body) => match body.next().await {
                    Some(Ok(mut chunk)) => {
                        chunk
                            .truncate(usize::try_from(self.left.end - self.left.start).unwrap_or(usize::MAX));
                        if chunk.is_empty() {
                            continue;
                        }
                        self.left.start += chunk.len() as u64;
                        self.resumptions = 0;
                        return Ok(Some(chunk));
                    }
                    Some(Err(error)) => error.to_string(),
                    None => "it broke off".to_owned(),
                },
                None => "it has no body".to_owned(),
            };
            self.resumptions += 1;
            if self.resumptions > RESUMPTIONS {
                return Err(S3Error::Unreachable(problem).at("read", &self.key));
            }
            debug!(key = self.key, at = self.left.start, problem, "reading on");
            self.ask().await?;
        }
        Ok(None)
    }
}
