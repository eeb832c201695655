//! Applications: in, out, and what is there.

use std::env::consts::ARCH;
use std::path::PathBuf;

use aar_client::{Client, ImageAddress};
use aar_model::wire::{self, Image, PushRequest};
use aar_model::{AppName, ApplicationFields, Architecture, Version, VersionFields};
use serde::Serialize;

use super::confirm::confirm;
use crate::cli::ApplicationCommand;
use crate::error::{Error, Result};
use crate::output::{self, Present, csv_list, facts, joined, size, table, time};
use crate::progress::bar;

pub(crate) async fn run(command: ApplicationCommand, registry: &Client) -> Result<()> {
    match command {
        ApplicationCommand::Push { name, version, file, architecture, metadata, unpublished } => {
            let architecture = architecture.map_or_else(this_machine, Ok)?;
            let mut request = metadata.unwrap_or_default();
            if unpublished {
                request.version.insert("published".into(), false.into());
            }
            push(registry, &ImageAddress { name, version, architecture }, file, &request).await
        }
        ApplicationCommand::Pull { name, version, architecture, output } => {
            pull(registry, &name, version, architecture, output).await
        }
        ApplicationCommand::List { output, filter } => {
            let applications = registry.applications(&filter).await?;
            let views = applications.iter().map(ApplicationView::new).collect();
            output::print(output.format, &Applications(views))
        }
        ApplicationCommand::Show { name, output } => {
            output::print(output.format, &ApplicationView::new(&registry.application(&name).await?))
        }
        ApplicationCommand::Delete { name, version, architecture, yes } => {
            delete(registry, &name, version, architecture, yes).await
        }
        ApplicationCommand::Publish { name, version } => {
            registry.set_published(&name, version, true).await?;
            output::say(&format!("published: {name} version {version}"))
        }
        ApplicationCommand::Unpublish { name, version } => {
            registry.set_published(&name, version, false).await?;
            output::say(&format!("unpublished: {name} version {version}"))
        }
    }
}

async fn push(registry: &Client, image: &ImageAddress, file: PathBuf, request: &PushRequest) -> Result<()> {
    let pushed = registry.push(image, &file, request, &bar()).await?;
    let done = if pushed.existed { "already there" } else { "pushed" };
    output::say(&format!("{done}: {image} ({}, {})", size(pushed.size), pushed.fingerprint))
}

pub(super) fn this_machine() -> Result<Architecture> {
    ARCH.parse().map_err(|_| {
        Error::Usage(format!(
            "no image is built for this machine's architecture, {ARCH}: give --architecture"
        ))
    })
}

async fn pull(
    registry: &Client,
    name: &AppName,
    version: Option<Version>,
    architecture: Option<Architecture>,
    output: Option<PathBuf>,
) -> Result<()> {
    let application = registry.application(name).await?;
    let (version, image) = choose(&application, version, architecture)?;
    let file_name = image.file_name(name, version);
    let target = match output {
        None => PathBuf::from(file_name),
        Some(path) if path.is_dir() => path.join(file_name),
        Some(path) => path,
    };
    let address = ImageAddress { name: name.clone(), version, architecture: image.architecture };
    registry.pull(&address, image, &target, &bar()).await?;
    output::say(&format!("pulled: {address} to {} ({})", target.display(), size(image.size)))
}

/// The image that is meant: of the highest published version, where none is given.
fn choose(
    application: &wire::Application,
    version: Option<Version>,
    architecture: Option<Architecture>,
) -> Result<(Version, &Image)> {
    let (name, versions) = (&application.name, &application.versions);
    let version = match version {
        Some(number) => versions.iter().find(|version| version.number == number).ok_or_else(|| {
            let numbers = joined(versions.iter().map(|version| version.number));
            Error::NotFound(format!("{name} has no version {number}; there are: {numbers}"))
        }),
        None => versions
            .iter()
            .filter(|version| version.published)
            .max_by_key(|version| version.number)
            .ok_or_else(|| Error::NotFound(format!("{name} has no published version"))),
    }?;
    let (number, images) = (version.number, &version.images);
    let there = || joined(images.iter().map(|image| image.architecture));
    let image = match (architecture, images.as_slice()) {
        (Some(wanted), _) => images.iter().find(|image| image.architecture == wanted).ok_or_else(|| {
            Error::NotFound(format!(
                "{name} version {number} has no image for {wanted}; there are: {}",
                there()
            ))
        }),
        (None, [only]) => Ok(only),
        (None, []) => Err(Error::NotFound(format!("{name} version {number} has no image"))),
        (None, _) => Err(Error::Usage(format!(
            "{name} version {number} has several images: give --architecture with one of {}",
            there()
        ))),
    }?;
    Ok((number, image))
}

