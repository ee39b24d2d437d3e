#!/usr/bin/env bash
# Runs whole clusters in simulation, one history per seed, until one breaks its word.
#
#   ./scripts/sim.sh --seeds N [--from SEED]    N seeds, from SEED (default 1) on
#   ./scripts/sim.sh --seed SEED                one seed again; its timeline goes to sim-SEED.txt
#
# A seed fixes openraft's choices only with `--cfg tokio_unstable`, which .cargo/config.toml sets: RUSTFLAGS in the
# environment would take its place.
#
# A failure prints the seed, the command that plays it again, and the end of its timeline.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() { sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2; }

number() {
  case "${2:-}" in
    ''|*[!0-9]*) echo "sim.sh: $1 wants a number, not '${2:-}'" >&2; exit 2 ;;
  esac
}

while [ $# -gt 0 ]; do
  case "$1" in
    --seeds) number "$@"; export OTTLA_SIM_SEEDS=$2; shift 2 ;;
    --from) number "$@"; export OTTLA_SIM_FROM=$2; shift 2 ;;
    --seed) number "$@"; export OTTLA_SIM_SEED=$2 OTTLA_SIM_TIMELINE="$PWD/sim-$2.txt"; shift 2 ;;
    *) usage ;;
  esac
done
[ -n "${OTTLA_SIM_SEEDS:-}${OTTLA_SIM_SEED:-}" ] || usage
# Optimised a little, with all assertions: four times as many seeds in the same time.
export CARGO_PROFILE_TEST_OPT_LEVEL=${CARGO_PROFILE_TEST_OPT_LEVEL:-1}
exec cargo test --locked --test sim what_was -- --nocapture
