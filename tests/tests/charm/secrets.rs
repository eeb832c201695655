//! Secrets stay where they belong.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use aar_tests::s3::S3Server;

use crate::{Site, TOKEN, UNIT};

/// Looks at the arguments of all processes, again and again, until it is asked.
struct Sampler {
    ended: Arc<AtomicBool>,
    thread: thread::JoinHandle<Vec<String>>,
}

impl Sampler {
    fn start(secrets: Vec<String>) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&ended);
        let own = std::process::id().to_string();
        let thread = thread::spawn(move || {
            let mut found = Vec::new();
            while !stop.load(Ordering::SeqCst) {
                for entry in
                    fs::read_dir("/proc").unwrap().flatten().filter(|entry| entry.file_name() != *own)
                {
                    let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
                    let line = String::from_utf8_lossy(&line).replace('\0', " ");
                    if secrets.iter().any(|secret| line.contains(secret)) {
                        found.push(line);
                    }
                }
            }
            found
        });
        Self { ended, thread }
    }

    fn found(self) -> Vec<String> {
        self.ended.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}

#[test]
fn no_secret_is_in_status_logs_relations_arguments_or_files_that_others_can_read() {
    let mut site = Site::deployed();
    let server = S3Server::shared_juicefs();
    let wrong = "C1tokenThatIsWrong";
    // The server's own arguments are not the charm's.
    let secret = "notTheRightSecretAccessKey";
    let secrets = [TOKEN, wrong, secret, &server.secret_access_key];
    let sampler = Sampler::start([TOKEN, wrong, secret].map(str::to_owned).into());
    site.machine().pro().accept(&[TOKEN]);
    site.set("ua_token", wrong);
    site.set("ua_token", TOKEN);
    site.set("log_level", "trace");
    let person = site.person("ams");
    let relation = site.relate("client", "ams", &person);
    let text = site.filled("juju-config-s3.yaml", &server, "secrets/");
    site.set_file(&text.replace(&server.secret_access_key, secret));
    // Where a mistake is in the line of the secret.
    site.set_file(&text.replace(&server.secret_access_key, &format!("[{secret}")));
    site.set_file(&text.replace("secret-access-key", "secret-acess-key"));
    site.set_file(&text);
    site.expect("active: serving");
    let results = ["check-storage", "list-clients", "show-certificate"]
        .map(|action| format!("{:?}", site.model.run(UNIT, action, &[]).unwrap()));
    let arguments = sampler.found();
    assert_eq!(arguments, [""; 0]);

    let machine = site.machine();
    let log: Vec<_> = site.model.log().into_iter().map(|line| line.message).collect();
    let calls: Vec<_> = site.model.runs(UNIT).into_iter().flat_map(|run| run.calls).collect();
    let told: Vec<_> = calls.iter().flat_map(|call| call.arguments.clone()).collect();
    let seen = [
        ("status", site.model.status().to_string()),
        ("log", log.join("\n")),
        ("arguments of tools", told.join("\n")),
        ("journal", machine.journal(None)),
        ("relation data", format!("{:?}", site.model.relation_data(relation, UNIT))),
        ("results of actions", results.join("\n")),
        ("what others on the machine saw", format!("{:?}", machine.pro().calls())),
    ];
    for (place, text) in &seen {
        for secret in secrets {
            let at = text.find(secret).map(|at| &text[at.saturating_sub(200)..at]);
            assert_eq!(at, None, "a secret is in the {place}");
        }
    }
    let root = machine.root();
    for (path, state) in machine.files().0.iter().filter(|(_, state)| state.is_file()) {
        // What the stand-in for the contract server knows is not on a machine.
        let Ok(text) = fs::read(root.join(path.strip_prefix("/").unwrap())) else { continue };
        let text = String::from_utf8_lossy(&text);
        if secrets.iter().any(|secret| text.contains(secret)) && !path.ends_with("server.json") {
            assert_eq!(state.permissions(), 0o600, "{}", path.display());
        }
    }
    for folder in ["run", "tmp"] {
        assert_none_readable(&root.join(folder), &secrets);
    }
}

fn assert_none_readable(folder: &std::path::Path, secrets: &[&str]) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let metadata = entry.metadata().unwrap();
        if metadata.dev() != fs::metadata(folder).unwrap().dev() {
            // Shared with this machine.
        } else if metadata.is_dir() {
            assert_none_readable(&entry.path(), secrets);
        } else if metadata.is_file() {
            let text = fs::read(entry.path()).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let is_secret = secrets.iter().any(|secret| text.contains(secret));
            assert!(!is_secret || metadata.mode() & 0o7777 == 0o600, "{}", entry.path().display());
        }
    }
}
