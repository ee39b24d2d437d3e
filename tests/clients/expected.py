"""The records that every program sends and expects back."""

import os
import uuid

BOOTSTRAP = os.environ["BOOTSTRAP"]
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
COUNT = 100
BASE_TIME_MS = 1_700_000_000_000
# The records' times are long past: without this, retention may take them away at any moment.
TOPIC_CONFIG = {"retention.ms": "-1"}


def new_name(prefix: str) -> str:
    """A topic that no other run has made."""
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def record(number: int) -> dict:
    """Record `number`: key, value, headers and timestamp; some keys and values are null."""
    return {
        "key": None if number % 10 == 3 else b"key-%d" % number,
        "value": None if number % 10 == 7 else (b"value %d " % number) * (number % 50),
        "headers": [("n", b"%d" % number), ("blob", bytes(range(256)))],
        "timestamp": BASE_TIME_MS + number,
    }


def check(number: int, key, value, headers, timestamp, offset) -> None:
    """Raises unless record `number` came back byte for byte at its offset."""
    wanted = record(number)
    got = {"key": key, "value": value, "headers": [(k, bytes(v)) for k, v in headers], "timestamp": timestamp}
    assert got == wanted, f"record {number}: {got} is not {wanted}"
    assert offset == number, f"record {number} came back at offset {offset}"
