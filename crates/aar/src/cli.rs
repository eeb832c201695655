//! What is typed: commands, arguments, options.
#![allow(clippy::doc_markdown)] // what is documented here is shown on terminals

use std::path::PathBuf;

use aar_model::wire::PushRequest;
use aar_model::{AppName, Architecture, Fingerprint, FingerprintPrefix, Version};
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use url::Url;

/// Works with an Anbox Application Registry
#[derive(Debug, Parser)]
#[command(name = "aar", version, after_help = crate::exit::help(), max_term_width = 100)]
pub(crate) struct Cli {
    /// Where the daemon of this machine keeps its files
    #[arg(long, global = true, env = "AAR_BASE_DIR", hide_env_values = true)]
    #[arg(value_name = "DIR", default_value = "/var/lib/aar", value_hint = ValueHint::DirPath)]
    pub(crate) base_dir: PathBuf,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Say which certificates the registry on this machine trusts
    ///
    /// Takes effect at once, also on connections that are open. Works too while the daemon is stopped.
    #[command(subcommand)]
    Trust(Trust),
    /// Push, pull and manage applications
    ///
    /// Talks to the registry that --registry names, or else AAR_REGISTRY or the configuration file of the client; where
    /// none of them does, to the daemon on this machine.
    Application(Application),
    /// Look after the registry on this machine
    #[command(subcommand)]
    Maintenance(Maintenance),
    /// Show which registry this is, how one stands to it and, of that on this machine, what it holds
    Status {
        #[command(flatten)]
        output: Output,
        #[command(flatten)]
        registry: Registry,
    },
    /// Print a script that completes commands in a shell
    Completion {
        /// The shell
        shell: Shell,
    },
    /// Write manual pages for all commands
    #[command(hide = true)]
    Man {
        /// Where to
        dir: PathBuf,
    },
}

/// How a registry on the network is reached.
#[derive(Debug, Args)]
#[command(next_help_heading = "Registry")]
#[allow(clippy::struct_field_names)] // fields are named as the options
pub(crate) struct Registry {
    /// The registry's address
    #[arg(long, global = true, env = "AAR_REGISTRY", hide_env_values = true)]
    #[arg(value_name = "URL", value_parser = registry_url, value_hint = ValueHint::Url)]
    pub(crate) registry: Option<Url>,
    /// SHA-256 of the registry's certificate, with or without colons
    #[arg(long, global = true, env = "AAR_FINGERPRINT", hide_env_values = true)]
    #[arg(value_name = "HEX", value_parser = fingerprint)]
    pub(crate) fingerprint: Option<Fingerprint>,
    /// The certificate to show, PEM
    #[arg(long, global = true, env = "AAR_CERT", hide_env_values = true)]
    #[arg(value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub(crate) cert: Option<PathBuf>,
    /// The key of that certificate, PEM
    #[arg(long, global = true, env = "AAR_KEY", hide_env_values = true)]
    #[arg(value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub(crate) key: Option<PathBuf>,
    /// A file that sets what the options above leave open [default: ~/.config/aar/config.yaml]
    #[arg(long, global = true, env = "AAR_CONFIG", hide_env_values = true)]
    #[arg(value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
}

