#!/usr/bin/env bash
# Installs the registry on this machine or, for packaging, below a directory.
# Usage: install.sh <directory of the binaries> <destination root, or empty> <prefix>
set -euo pipefail

bin=$1 root=$2 prefix=$3
here=$(dirname "$(realpath "$0")")

install -D -m 755 "$bin/aard" "$root$prefix/bin/aard"
install -D -m 755 "$bin/aar" "$root$prefix/bin/aar"
install -D -m 644 "$here/systemd/aard.service" "$root$prefix/lib/systemd/system/aard.service"
install -D -m 644 "$here/systemd/aar.sysusers" "$root$prefix/lib/sysusers.d/aar.conf"
install -d "$root$prefix/share/man/man1"
"$bin/aar" man "$root$prefix/share/man/man1"
install -d "$root$prefix/share/bash-completion/completions" "$root$prefix/share/zsh/site-functions" \
    "$root$prefix/share/fish/vendor_completions.d"
"$bin/aar" completion bash >"$root$prefix/share/bash-completion/completions/aar"
"$bin/aar" completion zsh >"$root$prefix/share/zsh/site-functions/_aar"
"$bin/aar" completion fish >"$root$prefix/share/fish/vendor_completions.d/aar.fish"

if [ -z "$root" ]; then
    systemd-sysusers "$prefix/lib/sysusers.d/aar.conf"
    systemctl daemon-reload
    install -d -m 700 -o aar -g aar /var/lib/aar
    echo "installed; write /var/lib/aar/config.yaml and start it: systemctl enable --now aard"
fi
