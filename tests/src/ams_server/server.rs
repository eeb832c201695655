//! The server.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use aar_model::{Digest, Fingerprint};
use openssl::ssl::{SslAcceptor, SslMethod, SslVerifyMode};
use rustix::net::{Shutdown, shutdown};
use serde_json::{Map, Value, json};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Message, WebSocket};
use uuid::Uuid;

use super::applications::{Application, Refusal};
use super::http::{Answer, Request};
use super::package::manifest;
use crate::certificates::Person;

/// How this AMS is; may be changed at any time.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long it takes to make a version.
    pub bootstrap: Duration,
    /// SHA-256 of packages whose bootstrap fails.
    pub failing: Vec<String>,
    /// Whether it publishes what it has made.
    pub auto_publish: bool,
    /// `application.max_published_versions`
    pub max_published_versions: usize,
    /// Extensions of the API.
    pub extensions: Vec<&'static str>,
    /// How many of the next packages it takes without an answer: the connection is cut instead.
    pub cut_answers: usize,
    /// How many of the next packages it answers with a 503, and does nothing about them.
    pub failing_answers: usize,
    /// How many of the next calls for one operation or application it answers with a 503.
    pub failing_looks: usize,
    /// How many of the next lists of applications are empty.
    pub empty_lists: usize,
    /// Whether its operations never end.
    pub never_ends: bool,
    /// Identifiers of applications that instances run of: they are not deleted.
    pub in_use: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            bootstrap: Duration::ZERO,
            failing: Vec::new(),
            auto_publish: false,
            max_published_versions: 3,
            extensions: vec![
                "application_image_export",
                "zip_archive_support",
                "application_partial_updates",
            ],
            cut_answers: 0,
            failing_answers: 0,
            failing_looks: 0,
            empty_lists: 0,
            never_ends: false,
            in_use: Vec::new(),
        }
    }
}

/// A running AMS; it ends when dropped.
pub struct AmsServer {
    shared: Arc<Shared>,
    place: Place,
}

enum Place {
    Unix(PathBuf),
    Tls { address: SocketAddr, server: Person, trusted: Fingerprint },
}

trait Wire: Read + Write + Send {}
impl<T: Read + Write + Send> Wire for T {}

/// Cuts a connection, whoever holds its socket.
type Cut = Arc<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    settings: Settings,
    applications: BTreeMap<String, Application>,
    operations: BTreeMap<String, Value>,
    listeners: Vec<Sender<Value>>,
    /// Every change that was asked for: method and path.
    changes: Vec<String>,
    /// Counts restarts: what an earlier run began is not finished by a later one.
    run: u64,
    is_stopped: bool,
    connections: Vec<Cut>,
    ids: u64,
}

impl AmsServer {
    /// An AMS that listens on a Unix socket in `dir`.
    pub fn unix(dir: &Path) -> Self {
        let server = Self { shared: Arc::default(), place: Place::Unix(dir.join("ams.socket")) };
        server.listen();
        server
    }

