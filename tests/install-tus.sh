#!/usr/bin/env bash
# Installs clients of the tus protocol that others wrote, tuspy and tus-js-client, into a directory. Does nothing where they
# are there.
set -euo pipefail

dir=${1:?usage: install-tus.sh DIR}
tests=$(cd "$(dirname "$0")" && pwd)
"$tests/install-python.sh" "$dir/venv" "$tests/tus/requirements.txt"
"$tests/install-node.sh" "$dir" "$tests/tus"
