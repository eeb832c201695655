#!/bin/bash
# Fuzzes every target for SECONDS each: fuzz/run.sh [SECONDS]. What is found lies in fuzz/artifacts afterwards.
set -euo pipefail
seconds=${1:-600}
cd "$(dirname "$0")"

command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz --locked
# The sanitizer's flags are unstable, the rest is what the registry is built with.
export RUSTC_BOOTSTRAP=1

for source in fuzz_targets/*.rs; do
    target=$(basename "$source" .rs)
    mkdir -p "corpus/$target"
    dictionary=()
    if [ -f "dictionaries/$target.dict" ]; then
        dictionary=("-dict=dictionaries/$target.dict")
    fi
    echo "== $target, $seconds s"
    cargo fuzz run "$target" "corpus/$target" "seeds/$target" -- \
        -max_total_time="$seconds" -max_len=65536 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 "${dictionary[@]}"
done