    /// An AMS that listens on a free port of loopback, shows the certificate of `server` and trusts that of `trusted`.
    pub fn tls(server: &Person, trusted: &Person) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (server, trusted) = (server.clone(), trusted.fingerprint());
        let it = Self { shared: Arc::default(), place: Place::Tls { address, server, trusted } };
        it.listen();
        it
    }

    /// What `aar sync --ams` takes.
    pub fn address(&self) -> String {
        match &self.place {
            Place::Unix(path) => format!("unix://{}", path.display()),
            Place::Tls { address, .. } => format!("https://{address}"),
        }
    }

    /// The Unix socket.
    pub fn socket(&self) -> &Path {
        match &self.place {
            Place::Unix(path) => path,
            Place::Tls { .. } => panic!("it listens on the network"),
        }
    }

    /// Changes how it is.
    pub fn set(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.state().settings);
    }

    /// Ends; connections are cut.
    pub fn stop(&self) {
        let connections = {
            let mut state = self.state();
            state.is_stopped = true;
            state.run += 1;
            state.operations.clear();
            state.listeners.clear();
            std::mem::take(&mut state.connections)
        };
        for cut in connections {
            cut();
        }
        // Wakes who accepts, so that the place is free.
        match &self.place {
            Place::Unix(path) => drop((UnixStream::connect(path), std::fs::remove_file(path))),
            Place::Tls { address, .. } => drop(TcpStream::connect(address)),
        }
    }

    /// Starts again after [`stop`](Self::stop): it knows no operation any more, and what it was making has failed.
    pub fn start(&self) {
        {
            let mut state = self.state();
            state.is_stopped = false;
            for application in state.applications.values_mut() {
                let unfinished: Vec<_> =
                    application.versions.iter().filter(|(_, it)| it.status == 1).map(|(n, _)| *n).collect();
                for number in unfinished {
                    application.finish(number, Some("interrupted by a restart"), false, usize::MAX);
                }
            }
        }
        self.listen();
    }

    /// What somebody makes on AMS by hand, all at once; answers its identifier.
    pub fn make_by_hand(&self, package: Vec<u8>) -> String {
        let mut state = self.state();
        let manifest = manifest(&package, true).unwrap();
        let mut application = Application::new(&manifest);
        let number = application.begin(&manifest, package);
        application.finish(number, None, true, usize::MAX);
        let id = state.new_id();
        state.applications.insert(id.clone(), application);
        id
    }

    /// AMS makes another version of the newest, as when its base image has changed.
    pub fn update_base_image(&self, name: &str) {
        let mut state = self.state();
        let most = state.settings.max_published_versions;
        let application = state.applications.values_mut().find(|it| it.name == name).unwrap();
        let newest = application.versions.values().next_back().unwrap().package.clone();
        let number = application.begin(&manifest(&newest, true).unwrap(), newest);
        application.finish(number, None, true, most);
    }

    /// Marks an application as one that AMS has got from a registry by itself.
    pub fn set_immutable(&self, id: &str) {
        self.state().applications.get_mut(id).unwrap().immutable = true;
    }

    /// An application by its name, as the API shows it.
    pub fn application(&self, name: &str) -> Option<Value> {
        let state = self.state();
        state.applications.iter().find(|(_, it)| it.name == name).map(|(id, it)| it.to_json(id))
    }

    /// What is published, in the order of AMS's numbers: applications, each with the SHA-256 of the packages that its
    /// versions were made of.
    pub fn published(&self) -> BTreeMap<String, Vec<String>> {
        let state = self.state();
        let published = state.applications.values().map(|application| {
            let versions = application.versions.values().filter(|version| version.published);
            (application.name.clone(), versions.map(super::applications::Version::fingerprint).collect())
        });
        published.collect()
    }

    /// Every change that was asked for so far, `PATCH /1.0/applications/…`.
    pub fn changes(&self) -> Vec<String> {
        self.state().changes.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock()
    }

    fn listen(&self) {
        match &self.place {
            Place::Unix(path) => {
                let listener = UnixListener::bind(path).unwrap();
                let accept = move || listener.accept().map(|(socket, _)| socket);
                self.accept(accept, |shared, socket| shared.serve(Box::new(socket), true));
            }
            Place::Tls { address, server, trusted } => {
                let listener = TcpListener::bind(address).unwrap();
                let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
                acceptor.set_certificate(&server.certificate).unwrap();
                acceptor.set_private_key(&server.key).unwrap();
                acceptor.set_verify_callback(SslVerifyMode::PEER, |_, _| true);
                acceptor.set_session_id_context(b"ams").unwrap();
                let (acceptor, trusted) = (acceptor.build(), *trusted);
                let accept = move || listener.accept().map(|(socket, _)| socket);
                self.accept(accept, move |shared, socket| {
                    let Ok(stream) = acceptor.accept(socket) else { return };
                    let peer = stream.ssl().peer_certificate();
                    let is_trusted =
                        peer.is_some_and(|peer| Fingerprint::of(&peer.to_der().unwrap()) == trusted);
                    shared.serve(Box::new(stream), is_trusted);
                });
            }
        }
    }

    /// Serves, each on a thread of its own, the connections that come until this run ends.
    fn accept<S: AsFd + Send + 'static>(
        &self,
        accept: impl Fn() -> io::Result<S> + Send + 'static,
        serve: impl Fn(Arc<Shared>, S) + Clone + Send + 'static,
    ) {
        let shared = self.shared.clone();
        let run = self.state().run;
        thread::spawn(move || {
            while let Ok(socket) = accept() {
                let copy = rustix::io::dup(&socket).unwrap();
                let cut: Cut = Arc::new(move || {
                    let _ = shutdown(&copy, Shutdown::Both);
                });
                if !shared.admit(run, cut.clone()) {
                    return;
                }
                let (shared, serve) = (shared.clone(), serve.clone());
                thread::spawn(move || {
                    serve(shared, socket);
                    cut();
                });
            }
        });
    }
}

