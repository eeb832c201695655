#!/usr/bin/env bash
# A network for machines: a bridge that this machine is part of. It is there until standard input ends.
# Usage: network.sh <name of the bridge> <this machine's address/bits in it>
# Prints a line as soon as it is there.
set -euo pipefail

ip link add "$1" type bridge
trap 'ip link delete "$1"' EXIT
ip address add "$2" dev "$1"
ip link set "$1" up
echo up
cat >/dev/null
