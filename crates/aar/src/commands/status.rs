use aar_model::Role;
use aar_model::wire::Summary;
use serde::Serialize;

use super::trust::Certificates;
use crate::cli::Format;
use crate::connect::Registry;
use crate::error::Result;
use crate::output::{self, Present, size};

/// Shows which registry this is and how one stands to it.
pub(crate) async fn run(registry: &Registry, format: Format) -> Result<()> {
    let service = registry.client.service_status().await?;
    let version = registry.client.version().await?.version;
    let here = if registry.is_local {
        let trusted = registry.client.certificates(false).await?;
        Some(Here { summary: registry.client.summary().await?, trusted: Certificates::new(trusted, false) })
    } else {
        None
    };
    let status = Status {
        registry: registry.address.clone(),
        version,
        api_version: service.api_version,
        auth: service.auth,
        role: service.role,
        here,
    };
    output::print(format, &status)
}

#[derive(Serialize)]
struct Status {
    registry: String,
    version: String,
    api_version: String,
    auth: String,
    role: Option<Role>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    here: Option<Here>,
}

/// What only the registry of this machine tells.
#[derive(Serialize)]
struct Here {
    #[serde(flatten)]
    summary: Summary,
    trusted: Certificates,
}

impl Present for Status {
    fn table(&self) -> String {
        let mut facts = vec![
            ("Registry", self.registry.clone()),
            ("Version", self.version.clone()),
            ("API", self.api_version.clone()),
            (
                "This side is",
                self.role.map_or_else(|| self.auth.clone(), |role| format!("{}, as {role}", self.auth)),
            ),
        ];
        if let Some(Here { summary, trusted }) = &self.here {
            let (clients, publishers) = (trusted.count(Role::Client), trusted.count(Role::Publisher));
            facts.extend([
                ("State", summary.state.clone()),
                ("Serves on", summary.address.clone()),
                ("Storage", summary.storage.clone()),
                ("Applications", summary.applications.to_string()),
                ("Images", format!("{}, {}", summary.images, size(summary.bytes))),
                ("Trusted", format!("{clients} as client, {publishers} as publisher")),
            ]);
        }
        output::facts(facts)
    }

    fn csv(&self) -> Vec<Vec<String>> {
        let role = self.role.map(|role| role.to_string()).unwrap_or_default();
        let mut names = ["registry", "version", "api_version", "auth", "role"].map(String::from).to_vec();
        let mut values = vec![
            self.registry.clone(),
            self.version.clone(),
            self.api_version.clone(),
            self.auth.clone(),
            role,
        ];
        if let Some(Here { summary, trusted }) = &self.here {
            let more =
                ["state", "address", "storage", "applications", "images", "bytes", "clients", "publishers"];
            names.extend(more.map(String::from));
            values.extend([summary.state.clone(), summary.address.clone(), summary.storage.clone()]);
            values.extend([summary.applications, summary.images, summary.bytes].map(|n| n.to_string()));
            values.extend([Role::Client, Role::Publisher].map(|role| trusted.count(role).to_string()));
        }
        vec![names, values]
    }
}

#[cfg(test)]
mod tests {
    use aar_model::{CertificateInfo, Fingerprint};

    use super::*;

    #[test]
    fn status_is_shown_in_every_format() {
        let status = Status {
            registry: "https://registry.example:3000/".into(),
            version: "1.2.3".into(),
            api_version: "1.0".into(),
            auth: "trusted".into(),
            role: Some(Role::Client),
            here: None,
        };
        insta::assert_snapshot!(output::all_formats(&status));
    }

    #[test]
    fn the_registry_of_this_machine_tells_what_it_holds_and_whom_it_trusts() {
        let certificate = CertificateInfo {
            certificate: String::new(),
            fingerprint: Fingerprint::of(b"ams"),
            role: Role::Client,
            name: "ams".into(),
            sources: vec!["operator".into()],
            added_at: 1_700_000_000,
            last_seen_at: None,
            revoked_at: None,
        };
        let status = Status {
            registry: "/var/lib/aar/run/aar.sock".into(),
            version: "1.2.3".into(),
            api_version: "1.0".into(),
            auth: "trusted".into(),
            role: Some(Role::Publisher),
            here: Some(Here {
                summary: Summary {
                    state: "ready".into(),
                    address: "0.0.0.0:3000".into(),
                    storage: "s3://aar0/registry/".into(),
                    applications: 12,
                    images: 30,
                    bytes: 40 << 30,
                },
                trusted: Certificates::new(vec![certificate], false),
            }),
        };
        insta::assert_snapshot!(output::all_formats(&status));
    }
}
