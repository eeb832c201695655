//! Which permissions a request to S3 needs, and whether a policy gives them.
//!
//! From the "Actions, resources, and condition keys for Amazon S3" of AWS's service authorization reference, and the
//! permissions that the S3 API reference states for each operation.

use form_urlencoded::parse;
use percent_encoding::percent_decode_str;
use serde_json::Value;

/// One operation of S3, and what it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The operation's name, such as `UploadPart`.
    pub operation: String,
    /// The bucket, unless the operation has none.
    pub bucket: Option<String>,
    /// The key, decoded, unless the operation has none.
    pub key: Option<String>,
    /// All of these are needed.
    pub permissions: Vec<Permission>,
}

/// An action on a resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permission {
    /// Such as `s3:PutObject`.
    pub action: String,
    /// Such as `arn:aws:s3:::bucket/key`.
    pub resource: String,
}

impl Permission {
    fn new(action: &str, resource: String) -> Self {
        Self { action: format!("s3:{action}"), resource }
    }
}

impl Call {
    /// The operation that a request is. `headers` have their names in lower case. What is not known maps to a name and an
    /// action of its own, which no policy gives by accident.
    pub fn of(method: &str, host: &str, target: &str, headers: &[(String, String)]) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query: Vec<(String, String)> = parse(query.as_bytes()).into_owned().collect();
        let (bucket, key) = bucket_and_key(host, path);
        // Presigned requests carry some headers in their query.
        let header = |name: &str| {
            let given = headers.iter().chain(&query).find(|(given, _)| given.eq_ignore_ascii_case(name));
            given.map(|(_, value)| value.as_str())
        };
        let has = |name: &str| query.iter().any(|(given, _)| given == name);
        let subresource = query.iter().map(|(name, _)| name.as_str()).find(|name| is_subresource(name));

        let Some(bucket) = bucket else {
            let (operation, action) = match (method, subresource) {
                ("GET", None) => ("ListBuckets".to_owned(), "ListAllMyBuckets".to_owned()),
                _ => twice(other(method, "Service", subresource)),
            };
            let permissions = vec![Permission::new(&action, "*".into())];
            return Self { operation, bucket: None, key: None, permissions };
        };
        let arn = format!("arn:aws:s3:::{bucket}");
        let Some(key) = key else {
            let objects = format!("{arn}/*");
            let (operation, action, resource) = match (method, subresource) {
                ("GET", None) if has("list-type") => ("ListObjectsV2".into(), "ListBucket".into(), arn),
                ("GET", None) => ("ListObjects".into(), "ListBucket".into(), arn),
                ("HEAD", None) => ("HeadBucket".into(), "ListBucket".into(), arn),
                ("GET", Some("location")) => ("GetBucketLocation".into(), "GetBucketLocation".into(), arn),
                ("GET", Some("uploads")) => {
                    ("ListMultipartUploads".into(), "ListBucketMultipartUploads".into(), arn)
                }
                ("GET", Some("versions")) => ("ListObjectVersions".into(), "ListBucketVersions".into(), arn),
                ("PUT", None) => ("CreateBucket".into(), "CreateBucket".into(), arn),
                ("DELETE", None) => ("DeleteBucket".into(), "DeleteBucket".into(), arn),
                ("POST", Some("delete")) => ("DeleteObjects".into(), "DeleteObject".into(), objects),
                ("POST", None) => ("PostObject".into(), "PutObject".into(), objects),
                _ => {
                    let (operation, action) = twice(other(method, "Bucket", subresource));
                    (operation, action, arn)
                }
            };
            let permissions = vec![Permission::new(&action, resource)];
            return Self { operation, bucket: Some(bucket), key: None, permissions };
        };

        let copied = header("x-amz-copy-source");
        let (operation, action) = match (method, subresource) {
            ("GET", None) => ("GetObject".into(), "GetObject".into()),
            ("HEAD", None) => ("HeadObject".into(), "GetObject".into()),
            ("GET", Some("uploadId")) => ("ListParts".into(), "ListMultipartUploadParts".into()),
            ("PUT", None) if copied.is_some() => ("CopyObject".into(), "PutObject".into()),
            ("PUT", None) => ("PutObject".into(), "PutObject".into()),
            ("PUT", Some("uploadId")) if copied.is_some() => ("UploadPartCopy".into(), "PutObject".into()),
            ("PUT", Some("uploadId")) if has("partNumber") => ("UploadPart".into(), "PutObject".into()),
            ("POST", Some("uploads")) => ("CreateMultipartUpload".into(), "PutObject".into()),
            ("POST", Some("uploadId")) => ("CompleteMultipartUpload".into(), "PutObject".into()),
            ("DELETE", None) => ("DeleteObject".into(), "DeleteObject".into()),
            ("DELETE", Some("uploadId")) => ("AbortMultipartUpload".into(), "AbortMultipartUpload".into()),
            ("GET", Some("versionId")) => twice("GetObjectVersion".into()),
            ("HEAD", Some("versionId")) => ("HeadObject".into(), "GetObjectVersion".into()),
            ("DELETE", Some("versionId")) => twice("DeleteObjectVersion".into()),
            _ => twice(other(method, "Object", subresource)),
        };
        let resource = format!("{arn}/{key}");
        let mut permissions = vec![Permission::new(&action, resource.clone())];
        if let Some(source) = copied {
            let source = percent_decode_str(source.trim_start_matches('/')).decode_utf8_lossy().into_owned();
            permissions.push(Permission::new("GetObject", format!("arn:aws:s3:::{source}")));
        }
        // Headers that need more than storing an object does.
        let more = [
            ("x-amz-acl", "PutObjectAcl"),
            ("x-amz-grant-", "PutObjectAcl"),
            ("x-amz-tagging", "PutObjectTagging"),
            ("x-amz-object-lock-legal-hold", "PutObjectLegalHold"),
            ("x-amz-object-lock-mode", "PutObjectRetention"),
            ("x-amz-bypass-governance-retention", "BypassGovernanceRetention"),
        ];
        for (name, action) in more {
            let is_it = |given: &str| {
                let given = given.to_lowercase();
                if name.ends_with('-') { given.starts_with(name) } else { given == name }
            };
            let given = headers.iter().chain(&query).any(|(given, _)| is_it(given));
            if given {
                permissions.push(Permission::new(action, resource.clone()));
            }
        }
        Self { operation, bucket: Some(bucket), key: Some(key), permissions }
    }
}

