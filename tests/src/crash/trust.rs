//! An administrator: trusts, removes and revokes certificates, and maintains the registry while others write.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use fastrand::Rng;
use serde_json::json;

use crate::{Connection, Daemon, Person, Response};

/// Persons of late, whom it deals with; those before them stay as they are.
const CURRENT: usize = 6;
const ROLES: [&str; 2] = ["client", "publisher"];

#[derive(Debug)]
pub(super) struct Administrator {
    dir: PathBuf,
    rng: Rng,
    persons: Vec<(Person, Standing)>,
    /// How a person stands where a request that was not answered was carried out.
    pending: Option<(usize, Standing)>,
    pub(super) answered: u64,
    pub(super) lost: u64,
    pub(super) carried_out: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Unknown,
    Trusted(&'static str),
    Revoked,
}

impl Administrator {
    /// An administrator of somebody new; their files lie in `dir`.
    pub(super) fn new(dir: &Path, rng: Rng) -> Self {
        let mut administrator = Self {
            dir: dir.into(),
            rng,
            persons: Vec::new(),
            pending: None,
            answered: 0,
            lost: 0,
            carried_out: 0,
        };
        for _ in 0..CURRENT {
            administrator.meet();
        }
        administrator
    }

    /// Goes on until the daemon is killed.
    pub(super) fn work(&mut self, socket: &Path, killed: &AtomicBool) {
        while !killed.load(Ordering::SeqCst) {
            let answered = match self.rng.u8(..100) {
                0..8 => maintain(socket, "/1.0/maintenance/collect-garbage?grace=0"),
                8..12 => maintain(socket, "/1.0/maintenance/rebuild"),
                _ => self.change_trust(socket),
            };
            if answered {
                self.answered += 1;
            } else {
                assert!(killed.load(Ordering::SeqCst), "a request on the socket was not answered");
                self.lost += 1;
                return;
            }
        }
    }

    /// Checks trust after a restart.
    ///
    /// # Panics
    /// It is not as was answered.
    pub(super) fn settle(&mut self, daemon: &Daemon, others: &[&Person]) {
        let listed = ["", "?revoked=true"].map(|query| {
            daemon
                .admin("GET", &format!("/1.0/certificates{query}"), b"")
                .metadata()
                .as_array()
                .unwrap()
                .clone()
        });
        let standing = |person: &Person| {
            let fingerprint = person.fingerprint().to_string();
            let role = |list: &[serde_json::Value]| {
                let entry = list.iter().find(|entry| entry["fingerprint"] == fingerprint)?;
                assert_eq!(entry["sources"], json!(["operator"]), "{entry}");
                Some(ROLES.into_iter().find(|role| entry["role"] == **role).unwrap())
            };
            match (role(&listed[0]), role(&listed[1])) {
                (None, None) => Standing::Unknown,
                (Some(role), None) => Standing::Trusted(role),
                (None, Some(_)) => Standing::Revoked,
                both => panic!("{fingerprint} is trusted and revoked: {both:?}"),
            }
        };
        let pending = self.pending.take();
        for (at, (person, expected)) in self.persons.iter_mut().enumerate() {
            let actual = standing(person);
            if actual != *expected {
                assert_eq!(
                    pending,
                    Some((at, actual)),
                    "{} was {expected:?} and is {actual:?}",
                    person.fingerprint()
                );
                *expected = actual;
                self.carried_out += 1;
            }
        }
        let known = self.persons.iter().filter(|(_, standing)| *standing != Standing::Unknown).count();
        assert_eq!(listed[0].len() + listed[1].len(), known + others.len(), "certificates that nobody added");
        self.check_access(daemon);
        self.check_files(daemon, others);
    }

