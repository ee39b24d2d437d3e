#!/bin/sh
# Finds the ottla binary for the scripts beside this one and runs it with their arguments:
# OTTLA if it is set, next to the scripts, this checkout's build, then PATH.
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
for candidate in "${OTTLA:-}" "$here/ottla" "$here/../../target/release/ottla" "$here/../../target/debug/ottla"; do
    if [ -n "$candidate" ] && [ -x "$candidate" ]; then exec "$candidate" "$@"; fi
done
if command -v ottla >/dev/null 2>&1; then exec ottla "$@"; fi
echo "Error: the ottla binary is not found: build it with 'cargo build --release', put it on PATH, or set OTTLA to it" >&2
exit 1
