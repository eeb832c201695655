#!/usr/bin/env bash
# Packs the charm: a zip that Juju takes as it is. The same input makes the same bytes.
# Usage: charm.sh <directory of the binaries> <architecture: amd64, arm64> <archive>
# Environment: SOURCE_DATE_EPOCH, the time of all files, by default the latest commit's; AAR as for install.sh.
set -euo pipefail

bin=$(realpath "$1") architecture=$2 archive=$(realpath -m "$3")
here=$(dirname "$(realpath "$0")")
source=$(dirname "$here")
cd "$source"
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
commit=$(git describe --always --dirty --exclude '*' 2>/dev/null || true)
version=$(sed -n '/^\[workspace\.package\]/,/^\[/ s/^version = "\(.*\)"/\1/p' Cargo.toml)

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT

install -m 755 "$bin/dispatch" "$stage/dispatch"
"$here/install.sh" "$bin" "$stage/workload" /usr/local
cp LICENSE README.md icon.svg metadata.yaml config.yaml actions.yaml "$stage"
cp -r charm/cos "$stage/cos"
echo "$version${commit:++$commit}" >"$stage/version"
{
    # Juju reads the bases; charmcraft and Charmhub expect a time, too.
    echo "charmcraft-started-at: '$(date --utc --date="@$epoch" +%Y-%m-%dT%H:%M:%SZ)'"
    echo "bases:"
    for release in 20.04 22.04 24.04; do
        printf -- "- {name: ubuntu, channel: '%s', architectures: [%s]}\n" "$release" "$architecture"
    done
} >"$stage/manifest.yaml"

# Neither who packs, nor when, nor the order in which files were made shows.
chmod -R u=rwX,go=rX "$stage"
find "$stage" -exec touch --no-dereference --date="@$epoch" {} +
mkdir -p "$(dirname "$archive")"
rm -f "$archive"
cd "$stage"
find . -type f -printf '%P\n' | LC_ALL=C sort | TZ=UTC zip --quiet -X "$archive" -@
echo "$archive"
