use aar_model::Role;
use serde::Serialize;

use crate::cli::Format;
use crate::connect::Registry;
use crate::error::Result;
use crate::output::{self, Present, facts};

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
}

impl Present for Status {
    fn table(&self) -> String {
        facts([
            ("Registry", self.registry.clone()),
            ("Version", self.version.clone()),
            ("API", self.api_version.clone()),
            (
                "This side is",
                self.role.map_or_else(|| self.auth.clone(), |role| format!("{}, as {role}", self.auth)),
            ),
        ])
    }

    fn csv(&self) -> Vec<Vec<String>> {
        let role = self.role.map(|role| role.to_string()).unwrap_or_default();
        vec![
            ["registry", "version", "api_version", "auth", "role"].map(String::from).to_vec(),
            vec![
                self.registry.clone(),
                self.version.clone(),
                self.api_version.clone(),
                self.auth.clone(),
                role,
            ],
        ]
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
        };
        insta::assert_snapshot!(output::all_formats(&status));
    }
}
