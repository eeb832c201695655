//! What happened, as the agent tells it in the environment.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// A run of the charm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What the run is for.
    pub kind: Kind,
    /// The unit, such as `aar/0`.
    pub unit: String,
    /// Where the charm's files are.
    pub charm_dir: PathBuf,
    /// The model's name.
    pub model: String,
    /// The model's UUID.
    pub model_uuid: String,
    /// How the model reaches the world.
    pub proxies: Proxies,
}

/// What a run is for. Only what is treated differently has a name here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// The charm is new on the machine.
    Install,
    /// The charm's files, or a resource, are other ones.
    UpgradeCharm,
    /// The unit begins to work, or the machine was booted.
    Start,
    /// Options or addresses may have changed.
    ConfigChanged,
    /// Nothing happened for some minutes.
    UpdateStatus,
    /// The storage with the images is about to go.
    DataDetaching,
    /// The unit is to stop working.
    Stop,
    /// The unit's last event.
    Remove,
    /// An operator runs an action.
    Action(String),
    /// Any other hook.
    Other(String),
}

/// The proxies that a model says charms are to use; empty where there is none. They may have passwords.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For http.
    pub http: String,
    /// For https.
    pub https: String,
    /// What is reached without a proxy.
    pub no_proxy: String,
}

/// The environment is not that of a charm.
#[derive(Debug, thiserror::Error)]
#[error("the variable {0} is missing: this program is run by Juju's agent")]
pub struct NoAgent(&'static str);

impl Event {
    /// Reads the event from environment variables.
    ///
    /// # Errors
    /// Where a variable is missing that every agent sets.
    pub fn read(environment: &BTreeMap<String, String>) -> Result<Self, NoAgent> {
        let get = |name: &'static str| environment.get(name).map(String::as_str);
        let need = |name| get(name).filter(|value| !value.is_empty()).ok_or(NoAgent(name));
        let text = |name| get(name).unwrap_or_default().to_owned();
        Ok(Self {
            kind: Kind::read(need("JUJU_DISPATCH_PATH")?),
            unit: need("JUJU_UNIT_NAME")?.to_owned(),
            charm_dir: need("JUJU_CHARM_DIR")?.into(),
            model: text("JUJU_MODEL_NAME"),
            model_uuid: text("JUJU_MODEL_UUID"),
            proxies: Proxies {
                http: text("JUJU_CHARM_HTTP_PROXY"),
                https: text("JUJU_CHARM_HTTPS_PROXY"),
                no_proxy: text("JUJU_CHARM_NO_PROXY"),
            },
        })
    }

    /// The application, such as `aar`.
    pub fn application(&self) -> &str {
        self.unit.rsplit_once('/').map_or(&self.unit, |(application, _)| application)
    }
}

impl Kind {
    fn read(path: &str) -> Self {
        match path.split_once('/') {
            Some(("actions", name)) => Self::Action(name.to_owned()),
            Some(("hooks", name)) => match name {
                "install" => Self::Install,
                "upgrade-charm" => Self::UpgradeCharm,
                "start" => Self::Start,
                "config-changed" => Self::ConfigChanged,
                "update-status" => Self::UpdateStatus,
                "data-storage-detaching" => Self::DataDetaching,
                "stop" => Self::Stop,
                "remove" => Self::Remove,
                other => Self::Other(other.to_owned()),
            },
            _ => Self::Other(path.to_owned()),
        }
    }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proxies")
    }
}

impl Proxies {
    /// As variables that most programs know, in both of their spellings.
    pub fn variables(&self) -> Vec<(&'static str, &str)> {
        [
            ("http_proxy", "HTTP_PROXY", &self.http),
            ("https_proxy", "HTTPS_PROXY", &self.https),
            ("no_proxy", "NO_PROXY", &self.no_proxy),
        ]
        .into_iter()
        .filter(|(_, _, value)| !value.is_empty())
        .flat_map(|(lower, upper, value)| [(lower, value.as_str()), (upper, value.as_str())])
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(path: &str) -> BTreeMap<String, String> {
        [
            ("JUJU_DISPATCH_PATH", path),
            ("JUJU_UNIT_NAME", "aar/12"),
            ("JUJU_CHARM_DIR", "/charm"),
            ("JUJU_MODEL_NAME", "prod"),
            ("JUJU_CHARM_HTTPS_PROXY", "http://squid:3128"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    #[test]
    fn events_are_told_apart_by_the_path_of_the_dispatch() {
        let kind = |path| Event::read(&environment(path)).unwrap().kind;
        assert_eq!(kind("hooks/install"), Kind::Install);
        assert_eq!(kind("hooks/data-storage-detaching"), Kind::DataDetaching);
        assert_eq!(kind("hooks/client-relation-joined"), Kind::Other("client-relation-joined".into()));
        assert_eq!(kind("actions/backup"), Kind::Action("backup".into()));
        // An action may be named as a hook is.
        assert_eq!(kind("actions/install"), Kind::Action("install".into()));
    }

    #[test]
    fn what_every_agent_sets_is_needed_and_the_rest_may_be_missing() {
        let event = Event::read(&environment("hooks/start")).unwrap();
        assert_eq!((event.application(), event.model_uuid.as_str()), ("aar", ""));
        assert_eq!(
            event.proxies.variables(),
            [("https_proxy", "http://squid:3128"), ("HTTPS_PROXY", "http://squid:3128")]
        );
        for name in ["JUJU_DISPATCH_PATH", "JUJU_UNIT_NAME", "JUJU_CHARM_DIR"] {
            let mut incomplete = environment("hooks/start");
            incomplete.remove(name);
            assert!(Event::read(&incomplete).unwrap_err().to_string().contains(name));
        }
    }
}
