//! The client that moves images: curl, a process of its own for each transfer.

use std::{path::PathBuf, process::Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use tokio::process::Command;

use crate::{image::Image, keys::Keys, load::CIPHER_SUITE};

/// How to call curl.
pub(crate) struct Curl {
    certificate: PathBuf,
    key: PathBuf,
}

/// Version of HTTP that a client insists on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Http {
    /// HTTP/1.1
    One,
    /// HTTP/2
    Two,
}

impl Http {
    fn option(self) -> &'static str {
        match self {
            Self::One => "--http1.1",
            Self::Two => "--http2",
        }
    }

    fn version(self) -> &'static str {
        match self {
            Self::One => "1.1",
            Self::Two => "2",
        }
    }
}

/// Where an upload goes, and as what.
pub(crate) struct Upload {
    /// The URL of a PUT.
    pub(crate) url: String,
    /// Headers besides curl's own, `Name: value`.
    pub(crate) headers: Vec<String>,
}

/// What curl says of a transfer.
#[derive(Deserialize)]
struct Transfer {
    http_code: u16,
    http_version: String,
    size_download: u64,
    size_upload: u64,
}

impl Curl {
    /// A client with the client's key.
    pub(crate) fn new(keys: &Keys) -> Self {
        Self { certificate: keys.client.certificate.clone(), key: keys.client.key.clone() }
    }

    /// Fetches `url` to nowhere; fails unless it is answered 200 with `size` bytes.
    pub(crate) async fn download(&self, url: String, size: u64, http: Http) -> Result<()> {
        let transfer = self.transfer(self.command(http).args(["--output", "/dev/null", &url])).await?;
        ensure!(transfer.http_code == 200, "`{url}` answered {}", transfer.http_code);
        ensure!(transfer.http_version == http.version(), "`{url}` spoke HTTP/{}", transfer.http_version);
        ensure!(
            transfer.size_download == size,
            "`{url}` gave {} bytes instead of {size}",
            transfer.size_download
        );
        Ok(())
    }

    /// Fetches `image` from `url`, or from where that sends to, and compares its SHA-256.
    pub(crate) async fn verify(&self, url: &str, image: &Image, http: Http) -> Result<()> {
        let mut curl =
            self.command(http).args(["--fail", "--location", url]).stdout(Stdio::piped()).spawn()?;
        image.compare(curl.stdout.take().context("curl has no output")?).await?;
        ensure!(curl.wait().await?.success(), "cannot fetch `{url}`");
        Ok(())
    }

    /// Sends `image`; fails unless it is answered 2xx and was sent whole.
    pub(crate) async fn upload(&self, upload: Upload, image: &Image) -> Result<()> {
        let mut command = self.command(Http::One);
        // The answer's body says why, where an upload is refused.
        command.args(["--fail-with-body", "--output", "/dev/stderr"]);
        command.arg("--upload-file").arg(&image.path).arg(&upload.url);
        for header in &upload.headers {
            command.args(["--header", header]);
        }
        let transfer = self.transfer(&mut command).await?;
        ensure!((200..300).contains(&transfer.http_code), "`{}` answered {}", upload.url, transfer.http_code);
        ensure!(transfer.size_upload == image.size, "`{}` took {} bytes", upload.url, transfer.size_upload);
        Ok(())
    }

    async fn transfer(&self, command: &mut Command) -> Result<Transfer> {
        let output = command.args(["--write-out", "%{json}"]).output().await.context("cannot run curl")?;
        if !output.status.success() {
            bail!("curl failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        serde_json::from_slice(&output.stdout).context("cannot read what curl printed")
    }

    /// Every server is asked for the same cipher suite, so that none gains by its choice.
    fn command(&self, http: Http) -> Command {
        let mut command = Command::new("curl");
        command
            .args(["--disable", "--silent", "--show-error", "--insecure", "--noproxy", "*", http.option()])
            .args(["--tlsv1.3", "--tls13-ciphers", CIPHER_SUITE])
            .arg("--cert")
            .arg(&self.certificate)
            .arg("--key")
            .arg(&self.key)
            .kill_on_drop(true)
            .stdin(Stdio::null());
        command
    }
}
