#!/usr/bin/env bash
# Short programs with the clients that people use, against three brokers of `ottla dev`.
# Sets up a Python environment under target/, and kcat from the system's packages if it is missing
# and we may install it; a client that cannot be had is named and skipped. OTTLA names a binary to
# test instead of building one; arguments name the programs to run, without their endings.
set -euo pipefail
cd "$(dirname "$0")/../.."

target=${CARGO_TARGET_DIR:-target}
if [ -z "${OTTLA:-}" ]; then
  cargo build --locked --quiet
  OTTLA=$(cd "$target" && pwd)/debug/ottla
fi

mkdir -p "$target"
venv=$(cd "$target" && pwd)/clients-venv
if ! "$venv/bin/python" -c 'import aiokafka, confluent_kafka, kafka' 2>/dev/null; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet -r tests/clients/requirements.txt
fi
if ! command -v kcat >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  (apt-get install -y -q kcat || (apt-get update -q && apt-get install -y -q kcat)) >/dev/null 2>&1 || true
fi

work=$(mktemp -d)
port=$("$venv/bin/python" tests/clients/free_ports.py 3)
# The life of a log in seconds: whoever makes rounds over logs makes them often.
OTTLA_LOG_RETENTION_CHECK_INTERVAL_MS=500 OTTLA_LOG_CLEANER_BACKOFF_MS=500 \
  "$OTTLA" dev --brokers 3 --port "$port" --data-dir "$work/data" >"$work/dev.log" 2>&1 &
dev=$!
finish() {
  status=$?
  kill -TERM "$dev" 2>/dev/null || true
  wait "$dev" 2>/dev/null || true
  if [ "$status" -ne 0 ]; then
    echo "--- ottla dev said"; tail -n 30 "$work/dev.log"
    for log in "$work"/data/*.log; do echo "--- $log"; tail -n 30 "$log"; done
  fi
  rm -rf "$work"
  exit "$status"
}
trap finish EXIT

for _ in $(seq 300); do
  grep -q '^ready: ' "$work/dev.log" && break
  kill -0 "$dev" || { echo "ottla dev has ended"; exit 1; }
  sleep 0.1
done
grep -q '^ready: ' "$work/dev.log" || { echo "ottla dev was not ready after 30 s"; exit 1; }

export BOOTSTRAP="127.0.0.1:$port,127.0.0.1:$((port + 1)),127.0.0.1:$((port + 2))"
export DATA="$work/data"
failed=0
for program in tests/clients/with_*.py; do
  name=$(basename "$program" .py)
  if [ $# -gt 0 ] && [[ " $* " != *" $name "* ]]; then continue; fi
  if timeout 120 "$venv/bin/python" "$program"; then echo "$name: ok"; else echo "$name: FAILED"; failed=1; fi
done
if [ $# -gt 0 ] && [[ " $* " != *" with_kcat "* ]]; then
  exit "$failed"
elif command -v kcat >/dev/null; then
  if timeout 120 tests/clients/with_kcat.sh; then echo "with_kcat: ok"; else echo "with_kcat: FAILED"; failed=1; fi
else
  echo "skipped: kcat is not on this machine"
fi
exit "$failed"
