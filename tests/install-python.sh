#!/usr/bin/env bash
# Installs Python packages into an environment of their own, in a directory. Does nothing where these very ones are there.
# Usage: install-python.sh <directory> <requirements file, which names every package>
set -euo pipefail

dir=${1:?usage: install-python.sh DIR REQUIREMENTS} requirements=${2:?usage: install-python.sh DIR REQUIREMENTS}
wanted=$(sha256sum <"$requirements")
[ -x "$dir/bin/python3" ] && [ "$(cat "$dir/installed" 2>/dev/null)" = "$wanted" ] && exit 0

# Debian's Python comes without the part that makes an environment; others bring it with them.
python3 -c 'import ensurepip, venv' 2>/dev/null ||
    "$(dirname "$0")/install-packages.sh" python3 python3-venv

echo "installing $requirements into $dir"
rm -rf "$dir"
python3 -m venv "$dir"
"$dir/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$requirements"
# Last, so that what was begun and broke off does not count.
echo "$wanted" >"$dir/installed"
