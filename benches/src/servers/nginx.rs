//! nginx, serving files.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Result;
use async_trait::async_trait;

use crate::{
    curl::Curl,
    image::Image,
    keys::Keys,
    servers::{Daemon, Server, ServerKind},
};

/// Where Debian keeps it; it is not on every user's path.
pub(crate) const PROGRAM: &str = "/usr/sbin/nginx";

const READY_PATH: &str = "/ready";

/// An nginx and the files that it serves.
pub(crate) struct Nginx {
    daemon: Daemon,
    dir: PathBuf,
    head: String,
    locations: String,
}

impl Nginx {
    /// Sets it up in `dir`, without any file.
    pub(crate) fn set_up(dir: &Path, keys: &Keys) -> Result<Self> {
        fs::create_dir(dir)?;
        let daemon = Daemon::new(dir, keys)?;
        let head = head(dir, &daemon, keys);
        let mut nginx = Self { daemon, dir: dir.to_owned(), head, locations: String::new() };
        nginx.serve_bytes(READY_PATH, b"ready\n")?;
        Ok(nginx)
    }

    /// Serves `content` as a file at `path`, once it is started.
    pub(crate) fn serve_bytes(&mut self, path: &str, content: &[u8]) -> Result<()> {
        let file = self.dir.join(path.replace('/', "_"));
        fs::write(&file, content)?;
        self.serve_file(path, &file)
    }

    /// Answers 307 to who asks for the image, once it is started.
    pub(crate) fn redirect(&mut self, image: &Image, location: &str) -> Result<()> {
        writeln!(self.locations, "    location = {} {{ return 307 \"{location}\"; }}", image_path(image))?;
        Ok(())
    }

    fn serve_file(&mut self, path: &str, file: &Path) -> Result<()> {
        writeln!(self.locations, "    location = {path} {{ alias {}; }}", file.display())?;
        Ok(())
    }
}

#[async_trait]
impl Server for Nginx {
    fn kind(&self) -> ServerKind {
        ServerKind::Nginx
    }

    fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    async fn start(&mut self) -> Result<Duration> {
        let config = self.dir.join("nginx.conf");
        fs::write(&config, format!("{}{}  }}\n}}\n", self.head, self.locations))?;
        let mut command = Command::new(PROGRAM);
        // Until the configuration is read, errors would go to the system's log.
        command.arg("-p").arg(&self.dir).arg("-c").arg(&config).args(["-e", "stderr"]);
        self.daemon.start(&mut command, READY_PATH).await
    }

    fn stop(&mut self) {
        self.daemon.stop();
    }

    async fn store(&mut self, image: &Image, _curl: &Curl) -> Result<()> {
        self.serve_file(&image_path(image), &image.path)
    }

    fn image_url(&self, image: &Image) -> String {
        self.daemon.url(&image_path(image))
    }
}

fn image_path(image: &Image) -> String {
    format!("/{}", image.name)
}

fn head(dir: &Path, daemon: &Daemon, keys: &Keys) -> String {
    // As root, nginx would hand its workers to a user who cannot read the directory.
    let user = if rustix::process::geteuid().is_root() { "user root;\n" } else { "" };
    format!(
        "{user}daemon off;
worker_processes auto;
worker_rlimit_nofile 16384;
pid nginx.pid;
error_log stderr crit;
events {{
  worker_connections 4096;
}}
http {{
  access_log off;
  default_type application/octet-stream;
  sendfile on;
  tcp_nopush on;
  tcp_nodelay on;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  output_buffers 2 128k;
  open_file_cache max=1000 inactive=1h;
  open_file_cache_valid 1h;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  server {{
    listen 127.0.0.1:{port} ssl http2 backlog=1024;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    ssl_verify_client on;
    ssl_client_certificate {client};
",
        port = daemon.port,
        certificate = keys.server.certificate.display(),
        key = keys.server.key.display(),
        client = keys.client.certificate.display(),
    )
    .replace("temp_path ", &format!("temp_path {}/", dir.display()))
}
