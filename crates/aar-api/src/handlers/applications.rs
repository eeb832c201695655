//! Applications and their versions: reading, changing, deleting.

use std::sync::Arc;

use aar_model::wire::{API_PREFIX, Application, Operation, Sync, VersionPatch};
use aar_model::{AppName, Architecture, Version};
use aar_store::Registry;
use hyper::header::{HeaderValue, IF_MATCH};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::dispatch::{carry_through, parse_name};
use crate::answer::{self, Answer};
use crate::api::{Api, Call};
use crate::cache::Rendered;
use crate::conditional::match_hits;
use crate::error::ApiError;
use crate::request::{Query, RequestBody, standard};

/// Answers from the cache of answers next time: what `make` renders holds until the registry changes.
pub(super) fn render(
    api: &Api,
    call: &Call<'_>,
    make: impl FnOnce() -> Result<Rendered, ApiError>,
) -> Result<Answer, ApiError> {
    // Read first: what is rendered may be newer than that, but never older.
    let generation = api.parts.registry.generation();
    let rendered = make()?;
    if let Some(target) = call.head.uri.path_and_query() {
        api.answers.insert(generation, call.access.viewer(), target.as_str(), rendered.clone());
    }
    Ok(answer::rendered(rendered, &call.head.headers))
}

pub(super) fn list(api: &Api, call: &Call<'_>) -> Result<Answer, ApiError> {
    let query = &call.query;
    let filter = Filter::read(query)?;
    let recursion = query.flag("recursion")?.unwrap_or(false);
    let offset: usize = query.read("offset")?.unwrap_or(0);
    let limit = match query.read::<i64>("limit")?.unwrap_or(-1) {
        -1 => usize::MAX,
        limit => usize::try_from(limit)
            .map_err(|_| ApiError::bad_request("the parameter `limit` is a number, or -1 for all"))?,
    };
    render(api, call, || {
        let mut total = 0;
        let mut page = Vec::new();
        api.parts.registry.applications(call.access.viewer(), &mut |application| {
            if filter.matches(&application) {
                if total >= offset && page.len() < limit {
                    page.push(application);
                }
                total += 1;
            }
        })?;
        Ok(if recursion {
            answer::render(&Sync::collection(page, total), call.route)
        } else {
            let urls: Vec<_> = page.iter().map(|a| format!("{API_PREFIX}/applications/{}", a.name)).collect();
            answer::render(&Sync::collection(urls, total), call.route)
        })
    })
}

pub(super) fn show(api: &Api, call: &Call<'_>, name: &AppName) -> Result<Answer, ApiError> {
    render(api, call, || {
        let application = api.parts.registry.application(name, call.access.viewer())?;
        let etag = answer::quoted(&Registry::tag(&application));
        Ok(Rendered { etag, ..answer::render(&Sync::new(application), call.route) })
    })
}

pub(super) fn manifest(
    api: &Api,
    call: &Call<'_>,
    name: &AppName,
    version: Version,
) -> Result<Answer, ApiError> {
    render(api, call, || {
        let manifest = api.parts.registry.version(name, version, call.access.viewer())?;
        let rendered = answer::render(&Sync::new(manifest), call.route);
        let sha256 = aar_model::Digest::of(&rendered.body).to_string();
        Ok(Rendered { manifest_sha256: HeaderValue::try_from(sha256).ok(), ..rendered })
    })
}

pub(super) async fn change(
    api: Arc<Api>,
    call: &Call<'_>,
    name: AppName,
    body: RequestBody,
) -> Result<Answer, ApiError> {
    let if_match = standard(&call.head.headers, &IF_MATCH)?.cloned();
    let changes: Map<String, Value> = body.json().await?;
    let registry = Arc::clone(&api.parts.registry);
    operate(api, "Changing application", name.clone(), async move {
        let accepts =
            if_match.map(|tags| move |tag: &str| match_hits(tags.as_bytes(), answer::quoted(tag).as_bytes()));
        let precondition =
            accepts.as_ref().map(|accepts| accepts as &(dyn Fn(&str) -> bool + Send + std::marker::Sync));
        registry.change_application(&name, &changes, precondition).await?;
        Ok(Map::new())
    })
    .await
}

pub(super) async fn change_version(
    api: Arc<Api>,
    name: AppName,
    version: Version,
    body: RequestBody,
) -> Result<Answer, ApiError> {
    let patch: VersionPatch = body.json().await?;
    let registry = Arc::clone(&api.parts.registry);
    let description = match patch.published {
        Some(false) => "Withdrawing application version",
        _ => "Publishing application version",
    };
    operate(api, description, name.clone(), async move {
        match patch.published {
            Some(published) => registry.set_published(&name, version, published).await?,
            None => drop(registry.version(&name, version, aar_store::Viewer::Publisher)?),
        }
        Ok(Map::new())
    })
    .await
}

/// What AMS's clients send with a DELETE. Nothing is kept back here, so there is nothing to force.
#[derive(Default, Deserialize)]
struct Deletion {
    #[serde(default)]
    #[allow(dead_code)] // read so that its type is checked
    force: bool,
    #[serde(default)]
    ids: Vec<String>,
}

pub(super) async fn delete(api: Arc<Api>, name: AppName, body: RequestBody) -> Result<Answer, ApiError> {
    body.json::<Deletion>().await?;
    let registry = Arc::clone(&api.parts.registry);
    operate(api, "Deleting application", name.clone(), async move {
        registry.delete_application(&name).await?;
        Ok(Map::new())
    })
    .await
}

