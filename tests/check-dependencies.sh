#!/usr/bin/env bash
# One foreign library, one room: fails where a crate uses a library that another crate is to keep to itself.
set -euo pipefail

# library, then the workspace's crates that may name it in their manifest
rules=(
    "sled aar-sled"
    "bzip2 aar-ams aar-tests"
    "tar aar-ams aar-tests"
    "yaml_serde aar-config aar-tests"
    "openssl aar-cloudfront aar-tls aar-bench aar-tests"
    "hyper@1 aar-api aard aar-client aar-tests"
    "hyper@0.14 aar-s3"
    "rusoto_core aar-s3"
    "rusoto_s3 aar-s3"
    "tokio-tungstenite aar-api aar-client aar-tests"
    "notify aar-sync"
    "clap aard aar aar-bench aar-tests"
)
status=0
for rule in "${rules[@]}"; do
    read -r library allowed <<<"$rule"
    users=$(cargo tree --locked --workspace --edges normal,build --invert "$library" --depth 1 --prefix none 2>/dev/null |
        tail -n +2 | awk '/\(\// { print $1 }' | sort -u)
    for user in $users; do
        case " $allowed " in
        *" $user "*) ;;
        *)
            echo "$user uses $library, which is for $allowed" >&2
            status=1
            ;;
        esac
    done
done
exit $status
