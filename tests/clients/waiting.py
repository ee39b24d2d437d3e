"""Waiting that is bounded, and says what it waited for."""

import time
from concurrent.futures import ThreadPoolExecutor

PATIENCE_S = 45


def until(what: str, check, step=lambda: time.sleep(0.02)):
    """Calls `step` until `check` gives something, and gives that."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {PATIENCE_S} s for {what}")
        step()


def all_at_once(scenarios) -> None:
    """Runs calls that mostly wait beside one another; raises the first failure after naming each."""
    with ThreadPoolExecutor(len(scenarios)) as pool:
        running = [(name, pool.submit(call, *arguments)) for name, call, *arguments in scenarios]
    failures = [(name, future.exception()) for name, future in running if future.exception()]
    for name, failure in failures:
        print(f"  {name}: {failure}")
    if failures:
        raise failures[0][1]
