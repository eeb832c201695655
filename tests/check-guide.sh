#!/usr/bin/env bash
# What the guide says is tested is tested: fails where it names a test that is not there.
set -euo pipefail

tests=$(sed -n '/^## What other registries are known for/,$p' docs/operators-guide.md | grep -oE '`[a-z0-9]+(_[a-z0-9]+)+`' | tr -d '`' | sort -u)
[ -n "$tests" ] || { echo "docs/operators-guide.md names no tests" >&2; exit 1; }
status=0
for test in $tests; do
    if ! grep -rqE "fn $test\(" crates tests --include='*.rs'; then
        echo "docs/operators-guide.md names the test $test, which is not there" >&2
        status=1
    fi
done
exit $status
