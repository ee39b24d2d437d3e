"""confluent-kafka: retention, DeleteRecords, compaction and changed configurations, while the log is in use.

The brokers look for old segments and for dirty ones every half second (run.sh sees to that)."""

import time

from confluent_kafka import (OFFSET_END, TIMESTAMP_LOG_APPEND_TIME, Consumer, KafkaError, KafkaException, Producer,
                             TopicPartition)
from confluent_kafka.admin import (AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, OffsetSpec)

from expected import BASE_TIME_MS, BOOTSTRAP, new_name
from log_model import Model
from waiting import all_at_once, until

admin = AdminClient({"bootstrap.servers": BOOTSTRAP})
SMALL = {"internal.segment.bytes": "4000", "min.insync.replicas": "2", "file.delete.delay.ms": "0"}


def only(futures: dict):
    """The result of a call for one thing."""
    (future,) = futures.values()
    return future.result(30)


def create(prefix: str, **config) -> str:
    name = new_name(prefix)
    settings = {**SMALL, **{key.replace("_", "."): value for key, value in config.items()}}
    only(admin.create_topics([NewTopic(name, 1, 3, config=settings)], operation_timeout=30))
    return name


def alter(topic: str, **config) -> None:
    """Sets configurations of the topic; None: back to what is the default."""
    entries = [ConfigEntry(key.replace("_", "."), value, incremental_operation=AlterConfigOpType.DELETE
                           if value is None else AlterConfigOpType.SET) for key, value in config.items()]
    only(admin.incremental_alter_configs([ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=entries)]))


class Writer:
    """Writes to partition 0, batch by batch, and into the model what was acknowledged."""

    def __init__(self, topic: str) -> None:
        self.topic, self.model, self.errors = topic, Model(), []
        # Idempotent: a retry of what was acknowledged late would lie there twice.
        self.producer = Producer({"bootstrap.servers": BOOTSTRAP, "acks": "all", "enable.idempotence": True,
                                  "batch.size": 1000, "linger.ms": 2})

    def write(self, records, timestamp: int = 0) -> None:
        for key, value in records:
            def delivered(error, message, key=key, value=value):
                if error:
                    self.errors.append(error)
                else:
                    self.model.wrote(message.offset(), key, value)
            self.producer.produce(self.topic, value, key, 0, on_delivery=delivered, timestamp=timestamp)
        assert self.producer.flush(60) == 0, f"{self.topic}: records are still under way"

    def wrote(self, records, timestamp: int = 0) -> None:
        self.write(records, timestamp)
        assert not self.errors, self.errors


# The client marks errors as retriable only where transactions are concerned.
LEADER_MOVES = {KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE, KafkaError.FENCED_LEADER_EPOCH,
                KafkaError.UNKNOWN_LEADER_EPOCH, KafkaError.OFFSET_NOT_AVAILABLE, KafkaError.REQUEST_TIMED_OUT,
                KafkaError._TIMED_OUT, KafkaError._TRANSPORT}


def edge(topic: str, spec) -> int:
    """Where partition 0 begins or ends, asked again while its leader moves."""
    answers = []

    def ask() -> None:
        try:
            answers.append(only(admin.list_offsets({TopicPartition(topic, 0): spec})).offset)
        except KafkaException as problem:
            assert problem.args[0].code() in LEADER_MOVES, problem

    until(f"the leader of {topic}", lambda: answers, ask)
    return answers[0]


def read(topic: str) -> dict:
    """All records of partition 0 by offset, as the model has them."""
    return {message.offset(): (message.key(), message.value()) for message in messages(topic)}


def messages(topic: str) -> list:
    low, high = edge(topic, OffsetSpec.earliest()), edge(topic, OffsetSpec.latest())
    consumer = Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": "none", "enable.auto.commit": False,
                         "auto.offset.reset": "error", "check.crcs": True, "enable.partition.eof": True})
    consumer.assign([TopicPartition(topic, 0, low)])
    found, ended = [], low >= high

    def poll() -> None:
        nonlocal ended
        message = consumer.poll(1)
        if message is not None and message.error():
            assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
            ended = True
        elif message is not None:
            found.append(message)

    until(f"the end of {topic} at {high}", lambda: ended, poll)
    consumer.close()
    return found


def sized(numbers) -> list:
    return [(b"key-%d" % number, b"%d " % number * 40) for number in numbers]


def retention_by_size() -> None:
    topic = create("retention-size", retention_bytes="12000")
    writer = Writer(topic)
    writer.wrote(sized(range(300)))
    low = until(f"the first segments of {topic} to go", lambda: edge(topic, OffsetSpec.earliest()))
    # Whole segments go, and only while what stays is at least as much as is to be kept.
    settled = until(f"retention of {topic} to rest", lambda: settles(topic))
    assert settled >= low
    found = read(topic)
    assert found == writer.model.from_offset(settled), f"{sorted(found)[:3]} from {settled}"
    kept = sum(len(key) + len(value) for key, value in found.values())
    assert 12_000 - 4_000 <= kept <= 40_000, f"{kept} bytes are kept"
    alter(topic, retention_bytes="-1")
    writer.wrote(sized(range(300, 500)))
    time.sleep(1.5)  # three rounds in which nothing may go
    assert edge(topic, OffsetSpec.earliest()) == settled
    assert read(topic) == writer.model.from_offset(settled)


def settles(topic: str):
    """Where the log starts, if that stays so for three rounds of retention."""
    before = edge(topic, OffsetSpec.earliest())
    time.sleep(1.5)
    return before if edge(topic, OffsetSpec.earliest()) == before else None


