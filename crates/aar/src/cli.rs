//! What is typed: commands, arguments, options.
#![allow(clippy::doc_markdown)] // what is documented here is shown on terminals

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use aar_model::wire::PushRequest;
use aar_model::{AppName, Architecture, Fingerprint, FingerprintPrefix, Version};
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use jiff::SignedDuration;
use url::Url;

/// Nobody is asked more often.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);
/// Slower, and a connection would look dead. Bytes a second.
const LOWEST_RATE: u64 = 16 * 1024;

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
    /// Keep a directory and a registry in step
    ///
    /// In the mode pull, the directory becomes a mirror of what the registry has published: what is new is there at once,
    /// whole and verified, and what the registry removes or withdraws goes. In the mode push, what is new in the directory
    /// goes to the registry. Both go on until they are stopped, and may be interrupted at any time.
    Sync(Sync),
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

#[derive(Debug, Args)]
pub(crate) struct Sync {
    /// The directory: NAME/VERSION/ARCHITECTURE/ with one image in each; with --ams, where notes of AMS are kept
    #[arg(env = "AAR_SYNC_DIR", hide_env_values = true, value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,
    /// Which way
    #[arg(long, value_enum, env = "AAR_SYNC_MODE", hide_env_values = true, default_value_t = Mode::Pull)]
    pub(crate) mode: Mode,
    /// Keep an AMS in step instead of a directory: https://HOST:PORT, or unix:// with the path of its socket
    ///
    /// Pulled are packages, one architecture of them [default: this machine's]; pushed are the images that AMS exports. It
    /// is shown the certificate of --cert, as the registry.
    #[arg(long, env = "AAR_SYNC_AMS", hide_env_values = true)]
    #[arg(value_name = "URL", value_parser = ams_url, value_hint = ValueHint::Url)]
    pub(crate) ams: Option<Url>,
    /// SHA-256 of AMS's certificate, with or without colons
    #[arg(long, env = "AAR_SYNC_AMS_FINGERPRINT", hide_env_values = true, requires = "ams")]
    #[arg(value_name = "HEX", value_parser = fingerprint)]
    pub(crate) ams_fingerprint: Option<Fingerprint>,
    /// Only applications that have one of these tags
    #[arg(long, env = "AAR_SYNC_FILTER", hide_env_values = true)]
    #[arg(value_name = "TAG,…", value_delimiter = ',')]
    pub(crate) filter: Vec<String>,
    /// Only images for these architectures: x86_64, aarch64
    #[arg(short, long, env = "AAR_SYNC_ARCHITECTURE", hide_env_values = true)]
    #[arg(value_name = "ARCHITECTURE,…", value_delimiter = ',')]
    pub(crate) architecture: Vec<Architecture>,
    /// How long a change may go unnoticed that nobody tells of, such as 10m
    #[arg(long, env = "AAR_SYNC_INTERVAL", hide_env_values = true)]
    #[arg(value_name = "TIME", default_value = "1h", value_parser = interval)]
    pub(crate) interval: Duration,
    /// How many bytes a second may be moved, such as 10M [default: as many as possible]
    #[arg(long, env = "AAR_SYNC_LIMIT_RATE", hide_env_values = true, value_name = "RATE", value_parser = rate)]
    pub(crate) limit_rate: Option<NonZeroU64>,
    /// How many images may be on their way at once
    #[arg(long, env = "AAR_SYNC_PARALLEL", hide_env_values = true, value_name = "N", default_value = "4")]
    pub(crate) parallel: NonZeroUsize,
    /// What to run with `sh -c` for each image that came or went, again until it succeeds; pull only
    ///
    /// Its environment has AAR_ACTION (added, removed), AAR_NAME, AAR_VERSION, AAR_ARCHITECTURE, AAR_FINGERPRINT and, if
    /// the image came, AAR_PATH.
    #[arg(long, env = "AAR_SYNC_ON_CHANGE", hide_env_values = true, value_name = "COMMAND")]
    #[arg(value_parser = NonEmptyStringValueParser::new(), value_hint = ValueHint::CommandString)]
    pub(crate) on_change: Option<String>,
    /// End when both are in step, or it is clear what keeps them from it
    #[arg(long)]
    pub(crate) once: bool,
    /// Only show what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// A file with what the registry's charm tells a relation, JSON or YAML, in place of --registry and --fingerprint
    #[arg(long, env = "AAR_SYNC_FROM_RELATION", hide_env_values = true)]
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) from_relation: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) registry: Registry,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// From the registry
    Pull,
    /// To the registry
    Push,
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
        _ => Err("it is written https://HOST:PORT".into()),
    }
}

fn ams_url(text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if matches!((url.scheme(), url.has_host()), ("https", true) | ("unix", false)) => Ok(url),
        _ => Err("it is written https://HOST:PORT or unix:///PATH".into()),
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

/// Takes what people write: `90s`, `1h 30m`.
fn interval(text: &str) -> Result<Duration, String> {
    let time = text.parse::<SignedDuration>().ok().and_then(|time| Duration::try_from(time).ok());
    time.filter(|time| *time >= SHORTEST_INTERVAL)
        .ok_or_else(|| "it is written like 90s, 10m or 1h, and at least 1s".into())
}

/// Bytes a second: a number with K, M or G for powers of 1024, as curl has it.
fn rate(text: &str) -> Result<NonZeroU64, String> {
    let (number, unit) = match text.char_indices().next_back() {
        Some((end, 'k' | 'K')) => (&text[..end], 10),
        Some((end, 'm' | 'M')) => (&text[..end], 20),
        Some((end, 'g' | 'G')) => (&text[..end], 30),
        _ => (text, 0),
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << unit));
    bytes
        .filter(|bytes| *bytes >= LOWEST_RATE)
        .and_then(NonZeroU64::new)
        .ok_or_else(|| "it is written like 500K, 10M or 1G, and at least 16K".into())
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
    fn times_and_rates_are_taken_as_people_write_them() {
        assert_eq!(interval("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(interval("1m 30s"), Ok(Duration::from_secs(90)));
        for wrong in ["", "1", "0s", "-1h", "100ms", "soon"] {
            assert!(interval(wrong).is_err(), "{wrong}");
        }
        for (text, bytes) in [("16384", 16_384), ("16K", 16_384), ("10m", 10 << 20), ("3G", 3 << 30)] {
            assert_eq!(rate(text).map(NonZeroU64::get), Ok(bytes), "{text}");
        }
        for wrong in ["", "K", "1", "1K", "-10M", "10MB", "99999999999999G", "1€"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn metadata_with_an_unknown_key_is_refused() {
        let error = push_request(r#"{"aplication":{}}"#).unwrap_err();
        assert_eq!(error, "the keys are `application` and `version`, not `aplication`");
        let request = push_request(r#"{"version":{"boot_activity":".Main"}}"#).unwrap();
        assert_eq!(request.version["boot_activity"], ".Main");
    }
}
