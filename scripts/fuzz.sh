#!/usr/bin/env bash
# Fuzzes the decoders: frames, requests, responses, record batches and codecs, and everything that is
# stored or said between nodes.
#
#   ./scripts/fuzz.sh            a minute for each target
#   ./scripts/fuzz.sh SECONDS    as many seconds for each
#   ./scripts/fuzz.sh SECONDS TARGET...
#
# Needs cargo-fuzz (cargo install cargo-fuzz). No nightly toolchain: the instrumentation is in the stable
# compiler; only its memory checker is not, and the crate forbids unsafe code. What is found lies in
# fuzz/artifacts; a choice of what reaches far is kept in fuzz/corpus, which `cargo test --test protocol fuzzed`
# goes through.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo fuzz --version >/dev/null 2>&1 || { echo "fuzz.sh: cargo-fuzz is not installed (cargo install cargo-fuzz)" >&2; exit 2; }
seconds=${1:-60}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(cargo fuzz list)

mkdir -p "${CARGO_TARGET_DIR:-target}"
target_dir=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)
seeds=$target_dir/fuzz-seeds
SEEDS=$seeds cargo test --locked --quiet --test protocol -- --ignored seeds_are_written >/dev/null
export CARGO_TARGET_DIR=$target_dir/fuzz
cargo fuzz build --sanitizer none
for target in "${targets[@]}"; do
  echo "== $target"
  found=$target_dir/fuzz-found/$target
  mkdir -p "$found" "fuzz/artifacts/$target"
  # A small input that takes seconds, or a gigabyte, is as bad as a crash.
  cargo fuzz run --sanitizer none "$target" "$found" "fuzz/corpus/$target" "$seeds/$target" -- \
    -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -max_len=4096 -print_final_stats=1
  # The smallest set of inputs that reach what all of them reach.
  kept=$(mktemp -d)
  cargo fuzz run --sanitizer none "$target" "$kept" "$found" "fuzz/corpus/$target" "$seeds/$target" -- \
    -merge=1 -max_len=1024 >/dev/null 2>&1
  find "fuzz/corpus/$target" -type f -name '[0-9a-f]*' -not -name '*-*' -delete
  # Of those forty, from the smallest to the largest.
  count=$(find "$kept" -type f | wc -l)
  find "$kept" -type f -printf '%s %p\n' | sort -n |
    awk -v count="$count" '{ step = int(NR * 40 / count); if (step != last) { last = step; print $2 } }' |
    xargs -r cp -t "fuzz/corpus/$target"
  rm -rf "$kept"
done
