#!/usr/bin/env bash
# Installs the signers of CloudFront URLs that tests compare the registry's with, botocore and @aws-sdk/cloudfront-signer,
# into a directory. Does nothing where they are there.
set -euo pipefail

dir=${1:?usage: install-signers.sh DIR}
tests=$(cd "$(dirname "$0")" && pwd)
"$tests/install-python.sh" "$dir/venv" "$tests/signers/requirements.txt"
"$tests/install-node.sh" "$dir" "$tests/signers"
