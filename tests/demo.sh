#!/usr/bin/env bash
# The registry's main job, on this machine alone: a publisher pushes an image, a client pulls it and checks it, those who
# may not are refused. Usage: demo.sh <directory of the binaries> <size of the image: 200M, 2G>
set -euo pipefail

bin=$(realpath "$1")
size=$(numfmt --from=iec "$2")
dir=$(mktemp -d)
daemon=
finish() {
    [ -z "$daemon" ] || { kill "$daemon" && wait "$daemon"; } 2>/dev/null || true
    rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT TERM

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
# Runs a command that has to be refused, and shows with which words.
refused() {
    local expected=$1 said status=0
    shift
    said=$("$@" 2>&1 >/dev/null) || status=$?
    [ "$status" -eq "$expected" ] || { echo "expected exit status $expected, got $status: $said" >&2; exit 1; }
    printf '  %s\n' "$said"
}
rate() { awk -v bytes="$1" -v from="$2" -v to="$3" 'BEGIN { printf "%.2f s, %.0f MiB/s", to - from, bytes / 1048576 / (to - from) }'; }
now() { date +%s.%N; }

# A tarball of about the wanted size out of files that are on this machine.
tarball() {
    local archive=$1 pass=0
    : >"$archive"
    while [ "$(stat -c %s "$archive")" -lt "$size" ]; do
        pass=$((pass + 1))
        # Reads to its end: a pipe that is closed early counts as a failure.
        find /usr/bin /usr/lib /usr/share -xdev -type f -readable -printf '%s %p\n' |
            awk -v left="$((size - $(stat -c %s "$archive")))" \
                'left > 0 { left -= $1 + 1024; sub(/^[0-9]+ /, ""); print }' >"$dir/files"
        tar --create --absolute-names --transform "s,^/,pass-$pass/," --files-from "$dir/files" >>"$archive"
    done
}

begun=$(now)
say "1. An image: files of this machine"
tarball "$dir/game.tar"
bytes=$(stat -c %s "$dir/game.tar")
echo "  game.tar, $(numfmt --to=iec-i --suffix=B "$bytes"), SHA-256 $(sha256sum "$dir/game.tar" | cut -c1-16)…"

say "2. Keys: a publisher, a client, and a stranger whom nobody knows"
for who in publisher client stranger; do
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$who" \
        -keyout "$dir/$who.key" -out "$dir/$who.crt" 2>/dev/null
done

say "3. The daemon"
port=$(awk 'BEGIN { srand(); print 20000 + int(rand() * 20000) }')
base=$dir/registry
mkdir "$base"
printf 'http:\n  addr: 127.0.0.1:%s\n' "$port" >"$base/config.yaml"
export AAR_BASE_DIR=$base
"$bin/aard" 2>"$dir/log" &
daemon=$!
for _ in $(seq 100); do
    grep -q ' ready ' "$dir/log" && break
    kill -0 "$daemon" 2>/dev/null || { cat "$dir/log" >&2; exit 1; }
    sleep 0.05
done
sed -n 's/^.* ready /  ready: /p' "$dir/log"
"$bin/aar" trust add --publisher "$dir/publisher.crt" | sed 's/^/  /'
"$bin/aar" trust add "$dir/client.crt" | sed 's/^/  /'

fingerprint=$(openssl x509 -in "$base/certs/server.crt" -outform DER | sha256sum | cut -d' ' -f1)
as() {
    local who=$1
    shift
    "$bin/aar" application --registry "https://127.0.0.1:$port" --fingerprint "$fingerprint" \
        --cert "$dir/$who.crt" --key "$dir/$who.key" "$@"
}

say "4. The publisher pushes game, version 1"
from=$(now)
as publisher push game 1 "$dir/game.tar" --architecture x86_64 \
    --metadata '{"application":{"boot_package":"com.example.game","instance_type":"a4.3","tags":["demo"]}}' | sed 's/^/  /'
echo "  $(rate "$bytes" "$from" "$(now)") (hashed, and safe from power loss)"

say "5. The client sees it and pulls it"
as client list | sed 's/^/  /'
from=$(now)
as client pull game 1 --output "$dir/pulled.tar" | sed 's/^/  /'
echo "  $(rate "$bytes" "$from" "$(now)") (verified)"
cmp "$dir/game.tar" "$dir/pulled.tar" && echo "  cmp: the files are equal"

say "6. Refused: a stranger who lists, a client who pushes, a revoked client who pulls"
refused 4 as stranger list
refused 4 as client push game 2 "$dir/game.tar" --architecture x86_64
"$bin/aar" trust revoke --yes "$(openssl x509 -in "$dir/client.crt" -outform DER | sha256sum | cut -c1-16)" >/dev/null
refused 4 as client pull game 1 --output "$dir/never.tar"
[ ! -e "$dir/never.tar" ]

say "Done in $(awk -v from="$begun" -v to="$(now)" 'BEGIN { printf "%.1f s", to - from }'). The daemon's peak memory was $(awk '/VmHWM/ { printf "%.0f MiB", $2 / 1024 }' "/proc/$daemon/status")."