/// How results are shown.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Output {
    /// How to show it
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Csv,
    Json,
    Yaml,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Trust {
    /// Trust a certificate
    ///
    /// Adding one that is trusted already changes nothing but, where it differs, the role that its source gives it.
    Add {
        /// The certificate: PEM, DER, or base64 of DER; the first where there are several [default: standard input]
        #[arg(value_hint = ValueHint::FilePath)]
        path: Option<PathBuf>,
        /// Let it write too, not only read
        #[arg(short, long)]
        publisher: bool,
        /// Print nothing on success
        #[arg(short, long)]
        quiet: bool,
        /// A name for people [default: the subject's common name]
        #[arg(long)]
        name: Option<String>,
        /// Who brings it; of several, the one counts that lets it do most
        #[arg(long, default_value = "operator")]
        source: String,
    },
    /// List the certificates that are trusted
    #[command(visible_alias = "ls")]
    List {
        #[command(flatten)]
        output: Output,
        /// List those that are revoked instead
        #[arg(long)]
        revoked: bool,
    },
    /// Trust a certificate no more; it may be added again
    Remove {
        /// Its fingerprint, or its first 8 or more hex digits
        #[arg(value_parser = fingerprint_prefix)]
        fingerprint: FingerprintPrefix,
        /// Only for the sake of who brought it, and keep what others bring
        #[arg(long)]
        source: Option<String>,
    },
    /// Trust a certificate never again
    Revoke {
        /// Its fingerprint, or its first 8 or more hex digits
        #[arg(value_parser = fingerprint_prefix)]
        fingerprint: FingerprintPrefix,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Application {
    #[command(flatten)]
    pub(crate) registry: Registry,
    #[command(subcommand)]
    pub(crate) command: ApplicationCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ApplicationCommand {
    /// Push an image
    Push {
        /// The application, which need not exist yet
        name: AppName,
        /// The version, a number
        version: Version,
        /// The image
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// What the image is built for: x86_64 or aarch64 [default: this machine's]
        #[arg(short, long)]
        architecture: Option<Architecture>,
        /// Fields of application and version: {"application":{…},"version":{…}}, or @FILE with that
        #[arg(long, value_name = "JSON", value_parser = push_request)]
        metadata: Option<PushRequest>,
        /// Do not show a new version to clients yet
        #[arg(long)]
        unpublished: bool,
    },
    /// Pull an image
    ///
    /// The image is received into a file `.part` beside its final name, compared with its fingerprint, and renamed. Where
    /// a pull was interrupted, the same command goes on with that file.
    Pull {
        /// The application
        name: AppName,
        /// The version [default: the highest that is published]
        version: Option<Version>,
        /// What the image is built for: x86_64 or aarch64 [default: the only one there is]
        #[arg(short, long)]
        architecture: Option<Architecture>,
        /// File or directory to write to [default: NAME_VERSION_ARCHITECTURE.zip or alike, here]
        #[arg(short, long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
        output: Option<PathBuf>,
    },
    /// List the applications
    #[command(visible_alias = "ls")]
    List {
        #[command(flatten)]
        output: Output,
        /// Only those whose FIELD is VALUE, such as tags=games; may be repeated
        #[arg(long, value_name = "FIELD=VALUE", value_parser = filter)]
        filter: Vec<(String, String)>,
    },
    /// Show an application with its versions and images
    Show {
        /// The application
        name: AppName,
        #[command(flatten)]
        output: Output,
    },
    /// Delete an application, a version, or an image
    Delete {
        /// The application
        name: AppName,
        /// The version [default: all]
        version: Option<Version>,
        /// Delete only the image for this architecture: x86_64 or aarch64
        #[arg(short, long, requires = "version")]
        architecture: Option<Architecture>,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
    /// Show a version to clients
    Publish {
        /// The application
        name: AppName,
        /// The version
        version: Version,
    },
    /// Hide a version from clients
    Unpublish {
        /// The application
        name: AppName,
        /// The version
        version: Version,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Maintenance {
    /// Rebuild the index from the records
    Rebuild {
        #[command(flatten)]
        output: Output,
    },
    /// Remove images that nothing refers to
    CollectGarbage {
        /// Only name them
        #[arg(long)]
        dry_run: bool,
        /// Spare those that are younger [default: 3600]
        #[arg(long, value_name = "SECONDS")]
        grace: Option<u64>,
        #[command(flatten)]
        output: Output,
    },
    /// Read all images and name every one that is damaged
    Verify {
        #[command(flatten)]
        output: Output,
    },
    /// Copy all images and records to another storage
    ///
    /// What is there already is passed over, so that the same command goes on after an interruption. The registry goes on
    /// meanwhile, and its own storage stays as it is. Run it once while the registry serves, and once more right before the
    /// daemon is restarted with the new configuration.
    CopyStorage {
        /// A configuration file of the daemon, of which only `storage:` counts; `-` is standard input
        #[arg(long, value_name = "CONFIG", value_hint = ValueHint::FilePath)]
        to: PathBuf,
        #[command(flatten)]
        output: Output,
    },
    /// Try whether the storage can be used, and say what is missing
    ///
    /// On a disk, files are written, read and removed. Of a bucket, each permission is tried, and one byte of an image is
    /// fetched as clients do it. Nothing of it is left behind.
    CheckStorage {
        #[command(flatten)]
        output: Output,
    },
}

fn registry_url(text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if url.scheme() == "https" => Ok(url),
        _ => Err("it is written https://HOST[:PORT]".into()),
    }
}

/// Takes also what openssl prints: upper case, with colons.
fn fingerprint(text: &str) -> Result<Fingerprint, String> {
    text.replace(':', "").parse().map_err(|e: aar_model::InvalidDigest| e.to_string())
}

fn fingerprint_prefix(text: &str) -> Result<FingerprintPrefix, String> {
    text.replace(':', "").parse().map_err(|e: aar_model::InvalidPrefix| e.to_string())
}

fn filter(text: &str) -> Result<(String, String), String> {
    let (field, value) = text.split_once('=').ok_or("it is written FIELD=VALUE")?;
    Ok((field.to_owned(), value.to_owned()))
}

fn push_request(text: &str) -> Result<PushRequest, String> {
    let json = match text.strip_prefix('@') {
        None => text.to_owned(),
        Some(path) => std::fs::read_to_string(path).map_err(|e| format!("cannot read `{path}`: {e}"))?,
    };
    let fields: serde_json::Map<_, _> = serde_json::from_str(&json).map_err(|e| e.to_string())?;
    // A misspelt key would be passed over in silence.
    if let Some(other) = fields.keys().find(|key| !matches!(key.as_str(), "application" | "version")) {
        return Err(format!("the keys are `application` and `version`, not `{other}`"));
    }
    serde_json::from_value(fields.into()).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_commands_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_its_help() {
        fn help(command: &mut clap::Command, all: &mut String) {
            let path = command.get_bin_name().unwrap_or("aar").to_owned();
            write!(all, "$ {path} --help\n{}\n", command.render_long_help()).unwrap();
            for command in command.get_subcommands_mut().filter(|command| command.get_name() != "help") {
                help(command, all);
            }
        }
        let mut command = Cli::command().term_width(100);
        command.build();
        let mut all = String::new();
        help(&mut command, &mut all);
        insta::assert_snapshot!(all);
    }

    #[test]
    fn a_fingerprint_is_taken_as_openssl_prints_it() {
        let printed = "AB:CD:".repeat(16);
        let expected = "abcd".repeat(16);
        assert_eq!(fingerprint(printed.trim_end_matches(':')).unwrap().to_string(), expected);
        assert_eq!(fingerprint_prefix("AB:CD:AB:CD").unwrap().to_string(), "abcdabcd");
        assert!(fingerprint_prefix("AB:CD").is_err());
    }

    #[test]
    fn metadata_with_an_unknown_key_is_refused() {
        let error = push_request(r#"{"aplication":{}}"#).unwrap_err();
        assert_eq!(error, "the keys are `application` and `version`, not `aplication`");
        let request = push_request(r#"{"version":{"boot_activity":".Main"}}"#).unwrap();
        assert_eq!(request.version["boot_activity"], ".Main");
    }
}