    fn check_access(&self, daemon: &Daemon) {
        for (person, standing) in &self.persons[self.persons.len() - CURRENT..] {
            let mut connection = daemon.connect(Some(person));
            let service = connection.request("GET", "/1.0", &[], b"").metadata();
            let status = connection.request("GET", "/1.0/applications", &[], b"").status;
            match standing {
                Standing::Trusted(role) => {
                    assert_eq!((status, service["role"].as_str()), (200, Some(*role)), "{person:?}");
                }
                Standing::Unknown | Standing::Revoked => {
                    assert_eq!(status, 401, "{person:?} is {standing:?}");
                }
            }
        }
    }

    /// The trust store's directory holds the certificates and their details, and nothing else.
    fn check_files(&self, daemon: &Daemon, others: &[&Person]) {
        let place = |standing: &Standing| match standing {
            Standing::Unknown => None,
            Standing::Trusted("client") => Some("clients"),
            Standing::Trusted(_) => Some("publishers"),
            Standing::Revoked => Some("revoked"),
        };
        for folder in ["clients", "publishers", "revoked"] {
            let read = std::fs::read_dir(daemon.base().join("certs").join(folder)).unwrap();
            let files: Vec<_> = read.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            let here = self.persons.iter().filter(|(_, standing)| place(standing) == Some(folder));
            let here: Vec<_> = here.map(|(person, _)| person.fingerprint().to_string()).collect();
            let others = others.iter().map(|other| other.fingerprint().to_string());
            let others: Vec<_> = others.filter(|other| files.contains(&format!("{other}.crt"))).collect();
            for fingerprint in &here {
                assert!(files.contains(&format!("{fingerprint}.crt")), "{fingerprint} is not in {folder}");
            }
            assert_eq!(files.len(), 2 * (here.len() + others.len()), "{folder} holds {files:?}");
        }
    }

    fn change_trust(&mut self, socket: &Path) -> bool {
        let at = self.persons.len() - 1 - self.rng.usize(..CURRENT);
        let (person, before) = &self.persons[at];
        let before = *before;
        let fingerprint = person.fingerprint();
        let (method, path, body, status, after) = match (self.rng.u8(..10), before) {
            (0..6, _) => {
                let role = ROLES[self.rng.usize(..2)];
                let body = json!({ "certificate": person.pem(), "role": role }).to_string();
                let (status, after) = match before {
                    Standing::Unknown => (201, Standing::Trusted(role)),
                    Standing::Trusted(_) => (200, Standing::Trusted(role)),
                    Standing::Revoked => (409, before),
                };
                ("POST", "/1.0/certificates".into(), body, status, after)
            }
            (6..9, _) => {
                let (status, after) = match before {
                    Standing::Unknown => (404, before),
                    Standing::Trusted(_) => (200, Standing::Unknown),
                    Standing::Revoked => (409, before),
                };
                ("DELETE", format!("/1.0/certificates/{fingerprint}"), String::new(), status, after)
            }
            (_, Standing::Unknown) => {
                ("POST", format!("/1.0/certificates/{fingerprint}/revoke"), String::new(), 404, before)
            }
            _ => {
                let path = format!("/1.0/certificates/{fingerprint}/revoke");
                ("POST", path, String::new(), 200, Standing::Revoked)
            }
        };
        let Some(response) = ask(socket, method, &path, body.as_bytes()) else {
            self.pending = Some((at, after));
            return false;
        };
        assert_eq!(response.status, status, "{method} {path} of {before:?}: {}", response.json());
        self.persons[at].1 = after;
        if after == Standing::Revoked && before != after {
            self.meet();
        }
        true
    }

    fn meet(&mut self) {
        let person = Person::new(&self.dir, &format!("person-{}", self.persons.len()));
        self.persons.push((person, Standing::Unknown));
    }
}

fn maintain(socket: &Path, path: &str) -> bool {
    let answer = ask(socket, "POST", path, b"");
    if let Some(answer) = &answer {
        assert_eq!(answer.status, 200, "{path}: {}", answer.json());
    }
    answer.is_some()
}

fn ask(socket: &Path, method: &str, path: &str, body: &[u8]) -> Option<Response> {
    Connection::try_unix(socket).and_then(|mut socket| socket.try_request(method, path, &[], body)).ok()
}
