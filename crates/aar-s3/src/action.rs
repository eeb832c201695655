/// What the registry does to a bucket, as IAM names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    GetBucketLocation,
    ListBucket,
    ListBucketMultipartUploads,
    PutObject,
    GetObject,
    ListMultipartUploadParts,
    AbortMultipartUpload,
    DeleteObject,
}

impl Action {
    pub(crate) fn permission(self) -> &'static str {
        match self {
            Self::GetBucketLocation => "s3:GetBucketLocation",
            Self::ListBucket => "s3:ListBucket",
            Self::ListBucketMultipartUploads => "s3:ListBucketMultipartUploads",
            Self::PutObject => "s3:PutObject",
            Self::GetObject => "s3:GetObject",
            Self::ListMultipartUploadParts => "s3:ListMultipartUploadParts",
            Self::AbortMultipartUpload => "s3:AbortMultipartUpload",
            Self::DeleteObject => "s3:DeleteObject",
        }
    }

    /// What a policy has to name to permit it.
    pub(crate) fn resource(self, region: &str, bucket: &str) -> String {
        let partition = match region.split_once('-') {
            Some(("cn", _)) => "aws-cn",
            Some(("us", rest)) if rest.starts_with("gov-") => "aws-us-gov",
            _ => "aws",
        };
        let below = match self {
            Self::GetBucketLocation | Self::ListBucket | Self::ListBucketMultipartUploads => "",
            _ => "/*",
        };
        format!("arn:{partition}:s3:::{bucket}{below}")
    }
}
