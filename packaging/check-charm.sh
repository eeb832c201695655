#!/usr/bin/env bash
# Builds the charm from what is committed twice, in two places and from nothing, and compares the bytes.
# Usage: check-charm.sh <architecture: amd64, arm64> <directory to work in>
set -euo pipefail

architecture=$1 work=$2
source=$(dirname "$(dirname "$(realpath "$0")")")
rm -rf "$work"
mkdir -p "$work"
work=$(realpath "$work")
trap 'rm -rf "$work"' EXIT
archives=()
for place in one another/and-deeper; do
    git clone --quiet "$source" "$work/$place"
    archive=$work/$place/aar.charm
    "$work/$place/packaging/build-charm.sh" "$architecture" "$work/$place/built" "$archive"
    archives+=("$archive")
done
sha256sum "${archives[@]}"
cmp "${archives[@]}"
echo "the two charms are the same"
