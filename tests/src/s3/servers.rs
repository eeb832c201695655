//! S3 servers as processes of their own.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use super::ceph::Ceph;
use super::client::Client;
use super::process::{command, free_port, spawn};

/// How long a server may take to become ready; far more than it needs on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running S3 server with one empty bucket, on free ports of loopback, with data and keys of its own. It ends, and its
/// data goes, when it is dropped; it also ends when the test process is killed.
pub struct S3Server {
    /// Its address: scheme, host and port.
    pub endpoint: String,
    /// The region that requests are signed for.
    pub region: String,
    /// The bucket, which is there and was empty.
    pub bucket: String,
    /// An access key that may do everything.
    pub access_key: String,
    /// The secret of the access key.
    pub secret_access_key: String,
    program: Program,
    processes: Vec<Child>,
    dir: TempDir,
}

/// What differs between the servers.
enum Program {
    JuiceFs,
    SeaweedFs { ports: [u16; 7] },
    Ceph(Ceph),
}

impl S3Server {
    /// `JuiceFS`'s gateway, which is `MinIO`'s front end. Quick; the first choice.
    pub fn juicefs() -> Self {
        Self::launch(Program::JuiceFs)
    }

    /// `SeaweedFS`: the second opinion. It does not compare a payload with its SHA-256.
    pub fn seaweedfs() -> Self {
        Self::launch(Program::SeaweedFs { ports: std::array::from_fn(|_| free_port()) })
    }

    /// Ceph's gateway with a monitor and an object store: slower to start, stricter than the others.
    pub fn ceph() -> Self {
        Self::launch(Program::Ceph(Ceph::new()))
    }

    /// A server that all tests of this process share while one of them uses it; its objects are kept apart by prefixes. It
    /// is never stopped.
    pub fn shared_juicefs() -> Arc<Self> {
        static SERVER: Shared = Mutex::new(Weak::new());
        shared(&SERVER, Self::juicefs)
    }

    /// As [`shared_juicefs`](Self::shared_juicefs).
    pub fn shared_seaweedfs() -> Arc<Self> {
        static SERVER: Shared = Mutex::new(Weak::new());
        shared(&SERVER, Self::seaweedfs)
    }

    /// As [`shared_juicefs`](Self::shared_juicefs).
    pub fn shared_ceph() -> Arc<Self> {
        static SERVER: Shared = Mutex::new(Weak::new());
        shared(&SERVER, Self::ceph)
    }

    /// The registry's configuration for storing in the bucket below `prefix`, which it reaches at `endpoint`. Further keys
    /// of `s3:` may follow, indented by four.
    pub fn configuration(&self, endpoint: &str, prefix: &str) -> String {
        let Self { region, bucket, access_key, secret_access_key, .. } = self;
        format!(
            "storage:\n  s3:\n    region: {region}\n    bucket: {bucket}\n    endpoint: {endpoint}\n    prefix: {prefix}\n    \
             access-key: {access_key}\n    secret-access-key: {secret_access_key}\n"
        )
    }