/// Deletes all or, where one of them is not there, none.
pub(super) async fn delete_several(api: Arc<Api>, body: RequestBody) -> Result<Answer, ApiError> {
    let deletion: Deletion = body.json().await?;
    let names = deletion.ids.iter().map(|id| parse_name(id)).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = names.first().cloned() else {
        return Err(ApiError::bad_request("name the applications to delete: {\"ids\": [\"<name>\", …]}"));
    };
    let registry = Arc::clone(&api.parts.registry);
    operate(api, "Deleting applications", first, async move {
        for name in &names {
            registry.application(name, aar_store::Viewer::Publisher)?;
        }
        for name in &names {
            registry.delete_application(name).await?;
        }
        Ok(Map::new())
    })
    .await
}

pub(super) async fn delete_version(
    api: Arc<Api>,
    call: &Call<'_>,
    name: AppName,
    version: Version,
    body: RequestBody,
) -> Result<Answer, ApiError> {
    let architecture = call.query.read("architecture")?;
    body.json::<Deletion>().await?;
    let registry = Arc::clone(&api.parts.registry);
    operate(api, "Deleting application version", name.clone(), async move {
        registry.delete_version(&name, version, architecture).await?;
        Ok(Map::new())
    })
    .await
}

/// Carries out a change of an application as an operation that others can watch, and answers that.
pub(super) async fn operate(
    api: Arc<Api>,
    description: &'static str,
    name: AppName,
    work: impl Future<Output = Result<Map<String, Value>, ApiError>> + Send + 'static,
) -> Result<Answer, ApiError> {
    carry_through(async move { watched(&api, description, &name, work).await }).await.map(answer::operation)
}

/// Does a piece of work as an operation that others can watch.
pub(super) async fn watched(
    api: &Api,
    description: &'static str,
    name: &AppName,
    work: impl Future<Output = Result<Map<String, Value>, ApiError>>,
) -> Result<Operation, ApiError> {
    let running = api.operations.begin(description, name.as_str());
    match work.await {
        Ok(metadata) => Ok(running.succeed(metadata)),
        Err(error) => {
            running.fail(&error.message);
            Err(error)
        }
    }
}

type Text = fn(&Application) -> &str;
type Flag = fn(&Application) -> bool;
type List = fn(&Application) -> &[String];

/// Which applications are listed: those that fit every condition.
#[derive(Default)]
struct Filter {
    /// A text that has to be equal; `*` in it stands for anything.
    texts: Vec<(Text, String)>,
    flags: Vec<(Flag, bool)>,
    /// Names that all have to be in a list.
    lists: Vec<(List, Vec<String>)>,
    architecture: Option<Architecture>,
}

impl Filter {
    fn read(query: &Query<'_>) -> Result<Self, ApiError> {
        let texts: [(&str, Text); 7] = [
            ("id", |a| a.id.as_str()),
            ("name", |a| a.name.as_str()),
            ("status", |a| &a.status),
            ("instance_type", |a| &a.fields.instance_type),
            ("boot_package", |a| &a.fields.boot_package),
            ("abi", |a| &a.fields.abi),
            ("parent_image_variant", |a| &a.fields.parent_image_variant),
        ];
        let flags: [(&str, Flag); 4] = [
            ("published", |a| a.published),
            ("immutable", |a| a.fields.immutable),
            ("inhibit_auto_updates", |a| a.fields.inhibit_auto_updates),
            ("vm", |a| a.fields.vm),
        ];
        let lists: [(&str, List); 2] = [("addons", |a| &a.fields.addons), ("tags", |a| &a.fields.tags)];
        let mut filter = Self { architecture: query.read("architecture")?, ..Self::default() };
        for (name, get) in texts {
            filter.texts.extend(query.get(name).map(|wanted| (get, wanted.to_owned())));
        }
        for (name, get) in flags {
            filter.flags.extend(query.flag(name)?.map(|wanted| (get, wanted)));
        }
        for (name, get) in lists {
            let wanted =
                query.get(name).map(|names| names.split(',').map(|name| name.trim().to_owned()).collect());
            filter.lists.extend(wanted.map(|wanted| (get, wanted)));
        }
        Ok(filter)
    }

    fn matches(&self, application: &Application) -> bool {
        self.texts.iter().all(|(get, wanted)| matches_pattern(get(application), wanted))
            && self.flags.iter().all(|(get, wanted)| get(application) == *wanted)
            && self
                .lists
                .iter()
                .all(|(get, wanted)| wanted.iter().all(|name| get(application).contains(name)))
            && self.architecture.is_none_or(|wanted| application.architectures.contains(&wanted))
    }
}

/// Whether `text` is `pattern`, in which every `*` stands for any characters.
fn matches_pattern(text: &str, pattern: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return text == pattern };
    let Some(mut text) = text.strip_prefix(head) else { return false };
    let mut parts: Vec<_> = rest.split('*').collect();
    let tail = parts.pop().unwrap_or_default();
    for part in parts {
        match text.split_once(part) {
            Some((_, after)) => text = after,
            None => return false,
        }
    }
    text.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::matches_pattern;

    #[test]
    fn a_star_stands_for_anything() {
        for (text, pattern, fits) in [
            ("game", "game", true),
            ("game", "gam", false),
            ("game", "g*", true),
            ("game", "*e", true),
            ("game", "*", true),
            ("game", "g*m*", true),
            ("game", "g*a*x*", false),
            ("game", "ga*ame", false),
            ("abab", "*ab", true),
            ("", "*", true),
        ] {
            assert_eq!(matches_pattern(text, pattern), fits, "{text} {pattern}");
        }
    }
}
