#!/bin/sh
if [ "${1:-}" = "-daemon" ]; then shift; set -- broker "$@"; nohup "$(dirname -- "$0")/find-ottla.sh" "$@" >/dev/null 2>&1 </dev/null & exit 0; fi
exec "$(dirname -- "$0")/find-ottla.sh" broker "$@"
