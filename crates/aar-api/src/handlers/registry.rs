//! The registry as AMS lists one.

use aar_model::wire::Sync;

use crate::answer::{self, Answer};
use crate::api::{Api, Call};
use crate::error::ApiError;

pub(super) fn list(api: &Api, call: &Call<'_>) -> Result<Answer, ApiError> {
    super::applications::render(api, call, || {
        let listed = api.parts.registry.registry_applications()?;
        let total = listed.len();
        Ok(answer::render(&Sync::collection(listed, total), call.route))
    })
}
