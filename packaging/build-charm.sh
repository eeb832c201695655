#!/usr/bin/env bash
# Builds the charm with binaries that run on Ubuntu 20.04 and later, whatever this machine runs: linked against glibc 2.31
# by zig, with an OpenSSL of their own. The same sources make the same bytes, wherever they lie.
# Usage: build-charm.sh <architecture: amd64, arm64> <cargo's target directory> <archive>
set -euo pipefail

architecture=$1
mkdir -p "$2"
target=$(realpath "$2") archive=$3
packaging=$(dirname "$(realpath "$0")")
source=$(dirname "$packaging")
cd "$source"

case $architecture in
amd64) machine=x86_64 ;;
arm64) machine=aarch64 ;;
*) echo "the charm is built for amd64 or arm64, not for $architecture" >&2; exit 2 ;;
esac
triple=$machine-unknown-linux-gnu glibc=2.31
if command -v rustup >/dev/null; then
    rustup target list --installed | grep -qx "$triple" || rustup target add "$triple"
fi

zig=$target/zig
tests/install-python.sh "$zig" "$packaging/zig-requirements.txt"

# Where the sources and tools lie must not show in what is built. OpenSSL writes down by which name it called the compiler.
cat >"$zig/bin/zig-cc" <<EOF
#!/bin/sh
exec cargo-zigbuild zig cc -- -fno-sanitize=all -target $machine-linux-gnu.$glibc "\$@"
EOF
chmod +x "$zig/bin/zig-cc"
export "CC_${machine}_unknown_linux_gnu=zig-cc"
cargo_home=${CARGO_HOME:-$HOME/.cargo}
flags="--remap-path-prefix=$cargo_home=/cargo --remap-path-prefix=$source=/aar --remap-path-prefix=$target=/target"
export "CARGO_TARGET_${machine^^}_UNKNOWN_LINUX_GNU_RUSTFLAGS=$flags"
# OpenSSL takes settings and authorities from where Ubuntu has them, and loads nothing from where it was built.
export OPENSSL_CONFIG_DIR=/usr/lib/ssl
export GNUMAKEFLAGS="ENGINESDIR=/usr/lib/ssl/engines MODULESDIR=/usr/lib/ssl/modules"
export CARGO_PROFILE_RELEASE_DEBUG=false CARGO_PROFILE_RELEASE_STRIP=symbols
export CARGO_TARGET_DIR=$target PATH=$zig/bin:$PATH
# OpenSSL writes down when it was built, too, and is not built anew for each commit.
SOURCE_DATE_EPOCH=0 cargo zigbuild --locked --release --target "$triple.$glibc" -p aard -p aar -p aar-charm \
    --features aard/vendored-openssl,aar/vendored-openssl

# Manual pages and completions come from a command line that runs here.
if [ "$architecture" != "$(dpkg --print-architecture)" ]; then
    cargo build --locked --release -p aar
    export AAR=$target/release/aar
fi
"$packaging/charm.sh" "$target/$triple/release" "$architecture" "$archive"
