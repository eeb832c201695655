//! What the unit remembers from one hook to the next. It is committed by Juju together with what was told to relations.

use std::collections::BTreeMap;

use aar_model::Digest;

use crate::tools::Data;

const TOKEN: &str = "ua-token";
const PORT: &str = "port";
const VERSION: &str = "version";
const DATA: &str = "data";
const PUBLISHED: &str = "published";

/// What the unit remembers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// With what the machine was attached to Ubuntu Pro when that was last looked at.
    pub attached: Option<Attached>,
    /// The port that is open.
    pub port: Option<u16>,
    /// The version that is shown.
    pub version: Option<String>,
    /// Where images lie that are on the machine.
    pub data: Option<DataPlace>,
    /// What was told to each relation, by the relation's identifier.
    pub published: BTreeMap<String, Digest>,
}

/// With what a machine was attached to Ubuntu Pro.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attached {
    /// Not by this charm.
    Otherwise,
    /// With a token; its hash, as the token is a secret.
    With(Digest),
}

/// Where images on a machine lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataPlace {
    /// On the machine's own disk.
    Disk,
    /// On Juju's storage.
    Storage,
}

impl Memory {
    /// Reads the unit's state. What is missing, or is not understood, is not remembered: it is found out again.
    pub fn read(state: &Data) -> Self {
        let get = |key: &str| state.get(key).map(String::as_str).filter(|value| !value.is_empty());
        Self {
            attached: get(TOKEN).and_then(|value| match value {
                "-" => Some(Attached::Otherwise),
                hash => hash.parse().ok().map(Attached::With),
            }),
            port: get(PORT).and_then(|port| port.parse().ok()),
            version: get(VERSION).map(str::to_owned),
            data: get(DATA).and_then(|place| match place {
                "disk" => Some(DataPlace::Disk),
                "storage" => Some(DataPlace::Storage),
                _ => None,
            }),
            published: get(PUBLISHED)
                .and_then(|published| serde_json::from_str(published).ok())
                .unwrap_or_default(),
        }
    }

    /// As the unit's state. What is empty deletes.
    pub fn write(&self) -> Data {
        let attached = match self.attached {
            None => String::new(),
            Some(Attached::Otherwise) => "-".to_owned(),
            Some(Attached::With(hash)) => hash.to_string(),
        };
        let data = match self.data {
            None => "",
            Some(DataPlace::Disk) => "disk",
            Some(DataPlace::Storage) => "storage",
        };
        let published = self.published.iter().map(|(id, hash)| (id.clone(), hash.to_string()));
        [
            (TOKEN, attached),
            (PORT, self.port.map(|port| port.to_string()).unwrap_or_default()),
            (VERSION, self.version.clone().unwrap_or_default()),
            (DATA, data.to_owned()),
            (PUBLISHED, published.collect::<serde_json::Value>().to_string()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_what_was_written() {
        let all = Memory {
            attached: Some(Attached::With(Digest::of(b"token"))),
            port: Some(3000),
            version: Some("1.2.3".into()),
            data: Some(DataPlace::Storage),
            published: [("client:7".to_owned(), Digest::of(b"data"))].into(),
        };
        for memory in
            [all, Memory::default(), Memory { attached: Some(Attached::Otherwise), ..Memory::default() }]
        {
            assert_eq!(Memory::read(&memory.write()), memory);
        }
    }

    #[test]
    fn what_another_charm_has_left_is_passed_over() {
        let state = ["ua-token", "port", "data", "published"].map(|key| (key.to_owned(), "{[".to_owned()));
        assert_eq!(Memory::read(&state.into()), Memory::default());
    }
}
