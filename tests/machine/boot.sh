#!/usr/bin/env bash
# Boots a machine: systemd as the first process of namespaces of its own, on an overlay of this machine's files. It runs
# until standard input ends; nothing of it is left then but the overlay's upper directory.
# Usage: boot.sh <directory of the machine> <host name> <bridge> <address/bits> <directory to share, read-only>...
# Prints the number of its first process as soon as that is there.
set -euo pipefail

self=$(realpath "$0")
machine=$1 name=$2 bridge=$3 address=$4
shift 4

if [ "$$" -ne 1 ]; then
    # Control groups of its own, so that two machines' services do not share any.
    groups=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
    [ -n "$groups" ] || { echo "no control groups (cgroup2) are mounted" >&2; exit 1; }
    group=$groups/machine-$$
    mkdir "$group"
    holder=
    clean_up() {
        [ -z "$holder" ] || kill -KILL "$holder" || true
        # Processes that were killed may take a moment to be gone.
        for _ in {1..200}; do
            ! find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || return 0
            sleep 0.02
        done
    }
    trap clean_up EXIT
    (
        echo "$BASHPID" >"$group/cgroup.procs"
        # Killed with its first process, all of the machine goes.
        exec unshare --mount --net --pid --fork --kill-child --cgroup --ipc --uts -- \
            "$self" "$machine" "$name" "$bridge" "$address" "$@"
    ) </dev/null &
    holder=$!
    # Nobody is told that it was killed.
    disown "$holder"
    while first=$(cat "/proc/$holder/task/$holder/children") && [ -z "$first" ]; do
        sleep 0.01
    done
    first=${first% }
    ip link add "m$first" type veth peer name eth0 netns "$first"
    ip link set "m$first" master "$bridge" up
    echo "$first"
    cat >/dev/null
    exit
fi

echo "$name" >/proc/sys/kernel/hostname
root=$machine/root
fresh=
[ -d "$machine/upper" ] || fresh=1
mkdir -p "$root" "$machine/upper" "$machine/work"
mount --make-rprivate /
mount -t overlay overlay -o "lowerdir=/,upperdir=$machine/upper,workdir=$machine/work" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
for directory in "$@"; do
    mkdir -p "$root$directory"
    mount --bind "$directory" "$root$directory"
    mount -o remount,bind,ro "$root$directory"
done
if [ -n "$fresh" ]; then
    # A machine as it comes: none of this machine's own services starts there, and it has no registry. What makes units of
    # consoles and old scripts, of which it has none, would run each time that the units are read; its disks are in fstab.
    for units in "$root"/etc/systemd/system "$root"/{usr/,}lib/systemd/system; do
        [ ! -d "$units" ] || find "$units" -path '*.wants/*' ! -name 'systemd-journald*' -delete
    done
    for generators in "$root"/{etc,usr/lib,usr/local/lib}/systemd/system-generators; do
        [ ! -d "$generators" ] || find "$generators" -mindepth 1 ! -name systemd-fstab-generator -delete
    done
    rm -rf "$root"/etc/{init.d,rc?.d} "$root"/{usr/,usr/local/,}lib/systemd/system/aard.service \
        "$root"/etc/systemd/system/aard.service* "$root"/usr/{,local/}lib/sysusers.d/aar.conf \
        "$root"/usr/{,local/}bin/aar{,d} "$root/var/lib/aar"
    ! grep -q '^aar:' "$root/etc/passwd" || chroot "$root" userdel aar
    echo "$name" >"$root/etc/hostname"
    : >"$root/etc/fstab"
    mkdir -p "$root/etc/systemd/journald.conf.d"
    printf '[Journal]\nStorage=volatile\nReadKMsg=no\nRateLimitIntervalSec=0\n' \
        >"$root/etc/systemd/journald.conf.d/machine.conf"
fi
until ip link set eth0 up 2>/dev/null; do
    sleep 0.01
done
ip link set lo up
ip address add "$address" dev eth0
# Not chroot: who is in one may make no user namespaces, as PrivateUsers= does.
cd "$root"
pivot_root . mnt
umount --lazy /mnt
exec env --ignore-environment container=machine PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=multi-user.target --log-target=journal --show-status=0