async fn delete(
    registry: &Client,
    name: &AppName,
    version: Option<Version>,
    architecture: Option<Architecture>,
    yes: bool,
) -> Result<()> {
    let what = match (version, architecture) {
        (None, _) => format!("{name} with all versions"),
        (Some(version), None) => format!("{name} version {version}"),
        (Some(version), Some(architecture)) => format!("{name} version {version} for {architecture}"),
    };
    confirm(&format!("Delete {what}?"), yes)?;
    match version {
        None => registry.delete_application(name).await?,
        Some(version) => registry.delete_version(name, version, architecture).await?,
    }
    output::say(&format!("deleted: {what}"))
}

/// Applications as they are listed.
#[derive(Serialize)]
#[serde(transparent)]
struct Applications<'a>(Vec<ApplicationView<'a>>);

/// An application as it is shown: the wire's, with times for people and without what says nothing.
#[derive(Serialize)]
struct ApplicationView<'a> {
    name: &'a AppName,
    published: bool,
    created_at: String,
    updated_at: String,
    architectures: &'a [Architecture],
    versions: Vec<VersionView<'a>>,
    #[serde(flatten)]
    fields: &'a ApplicationFields,
}

#[derive(Serialize)]
struct VersionView<'a> {
    number: Version,
    published: bool,
    created_at: String,
    images: &'a [Image],
    #[serde(flatten)]
    fields: &'a VersionFields,
}

impl<'a> ApplicationView<'a> {
    fn new(application: &'a wire::Application) -> Self {
        let version = |version: &'a wire::ApplicationVersion| VersionView {
            number: version.number,
            published: version.published,
            created_at: time(version.created_at),
            images: &version.images,
            fields: &version.fields,
        };
        Self {
            name: &application.name,
            published: application.published,
            created_at: time(application.created_at),
            updated_at: time(application.updated_at),
            architectures: &application.architectures,
            versions: application.versions.iter().map(version).collect(),
            fields: &application.fields,
        }
    }

    /// The highest version that clients see.
    fn latest(&self) -> Option<Version> {
        self.versions.iter().filter(|version| version.published).map(|version| version.number).max()
    }

    fn size(&self) -> u64 {
        self.versions.iter().flat_map(|version| version.images).map(|image| image.size).sum()
    }
}

impl Present for Applications<'_> {
    fn table(&self) -> String {
        let rows = self.0.iter().map(|application| {
            [
                application.name.to_string(),
                joined(application.latest()),
                application.versions.len().to_string(),
                joined(application.architectures),
                size(application.size()),
                joined(&application.fields.tags),
                application.updated_at.clone(),
            ]
        });
        table(["NAME", "LATEST", "VERSIONS", "ARCHITECTURES", "SIZE", "TAGS", "UPDATED"], rows)
    }

    fn csv(&self) -> Vec<Vec<String>> {
        let header =
            ["name", "latest", "versions", "architectures", "size", "tags", "created_at", "updated_at"];
        let rows = self.0.iter().map(|application| {
            vec![
                application.name.to_string(),
                application.latest().map(|version| version.to_string()).unwrap_or_default(),
                application.versions.len().to_string(),
                csv_list(application.architectures),
                application.size().to_string(),
                csv_list(&application.fields.tags),
                application.created_at.clone(),
                application.updated_at.clone(),
            ]
        });
        std::iter::once(header.map(String::from).to_vec()).chain(rows).collect()
    }
}

