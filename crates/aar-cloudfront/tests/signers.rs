//! URLs are those that signers of others make, byte for byte.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use aar_cloudfront::{CloudFront, HashAlgorithm, Options};
use aar_model::Digest;
use aar_store::image_key;
use aar_tests::{Signer, ToSign};
use tempfile::TempDir;
use url::Url;

/// Base URL, prefix, and what the two come to.
const PLACES: [(&str, &str, &str); 12] = [
    ("https://d111111abcdef8.cloudfront.net", "", "https://d111111abcdef8.cloudfront.net/"),
    ("https://cdn.example/a/b/", "registry/", "https://cdn.example/a/b/registry/"),
    ("http://127.0.0.1:8080/", "a b+c/", "http://127.0.0.1:8080/a%20b%2Bc/"),
    ("https://[2001:db8::1]:8443/x", "!'()*~-_./", "https://[2001:db8::1]:8443/x/!'()*~-_./"),
    ("https://cdn.example/100%25/", "100%/", "https://cdn.example/100%25/100%25/"),
    ("https://cdn.example/a b", "%20/", "https://cdn.example/a%20b/%2520/"),
    ("https://cdn.example/a%20b+c", "", "https://cdn.example/a%20b%2Bc/"),
    ("https://cdn.example/a%2Fb", "", "https://cdn.example/a%2Fb/"),
    (
        "https://CDN.example",
        "ünï/日本/🦀/",
        "https://cdn.example/%C3%BCn%C3%AF/%E6%97%A5%E6%9C%AC/%F0%9F%A6%80/",
    ),
    ("https://cdn.example/ü", "q?x=1&y#z/", "https://cdn.example/%C3%BC/q%3Fx%3D1%26y%23z/"),
    ("https://cdn.example", "a;b:c@d,e=f$g/", "https://cdn.example/a%3Bb%3Ac%40d%2Ce%3Df%24g/"),
    ("https://cdn.example", "\"q\\{}|^`<>[]/", "https://cdn.example/%22q%5C%7B%7D%7C%5E%60%3C%3E%5B%5D/"),
];
/// In seconds since 1970: soon after, around the end of 32 bits, and far away.
const EXPIRIES: [u64; 6] = [2, 1_700_000_000, 2_147_483_647, 2_147_483_648, 4_294_967_296, 99_999_999_999];
const KEYPAIR_IDS: [&str; 3] = ["K2JCJMDEHXQW5F", "APKA9ONS7QCOWEXAMPLE", "ADF443JOEF3423JF"];

fn openssl(dir: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// What is to be signed, and the URL that the registry makes.
struct Case {
    resource: String,
    expires: u64,
    keypair_id: &'static str,
    private_key: PathBuf,
    sha256: bool,
    url: String,
}

/// All places at all times, by turns with the keys and their IDs.
async fn cases(private_keys: &[PathBuf]) -> Vec<Case> {
    let mut cases = Vec::new();
    for sha256 in [false, true] {
        for (base_url, prefix, expected) in PLACES {
            for expires in EXPIRIES {
                let private_key = &private_keys[cases.len() % private_keys.len()];
                let keypair_id = KEYPAIR_IDS[cases.len() % KEYPAIR_IDS.len()];
                let options = Options {
                    base_url: &Url::parse(base_url).unwrap(),
                    prefix,
                    private_key: &fs::read_to_string(private_key).unwrap(),
                    keypair_id,
                    // With steps of 1 s, so that the expiry is the one that is wanted.
                    duration: Duration::from_secs(1),
                    hash_algorithm: if sha256 { HashAlgorithm::Sha256 } else { HashAlgorithm::Sha1 },
                };
                let (cloudfront, _) = CloudFront::new(&options).unwrap();
                let image = Digest::of(&expires.to_le_bytes());
                let now = UNIX_EPOCH + Duration::from_secs(expires - 1);
                let url = cloudfront.url_at(&image, now).await.unwrap().reveal().to_owned();
                let resource = format!("{expected}{}", image_key(&image));
                let private_key = private_key.clone();
                cases.push(Case { resource, expires, keypair_id, private_key, sha256, url });
            }
        }
    }
    cases
}

fn to_sign(cases: &[Case]) -> Vec<ToSign<'_>> {
    cases
        .iter()
        .map(|case| ToSign {
            url: &case.resource,
            expires: case.expires,
            keypair_id: case.keypair_id,
            private_key: &case.private_key,
            sha256: case.sha256,
        })
        .collect()
}