/// What a request is about, path-style (`host/bucket/key`) or virtual-hosted (`bucket.host/key`).
fn bucket_and_key(host: &str, path: &str) -> (Option<String>, Option<String>) {
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let some = |text: &str| Some(decode(text)).filter(|text| !text.is_empty());
    let path = path.strip_prefix('/').unwrap_or(path);
    if let Some(bucket) = bucket_of_host(host) {
        return (Some(bucket.to_owned()), some(path));
    }
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    (some(bucket), some(key))
}

/// The bucket that a host name begins with: `bucket.s3.eu-west-3.amazonaws.com`, `bucket.localhost:9000`.
fn bucket_of_host(host: &str) -> Option<&str> {
    let name = host.rsplit_once(':').map_or(host, |(name, port)| {
        if port.bytes().all(|byte| byte.is_ascii_digit()) { name } else { host }
    });
    let ends = [".s3.", ".s3-", ".localhost"];
    ends.iter().filter_map(|end| name.find(end)).min().map(|end| &name[..end])
}

/// Whether a parameter says what is done, rather than how.
fn is_subresource(name: &str) -> bool {
    const HOW: [&str; 19] = [
        "list-type",
        "prefix",
        "delimiter",
        "marker",
        "max-keys",
        "continuation-token",
        "start-after",
        "encoding-type",
        "fetch-owner",
        "key-marker",
        "upload-id-marker",
        "max-uploads",
        "max-parts",
        "part-number-marker",
        "partNumber",
        "x-id",
        "version-id-marker",
        "optional-object-attributes",
        "expected-bucket-owner",
    ];
    !HOW.contains(&name) && !name.starts_with("response-") && !name.to_lowercase().starts_with("x-amz-")
}

/// The name that an operation without an entry has by S3's own pattern: `GetObjectTagging`, `PutBucketPolicy`.
fn other(method: &str, on: &str, subresource: Option<&str>) -> String {
    let capitalised = |word: &str| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_uppercase() + rest
    };
    let what: String = subresource.unwrap_or_default().split(['-', '_']).map(capitalised).collect();
    format!("{}{on}{what}", capitalised(&method.to_lowercase()))
}

fn twice(name: String) -> (String, String) {
    (name.clone(), name)
}

/// A policy of IAM, as far as actions and resources go.
#[derive(Debug, Clone)]
pub struct IamPolicy {
    statements: Vec<Statement>,
}

#[derive(Debug, Clone)]
struct Statement {
    allows: bool,
    actions: Vec<String>,
    resources: Vec<String>,
}

impl IamPolicy {
    /// The policy that the registry's user has, for this bucket instead of `aar0`.
    pub fn of_registry(bucket: &str) -> Self {
        let text = include_str!("../../fixtures/iam-policy.json");
        Self::parse(&text.replace("arn:aws:s3:::aar0", &format!("arn:aws:s3:::{bucket}")))
    }

    /// Reads a policy. Only such without conditions and exceptions are understood.
    pub fn parse(json: &str) -> Self {
        let policy: Value = serde_json::from_str(json).unwrap();
        let list = |value: &Value| match value {
            Value::Array(items) => items.iter().map(|item| item.as_str().unwrap().to_owned()).collect(),
            one => vec![one.as_str().unwrap().to_owned()],
        };
        let statement = |statement: &Value| {
            for name in statement.as_object().unwrap().keys() {
                assert!(
                    matches!(name.as_str(), "Sid" | "Effect" | "Action" | "Resource"),
                    "`{name}` in a policy"
                );
            }
            Statement {
                allows: statement["Effect"] == "Allow",
                actions: list(&statement["Action"]),
                resources: list(&statement["Resource"]),
            }
        };
        Self { statements: policy["Statement"].as_array().unwrap().iter().map(statement).collect() }
    }

    /// Whether the policy gives a permission.
    pub fn permits(&self, permission: &Permission) -> bool {
        let about = |statement: &&Statement| {
            statement.actions.iter().any(|action| {
                matches(action.to_lowercase().as_bytes(), permission.action.to_lowercase().as_bytes())
            }) && statement
                .resources
                .iter()
                .any(|resource| matches(resource.as_bytes(), permission.resource.as_bytes()))
        };
        let mut about = self.statements.iter().filter(about).peekable();
        about.peek().is_some() && about.all(|statement| statement.allows)
    }
}

/// `*` stands for any text, `?` for one character.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|skipped| matches(rest, &text[skipped..])),
        Some((one, rest)) => text
            .split_first()
            .is_some_and(|(first, text)| (*one == b'?' || one == first) && matches(rest, text)),
    }
}
