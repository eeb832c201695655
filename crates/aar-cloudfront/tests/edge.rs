//! What is signed is served, by an edge that checks as CloudFront does and knows nothing of how it was signed.
#![allow(clippy::unwrap_used)]

use std::process::Command;
use std::time::{Duration, SystemTime};

use aar_cloudfront::{CloudFront, HashAlgorithm, Options};
use aar_model::Digest;
use aar_store::{Download, Downloads, image_key};
use aar_tests::{Edge, Object};
use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use url::Url;

const BYTES: &[u8] = b"an image";

fn keys() -> [PKey<Private>; 2] {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    [
        PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap(),
        PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap(),
    ]
}

/// Status and body of a GET.
fn curl(url: &str) -> (String, String) {
    let curl = Command::new("curl")
        .args(["--silent", "--noproxy", "*", "--write-out", "\n%{http_code}", url])
        .output();
    let text = String::from_utf8(curl.unwrap().stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.to_owned(), body.to_owned())
}

#[tokio::test]
async fn a_signed_url_opens_its_image_and_no_other() {
    let (image, other) = (Digest::of(BYTES), Digest::of(b"another"));
    let path = format!("/a%20b/c%2Bd/{}", image_key(&image));
    for key in keys() {
        let public = String::from_utf8(key.public_key_to_pem().unwrap()).unwrap();
        let path = path.clone();
        let edge = Edge::start(&[("K1", public)], move |asked| {
            (asked == path).then(|| Object::Bytes(BYTES.to_vec()))
        });
        for hash_algorithm in [HashAlgorithm::Sha1, HashAlgorithm::Sha256] {
            let options = Options {
                base_url: &Url::parse(&format!("{}/a b", edge.base_url())).unwrap(),
                prefix: "c+d/",
                private_key: &String::from_utf8(key.private_key_to_pem_pkcs8().unwrap()).unwrap(),
                keypair_id: "K1",
                duration: Duration::from_secs(60),
                hash_algorithm,
            };
            let (cloudfront, _) = CloudFront::new(&options).unwrap();
            let download = Download { image: &image, media_type: "application/x-bzip2", file_name: "image" };
            let url = cloudfront.url(&download).await.unwrap();
            assert_eq!(curl(url.reveal()), ("200".to_owned(), String::from_utf8(BYTES.to_vec()).unwrap()));
            let stolen = url.reveal().replace(&image_key(&image), &image_key(&other));
            assert_eq!(curl(&stolen).0, "403");
            let old = cloudfront.url_at(&image, SystemTime::now() - Duration::from_secs(80)).await.unwrap();
            assert_eq!(curl(old.reveal()).0, "403", "expired");
        }
    }
}
