"""What one partition should hold: the same writes, replayed."""


class Model:
    """A partition's records by offset, as they were acknowledged."""

    def __init__(self) -> None:
        self.records = {}

    def wrote(self, offset: int, key, value) -> None:
        assert offset not in self.records, f"offset {offset} was given twice"
        self.records[offset] = (key, value)

    @property
    def end(self) -> int:
        return max(self.records, default=-1) + 1

    def from_offset(self, start: int) -> dict:
        """What is left when the log starts at `start`."""
        return {offset: record for offset, record in self.records.items() if offset >= start}

    def last_per_key(self) -> dict:
        """What compaction must keep: the last value of each key, and where it stands; no tombstones."""
        last = {key: (offset, value) for offset, (key, value) in sorted(self.records.items())}
        return {key: found for key, found in last.items() if found[1] is not None}

    def check_part(self, found: dict) -> None:
        """Raises unless all that was found was written so, and there."""
        for offset, record in found.items():
            assert self.records.get(offset) == record, f"{offset}: {record} is not {self.records.get(offset)}"

    def check_compacted(self, found: dict) -> None:
        """Raises unless `found` is what compaction may leave: offsets as they were, and no last value gone."""
        self.check_part(found)
        last = {key: (offset, value) for offset, (key, value) in sorted(found.items())}
        alive = {key: record for key, record in last.items() if record[1] is not None}
        wanted = self.last_per_key()
        assert alive == wanted, f"{set(alive.items()) ^ set(wanted.items())} differ"
