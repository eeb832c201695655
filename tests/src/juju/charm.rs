//! A charm as Juju reads it: from a directory or a `.charm` archive, checked, and with the modes that Juju leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::JujuVersion;
use super::actions::check_action;

/// A charm's files, as they were when it was uploaded, and what its YAML says.
pub(super) struct Charm {
    pub(super) name: String,
    pub(super) endpoints: BTreeMap<String, Endpoint>,
    pub(super) extra_bindings: BTreeSet<String>,
    pub(super) storage: BTreeMap<String, Map<String, Value>>,
    /// By name, the name that the file is to have.
    pub(super) resources: BTreeMap<String, String>,
    pub(super) options: BTreeMap<String, ConfigOption>,
    /// By name, the JSON schema of the parameters.
    pub(super) actions: BTreeMap<String, Value>,
    files: TempDir,
}

/// Where relations of a charm begin.
#[derive(Clone)]
pub(super) struct Endpoint {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) interface: String,
    pub(super) limit: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Provides,
    Requires,
    Peers,
}

impl Role {
    pub(super) fn counterpart(self) -> Self {
        match self {
            Self::Provides => Self::Requires,
            Self::Requires => Self::Provides,
            Self::Peers => Self::Peers,
        }
    }
}

/// An entry of `config.yaml`.
pub(super) struct ConfigOption {
    kind: String,
    pub(super) default: Value,
}

impl Charm {
    /// Reads a charm from a directory or, where `path` is a file, from an archive.
    pub(super) fn read(path: &Path, version: JujuVersion) -> Result<Self, String> {
        let files = TempDir::with_prefix("charm").map_err(|error| error.to_string())?;
        if path.is_dir() {
            if version == JujuVersion::V4_0 {
                return Err(format!("deploying from a directory is not supported: {}", path.display()));
            }
            pack_directory(path, files.path())?;
        } else {
            pack_archive(path, files.path())?;
        }
        let charm = Self::parse(files, version)?;
        if charm.files.path().join("hooks").is_dir() || has_dispatch(charm.files.path()) {
            Ok(charm)
        } else {
            Err("invalid charm: the charm has neither hooks nor dispatch".into())
        }
    }

    fn parse(files: TempDir, version: JujuVersion) -> Result<Self, String> {
        let root = files.path();
        let metadata =
            yaml_file(&root.join("metadata.yaml"))?.ok_or("metadata.yaml not found in the charm")?;
        let text = |key: &str| {
            let value = metadata.get(key).and_then(Value::as_str);
            value.map(str::to_owned).ok_or_else(|| format!("metadata: {key}: expected string, got nothing"))
        };
        let name = text("name")?;
        text("summary")?;
        text("description")?;
        if !valid_name(&name) {
            return Err(format!("metadata: invalid charm name {name:?}"));
        }
        for (new, old) in ["assumes", "containers", "charm-user"]
            .iter()
            .flat_map(|new| ["series", "deployment", "min-juju-version"].map(|old| (*new, old)))
        {
            if metadata.get(new).is_some() && metadata.get(old).is_some() {
                return Err(format!("metadata: {old} cannot be used together with {new}"));
            }
        }
        check_manifest(root, version, metadata.get("assumes").is_some())?;
        Ok(Self {
            endpoints: endpoints(&metadata, &name)?,
            extra_bindings: keys(&metadata, "extra-bindings"),
            storage: sections(&metadata, "storage"),
            resources: resources(&metadata)?,
            options: options(yaml_file(&root.join("config.yaml"))?)?,
            actions: actions(yaml_file(&root.join("actions.yaml"))?.as_ref(), version)?,
            name,
            files,
        })
    }

    /// Puts the files into the charm directory of a unit. Of what was there, files of the charm before go and what the
    /// charm itself has written stays.
    pub(super) fn install(&self, before: Option<&Self>, directory: &Path) {
        if let Some(before) = before {
            for file in before.paths() {
                if self.files.path().join(&file).symlink_metadata().is_err() {
                    let _ = fs::remove_file(directory.join(file));
                }
            }
        }
        for file in self.paths() {
            let (from, to) = (self.files.path().join(&file), directory.join(&file));
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            let _ = fs::remove_file(&to);
            if from.is_symlink() {
                symlink(fs::read_link(&from).unwrap(), to).unwrap();
            } else {
                fs::copy(from, to).unwrap();
            }
        }
    }

    /// All files and links, relative.
    fn paths(&self) -> Vec<PathBuf> {
        walk(self.files.path())
    }

