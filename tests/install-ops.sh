#!/usr/bin/env bash
# Installs ops, the library that most charms are written with, and charmcraft, the tool that packs them, into a directory:
# tests run a charm of ops on the stand-in for Juju's agent, and ask both whether they take the registry's charm. Does
# nothing where they are there.
set -euo pipefail

dir=${1:?usage: install-ops.sh DIR}
tests=$(cd "$(dirname "$0")" && pwd)
wanted=$(sha256sum <"$tests/ops/requirements.txt")
[ "$(cat "$dir/installed" 2>/dev/null)" = "$wanted" ] && exit 0

# Debian's Python comes without the part that makes an environment.
python3 -c 'import ensurepip, venv' 2>/dev/null || "$tests/install-packages.sh" python3 python3-venv

echo "installing ops and charmcraft into $dir"
rm -rf "$dir"
mkdir -p "$dir"
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$tests/ops/requirements.txt"
# Last, so that what was begun and broke off does not count.
echo "$wanted" >"$dir/installed"
