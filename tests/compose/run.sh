#!/usr/bin/env bash
# The docker-compose.yml itself: start, produce, kill the leader's container, consume everything,
# start it again, ISR back to three. Uses whatever ports the file maps, on loopback.
set -euo pipefail
cd "$(dirname "$0")/../.."

docker info >/dev/null 2>&1 || { echo "skipped: no Docker engine answers"; exit 99; }
if docker compose version >/dev/null 2>&1; then compose=(docker compose); else compose=(docker-compose); fi
"${compose[@]}" version >/dev/null 2>&1 || { echo "skipped: neither docker compose nor docker-compose is here"; exit 99; }

have() { docker image inspect "$@" >/dev/null 2>&1; }
registry_images="rust:1.95-slim-bookworm debian:bookworm-slim"
# shellcheck disable=SC2086
if ! have $registry_images && { have ottla-base-build:local ottla-base-run:local ||
   ! timeout 30 docker pull -q debian:bookworm-slim >/dev/null 2>&1; }; then
  # No registry: our own base images.
  if ! have ottla-base-build:local ottla-base-run:local; then
    command -v debootstrap >/dev/null || { echo "skipped: no image registry and no debootstrap"; exit 99; }
    ./scripts/docker-base-images.sh
  fi
  export OTTLA_BUILD_IMAGE=ottla-base-build:local OTTLA_RUN_IMAGE=ottla-base-run:local
fi

export COMPOSE_PROJECT_NAME=ottla-test
finish() {
  status=$?
  [ "$status" -eq 0 ] || "${compose[@]}" logs --tail=40 || true
  "${compose[@]}" down -v --timeout 20 >/dev/null 2>&1 || true
  exit "$status"
}
trap finish EXIT

tool() { "${compose[@]}" exec -T "$1" ottla "${@:2}"; }
await() { # await WHAT COMMAND...: up to 60 s
  local what=$1; shift
  for _ in $(seq 300); do if "$@" >/dev/null 2>&1; then return 0; fi; sleep 0.2; done
  echo "waited 60 s for $what"; return 1
}
in_sync() { [ "$(tool "$1" topics --describe --topic orders | grep -cE 'Isr: [123],[123],[123]')" -eq 3 ]; }
healthy() { [ "$(docker ps -q --filter label=com.docker.compose.project=ottla-test --filter health=healthy | wc -l)" -eq "$1" ]; }

# One build for the three that share the image.
"${compose[@]}" build ottla-1
"${compose[@]}" up --no-build -d
await "three healthy containers" healthy 3
tool ottla-1 topics --create --topic orders --partitions 3 --replication-factor 3
await "three replicas in sync" in_sync ottla-1

seq 1 3000 | tool ottla-1 console-producer --topic orders --request-required-acks all
leader=$(tool ottla-1 topics --describe --topic orders | sed -n 's/.*Partition: 0\tLeader: \([0-9]\).*/\1/p')
echo "killing ottla-$leader, the leader of orders-0"
"${compose[@]}" kill "ottla-$leader"
other=ottla-$((leader % 3 + 1))

seq 3001 6000 | tool "$other" console-producer --topic orders --request-required-acks all
tool "$other" console-consumer --topic orders --from-beginning --max-messages 6000 --timeout-ms 60000 2>/dev/null |
  sort -n | diff -q - <(seq 1 6000) || { echo "not every record came back exactly once"; exit 1; }

"${compose[@]}" start "ottla-$leader"
await "the ISR to be whole again" in_sync "$other"
await "three healthy containers" healthy 3
echo "compose: ok"
