//! As whom the registry asks: a key that is configured, or the role of the EC2 instance, which its metadata service tells.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use futures_util::TryStreamExt;
use rusoto_core::Region;
use rusoto_core::credential::{AwsCredentials, CredentialsError, ProvideAwsCredentials};
use rusoto_core::request::{DispatchSignedRequest, HttpClient};
use rusoto_core::signature::SignedRequest;
use serde::Deserialize;
use tokio::sync::Mutex as Turn;
use tokio::time::{Instant, timeout};
use tracing::warn;

use crate::options::{Credentials, SecretKey};

const METADATA: &str = "http://169.254.169.254";
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";
/// For one answer of the metadata service, which is on the same machine.
const LIMIT: Duration = Duration::from_secs(2);
/// How long before they expire credentials are fetched anew; EC2 has new ones ready 5 min before at the latest.
const AHEAD: Duration = Duration::from_secs(15 * 60);
/// After a fetch that failed, until the next one.
const PAUSE: Duration = Duration::from_secs(5);

/// Knows the credentials.
pub(crate) enum Provider {
    Keys { access_key: String, secret_access_key: SecretKey },
    Instance(Box<Instance>),
}

impl Provider {
    pub(crate) fn new(credentials: Credentials) -> Self {
        match credentials {
            Credentials::Keys { access_key, secret_access_key } => {
                Self::Keys { access_key, secret_access_key }
            }
            Credentials::InstanceProfile { metadata_endpoint } => Self::Instance(Box::new(Instance {
                http: HttpClient::from_connector(hyper_0_14::client::HttpConnector::new()),
                endpoint: metadata_endpoint.unwrap_or_else(|| METADATA.into()).trim_end_matches('/').into(),
                known: Mutex::default(),
                turn: Turn::default(),
            })),
        }
    }

    /// Fetches the credentials anew before they are used again, where that can be done: the store says they have expired.
    pub(crate) fn distrust(&self) {
        if let Self::Instance(instance) = self
            && let Some(Ok(known)) = &mut *instance.known()
        {
            known.renew_at = known.renew_at.min(Instant::now());
        }
    }
}

#[async_trait]
impl ProvideAwsCredentials for Provider {
    async fn credentials(&self) -> Result<AwsCredentials, CredentialsError> {
        match self {
            Self::Keys { access_key, secret_access_key } => {
                Ok(AwsCredentials::new(access_key, secret_access_key.expose(), None, None))
            }
            Self::Instance(instance) => instance.credentials().await,
        }
    }
}

/// The credentials' remaining life, where it is limited.
pub(crate) fn remaining(credentials: &AwsCredentials) -> Option<Duration> {
    let expiry = u64::try_from(credentials.expires_at().as_ref()?.timestamp()).unwrap_or_default();
    let expiry = UNIX_EPOCH + Duration::from_secs(expiry);
    Some(expiry.duration_since(SystemTime::now()).unwrap_or_default())
}

/// The role of the instance.
pub(crate) struct Instance {
    http: HttpClient<hyper_0_14::client::HttpConnector>,
    endpoint: String,
    known: Mutex<Option<Result<Known, Failed>>>,
    /// Had by whoever asks the metadata service.
    turn: Turn<()>,
}

struct Known {
    credentials: AwsCredentials,
    renew_at: Instant,
}

struct Failed {
    problem: CredentialsError,
    at: Instant,
}