    /// A value of the command line for an option.
    pub(super) fn parse_option(&self, name: &str, text: &str) -> Result<Value, String> {
        let option = self.options.get(name).ok_or_else(|| format!("unknown option {name:?}"))?;
        let value = match option.kind.as_str() {
            "int" => text.parse::<i64>().ok().map(Value::from),
            "float" => text.parse::<f64>().ok().map(Value::from),
            "boolean" => match text {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true.into()),
                "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false.into()),
                _ => None,
            },
            _ => Some(text.into()),
        };
        value.ok_or_else(|| format!("option {name:?} expected {}, got {text:?}", option.kind))
    }

    /// A value of a settings file for an option.
    pub(super) fn check_option(&self, name: &str, value: Value) -> Result<Value, String> {
        let option = self.options.get(name).ok_or_else(|| format!("unknown option {name:?}"))?;
        if fits(&option.kind, &value) {
            Ok(value)
        } else {
            Err(format!("option {name:?} expected {}, got {value}", option.kind))
        }
    }
}

fn fits(kind: &str, value: &Value) -> bool {
    match kind {
        "int" => value.is_i64(),
        "float" => value.is_number(),
        "boolean" => value.is_boolean(),
        _ => value.is_string(),
    }
}

/// Reads YAML as JSON's types; nothing where there is no such file.
pub(super) fn yaml_file(path: &Path) -> Result<Option<Value>, String> {
    match fs::read_to_string(path) {
        Ok(text) => {
            yaml(&text).map(Some).map_err(|error| format!("cannot parse {}: {error}", path.display()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
    }
}

pub(super) fn yaml(text: &str) -> Result<Value, String> {
    serde_yaml::from_str(text).map_err(|error| error.to_string())
}

fn check_manifest(root: &Path, version: JujuVersion, needed: bool) -> Result<(), String> {
    let Some(manifest) = yaml_file(&root.join("manifest.yaml"))? else {
        return if version == JujuVersion::V4_0 || needed {
            Err("charm manifest not found".into())
        } else {
            Ok(())
        };
    };
    let bases = manifest.get("bases").and_then(Value::as_array).ok_or("manifest: bases: expected list")?;
    if bases.is_empty() {
        return Err("charm manifest not valid".into());
    }
    for base in bases {
        let (name, channel) = (base.get("name"), base.get("channel").and_then(Value::as_str));
        let release = channel.and_then(|channel| channel.split('/').next());
        if name.and_then(Value::as_str) != Some("ubuntu")
            || !release.is_some_and(|release| ["20.04", "22.04", "24.04", "26.04"].contains(&release))
        {
            return Err(format!(
                "manifest: base {base} not valid: Juju runs on ubuntu 20.04, 22.04, 24.04 and 26.04"
            ));
        }
        let architectures = base.get("architectures").and_then(Value::as_array);
        for architecture in architectures.into_iter().flatten() {
            if !["amd64", "arm64", "ppc64el", "s390x", "riscv64"].iter().any(|known| architecture == known) {
                return Err(format!("manifest: unsupported architecture {architecture}"));
            }
        }
    }
    Ok(())
}

fn endpoints(metadata: &Value, charm: &str) -> Result<BTreeMap<String, Endpoint>, String> {
    let mut found = BTreeMap::new();
    for (section, role) in
        [("provides", Role::Provides), ("requires", Role::Requires), ("peers", Role::Peers)]
    {
        for (name, value) in metadata.get(section).and_then(Value::as_object).into_iter().flatten() {
            if role == Role::Provides && reserved(name) {
                return Err(format!("charm {charm:?} using a reserved relation name: {name:?}"));
            }
            let interface = value.as_str().or_else(|| value.get("interface").and_then(Value::as_str));
            let interface =
                interface.ok_or_else(|| format!("metadata: {section}.{name}: no interface"))?.to_owned();
            if role == Role::Provides && reserved(&interface) {
                return Err(format!(
                    "charm {charm:?} relation {name:?} using a reserved interface: {interface:?}"
                ));
            }
            let limit =
                value.get("limit").and_then(Value::as_u64).and_then(|limit| usize::try_from(limit).ok());
            if found.insert(name.clone(), Endpoint { name: name.clone(), role, interface, limit }).is_some() {
                return Err(format!("charm {charm:?} using a duplicated relation name: {name:?}"));
            }
        }
    }
    let (name, role) = ("juju-info".to_owned(), Role::Provides);
    found.insert(name.clone(), Endpoint { name: name.clone(), role, interface: name, limit: None });
    Ok(found)
}

fn resources(metadata: &Value) -> Result<BTreeMap<String, String>, String> {
    let mut found = BTreeMap::new();
    for (name, value) in sections(metadata, "resources") {
        let file = value.get("filename").and_then(Value::as_str).unwrap_or_default();
        match value.get("type").and_then(Value::as_str) {
            Some("file") if !file.is_empty() && !file.contains('/') => found.insert(name, file.to_owned()),
            Some("file") => {
                return Err(format!("resource {name:?}: filename must be set and cannot contain \"/\""));
            }
            Some("oci-image") => None,
            other => return Err(format!("resource {name:?}: unsupported type {other:?}")),
        };
    }
    Ok(found)
}

fn options(config: Option<Value>) -> Result<BTreeMap<String, ConfigOption>, String> {
    let Some(config) = config else { return Ok(BTreeMap::new()) };
    let options =
        config.get("options").and_then(Value::as_object).ok_or("invalid config: empty configuration")?;
    let mut found = BTreeMap::new();
    for (name, value) in options {
        let kind = value.get("type").and_then(Value::as_str).unwrap_or("string").to_owned();
        if !["string", "int", "float", "boolean", "secret"].contains(&kind.as_str()) {
            return Err(format!("invalid config: option {name:?} has unknown type {kind:?}"));
        }
        let default = value.get("default").cloned().unwrap_or_default();
        if !default.is_null() && !fits(&kind, &default) {
            return Err(format!("invalid config default: option {name:?} expected {kind}, got {default}"));
        }
        found.insert(name.clone(), ConfigOption { kind, default });
    }
    Ok(found)
}

fn actions(actions: Option<&Value>, version: JujuVersion) -> Result<BTreeMap<String, Value>, String> {
    let mut found = BTreeMap::new();
    for (name, value) in actions.and_then(Value::as_object).into_iter().flatten() {
        if !valid_name(name) || reserved(name) {
            return Err(format!("bad action name {name}"));
        }
        let mut schema = value.as_object().cloned().unwrap_or_default();
        let parameters = schema.remove("params").unwrap_or_else(|| json!({}));
        for other in ["parallel", "execution-group"] {
            schema.remove(other);
        }
        schema.insert("title".into(), name.as_str().into());
        schema.insert("type".into(), "object".into());
        schema.insert("properties".into(), parameters);
        if version == JujuVersion::V4_0 {
            schema.entry("additionalProperties").or_insert(false.into());
        }
        let schema = Value::Object(schema);
        check_action(name, &schema)?;
        found.insert(name.clone(), schema);
    }
    Ok(found)
}

fn keys(metadata: &Value, section: &str) -> BTreeSet<String> {
    metadata
        .get(section)
        .and_then(Value::as_object)
        .map(|map| map.keys().cloned().collect())
        .unwrap_or_default()
}

fn sections(metadata: &Value, section: &str) -> BTreeMap<String, Map<String, Value>> {
    let map = metadata.get(section).and_then(Value::as_object).into_iter().flatten();
    map.map(|(name, value)| (name.clone(), value.as_object().cloned().unwrap_or_default())).collect()
}

fn reserved(name: &str) -> bool {
    name == "juju" || name.starts_with("juju-")
}

/// Whether `name` is `^[a-z][a-z0-9]*(-[a-z0-9]*[a-z][a-z0-9]*)*$`.
fn valid_name(name: &str) -> bool {
    let mut parts = name.split('-');
    let plain =
        |part: &str| part.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit());
    parts
        .next()
        .is_some_and(|first| plain(first) && first.starts_with(|first: char| first.is_ascii_lowercase()))
        && parts.all(|part| plain(part) && part.contains(|letter: char| letter.is_ascii_lowercase()))
}

fn has_dispatch(root: &Path) -> bool {
    walk(root).iter().any(|path| path.to_string_lossy().contains("dispatch"))
}

fn walk(root: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found
}

fn pack_directory(from: &Path, to: &Path) -> Result<(), String> {
    for path in walk(from) {
        let source = from.join(&path);
        let target = to.join(&path);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        if source.is_symlink() {
            link(&fs::read_link(&source).unwrap(), &path, &target)?;
        } else {
            let mode = fs::metadata(&source).unwrap().permissions().mode();
            write(&fs::read(&source).map_err(|error| error.to_string())?, mode, &target);
        }
    }
    Ok(())
}

fn pack_archive(from: &Path, to: &Path) -> Result<(), String> {
    let file =
        File::open(from).map_err(|error| format!("cannot open charm archive {}: {error}", from.display()))?;
    let mut archive =
        zip::ZipArchive::new(file).map_err(|error| format!("cannot read charm archive: {error}"))?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|error| error.to_string())?;
        let path =
            entry.enclosed_name().ok_or_else(|| format!("charm archive: bad path {:?}", entry.name()))?;
        if entry.is_dir() {
            continue;
        }
        let mut content = Vec::new();
        entry
            .read_to_end(&mut content)
            .map_err(|error| format!("charm archive: {}: {error}", path.display()))?;
        let target = to.join(&path);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        if entry.is_symlink() {
            link(Path::new(&String::from_utf8_lossy(&content).into_owned()), &path, &target)?;
        } else {
            write(&content, entry.unix_mode().unwrap_or(0o644), &target);
        }
    }
    Ok(())
}

fn write(content: &[u8], mode: u32, target: &Path) {
    fs::write(target, content).unwrap();
    let mode = if mode & 0o100 != 0 { 0o755 } else { 0o644 };
    fs::set_permissions(target, fs::Permissions::from_mode(mode)).unwrap();
}

fn link(destination: &Path, path: &Path, target: &Path) -> Result<(), String> {
    let mut depth = path.components().count() - 1;
    for part in destination.components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            _ => {
                return Err(format!(
                    "symlink {} links out of charm: {}",
                    path.display(),
                    destination.display()
                ));
            }
        }
    }
    symlink(destination, target).map_err(|error| error.to_string())
}
