#!/usr/bin/env bash
# Runs every check and test of the project, and sets up what they need.
#
# Needs: a Rust toolchain, a C compiler, make and Python 3. What else a part needs (kcat, the Python
# clients, a Docker engine) is set up where that can be done without asking; a part whose needs
# cannot be met says so in one line and counts as skipped.
#
#   ./scripts/test.sh            everything
#   ./scripts/test.sh NAME...    only these parts: format lint unit cluster clients compose deny
set -uo pipefail
cd "$(dirname "$0")/.."

export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-never}
passed=0 failed=0 skipped=0
failures=()
parts=("$@")
[ ${#parts[@]} -gt 0 ] || parts=(format lint unit cluster clients compose deny)

say() { printf '\n== %s\n' "$*"; }
skip() { printf 'skipped: %s\n' "$*"; return 99; }

format() { cargo fmt --check; }

lint() { cargo clippy --locked --all-targets --quiet -- -D warnings; }

# Everything that `cargo test` knows but the tests that start real processes.
unit() {
  local targets=(--lib) test
  for test in tests/*.rs tests/*/main.rs; do
    [ -e "$test" ] || continue
    test=${test%/main.rs}; test=$(basename "${test%.rs}")
    [ "$test" = cluster ] || targets+=(--test "$test")
  done
  cargo test --locked "${targets[@]}" --benches --no-run --quiet &&
    cargo test --locked "${targets[@]}" --quiet
}

# Real broker processes under load, one cluster at a time; with the checks of a debug build.
cluster() { cargo test --locked --test cluster -- --test-threads=1; }

clients() {
  command -v python3 >/dev/null || { skip 'clients: no python3 on this machine'; return; }
  ./tests/clients/run.sh
}

compose() {
  docker info >/dev/null 2>&1 || { skip 'compose: no Docker engine answers on this machine'; return; }
  ./tests/compose/run.sh
}

deny() {
  cargo deny --version >/dev/null 2>&1 || { skip 'deny: cargo-deny is not installed (cargo install cargo-deny)'; return; }
  cargo deny check
}

for part in "${parts[@]}"; do
  case " format lint unit cluster clients compose deny " in
    *" $part "*) ;;
    *) echo "test.sh: no part is called '$part'; there are: format lint unit cluster clients compose deny" >&2; exit 2 ;;
  esac
  say "$part"
  started=$SECONDS
  "$part"
  status=$?
  case $status in
    0) passed=$((passed + 1)); echo "$part: ok, $((SECONDS - started)) s" ;;
    99) skipped=$((skipped + 1)) ;;
    *) failed=$((failed + 1)); failures+=("$part"); echo "$part: FAILED (exit $status), $((SECONDS - started)) s" ;;
  esac
done

say "parts in $SECONDS s${failures[*]:+; failed: ${failures[*]}}"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
