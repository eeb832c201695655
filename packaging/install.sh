#!/usr/bin/env bash
# Installs the registry on this machine or, for packaging, below a directory.
# Usage: install.sh <directory of the binaries> <destination root, or empty> <prefix>
# Environment: AAR, a command line that runs here, where the binaries are for another kind of machine.
set -euo pipefail

bin=$1 root=$2 prefix=$3
aar=${AAR:-$bin/aar}
here=$(dirname "$(realpath "$0")")
units=$root$prefix/lib/systemd/system

install -D -m 755 "$bin/aard" "$root$prefix/bin/aard"
install -D -m 755 "$bin/aar" "$root$prefix/bin/aar"
for unit in aard aar-sync; do
    install -D -m 644 "$here/systemd/$unit.service" "$units/$unit.service"
    sed -i "s|^ExecStart=/usr/bin/|ExecStart=$prefix/bin/|" "$units/$unit.service"
done
for users in aar aar-sync; do
    install -D -m 644 "$here/systemd/$users.sysusers" "$root$prefix/lib/sysusers.d/$users.conf"
done
install -d "$root$prefix/share/man/man1"
"$aar" man "$root$prefix/share/man/man1"
install -D -m 644 "$here/man/aard.8" "$root$prefix/share/man/man8/aard.8"
install -d "$root$prefix/share/bash-completion/completions" "$root$prefix/share/zsh/site-functions" \
    "$root$prefix/share/fish/vendor_completions.d"
"$aar" completion bash >"$root$prefix/share/bash-completion/completions/aar"
"$aar" completion zsh >"$root$prefix/share/zsh/site-functions/_aar"
"$aar" completion fish >"$root$prefix/share/fish/vendor_completions.d/aar.fish"

if [ -z "$root" ]; then
    systemd-sysusers "$prefix/lib/sysusers.d/aar.conf" "$prefix/lib/sysusers.d/aar-sync.conf"
    systemctl daemon-reload
    install -d -m 700 -o aar -g aar /var/lib/aar
    echo "installed; write /var/lib/aar/config.yaml and start it: systemctl enable --now aard"
fi
