#!/usr/bin/env bash
# Makes the two base images of the Dockerfile where no image registry is reached: from Debian's
# packages (by debootstrap, which must be installed and needs root) and the Rust toolchain and crates
# that this machine already has. Afterwards:
#
#   export OTTLA_BUILD_IMAGE=ottla-base-build:local OTTLA_RUN_IMAGE=ottla-base-run:local
#   docker compose up --build
#
# The build needs no network then. Run this again when Cargo.lock or the toolchain changes.
set -euo pipefail
cd "$(dirname "$0")/.."

[ "$(id -u)" = 0 ] || { echo "debootstrap needs root: run this with sudo" >&2; exit 1; }
command -v debootstrap >/dev/null || { echo "debootstrap is missing: apt-get install debootstrap" >&2; exit 1; }
docker info >/dev/null 2>&1 || { echo "no Docker engine answers on this machine" >&2; exit 1; }

suite=${DEBIAN_SUITE:-bookworm}
triple=$(rustc -vV | sed -n 's/^host: //p')
sysroot=$(rustc --print sysroot)
cargo_home=${CARGO_HOME:-$HOME/.cargo}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root

echo "== packages of Debian $suite"
debootstrap --variant=minbase --include=gcc,g++,libc6-dev,make,pkg-config "$suite" "$root" >"$work/log" ||
  { tail -n 20 "$work/log" >&2; exit 1; }

echo "== ottla-base-run:local (the C library, a shell and the basic tools)"
# Only these packages' files: no package manager, no perl, no compiler.
kept="base-files base-passwd libc6 libgcc-s1 dash coreutils libacl1 libattr1 libgmp10 libselinux1 libpcre2-8-0"
for package in $kept; do
  cat "$root"/var/lib/dpkg/info/"$package".list "$root"/var/lib/dpkg/info/"$package":*.list 2>/dev/null || true
done | sed -E 's#^/(bin|sbin|lib|lib64)/#/usr/\1/#; s#^/##; /^\.?$/d' |
  grep -vE '^usr/(share/(doc|man|locale|info|lintian)|lib/x86_64-linux-gnu/gconv)(/|$)' >"$work/files"
for file in bin sbin lib lib64 etc/passwd etc/group etc/ld.so.cache usr/lib64; do
  [ ! -e "$root/$file" ] || echo "$file"
done >>"$work/files"
sort -u "$work/files" | (cd "$root" && while read -r file; do [ ! -e "$file" ] && [ ! -L "$file" ] || echo "$file"; done) >"$work/kept"
tar -C "$root" --no-recursion -T "$work/kept" -c | docker import \
  --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
  - ottla-base-run:local >/dev/null

echo "== ottla-base-build:local (with gcc, make, the installed Rust toolchain and the crates of Cargo.lock)"
cargo fetch --locked --quiet --target "$triple"
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale,info}/*
mkdir -p "$root/opt/rust/bin" "$root/opt/rust/lib/rustlib" "$root/opt/cargo/registry"
cp -a "$sysroot"/bin/{rustc,cargo} "$root/opt/rust/bin/"
cp -a "$sysroot"/lib/*.so* "$root/opt/rust/lib/"
cp -a "$sysroot/lib/rustlib/$triple" "$root/opt/rust/lib/rustlib/"
# What cargo unpacks (registry/src) it unpacks again.
cp -a "$cargo_home"/registry/{cache,index} "$root/opt/cargo/registry/"
tar -C "$root" -c . | docker import \
  --change 'ENV PATH=/opt/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
  --change 'ENV CARGO_HOME=/opt/cargo' --change 'ENV CARGO_NET_OFFLINE=true' \
  - ottla-base-build:local >/dev/null

docker images --format '{{.Repository}}:{{.Tag}} {{.Size}}' | grep ottla-base