    /// Starts the server again after [`stop`](Self::stop), on the same data and the same port.
    pub fn start(&mut self) {
        assert!(self.processes.is_empty(), "the server runs");
        let dir = self.dir.path().to_owned();
        match &self.program {
            Program::JuiceFs => self.run(self.juicefs_gateway()),
            Program::SeaweedFs { ports } => self.run(self.seaweedfs_server(ports)),
            Program::Ceph(_) => {
                self.run(Ceph::monitor(&dir));
                self.run(Ceph::store(&dir));
                self.run(Ceph::gateway(&dir, self.port()));
            }
        }
        let probe = Client { bucket: "ready".into(), ..self.client() };
        let begun = Instant::now();
        // Some answer long before they can store anything: ready is who takes a signed write.
        while !probe
            .try_request("PUT", None, &[], &[], b"")
            .is_ok_and(|answer| matches!(answer.status, 200 | 409))
            || !probe
                .try_request("PUT", Some("ready"), &[], &[], b"ready")
                .is_ok_and(|answer| answer.status == 200)
        {
            let ended = self.processes.iter_mut().find_map(|child| child.try_wait().unwrap());
            assert!(
                ended.is_none() && begun.elapsed() < PATIENCE,
                "{} does not get ready, ended with {ended:?}; its log ends:\n{}",
                self.program.name(),
                self.log_tail()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the server at once; what it was sent and has answered stays.
    pub fn stop(&mut self) {
        // The latest first: those before it serve it.
        for mut child in self.processes.drain(..).rev() {
            // Asked politely, some take half a minute.
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Program::SeaweedFs { ports } = &self.program {
            // It puts these where no option reaches.
            for (name, port) in ["master", "volume", "filer", "s3"].iter().zip(ports) {
                let _ = fs::remove_file(format!("/tmp/seaweedfs-{name}-grpc-{port}.sock"));
            }
        }
    }

    /// A client of the bucket that is independent of the registry.
    pub fn client(&self) -> Client {
        Client {
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            bucket: self.bucket.clone(),
            access_key: self.access_key.clone(),
            secret_access_key: self.secret_access_key.clone(),
        }
    }

    /// The processes that make up the server, to look at or to signal.
    pub fn pids(&self) -> Vec<u32> {
        self.processes.iter().map(Child::id).collect()
    }

    fn launch(program: Program) -> Self {
        let mut server = Self {
            endpoint: format!("http://127.0.0.1:{}", free_port()),
            region: "us-east-1".into(),
            bucket: "aar-tests".into(),
            access_key: random(20).to_uppercase(),
            secret_access_key: random(40),
            program,
            processes: Vec::new(),
            dir: tempfile::Builder::new().prefix("aar-s3-").tempdir().unwrap(),
        };
        server.prepare();
        server.start();
        server.client().create_bucket();
        server
    }

    /// What is done once, before the first start.
    fn prepare(&mut self) {
        let dir = self.dir.path();
        match &self.program {
            Program::JuiceFs => {
                fs::create_dir(dir.join("objects")).unwrap();
                let mut format = self.juicefs_program();
                format.args(["format", "--storage", "file", "--trash-days", "0", "--bucket"]);
                format
                    .arg(format!("{}/", dir.join("objects").display()))
                    .arg(self.juicefs_metadata())
                    .arg("store");
                drop(self.finish(format));
            }
            Program::SeaweedFs { .. } => {
                fs::create_dir(dir.join("data")).unwrap();
                let identities = json!({ "identities": [{
                    "name": "tests",
                    "credentials": [{ "accessKey": self.access_key, "secretKey": self.secret_access_key }],
                    "actions": ["Admin", "Read", "List", "Tagging", "Write"],
                }]});
                let mut options = OpenOptions::new();
                let file =
                    options.create_new(true).write(true).mode(0o600).open(dir.join("s3.json")).unwrap();
                serde_json::to_writer(file, &identities).unwrap();
            }
            Program::Ceph(ceph) => {
                let mut started = Vec::new();
                ceph.prepare(
                    dir,
                    |command| drop(self.finish(command)),
                    |command| started.push(self.logged(command, self.log().into())),
                );
                let keys = Ceph::create_user(dir, |command| self.finish(command));
                (self.access_key, self.secret_access_key) = keys;
                self.processes = started;
                self.stop();
            }
        }
    }

    fn juicefs_gateway(&self) -> Command {
        let mut gateway = self.juicefs_program();
        gateway
            .args([
                "gateway",
                "--no-usage-report",
                "--no-banner",
                "--multi-buckets",
                "--keep-etag",
                "--object-meta",
            ])
            .args(["--object-tag", "--backup-meta", "0", "--metrics", "127.0.0.1:0", "--domain", "localhost"])
            .arg("--cache-dir")
            .arg(self.dir.path().join("cache"))
            .arg("--log")
            .arg(self.dir.path().join("gateway.log"))
            .arg(self.juicefs_metadata())
            .arg(format!("127.0.0.1:{}", self.port()))
            .env("MINIO_ROOT_USER", &self.access_key)
            .env("MINIO_ROOT_PASSWORD", &self.secret_access_key);
        gateway
    }

    fn juicefs_program(&self) -> Command {
        let mut juicefs = command(installed("juicefs"));
        // The agent would take a port that is the same for all.
        juicefs.arg("--no-agent").env("HOME", self.dir.path());
        juicefs
    }

    fn juicefs_metadata(&self) -> String {
        format!("sqlite3://{}", self.dir.path().join("metadata.db").display())
    }

    fn seaweedfs_server(&self, ports: &[u16; 7]) -> Command {
        let dir = self.dir.path().display();
        let [master_grpc, volume_grpc, filer_grpc, s3_grpc, master, volume, filer] = ports;
        let mut server = command(installed("weed"));
        server
            .args(["-logtostderr", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"])
            .arg(format!("-dir={dir}/data"))
            .arg(format!("-master.port={master}"))
            .arg(format!("-master.port.grpc={master_grpc}"))
            .args(["-master.volumeSizeLimitMB=1024", "-master.telemetry=false"])
            .arg(format!("-volume.port={volume}"))
            .arg(format!("-volume.port.grpc={volume_grpc}"))
            .arg("-volume.max=0")
            .arg(format!("-filer.port={filer}"))
            .arg(format!("-filer.port.grpc={filer_grpc}"))
            .arg(format!("-filer.localSocket={dir}/filer.sock"))
            .arg("-s3")
            .arg(format!("-s3.port={}", self.port()))
            .arg(format!("-s3.port.grpc={s3_grpc}"))
            .arg(format!("-s3.localSocket={dir}/s3.sock"))
            .args([
                "-s3.port.iceberg=0",
                "-s3.port.lance=0",
                "-s3.autoCreateBucket=false",
                "-s3.domainName=localhost",
            ])
            .arg(format!("-s3.config={dir}/s3.json"))
            .env("HOME", self.dir.path());
        server
    }

    fn port(&self) -> u16 {
        self.endpoint.rsplit(':').next().unwrap().parse().unwrap()
    }

    fn run(&mut self, command: Command) {
        let child = self.logged(command, self.log().into());
        self.processes.push(child);
    }

    /// Carries out a command; what it says on its standard output.
    fn finish(&self, command: Command) -> Vec<u8> {
        let output = self.logged(command, Stdio::piped()).wait_with_output().unwrap();
        let name = self.program.name();
        assert!(output.status.success(), "{name} cannot be set up; its log ends:\n{}", self.log_tail());
        output.stdout
    }

    fn logged(&self, mut command: Command, output: Stdio) -> Child {
        command.stdin(Stdio::null()).stdout(output).stderr(self.log());
        spawn(command).unwrap()
    }

    fn log(&self) -> File {
        OpenOptions::new().create(true).append(true).mode(0o600).open(self.dir.path().join("log")).unwrap()
    }

    fn log_tail(&self) -> String {
        let log = fs::read(self.dir.path().join("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

/// A static would never be dropped, and its data stay.
type Shared = Mutex<Weak<S3Server>>;

fn shared(server: &Shared, start: fn() -> S3Server) -> Arc<S3Server> {
    // One that cannot be started has failed the test before, and fails this one.
    let mut server = server.lock().unwrap_or_else(PoisonError::into_inner);
    server.upgrade().unwrap_or_else(|| {
        let started = Arc::new(start());
        *server = Arc::downgrade(&started);
        started
    })
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for S3Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Server")
            .field("program", &self.program.name())
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl Program {
    fn name(&self) -> &'static str {
        match self {
            Self::JuiceFs => "JuiceFS",
            Self::SeaweedFs { .. } => "SeaweedFS",
            Self::Ceph(_) => "Ceph",
        }
    }
}

/// A server's program, in the directory `s3-servers` of cargo's target directory.
fn installed(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.ancestors().map(|dir| dir.join("s3-servers/bin").join(name)).find(|path| path.exists());
    path.unwrap_or_else(|| {
        let profile = test.parent().filter(|dir| dir.ends_with("deps")).and_then(Path::parent);
        let target = profile.and_then(Path::parent).unwrap_or(Path::new("target"));
        let wanted = target.join("s3-servers");
        panic!("`{name}` is missing: install it with `tests/install-s3-servers.sh {}`", wanted.display())
    })
}

/// Letters and digits, another time others.
fn random(length: usize) -> String {
    std::iter::repeat_with(fastrand::alphanumeric).take(length).collect()
}
