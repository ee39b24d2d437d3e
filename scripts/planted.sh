#!/usr/bin/env bash
# Plants bugs into a copy of the product, one at a time, and tells how many seeds of the simulation it
# takes to find each. The bugs are listed in tests/sim/planted.
#
#   ./scripts/planted.sh [--seeds N] [--from SEED] [NAME...]   these bugs, or all; at most N seeds each
#                                                              (default 200), from SEED (default 1) on
#   ./scripts/planted.sh --list                                their names, and what each breaks
#
# Ends with 1 if a bug was missed, or if a seed fails where none is planted.
set -euo pipefail
cd "$(dirname "$0")/.."

seeds=200 from=1 names=()
while [ $# -gt 0 ]; do
  case "$1" in
    --seeds) seeds=$2; shift 2 ;;
    --from) from=$2; shift 2 ;;
    --list) seeds=0; shift ;;
    -*) sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    *) names+=("$1"); shift ;;
  esac
done

target=${CARGO_TARGET_DIR:-$PWD/target}
export OTTLA_PLANTED_COPY="$target/planted"
cargo test --quiet --locked --test sim planted::plant::write_the_copy -- --ignored --exact >/dev/null
if [ "$seeds" = 0 ]; then
  column -t -s "$(printf '\t')" "$OTTLA_PLANTED_COPY/bugs.tsv"
  exit
fi
built=$(CARGO_TARGET_DIR="$target" cargo test --manifest-path "$OTTLA_PLANTED_COPY/Cargo.toml" \
  --test sim --no-run --message-format json-render-diagnostics)
simulation=$(printf '%s\n' "$built" | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -1)
[ ${#names[@]} -gt 0 ] || mapfile -t names < <(cut -f 1 "$OTTLA_PLANTED_COPY/bugs.tsv")

# try NAME SEEDS: the first seed that fails with that bug and what it says, or nothing.
try() {
  local said failed ended=0
  said=$(OTTLA_PLANTED=$1 OTTLA_SIM_STOP=1 OTTLA_SIM_SEEDS=$2 OTTLA_SIM_FROM=$from \
    timeout 3600 "$simulation" what_was_acknowledged --nocapture 2>&1) || ended=$?
  # The product says which bug it was asked for.
  if [[ $said != *"planted: Some(\"$1\")"* ]]; then
    echo "planted.sh: what was run is not the copy in which bugs can be chosen" >&2
    exit 3
  fi
  [ "$ended" != 0 ] || return 0
  failed=$(printf '%s\n' "$said" | sed -n 's/^seed \([0-9]*\): .* operations: \(.*\)/\1 \2/p' \
    | grep -v ' ok$' | sort -n | head -1) || true
  echo "${failed:-$from the simulation itself ended: $(printf '%s\n' "$said" | tail -1)}"
}

missed=0
clean=$(try none 10)
if [ -n "$clean" ]; then
  echo "planted.sh: without a bug seed $clean" >&2
  missed=1
fi
printf '%-42s %5s  %s\n' bug seeds 'what is said'
for name in "${names[@]}"; do
  grep -q "^$name$(printf '\t')" "$OTTLA_PLANTED_COPY/bugs.tsv" || {
    echo "planted.sh: there is no bug $name" >&2
    exit 2
  }
  found=$(try "$name" "$seeds")
  if [ -n "$found" ]; then
    printf '%-42s %5d  %s\n' "$name" $((${found%% *} - from + 1)) "$(printf '%s' "${found#* }" | cut -c 1-200)"
  else
    printf '%-42s %5s  missed in %d seeds\n' "$name" - "$seeds"
    missed=1
  fi
done
exit "$missed"
