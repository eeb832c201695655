//! Whom the registry trusts for the sake of relations, and what the world is told of it.

use std::collections::BTreeMap;

use aar_model::Role;

use super::planner::Planner;
use super::step::{Step, hash};
use crate::daemon::{Rendered, Trusted};
use crate::memory::Memory;
use crate::options::is_host;
use crate::relation::{Certificate, Relation, SOURCE, Told};
use crate::status::Status;
use crate::tools::Data;

impl Planner<'_> {
    /// Plans whom the registry trusts for the sake of relations.
    pub(super) fn trust(&mut self) {
        let trusted = match &self.machine().trusted {
            Ok(trusted) => trusted,
            Err(problem) => {
                return self.blocked(format!("the trust store cannot be read: {problem}"));
            }
        };
        let mut wanted = Vec::new();
        for relation in &self.facts.juju.relations {
            for (unit, told) in &relation.units {
                let certificates = match told {
                    Told::Certificates(certificates) => certificates,
                    Told::Nothing => {
                        let text =
                            format!("for {unit} to send its certificate in the relation {}", relation.id);
                        self.found.push(Status::Waiting(text));
                        continue;
                    }
                    Told::OtherMode(mode) => {
                        self.blocked(other_mode(self.facts.juju.event.application(), relation, unit, mode));
                        continue;
                    }
                    Told::Garbage => {
                        self.blocked(format!(
                            "what {unit} sends in the relation {} is no certificate: mend it there, or juju remove-relation {}",
                            relation.id,
                            relation.number()
                        ));
                        continue;
                    }
                };
                for certificate in certificates {
                    let key = (relation.source(), certificate.fingerprint);
                    // Several units may have one certificate.
                    if !wanted.contains(&key) {
                        wanted.push(key);
                        self.trust_one(trusted, relation, unit, certificate);
                    }
                }
            }
        }
        for known in trusted {
            for source in known.sources.iter().filter(|source| source.starts_with(SOURCE)) {
                let fingerprint = known.fingerprint;
                let has_failed = self.facts.run.trust.get(&(source.clone(), fingerprint));
                if wanted.contains(&(source.clone(), fingerprint)) {
                    continue;
                }
                match has_failed {
                    None => self.steps.push(Step::Distrust { source: source.clone(), fingerprint }),
                    Some(reason) => {
                        self.blocked(format!(
                            "{fingerprint:.16} cannot be taken from the trust store: {reason}"
                        ));
                    }
                }
            }
        }
    }

    fn trust_one(&mut self, trusted: &[Trusted], relation: &Relation, unit: &str, certificate: &Certificate) {
        let (source, fingerprint) = (relation.source(), certificate.fingerprint);
        let is_known =
            trusted.iter().any(|known| known.fingerprint == fingerprint && known.sources.contains(&source));
        if is_known {
            return;
        }
        if self.machine().revoked.contains(&fingerprint) {
            return self.blocked(format!(
                "the certificate of {unit} in the relation {} is revoked: it needs a new one, or juju remove-relation {}",
                relation.id,
                relation.number()
            ));
        }
        if let Some(reason) = self.facts.run.trust.get(&(source.clone(), fingerprint)) {
            return self
                .blocked(format!("the certificate of {unit} in the relation {}: {reason}", relation.id));
        }
        self.steps.push(Step::Trust {
            source,
            role: relation.role,
            name: unit.to_owned(),
            certificate: certificate.clone(),
        });
    }

    /// Plans what the world is told: ports, relations, the version.
    pub(super) fn announce(&mut self, is_up: bool, rendered: Option<&Rendered>, remember: &mut Memory) {
        let (juju, machine) = (&self.facts.juju, &self.facts.machine);
        if !is_up {
            if let Some(port) = juju.memory.port {
                self.steps.push(Step::ClosePort(port));
                remember.port = None;
            }
            return;
        }
        let known: Vec<_> = juju.relations.iter().map(|it| &it.id).chain(&juju.observers).collect();
        remember.published.retain(|id, _| known.contains(&id));
        if let Some(Ok(summary)) = &machine.summary
            && juju.memory.version.as_ref() != Some(&summary.version)
        {
            self.steps.push(Step::ShowVersion(summary.version.clone()));
            remember.version = Some(summary.version.clone());
        }
        // Only what is in effect is told.
        let Some(rendered) = rendered.filter(|rendered| machine.config.as_ref() == Some(&rendered.text))
        else {
            return;
        };
        let Ok(port) = juju.options.port.as_ref().map(|port| port.get()) else { return };
        if juju.memory.port != Some(port) {
            self.steps.push(Step::OpenPort(port));
            if let Some(before) = juju.memory.port {
                self.steps.push(Step::ClosePort(before));
            }
            remember.port = Some(port);
        }
        let mut told = BTreeMap::new();
        if let Some(certificate) = &machine.certificate {
            for relation in juju.relations.iter().filter(|relation| !relation.units.is_empty()) {
                if let Some(address) = self.address(relation, rendered) {
                    let data = [
                        ("certificate", certificate.to_pem()),
                        ("fingerprint", certificate.fingerprint.to_string()),
                        ("ip", address),
                        ("port", port.to_string()),
                    ];
                    told.insert(relation.id.clone(), data.map(|(key, value)| (key.to_owned(), value)).into());
                }
            }
        }
        if let Ok(Some(config)) = &juju.observed {
            for id in &juju.observers {
                told.insert(id.clone(), Data::from([("config".to_owned(), config.clone())]));
            }
        }
        for (relation, data) in told {
            let hash = hash(&data);
            if remember.published.get(&relation) != Some(&hash) {
                remember.published.insert(relation.clone(), hash);
                self.steps.push(Step::Publish { relation, data });
            }
        }
    }

    /// What a relation is told for an address; none where the option is wrong.
    fn address(&self, relation: &Relation, rendered: &Rendered) -> Option<String> {
        let options = &self.juju().options;
        if let Some(location) = &options.location {
            return is_host(location).then(|| location.trim_matches(['[', ']']).to_owned());
        }
        if options.public_interface.is_some() {
            let host = rendered.address.rsplit_once(':')?.0;
            return Some(host.trim_matches(['[', ']']).to_owned());
        }
        Some(relation.address.clone())
    }
}

fn other_mode(application: &str, relation: &Relation, unit: &str, mode: &str) -> String {
    let endpoint = relation.role.as_str();
    let mut text = format!(
        "{unit} wants the mode {mode} on the endpoint {endpoint}: juju remove-relation {}",
        relation.number()
    );
    if mode.parse::<Role>().is_ok() {
        let remote = unit.split('/').next().unwrap_or(unit);
        let remote = if remote.starts_with("remote-") { "<application>" } else { remote };
        text = text + ", then juju integrate " + application + ":" + mode + " " + remote;
    }
    text
}