impl Present for ApplicationView<'_> {
    fn table(&self) -> String {
        let fields = self.fields;
        let text = |text: &String| if text.is_empty() { "-".into() } else { text.clone() };
        let facts = facts([
            ("Name", self.name.to_string()),
            ("Instance type", text(&fields.instance_type)),
            ("Boot package", text(&fields.boot_package)),
            ("ABI", text(&fields.abi)),
            ("Virtual machine", if fields.vm { "yes" } else { "no" }.into()),
            ("Tags", joined(&fields.tags)),
            ("Addons", joined(&fields.addons)),
            ("Created", self.created_at.clone()),
            ("Updated", self.updated_at.clone()),
        ]);
        let rows = self.versions.iter().flat_map(|version| {
            version.images.iter().map(|image| {
                [
                    version.number.to_string(),
                    if version.published { "yes" } else { "no" }.into(),
                    image.architecture.to_string(),
                    size(image.size),
                    image.fingerprint.to_string(),
                    version.created_at.clone(),
                ]
            })
        });
        let headings = ["VERSION", "PUBLISHED", "ARCHITECTURE", "SIZE", "FINGERPRINT", "CREATED"];
        format!("{facts}\n\n{}", table(headings, rows))
    }

    fn csv(&self) -> Vec<Vec<String>> {
        let header = [
            "name",
            "version",
            "published",
            "architecture",
            "size",
            "media_type",
            "fingerprint",
            "created_at",
        ];
        let rows = self.versions.iter().flat_map(|version| {
            version.images.iter().map(|image| {
                vec![
                    self.name.to_string(),
                    version.number.to_string(),
                    version.published.to_string(),
                    image.architecture.to_string(),
                    image.size.to_string(),
                    image.media_type.clone(),
                    image.fingerprint.to_string(),
                    version.created_at.clone(),
                ]
            })
        });
        std::iter::once(header.map(String::from).to_vec()).chain(rows).collect()
    }
}

#[cfg(test)]
mod tests {
    use aar_model::Digest;
    use serde_json::json;

    use super::*;
    use crate::exit::Exit;

    fn image(architecture: &str, size: u64) -> serde_json::Value {
        let fingerprint = Digest::of(architecture.as_bytes());
        json!({"architecture": architecture, "fingerprint": fingerprint, "size": size, "media_type": "application/zip"})
    }

    fn application() -> wire::Application {
        let version = |number: i64, published: bool, images: &[serde_json::Value]| {
            json!({
                "number": number, "status": "active", "status_code": 3, "published": published,
                "created_at": 1_700_000_000 + number, "images": images, "boot_activity": ".Main",
            })
        };
        serde_json::from_value(json!({
            "id": "demo", "name": "demo", "status": "ready", "status_code": 2, "published": true,
            "created_at": 1_700_000_000, "updated_at": 1_700_009_000, "architectures": ["x86_64", "aarch64"],
            "instance_type": "a4.3", "tags": ["games", "beta"], "new-field": {"kept": true},
            "versions": [
                version(0, true, &[image("x86_64", 1 << 20)]),
                version(1, true, &[image("x86_64", 3 << 20), image("aarch64", 5 << 19)]),
                version(2, false, &[image("x86_64", 200_000_000)]),
            ],
        }))
        .unwrap()
    }

    #[test]
    fn applications_are_listed_in_every_format() {
        let application = application();
        insta::assert_snapshot!(output::all_formats(&Applications(vec![ApplicationView::new(&application)])));
    }

    #[test]
    fn an_application_is_shown_in_every_format() {
        insta::assert_snapshot!(output::all_formats(&ApplicationView::new(&application())));
    }

    #[test]
    fn a_pull_takes_the_highest_published_version() {
        let mut application = application();
        application.versions[1].images.pop();
        let (version, image) = choose(&application, None, None).unwrap();
        assert_eq!((version.number(), image.size), (1, 3 << 20));
        let (version, _) = choose(&application, Some("2".parse().unwrap()), None).unwrap();
        assert_eq!(version.number(), 2);
    }

    #[test]
    fn a_pull_that_could_mean_several_images_names_them() {
        let application = application();
        let choose = |version: Option<&str>, architecture: Option<&str>| {
            let parse = |text: &str| text.parse().unwrap();
            choose(&application, version.map(parse), architecture.map(|text| text.parse().unwrap()))
                .map(|(version, image)| (version.number(), image.architecture.as_str()))
        };
        assert_eq!(choose(None, Some("arm64")).unwrap(), (1, "aarch64"));
        let error = choose(None, None).unwrap_err();
        assert_eq!(error.exit(), Exit::Usage);
        assert_eq!(
            error.to_string(),
            "demo version 1 has several images: give --architecture with one of x86_64, aarch64"
        );
        let error = choose(Some("2"), Some("aarch64")).unwrap_err();
        assert_eq!(error.exit(), Exit::NotFound);
        assert_eq!(error.to_string(), "demo version 2 has no image for aarch64; there are: x86_64");
        let error = choose(Some("7"), None).unwrap_err();
        assert_eq!(error.to_string(), "demo has no version 7; there are: 0, 1, 2");
    }
}