/// RSA keys in PKCS#8 and PKCS#1.
async fn rsa_cases(dir: &Path) -> Vec<Case> {
    openssl(dir, "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out 1.pem");
    openssl(dir, "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out 2.pem");
    openssl(dir, "rsa -in 2.pem -traditional -out 3.pem");
    cases(&[dir.join("1.pem"), dir.join("3.pem")]).await
}

#[tokio::test]
async fn urls_are_those_of_botocore() {
    let dir = TempDir::new().unwrap();
    let cases = rsa_cases(dir.path()).await;
    let expected = Signer::Botocore.sign(&to_sign(&cases));
    assert_eq!(expected.len(), cases.len());
    for (case, expected) in cases.iter().zip(expected) {
        // Which botocore does not know.
        let hash = if case.sha256 { "&Hash-Algorithm=SHA256" } else { "" };
        assert_eq!(case.url, expected + hash);
    }
}

#[tokio::test]
async fn urls_are_those_of_the_aws_sdk() {
    // The order of parameters means nothing, and is not the same.
    fn sorted(url: &str) -> (&str, Vec<&str>) {
        let (resource, query) = url.split_once('?').unwrap();
        let mut parameters: Vec<_> = query.split('&').collect();
        parameters.sort_unstable();
        (resource, parameters)
    }
    let dir = TempDir::new().unwrap();
    let cases = rsa_cases(dir.path()).await;
    let expected = Signer::AwsSdk.sign(&to_sign(&cases));
    assert_eq!(expected.len(), cases.len());
    for (case, expected) in cases.iter().zip(expected) {
        assert_eq!(sorted(&case.url), sorted(&expected));
    }
}

#[tokio::test]
async fn ecdsa_signatures_hold_for_the_public_key() {
    let dir = TempDir::new().unwrap();
    let file = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
    openssl(dir.path(), "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out 1.pem");
    openssl(dir.path(), "ec -in 1.pem -out 2.pem");
    openssl(dir.path(), "pkey -in 1.pem -pubout -out public.pem");
    let cases = cases(&[dir.path().join("1.pem"), dir.path().join("2.pem")]).await;
    // All but the signature is what botocore makes of it, which signs anew.
    let expected = Signer::Botocore.sign(&to_sign(&cases));
    for (case, expected) in cases.iter().zip(expected) {
        let split = |url: &str| {
            let (before, rest) = url.split_once("Signature=").unwrap();
            let (signature, after) = rest.split_once('&').unwrap();
            (before.to_owned(), signature.to_owned(), after.to_owned())
        };
        let (before, signature, after) = split(&case.url);
        let (expected_before, _, expected_after) = split(&expected);
        let hash = if case.sha256 { "&Hash-Algorithm=SHA256" } else { "" };
        assert_eq!((before, after), (expected_before, expected_after + hash));

        let signature = signature.replace('-', "+").replace('_', "=").replace('~', "/");
        file("signature", &openssl::base64::decode_block(&signature).unwrap());
        let policy = format!(
            "{{\"Statement\":[{{\"Resource\":\"{}\",\"Condition\":{{\"DateLessThan\":{{\"AWS:EpochTime\":{}}}}}}}]}}",
            case.resource, case.expires
        );
        file("policy", policy.as_bytes());
        let hash = if case.sha256 { "sha256" } else { "sha1" };
        openssl(dir.path(), &format!("dgst -{hash} -verify public.pem -signature signature policy"));
    }
}
