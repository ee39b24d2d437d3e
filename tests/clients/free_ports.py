"""Prints the first of N adjacent ports on 127.0.0.1 that nothing listens on."""

import os
import socket
import sys


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
            return True
        except OSError:
            return False


count = int(sys.argv[1])
start = 12_000 + os.getpid() % 15_000
for first in range(start, start + 4_000, count):
    # `ottla dev` puts its controllers 1000 above its brokers.
    if all(is_free(first + index) and is_free(first + 1000 + index) for index in range(count)):
        print(first)
        break
else:
    sys.exit("no adjacent free ports")
