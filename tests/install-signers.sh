#!/usr/bin/env bash
# Installs the signers of CloudFront URLs that tests compare the registry's with, botocore and @aws-sdk/cloudfront-signer,
# into a directory. Does nothing where they are there.
set -euo pipefail

dir=${1:?usage: install-signers.sh DIR}
tests=$(cd "$(dirname "$0")" && pwd)
wanted=$(sha256sum <"$tests/signers/requirements.txt" && sha256sum <"$tests/signers/package-lock.json")
[ "$(cat "$dir/installed" 2>/dev/null)" = "$wanted" ] && exit 0

command -v node >/dev/null && command -v npm >/dev/null || "$tests/install-packages.sh" nodejs npm
# Debian's Python comes without the part that makes an environment.
python3 -c 'import ensurepip, venv' 2>/dev/null || "$tests/install-packages.sh" python3 python3-venv

echo "installing botocore and @aws-sdk/cloudfront-signer into $dir"
rm -rf "$dir"
mkdir -p "$dir"
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$tests/signers/requirements.txt"
cp "$tests/signers/package.json" "$tests/signers/package-lock.json" "$dir"
# An install script of a package could bring in something else.
(cd "$dir" && npm ci --silent --no-audit --no-fund --ignore-scripts)
# Last, so that what was begun and broke off does not count.
echo "$wanted" >"$dir/installed"
