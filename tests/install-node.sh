#!/usr/bin/env bash
# Installs packages for Node.js into a directory. Does nothing where these very ones are there.
# Usage: install-node.sh <directory> <directory of package.json and package-lock.json>
set -euo pipefail

dir=${1:?usage: install-node.sh DIR PACKAGES} packages=${2:?usage: install-node.sh DIR PACKAGES}
wanted=$(sha256sum <"$packages/package-lock.json")
[ "$(cat "$dir/installed" 2>/dev/null)" = "$wanted" ] && exit 0
command -v node >/dev/null && command -v npm >/dev/null || "$(dirname "$0")/install-packages.sh" nodejs npm
echo "installing $packages into $dir"
cp "$packages/package.json" "$packages/package-lock.json" "$dir"
# An install script of a package could bring in something else.
(cd "$dir" && npm ci --silent --no-audit --no-fund --ignore-scripts)
# Last, so that what was begun and broke off does not count.
echo "$wanted" >"$dir/installed"