impl Drop for AmsServer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn admit(&self, run: u64, cut: Cut) -> bool {
        let mut state = self.lock();
        let is_admitted = !state.is_stopped && state.run == run;
        if is_admitted {
            state.connections.push(cut);
        }
        is_admitted
    }

    /// Serves a connection; clients may go away as they like.
    fn serve(self: Arc<Self>, mut wire: Box<dyn Wire>, is_trusted: bool) {
        while let Ok(Some(request)) = Request::read(&mut wire) {
            let is_public = matches!(request.path.as_str(), "" | "/1.0" | "/1.0/version");
            if !is_trusted && !is_public {
                let _ = Answer::error(401, "not authorized").write(&mut wire);
                return;
            }
            if request.path == "/1.0/events" {
                let _ = self.tell(wire, &request);
                return;
            }
            let Some(answer) = self.answer(&request) else { return };
            if answer.write(&mut wire).is_err() {
                return;
            }
        }
    }

    /// The answer; none where the connection is to be cut.
    fn answer(self: &Arc<Self>, request: &Request) -> Option<Answer> {
        if request.method != "GET" {
            self.lock().changes.push(format!("{} {}", request.method, request.path));
        }
        let answer = self.route(request).unwrap_or_else(|(code, text)| Answer::error(code, &text));
        let mut state = self.lock();
        let is_package = request.header("content-type") == Some("application/octet-stream");
        if is_package && state.settings.cut_answers > 0 {
            state.settings.cut_answers -= 1;
            return None;
        }
        Some(answer)
    }

    fn route(self: &Arc<Self>, request: &Request) -> Result<Answer, Refusal> {
        let path: Vec<_> = request.path.trim_start_matches('/').split('/').collect();
        if let ("GET", ["1.0", "applications" | "operations", _]) = (request.method.as_str(), &path[..]) {
            let settings = &mut self.lock().settings;
            if settings.failing_looks > 0 {
                settings.failing_looks -= 1;
                return Err((503, "database is locked".into()));
            }
        }
        match (request.method.as_str(), &path[..]) {
            ("GET", ["1.0"]) => Ok(Answer::sync(&json!({
                "api_extensions": self.lock().settings.extensions, "api_status": "stable", "api_version": "1.0",
                "auth": "trusted", "auth_methods": ["2waySSL"],
            }))),
            ("GET", ["1.0", "config"]) => {
                let most = self.lock().settings.max_published_versions;
                let config = json!({"application.max_published_versions": most, "registry.mode": "manual"});
                Ok(Answer::sync(&json!({ "config": config })))
            }
            ("GET", ["1.0", "applications"]) => Ok(self.list(request)),
            ("POST", ["1.0", "applications"]) => self.create(request),
            ("GET", ["1.0", "applications", id]) => {
                let state = self.lock();
                let (id, application) = state.find(id)?;
                Ok(Answer::sync(&application.to_json(&id)))
            }
            ("PATCH", ["1.0", "applications", id]) => self.change(id, request),
            ("DELETE", ["1.0", "applications", id]) => self.delete(id, request),
            ("GET", ["1.0", "applications", id, number]) => self.export(id, number),
            ("PATCH", ["1.0", "applications", id, number]) => self.publish(id, number, request),
            ("DELETE", ["1.0", "applications", id, number]) => self.delete_version(id, number),
            ("GET", ["1.0", "operations", id]) => Ok(Answer::sync(&self.operation(id)?)),
            ("GET", ["1.0", "operations", id, "wait"]) => self.wait(id, request),
            _ => Err((404, "not found".into())),
        }
    }

    fn list(&self, request: &Request) -> Answer {
        let mut state = self.lock();
        if state.settings.empty_lists > 0 {
            state.settings.empty_lists -= 1;
            return Answer::sync(&Value::Null);
        }
        let name = request.query("name");
        let all = state.applications.iter().filter(|(_, it)| name.is_none_or(|name| it.name == name));
        let listed: Vec<_> = match request.query("recursion") {
            Some("1") => all.map(|(id, it)| it.to_json(id)).collect(),
            _ => all.map(|(id, _)| json!(format!("/1.0/applications/{id}"))).collect(),
        };
        Answer::sync(&if listed.is_empty() { Value::Null } else { listed.into() })
    }

    fn create(self: &Arc<Self>, request: &Request) -> Result<Answer, Refusal> {
        let manifest = self.taken(request)?;
        let mut state = self.lock();
        if state.applications.values().any(|it| manifest["name"] == it.name.as_str()) {
            return Err((409, "already exists".into()));
        }
        let mut application = Application::new(&manifest);
        let number = application.begin(&manifest, request.body.clone());
        let id = state.new_id();
        state.applications.insert(id.clone(), application);
        Ok(self.bootstrap(&mut state, &id, number, "Creating application"))
    }

    fn change(self: &Arc<Self>, id: &str, request: &Request) -> Result<Answer, Refusal> {
        if request.header("content-type") != Some("application/octet-stream") {
            let changes: Map<_, _> =
                serde_json::from_slice(&request.body).map_err(|e| (400, e.to_string()))?;
            let mut state = self.lock();
            let (id, application) = state.find_mut(id)?;
            application.change(&changes)?;
            return Ok(state.done("Updating application", &id));
        }
        let manifest = self.taken(request)?;
        let mut state = self.lock();
        let (id, application) = state.find_mut(id)?;
        if manifest["name"] != application.name.as_str() {
            return Err((400, "name in the manifest does not match".into()));
        }
        if application.status == 1 {
            return Err((400, "application is not ready".into()));
        }
        let number = application.begin(&manifest, request.body.clone());
        Ok(self.bootstrap(&mut state, &id, number, "Updating application"))
    }

    /// A package, as far as it is refused at once.
    fn taken(&self, request: &Request) -> Result<Value, Refusal> {
        let settings = &mut self.lock().settings;
        if settings.failing_answers > 0 {
            settings.failing_answers -= 1;
            return Err((503, "database is locked".into()));
        }
        let fingerprint = request.header("x-ams-fingerprint");
        if fingerprint.is_some_and(|it| it != Digest::of(&request.body).to_string()) {
            return Err((400, "fingerprint doesn't match".into()));
        }
        let zip_is_known = settings.extensions.contains(&"zip_archive_support");
        manifest(&request.body, zip_is_known).map_err(|text| (400, text))
    }

    /// Makes a version in the time that this takes.
    fn bootstrap(self: &Arc<Self>, state: &mut State, id: &str, number: i64, what: &str) -> Answer {
        let operation = state.begin(what, id);
        let (shared, run, id) = (self.clone(), state.run, id.to_owned());
        let (time, operation_id) = (state.settings.bootstrap, operation["id"].as_str().unwrap().to_owned());
        thread::spawn(move || {
            thread::sleep(time);
            let mut state = shared.lock();
            if state.run != run {
                return;
            }
            let settings = state.settings.clone();
            let Some(application) = state.applications.get_mut(&id) else { return };
            let Some(version) = application.versions.get(&number) else { return };
            let is_failing = settings.failing.contains(&version.fingerprint());
            let error = is_failing.then_some("bootstrap failed: boot package is missing");
            application.finish(number, error, settings.auto_publish, settings.max_published_versions);
            state.end(&operation_id, error);
        });
        Answer::accepted(&operation)
    }

    fn delete(&self, id: &str, request: &Request) -> Result<Answer, Refusal> {
        let mut state = self.lock();
        let (id, application) = state.find(id)?;
        let body: Value = serde_json::from_slice(&request.body).map_err(|e| (400, e.to_string()))?;
        if application.immutable && body["force"] != true {
            return Err((403, "application is immutable".into()));
        }
        if state.settings.in_use.contains(&id) {
            let operation = state.begin("Deleting application", &id);
            state.end(operation["id"].as_str().unwrap(), Some("application is in use"));
            return Ok(Answer::accepted(&operation));
        }
        state.applications.remove(&id);
        Ok(state.done("Deleting application", &id))
    }

    fn delete_version(&self, id: &str, number: &str) -> Result<Answer, Refusal> {
        let mut state = self.lock();
        let (id, application) = state.find_mut(id)?;
        let number = number.parse().map_err(|_| (400, "invalid argument: 'version'".to_owned()))?;
        if !application.versions.contains_key(&number) {
            return Err((404, "not found".into()));
        }
        if application.versions.len() == 1 {
            return Err((400, "cannot remove the only version".into()));
        }
        application.versions.remove(&number);
        Ok(state.done("Deleting application version", &id))
    }

    fn publish(&self, id: &str, number: &str, request: &Request) -> Result<Answer, Refusal> {
        let body: Value = serde_json::from_slice(&request.body).map_err(|e| (400, e.to_string()))?;
        let mut state = self.lock();
        let most = state.settings.max_published_versions;
        let (id, application) = state.find_mut(id)?;
        let version = number.parse().ok().and_then(|number: i64| application.versions.get_mut(&number));
        let version = version.ok_or((404, "not found".to_owned()))?;
        if version.status != 3 {
            return Err((400, "version is not active".into()));
        }
        version.published = body["published"].as_bool().ok_or((400, "invalid argument".to_owned()))?;
        application.trim(most);
        Ok(state.done("Updating application version", &id))
    }

    fn export(&self, id: &str, number: &str) -> Result<Answer, Refusal> {
        let state = self.lock();
        let (_, application) = state.find(id)?;
        let version = number.parse().ok().and_then(|number: i64| application.versions.get(&number));
        let version = version.ok_or((404, "not found".to_owned()))?;
        let image = version.export();
        Ok(Answer::file("image.tar", Digest::of(&image).to_string(), image))
    }

    fn operation(&self, id: &str) -> Result<Value, Refusal> {
        self.lock().operations.get(id).cloned().ok_or((404, "not found".into()))
    }

    fn wait(&self, id: &str, request: &Request) -> Result<Answer, Refusal> {
        let limit = request.query("timeout").and_then(|it| it.parse().ok()).map(Duration::from_secs);
        let begun = Instant::now();
        loop {
            let operation = self.operation(id)?;
            if operation["status_code"] != 103 || limit.is_some_and(|limit| begun.elapsed() > limit) {
                return Ok(Answer::sync(&operation));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Tells a listener of operations, until it goes.
    fn tell(&self, mut wire: Box<dyn Wire>, request: &Request) -> io::Result<()> {
        let key = request.header("sec-websocket-key").unwrap_or_default();
        write!(
            wire,
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
             sec-websocket-accept: {}\r\n\r\n",
            derive_accept_key(key.as_bytes())
        )?;
        wire.flush()?;
        let events: Receiver<Value> = {
            let (sender, events) = channel();
            self.lock().listeners.push(sender);
            events
        };
        let mut socket = WebSocket::from_raw_socket(wire, Role::Server, None);
        let is_wanted = |event: &Value| {
            matches!(request.query("type"), None | Some("all"))
                || event["type"] == request.query("type").unwrap()
        };
        for event in events.iter().filter(is_wanted) {
            socket.send(Message::text(event.to_string())).map_err(io::Error::other)?;
        }
        Ok(())
    }
}

impl State {
    fn new_id(&mut self) -> String {
        self.ids += 1;
        format!("c08fr0gj1qm443dt{:04}", self.ids)
    }

    fn find(&self, id_or_name: &str) -> Result<(String, &Application), Refusal> {
        let mut all = self.applications.iter();
        let found = all.find(|(id, application)| *id == id_or_name || application.name == id_or_name);
        found.map(|(id, application)| (id.clone(), application)).ok_or((404, "not found".into()))
    }

    fn find_mut(&mut self, id_or_name: &str) -> Result<(String, &mut Application), Refusal> {
        let mut all = self.applications.iter_mut();
        let found = all.find(|(id, application)| *id == id_or_name || application.name == id_or_name);
        found.map(|(id, application)| (id.clone(), application)).ok_or((404, "not found".into()))
    }

    fn begin(&mut self, what: &str, application: &str) -> Value {
        let (id, now) = (Uuid::new_v4().to_string(), jiff::Timestamp::now().to_string());
        let operation = json!({
            "id": id, "class": "task", "description": what, "created_at": now, "updated_at": now, "status": "Running",
            "status_code": 103, "resources": {"applications": [format!("/1.0/applications/{application}")]},
            "metadata": null, "may_cancel": true, "err": "", "server_address": "",
        });
        self.operations.insert(id, operation.clone());
        self.tell(&operation);
        operation
    }

    fn end(&mut self, id: &str, error: Option<&str>) {
        if self.settings.never_ends {
            return;
        }
        let Some(operation) = self.operations.get_mut(id) else { return };
        operation["status"] = if error.is_some() { "Failure".into() } else { "Success".into() };
        operation["status_code"] = if error.is_some() { 400.into() } else { 200.into() };
        operation["err"] = error.unwrap_or_default().into();
        operation["updated_at"] = jiff::Timestamp::now().to_string().into();
        let operation = operation.clone();
        self.tell(&operation);
    }

    /// A change that is through before it is asked for.
    fn done(&mut self, what: &str, application: &str) -> Answer {
        let operation = self.begin(what, application);
        self.end(operation["id"].as_str().unwrap(), None);
        Answer::accepted(&operation)
    }

    fn tell(&mut self, operation: &Value) {
        let event = json!({"type": "operation", "timestamp": jiff::Timestamp::now().to_string(), "metadata": operation});
        self.listeners.retain(|listener| listener.send(event.clone()).is_ok());
    }
}
