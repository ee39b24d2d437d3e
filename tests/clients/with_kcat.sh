#!/usr/bin/env bash
# kcat: list, produce with every codec with keys and headers, read back; consume in a group.
set -euo pipefail
for codec in none gzip snappy lz4 zstd; do
  topic=kcat-$codec-$RANDOM
  seq 1 100 | sed 's/.*/key-&:value &/' |
    kcat -b "$BOOTSTRAP" -P -t "$topic" -p 0 -K : -z "$codec" -H "codec=$codec" -X enable.idempotence=true
  kcat -b "$BOOTSTRAP" -C -t "$topic" -p 0 -o beginning -c 100 -q -f '%k:%s:%h:%o\n' >/tmp/kcat.$$
  seq 1 100 | awk -v codec="$codec" '{ printf "key-%d:value %d:codec=%s:%d\n", $1, $1, codec, $1 - 1 }' |
    diff - /tmp/kcat.$$ || { echo "kcat $codec: not what was sent"; exit 1; }
  rm -f /tmp/kcat.$$
done

fail() { echo "kcat: $1"; exit 1; }
topic=kcat-nulls-$RANDOM$RANDOM
printf 'a:1\nb:\n:c\n' | kcat -b "$BOOTSTRAP" -P -t "$topic" -p 0 -K : -Z
found=$(kcat -b "$BOOTSTRAP" -C -t "$topic" -p 0 -o beginning -e -q -f '%K %k %S %s,')
[ "$found" = '1 a 1 1,1 b -1 ,-1  1 c,' ] || fail "null keys and values came back as $found"
[ "$(kcat -b "$BOOTSTRAP" -C -t "$topic" -p 0 -o -1 -e -q)" = c ] || fail 'the last record is not c'
[ "$(kcat -b "$BOOTSTRAP" -C -t "$topic" -p 0 -o s@0 -c 1 -q)" = 1 ] || fail 'no record since 1970'
[ "$(kcat -b "$BOOTSTRAP" -Q -t "$topic:0:-1")" = "$topic [0] offset 3" ] || fail 'the end is not at 3'

# In a group: what one run has committed the next one does not see again.
topic=kcat-group-$RANDOM$RANDOM
seq 1 10 | kcat -b "$BOOTSTRAP" -P -t "$topic" -p 0
in_group() {
  timeout 60 kcat -b "$BOOTSTRAP" -G "$topic" -c "$1" -q -f '%o ' -X auto.offset.reset=earliest \
    -X session.timeout.ms=6000 "$topic"
}
[ "$(in_group 4)" = '0 1 2 3 ' ] || fail 'a group does not begin at the beginning'
[ "$(in_group 6)" = '4 5 6 7 8 9 ' ] || fail 'a group does not go on where it stopped'

# A client that takes the broker for 0.9, from before ApiVersions and record batches, is told so at once.
told=$(echo x | timeout 20 kcat -b "$BOOTSTRAP" -P -t "$topic" -p 0 -X api.version.request=false \
  -X broker.version.fallback=0.9.0 2>&1) && fail 'a record of an old format was taken'
case $told in *Delivery\ failed*) ;; *) fail "an old client was told: $told" ;; esac

kcat -b "$BOOTSTRAP" -L | grep -q '3 brokers' || { echo 'kcat -L does not list three brokers'; exit 1; }
