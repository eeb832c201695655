//! Publishers push, change and remove while connections break, the registry restarts, and clients are killed: in the end
//! every client has what it should.

use std::collections::BTreeMap;
use std::time::Duration;

use aar_model::Digest;
use aar_tests::s3::S3Server;
use aar_tests::{Daemon, Person, Relay, Syncer};
use serde_json::{Value, json};

use crate::{change, image, push, reaches, syncer};

const APPS: [&str; 4] = ["arcade", "board", "cards", "dice"];
const ARCHITECTURES: [&str; 2] = ["x86_64", "aarch64"];
const ROUNDS: usize = 40;

#[test]
fn everybody_has_the_same_in_the_end_on_a_disk() {
    World::new(Daemon::spawn()).play();
}

#[test]
fn everybody_has_the_same_in_the_end_on_s3() {
    let server = S3Server::shared_juicefs();
    let prefix = format!("sync-{:016x}/", fastrand::u64(..));
    World::new(Daemon::builder().bucket(&server, &server.endpoint, &prefix).start()).play();
}

struct World {
    daemon: Daemon,
    relay: Relay,
    publishers: [Person; 2],
    clients: [Client; 3],
    /// What is published, by application, version and architecture.
    published: BTreeMap<(usize, u32, usize), Digest>,
    tags: [&'static str; 4],
    versions: [u32; 4],
}

struct Client {
    syncer: Syncer,
    tags: Vec<&'static str>,
    architectures: Vec<usize>,
}

impl World {
    fn new(daemon: Daemon) -> Self {
        let relay = Relay::to(daemon.address());
        let client = |name: &str, more: &[&str], tags: &[&'static str], architectures: &[usize]| {
            let syncer = syncer(&daemon, &daemon.client(name), relay.address(), more);
            Client { syncer, tags: tags.into(), architectures: architectures.into() }
        };
        // The first has nothing but events, and one look after each connect. The second has to ask.
        let clients = [
            client("everything", &["--interval", "1h"], &[], &[0, 1]),
            client(
                "games",
                &["--interval", "2s", "--filter", "games,new", "--architecture", "amd64"],
                &["games", "new"],
                &[0],
            ),
            client("offline", &["--architecture", "aarch64", "--parallel", "1"], &[], &[1]),
        ];
        let publishers = [daemon.publisher("of-x86"), daemon.publisher("of-arm")];
        let (published, tags, versions) = (BTreeMap::new(), ["games", "tools", "games", "old"], [0; 4]);
        Self { daemon, relay, publishers, clients, published, tags, versions }
    }

    fn play(mut self) {
        let seed = fastrand::get_seed();
        println!("seed {seed}");
        for client in &mut self.clients {
            client.syncer.start();
        }
        self.clients[2].syncer.kill();
        for round in 0..ROUNDS {
            self.act();
            if round % 13 == 7 {
                self.disturb_the_registry(round);
            }
            let client = fastrand::usize(..2);
            if fastrand::u8(..4) == 0 {
                std::thread::sleep(Duration::from_millis(fastrand::u64(..150)));
                self.clients[client].syncer.kill();
                self.clients[client].syncer.start();
            }
            if fastrand::u8(..5) == 0 {
                self.relay.cut_all();
            }
        }
        // What happens in every run.
        self.push_some(0);
        let first = *self.published.keys().find(|(app, ..)| *app == 0).unwrap();
        self.withdraw(first.0, first.1);
        self.push_some(1);
        self.delete_application(1);
        self.clients[2].syncer.start();
        for client in &self.clients {
            reaches(&client.syncer, &self.expected(client));
        }
        self.check_fields();
    }

    fn act(&mut self) {
        let app = fastrand::usize(..APPS.len());
        let known = self.published.keys().find(|(other, ..)| *other == app).copied();
        match (fastrand::u8(..10), known) {
            (0, Some((app, version, _))) => self.withdraw(app, version),
            (1, Some((app, version, _))) => {
                let path = format!("{}/{version}", APPS[app]);
                change(&self.daemon, &self.publishers[0], "DELETE", &path, &Value::Null);
                self.published.retain(|(other, number, _), _| (*other, *number) != (app, version));
            }
            (2, Some(_)) => self.delete_application(app),
            (3, Some(_)) => {
                self.tags[app] = ["games", "tools", "new"][fastrand::usize(..3)];
                let tags = json!({"tags": [self.tags[app]]});
                change(&self.daemon, &self.publishers[1], "PATCH", APPS[app], &tags);
            }
            _ => self.push_some(app),
        }
    }

    /// Both publishers push their image of a new version, or only one does.
    fn push_some(&mut self, app: usize) {
        let version = self.versions[app];
        self.versions[app] += 1;
        let architectures = [&[0, 1][..], &[0], &[1]][fastrand::usize(..3)];
        for architecture in architectures.iter().copied() {
            let image = image(fastrand::usize(1..300));
            let path = format!("{}/{version}/{}", APPS[app], ARCHITECTURES[architecture]);
            let request =
                json!({"application": {"tags": [self.tags[app]]}, "version": {"boot_activity": path}});
            push(&self.daemon, &self.publishers[architecture], &path, &image, &request);
            self.published.insert((app, version, architecture), Digest::of(&image));
        }
    }

    fn withdraw(&mut self, app: usize, version: u32) {
        let path = format!("{}/{version}", APPS[app]);
        change(&self.daemon, &self.publishers[0], "PATCH", &path, &json!({"published": false}));
        self.published.retain(|(other, number, _), _| (*other, *number) != (app, version));
    }

    fn delete_application(&mut self, app: usize) {
        change(&self.daemon, &self.publishers[0], "DELETE", APPS[app], &Value::Null);
        self.published.retain(|(other, ..), _| *other != app);
        if fastrand::bool() {
            self.versions[app] = 0; // other images come under numbers that were there
        }
    }

    fn disturb_the_registry(&mut self, round: usize) {
        if round.is_multiple_of(2) {
            self.daemon.kill();
        } else {
            assert!(self.daemon.stop().success());
        }
        self.daemon.start();
        self.relay.lead_to(self.daemon.address());
        self.relay.cut_all();
    }

    fn expected(&self, client: &Client) -> BTreeMap<String, Digest> {
        let wanted = self.published.iter().filter(|((app, _, architecture), _)| {
            client.architectures.contains(architecture)
                && (client.tags.is_empty() || client.tags.contains(&self.tags[*app]))
        });
        wanted
            .map(|((app, version, architecture), digest)| {
                (format!("{}/{version}/{}", APPS[*app], ARCHITECTURES[*architecture]), *digest)
            })
            .collect()
    }

    /// Beside the images there are the fields of what has images, as the registry has them, and nothing else.
    fn check_fields(&self) {
        for client in &self.clients {
            // Fields are written before images, and what was removed is tidied up after them.
            let expected = self.expected(client);
            let mut files: Vec<_> = expected.keys().map(|path| format!("{path}/image.zip")).collect();
            for path in expected.keys() {
                let parts: Vec<_> = path.split('/').collect();
                files.push(format!("{}/application.json", parts[0]));
                files.push(format!("{}/{}/version.json", parts[0], parts[1]));
            }
            files.sort();
            files.dedup();
            crate::eventually("the tree is as it should be", || crate::files(&client.syncer.dir) == files);
            for (app, name) in APPS.iter().enumerate() {
                let dir = client.syncer.dir.join(name);
                if dir.exists() {
                    let tags = json!([self.tags[app]]);
                    crate::eventually("the tags are the registry's", || {
                        crate::read(&dir.join("application.json"))["tags"] == tags
                    });
                }
            }
        }
    }
}
