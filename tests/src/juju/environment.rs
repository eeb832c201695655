//! The environment of a hook or an action: exactly what the agent gives, nothing inherited.

use std::collections::BTreeMap;
use std::path::Path;

use super::JujuVersion;
use super::context::{Hook, RelationHook};
use super::relations::application;
use super::state::{State, tools_directory};

/// Options of the model and the variables that a charm finds them in.
const PROXIES: [(&str, &str); 4] = [
    ("juju-http-proxy", "JUJU_CHARM_HTTP_PROXY"),
    ("juju-https-proxy", "JUJU_CHARM_HTTPS_PROXY"),
    ("juju-ftp-proxy", "JUJU_CHARM_FTP_PROXY"),
    ("juju-no-proxy", "JUJU_CHARM_NO_PROXY"),
];

/// The older proxies of a model, which reach a charm as the variables that most programs know.
const LEGACY_PROXIES: [&str; 4] = ["http-proxy", "https-proxy", "ftp-proxy", "no-proxy"];

impl State {
    /// The hook's name, as logs and `hooks/` have it, or the action's.
    pub(super) fn hook_name(&self, unit: &str, hook: &Hook) -> String {
        let storage = |id: &str| application(id).to_owned();
        match hook {
            Hook::Relation { kind, id, .. } => {
                let endpoint = &self.relations[id].own(application(unit)).endpoint.name;
                format!("{endpoint}-relation-{}", kind.name())
            }
            Hook::StorageAttached(id) => format!("{}-storage-attached", storage(id)),
            Hook::StorageDetaching(id) => format!("{}-storage-detaching", storage(id)),
            Hook::Action(id) => self.actions[id].name.clone(),
            plain => plain.plain_name().unwrap_or_default().to_owned(),
        }
    }

    /// The environment of a run. `path` is the agent's own search path.
    pub(super) fn environment(
        &self,
        name: &str,
        hook: &Hook,
        id: &str,
        path: &str,
    ) -> BTreeMap<String, String> {
        let unit = self.unit(name);
        let agent = unit.agent_directory(name);
        let inside = |path: &Path| unit.inside(path).display().to_string();
        let charm = inside(&agent.join("charm"));
        let hook_name = self.hook_name(name, hook);
        let is_action = matches!(hook, Hook::Action(_));
        let folder = if is_action { "actions" } else { "hooks" };
        let version = if self.version == JujuVersion::V3_6 { "3.6.28" } else { "4.0.15" };
        let mut found: BTreeMap<String, String> = [
            ("CHARM_DIR", charm.clone()),
            ("JUJU_CHARM_DIR", charm),
            ("JUJU_CONTEXT_ID", id.to_owned()),
            ("JUJU_HOOK_NAME", if is_action { String::new() } else { hook_name.clone() }),
            ("JUJU_AGENT_SOCKET_ADDRESS", inside(&agent.join("agent.socket"))),
            ("JUJU_AGENT_SOCKET_NETWORK", "unix".into()),
            ("JUJU_UNIT_NAME", name.into()),
            ("JUJU_MODEL_UUID", self.uuid.clone()),
            ("JUJU_MODEL_NAME", "test".into()),
            ("JUJU_API_ADDRESSES", "127.0.0.1:17070 127.0.0.2:17070".into()),
            ("JUJU_MACHINE_ID", unit.machine.to_string()),
            ("JUJU_PRINCIPAL_UNIT", String::new()),
            ("JUJU_AVAILABILITY_ZONE", String::new()),
            ("JUJU_VERSION", version.into()),
            ("CLOUD_API_VERSION", String::new()),
            ("JUJU_DISPATCH_PATH", format!("{folder}/{hook_name}")),
            ("APT_LISTCHANGES_FRONTEND", "none".into()),
            ("DEBIAN_FRONTEND", "noninteractive".into()),
            ("LANG", "C.UTF-8".into()),
            ("TERM", "tmux-256color".into()),
            ("PATH", format!("{}:{path}", inside(&tools_directory(&unit.root, name)))),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        let mut set = |key: &str, value: &str| found.insert(key.to_owned(), value.to_owned());
        if self.version == JujuVersion::V3_6 {
            set("JUJU_SLA", "");
        } else {
            for key in ["HTTP", "GRPC", "CA_CERT"] {
                set(&format!("JUJU_CHARM_TRACE_CONFIG_{key}"), "");
            }
        }
        for (option, variable) in PROXIES {
            set(variable, self.model.get(option).map_or("", String::as_str));
        }
        for option in LEGACY_PROXIES {
            if let Some(value) = self.model.get(option) {
                let variable = option.replace('-', "_");
                set(&variable, value);
                set(&variable.to_uppercase(), value);
            }
        }
        match hook {
            Hook::Relation { kind, id, unit, departing } => {
                let (own, remote) =
                    (self.relations[id].own(application(name)), self.relations[id].remote(application(name)));
                set("JUJU_RELATION", &own.endpoint.name);
                set("JUJU_RELATION_ID", &format!("{}:{id}", own.endpoint.name));
                set("JUJU_REMOTE_UNIT", &unit.as_ref().map(|unit| remote.seen(unit)).unwrap_or_default());
                set("JUJU_REMOTE_APP", &remote.seen_as);
                if *kind == RelationHook::Departed {
                    set("JUJU_DEPARTING_UNIT", departing.as_deref().unwrap_or_default());
                }
            }
            Hook::Action(id) => {
                set("JUJU_ACTION_NAME", &self.actions[id].name);
                set("JUJU_ACTION_UUID", &id.to_string());
                set("JUJU_ACTION_TAG", &format!("action-{id}"));
            }
            Hook::StorageAttached(id) | Hook::StorageDetaching(id) => {
                set("JUJU_STORAGE_ID", id);
                set("JUJU_STORAGE_LOCATION", &unit.storage[id].location.display().to_string());
                set("JUJU_STORAGE_KIND", "filesystem");
            }
            _ => {}
        }
        found
    }
}
