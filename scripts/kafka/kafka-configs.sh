#!/bin/sh
exec "$(dirname -- "$0")/find-ottla.sh" configs "$@"
