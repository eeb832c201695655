use aar_model::Role;
use aar_model::wire::Summary;
use serde::Serialize;

use crate::cli::Format;
use crate::connect::Registry;
use crate::error::Result;
use crate::output::{self, Present, size};

/// Shows which registry this is and how one stands to it.
pub(crate) async fn run(registry: &Registry, format: Format) -> Result<()> {
    let service = registry.client.service_status().await?;
    let version = registry.client.version().await?.version;
    let status = Status {
        registry: registry.address.clone(),
        version,
        api_version: service.api_version,
        auth: service.auth,
        role: service.role,
        summary: if registry.is_local { Some(registry.client.summary().await?) } else { None },
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
    summary: Option<Summary>,
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
        if let Some(summary) = &self.summary {
            facts.extend([
                ("State", summary.state.clone()),
                ("Serves on", summary.address.clone()),
                ("Storage", summary.storage.clone()),
                ("Applications", summary.applications.to_string()),
                ("Images", format!("{}, {}", summary.images, size(summary.bytes))),
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
        if let Some(summary) = &self.summary {
            let more = ["state", "address", "storage", "applications", "images", "bytes"];
            names.extend(more.map(String::from));
            values.extend([summary.state.clone(), summary.address.clone(), summary.storage.clone()]);
            values.extend([summary.applications, summary.images, summary.bytes].map(|n| n.to_string()));
        }
        vec![names, values]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_shown_in_every_format() {
        let status = Status {
            registry: "https://registry.example:3000/".into(),
            version: "1.2.3".into(),
            api_version: "1.0".into(),
            auth: "trusted".into(),
            role: Some(Role::Client),
            summary: None,
        };
        insta::assert_snapshot!(output::all_formats(&status));
    }

    #[test]
    fn the_registry_of_this_machine_tells_what_it_holds() {
        let status = Status {
            registry: "/var/lib/aar/run/aar.sock".into(),
            version: "1.2.3".into(),
            api_version: "1.0".into(),
            auth: "trusted".into(),
            role: Some(Role::Publisher),
            summary: Some(Summary {
                state: "ready".into(),
                address: "0.0.0.0:3000".into(),
                storage: "s3://aar0/registry/".into(),
                applications: 12,
                images: 30,
                bytes: 40 << 30,
            }),
        };
        insta::assert_snapshot!(output::all_formats(&status));
    }
}