impl Instance {
    fn known(&self) -> MutexGuard<'_, Option<Result<Known, Failed>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn credentials(&self) -> Result<AwsCredentials, CredentialsError> {
        if let Some(answer) = self.recent() {
            return answer;
        }
        let valid = self.valid();
        let _turn = match (valid, self.turn.try_lock()) {
            // Somebody fetches new ones; those that are known will do until then.
            (Some(credentials), Err(_)) => return Ok(credentials),
            (_, Ok(turn)) => turn,
            (None, Err(_)) => self.turn.lock().await,
        };
        if let Some(answer) = self.recent() {
            return answer;
        }
        match self.fetch().await {
            Ok(credentials) => {
                let left = remaining(&credentials).unwrap_or(AHEAD * 2);
                let renew_at = Instant::now() + left.saturating_sub(AHEAD).max(left / 2);
                *self.known() = Some(Ok(Known { credentials: credentials.clone(), renew_at }));
                Ok(credentials)
            }
            Err(problem) => {
                warn!(error = %problem.message, "cannot fetch the instance's credentials");
                let valid = self.valid();
                match (&mut *self.known(), valid) {
                    (Some(Ok(known)), Some(credentials)) => {
                        known.renew_at = Instant::now() + PAUSE;
                        Ok(credentials)
                    }
                    (known, _) => {
                        *known = Some(Err(Failed { problem: problem.clone(), at: Instant::now() }));
                        Err(problem)
                    }
                }
            }
        }
    }

    /// What is known well enough that nobody need be asked.
    fn recent(&self) -> Option<Result<AwsCredentials, CredentialsError>> {
        match self.known().as_ref()? {
            Ok(known) if Instant::now() < known.renew_at => Some(Ok(known.credentials.clone())),
            Err(failed) if failed.at.elapsed() < PAUSE => Some(Err(failed.problem.clone())),
            _ => None,
        }
    }

    /// What is known and has not expired.
    fn valid(&self) -> Option<AwsCredentials> {
        match self.known().as_ref()? {
            Ok(known) => {
                let left = remaining(&known.credentials);
                left.is_none_or(|left| left > LIMIT).then(|| known.credentials.clone())
            }
            Err(_) => None,
        }
    }

    async fn fetch(&self) -> Result<AwsCredentials, CredentialsError> {
        let ttl = ("x-aws-ec2-metadata-token-ttl-seconds", "60");
        let token = match self.ask("PUT", "/latest/api/token", Some(ttl)).await? {
            (200, token) => Some(token),
            // The service of old knows no tokens.
            (403..=405, _) => None,
            (status, _) => return Err(self.problem(&format!("it refuses a token with {status}"))),
        };
        let header = token.as_deref().map(|token| ("x-aws-ec2-metadata-token", token));
        let role = match self.ask("GET", ROLES, header).await? {
            (200, roles) => roles.lines().next().unwrap_or_default().trim().to_owned(),
            (404, _) => String::new(),
            (status, _) => return Err(self.problem(&format!("it answers {status} for the instance's role"))),
        };
        if role.is_empty() {
            return Err(self.problem("the instance has no instance profile"));
        }
        match self.ask("GET", &format!("{ROLES}{role}"), header).await? {
            (200, document) => parse(&document).map_err(|problem| self.problem(&problem)),
            (status, _) => Err(self.problem(&format!("it answers {status} for credentials of role {role}"))),
        }
    }

    /// Status and body of the service's answer.
    async fn ask(
        &self,
        method: &str,
        path: &str,
        header: Option<(&str, &str)>,
    ) -> Result<(u16, String), CredentialsError> {
        let region = Region::Custom { name: String::new(), endpoint: self.endpoint.clone() };
        let mut request = SignedRequest::new(method, "imds", &region, path);
        if let Some((name, value)) = header {
            request.add_header(name, value);
        }
        request.complement();
        let asked = async {
            let response = self.http.dispatch(request, None).await.map_err(|error| error.to_string())?;
            let body = response.body.try_fold(Vec::new(), async |mut body, chunk| {
                body.extend_from_slice(&chunk);
                Ok(body)
            });
            let body = body.await.map_err(|error| error.to_string())?;
            let body = String::from_utf8(body).map_err(|_| "its answer is no text".to_owned())?;
            Ok::<_, String>((response.status.as_u16(), body))
        };
        match timeout(LIMIT, asked).await {
            Ok(answer) => answer.map_err(|problem| self.problem(&problem)),
            Err(_) => Err(self.problem(&format!("it does not answer within {} s", LIMIT.as_secs()))),
        }
    }

    fn problem(&self, problem: &str) -> CredentialsError {
        CredentialsError::new(format!(
            "the EC2 metadata service at {}: {problem}; attach an instance profile to the instance, or configure \
             access-key and secret-access-key",
            self.endpoint
        ))
    }
}

/// The credentials in the service's document. What is wrong with it is told without it.
fn parse(document: &str) -> Result<AwsCredentials, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Outcome {
        code: Option<String>,
    }
    let garbled = |_| "it answers what are no credentials".to_owned();
    let outcome: Outcome = serde_json::from_str(document).map_err(garbled)?;
    match outcome.code.as_deref() {
        None | Some("Success") => serde_json::from_str(document).map_err(garbled),
        Some(code) => Err(format!("it has no credentials ({code})")),
    }
}