def retention_by_time() -> None:
    topic = create("retention-time", retention_ms="-1")
    writer = Writer(topic)
    writer.wrote(sized(range(100)), BASE_TIME_MS)
    writer.wrote(sized(range(100, 200)))
    time.sleep(1.5)
    assert read(topic) == writer.model.from_offset(0), "something went although everything is to be kept"
    alter(topic, retention_ms="86400000")
    low = until(f"the old segments of {topic} to go", lambda: settles(topic))
    # One segment may hold old and new records: it stays.
    assert 50 < low <= 100, f"the log starts at {low}"
    assert read(topic) == writer.model.from_offset(low)


def deleting_records() -> None:
    topic = create("delete-records")
    writer = Writer(topic)
    writer.wrote(sized(range(100)))

    def delete(before: int) -> int:
        return only(admin.delete_records([TopicPartition(topic, 0, before)])).low_watermark

    assert delete(37) == 37
    assert edge(topic, OffsetSpec.earliest()) == 37
    assert read(topic) == writer.model.from_offset(37)
    assert delete(20) == 37, "what is deleted does not come back"
    try:
        delete(101)
        raise AssertionError("records were deleted that are not there")
    except KafkaException as problem:
        assert problem.args[0].code() == KafkaError.OFFSET_OUT_OF_RANGE, problem
    writer.wrote(sized(range(100, 120)))
    assert delete(OFFSET_END) == 120
    assert read(topic) == {}
    writer.wrote(sized(range(120, 130)))
    assert read(topic) == writer.model.from_offset(120)


def compaction() -> None:
    topic = create("compaction", cleanup_policy="compact", min_cleanable_dirty_ratio="0.01",
                   delete_retention_ms="1000")
    writer = Writer(topic)
    for generation in range(12):
        writer.wrote([(b"key-%d" % key, None if (key + generation) % 9 == 0 else b"%d of %d " % (key, generation) * 6)
                      for key in range(60)])
    written = len(writer.model.records)
    # Appending goes on: the last segment is never cleaned.
    fillers = iter(range(1_000_000))

    def few_are_left() -> bool:
        found = read(topic)
        writer.model.check_compacted(found)
        return len(found) < written // 3

    until(f"{topic} to be compacted", few_are_left,
          lambda: writer.wrote([(b"filler", b"%d " % next(fillers) * 30)] * 5))

    def tombstones_are_gone() -> bool:
        found = read(topic)
        writer.model.check_compacted(found)
        return not any(value is None for _, value in found.values())

    until(f"the tombstones of {topic} to go", tombstones_are_gone,
          lambda: writer.wrote([(b"filler", b"%d " % next(fillers) * 30)] * 20))


def compacting_a_topic_that_was_not() -> None:
    topic = create("compaction-later", min_cleanable_dirty_ratio="0.01")
    writer = Writer(topic)
    for generation in range(10):
        writer.wrote([(b"key-%d" % key, b"%d of %d " % (key, generation) * 6) for key in range(40)])
    time.sleep(1.5)
    assert read(topic) == writer.model.from_offset(0)
    alter(topic, cleanup_policy="compact")

    def few_are_left() -> bool:
        found = read(topic)
        writer.model.check_compacted(found)
        return len(found) < 200

    until(f"{topic} to be compacted", few_are_left)


def changed_rules() -> None:
    topic = create("changed-rules")
    writer = Writer(topic)
    writer.wrote([(b"k", b"x" * 3_000)])
    alter(topic, max_message_bytes="1000", message_timestamp_type="LogAppendTime", compression_type="gzip")

    def refused() -> bool:
        writer.write([(b"k", b"".join(b"%d" % (number * 7919) for number in range(400)))])
        return bool(writer.errors)

    until(f"{topic} to refuse what is too large now", refused)
    assert writer.errors[0].code() == KafkaError.MSG_SIZE_TOO_LARGE, writer.errors
    writer.errors.clear()
    writer.wrote(sized(range(10)), BASE_TIME_MS)
    last = messages(topic)[-1]
    kind, timestamp = last.timestamp()
    assert kind == TIMESTAMP_LOG_APPEND_TIME and timestamp > BASE_TIME_MS + 1_000_000, (kind, timestamp)
    alter(topic, max_message_bytes=None, message_timestamp_type=None)

    def accepted() -> bool:
        writer.errors.clear()
        writer.write([(b"k", b"x" * 3_000)])
        return not writer.errors

    until(f"{topic} to take larger records again", accepted)
    assert read(topic) == writer.model.from_offset(0)


def a_topic_made_again() -> None:
    topic = create("made-again")
    writer = Writer(topic)
    writer.wrote(sized(range(100)))
    only(admin.delete_topics([topic], operation_timeout=30))

    def made() -> bool:
        try:
            only(admin.create_topics([NewTopic(topic, 1, 3, config=SMALL)], operation_timeout=30))
            return True
        except KafkaException as problem:
            assert problem.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS, problem
            return False

    until(f"{topic} to be made again", made)
    again = Writer(topic)
    again.wrote(sized(range(1000, 1020)))
    assert again.model.end == 20, "the new topic goes on where the old one ended"
    assert read(topic) == again.model.from_offset(0)


all_at_once([(scenario.__name__, scenario) for scenario in [
    a_topic_made_again, changed_rules, compacting_a_topic_that_was_not, compaction, deleting_records,
    retention_by_size, retention_by_time]])
