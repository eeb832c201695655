//! Images pass through in constant memory. Alone in its process, whose peak it measures.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs::{self, File};
use std::io::{Read, Write};

use aar_client::digest_file;
use aar_model::wire::{Image, PushRequest};
use support::{Server, address, answer, read_of_old, silent, swallow};

const LENGTH: u64 = 256 * 1024 * 1024;
const LIMIT_KIB: u64 = 48 * 1024;

#[tokio::test]
async fn images_pass_through_in_constant_memory() {
    let server = Server::start(|_, stream| {
        let Some(head) = read_of_old(stream) else { return };
        if head.line.starts_with("PUT") {
            swallow(stream, LENGTH);
            let (fingerprint, size) = (head.get("x-ams-fingerprint").unwrap(), LENGTH);
            let operation = format!(
                r#"{{"id":"1","class":"task","description":"","created_at":"","updated_at":"","status":"Success","status_code":200,"may_cancel":false,"metadata":{{"fingerprint":"{fingerprint}","size":{size},"existed":false}}}}"#
            );
            let json = format!(
                r#"{{"type":"async","status":"Success","status_code":200,"operation":"/1.0/operations/1","metadata":{operation}}}"#
            );
            answer(stream.get_mut(), "202 Accepted", &json);
        } else {
            let out = stream.get_mut();
            write!(out, "HTTP/1.1 200 OK\r\nx-ams-fingerprint: {ZEROS}\r\ncontent-length: {LENGTH}\r\n\r\n")
                .unwrap();
            std::io::copy(&mut std::io::repeat(0).take(LENGTH), out).unwrap();
        }
    });
    let file = server.file("image");
    File::create(&file).unwrap().set_len(LENGTH).unwrap();
    let pushed = server.client().push(&address(), &file, &PushRequest::default(), &silent()).await.unwrap();
    assert_eq!((pushed.size, pushed.fingerprint.to_string().as_str()), (LENGTH, ZEROS));

    let (_, fingerprint, size) = digest_file(&file, &aar_client::Silent).unwrap();
    let expected =
        Image { architecture: address().architecture, fingerprint, size, media_type: String::new() };
    let target = server.file("pulled");
    server.client().pull(&address(), &expected, &target, &silent()).await.unwrap();
    assert_eq!(fs::metadata(&target).unwrap().len(), LENGTH);

    let peak = peak_kib();
    assert!(peak < LIMIT_KIB, "{peak} KiB");
}

/// The SHA-256 of 256 MiB of zeros.
const ZEROS: &str = "a6d72ac7690f53be6ae46ba88506bd97302a093f7108472bd9efc3cefda06484";

fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
