"""kafka-python: DeleteRecords, retention and compaction; and its own parser over the brokers' segment files."""

import glob
import os
import time

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from kafka.errors import KafkaError
from kafka.record import MemoryRecords

from expected import BOOTSTRAP, CODECS, new_name, record
from log_model import Model
from waiting import all_at_once, until

# Where the brokers of this machine keep their data.
DATA = os.environ["DATA"]
servers = BOOTSTRAP.split(",")
SMALL = {"internal.segment.bytes": "6000", "file.delete.delay.ms": "0", "retention.ms": "-1"}


def create(prefix: str, **config) -> str:
    topic = new_name(prefix)
    settings = {**SMALL, **{key.replace("_", "."): value for key, value in config.items()}}
    with_admin(lambda admin: admin.create_topics([NewTopic(topic, 1, 3, topic_configs=settings)]))
    return topic


def with_admin(call):
    admin = KafkaAdminClient(bootstrap_servers=servers)
    try:
        return call(admin)
    finally:
        admin.close()


def alter(topic: str, **config) -> None:
    settings = {key.replace("_", "."): value for key, value in config.items()}
    resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs=settings)
    with_admin(lambda admin: admin.alter_configs([resource]))


def write(topic: str, model: Model, records, codec: str = "none") -> None:
    """Writes records (key, value, headers, timestamp) to partition 0, in small batches."""
    producer = KafkaProducer(bootstrap_servers=servers, acks="all", batch_size=1500,
                             compression_type=None if codec == "none" else codec)
    pending = [(key, value, producer.send(topic, value, key, headers or [], partition=0, timestamp_ms=timestamp))
               for key, value, headers, timestamp in records]
    producer.flush(60)
    for key, value, future in pending:
        model.wrote(future.get(30).offset, key, value)
    producer.close()


def read(topic: str) -> dict:
    """All records of partition 0 by offset, as the model has them."""
    consumer = KafkaConsumer(bootstrap_servers=servers, group_id=None, auto_offset_reset="none")
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    low, high = consumer.beginning_offsets([partition])[partition], consumer.end_offsets([partition])[partition]
    consumer.seek(partition, low)
    found = {}

    def poll() -> None:
        for batch in consumer.poll(200).values():
            found.update({message.offset: (message.key, message.value) for message in batch})

    until(f"the end of {topic} at {high}", lambda: consumer.position(partition) >= high, poll)
    consumer.close()
    return found


def segments(topic: str) -> list:
    """The segment files of partition 0 on every broker, by broker."""
    directories = sorted(glob.glob(f"{DATA}/*/{topic}-0"))
    assert len(directories) == 3, f"{topic} is in {directories}"
    return [sorted(glob.glob(f"{directory}/*.log")) for directory in directories]


def parsed(files: list) -> list:
    """The records in segment files as kafka-python reads them: (record, its batch's codec)."""
    found = []
    for file in files:
        with open(file, "rb") as segment:
            content = segment.read()
        records = MemoryRecords(content)
        while records.has_next():
            batch = records.next_batch()
            assert batch.magic == 2 and batch.validate_crc(), f"{file}: batch {batch.base_offset}"
            inside = list(batch)
            assert batch.is_control_batch or len(inside) == batch.records_count
            if not batch.is_control_batch:
                found.extend((one, batch.compression_type) for one in inside)
        assert records.valid_bytes() == len(content), f"{file} has {len(content)} bytes"
    offsets = [one.offset for one, _ in found]
    assert offsets == sorted(set(offsets)), f"{files[:1]}: {offsets}"
    return found


def as_model(found: list) -> dict:
    return {one.offset: (one.key, one.value) for one, _ in found}


def segments_are_kafkas() -> None:
    for number, codec in enumerate(CODECS):
        topic, model = create(f"segments-{codec}"), Model()
        written = [record(number) for number in range(200)]
        write(topic, model, [(one["key"], one["value"], one["headers"], one["timestamp"]) for one in written], codec)

        def all_replicas_have_it() -> bool:
            return all(as_model(parsed(files)) == model.records for files in segments(topic))

        until(f"all replicas of {topic} to have everything in their files", all_replicas_have_it)
        for files in segments(topic):
            assert len(files) > 1, f"{topic} is in one segment"
            # The client leaves a batch as it is where its codec would make it larger.
            codecs = {compression for _, compression in parsed(files)}
            assert number in codecs and codecs <= {0, number}, f"{topic}: {codecs}"
            for wanted, (found, _) in zip(written, parsed(files)):
                assert (found.key, found.value) == (wanted["key"], wanted["value"])
                assert found.timestamp == wanted["timestamp"], found.timestamp
                assert [(key, bytes(value)) for key, value in found.headers] == wanted["headers"], found.headers


def recompressed_segments_are_kafkas() -> None:
    for kept, sent in [("gzip", "none"), ("zstd", "lz4"), ("uncompressed", "snappy"), ("lz4", "gzip"),
                       ("snappy", "zstd")]:
        topic, model = create(f"recompressed-{kept}", compression_type=kept), Model()
        write(topic, model, [(b"%d" % number, b"value %d " % number * 9, None, None) for number in range(100)], sent)
        codec = 0 if kept == "uncompressed" else CODECS.index(kept)
        until(f"all replicas of {topic} to have everything in their files",
              lambda: all(as_model(parsed(files)) == model.records for files in segments(topic)))
        for files in segments(topic):
            assert {compression for _, compression in parsed(files)} == {codec}, f"{topic}: {sent}"


def offsets_topic_is_kafkas() -> None:
    files = sorted(glob.glob(f"{DATA}/*/__consumer_offsets-*/*.log"))
    for file in files:
        try:
            parsed([file])
        except FileNotFoundError:
            pass  # compaction replaced it meanwhile


def deleting_records() -> None:
    topic, model = create("python-delete-records"), Model()
    write(topic, model, [(b"%d" % number, b"x" * 200, None, None) for number in range(100)])
    partition = TopicPartition(topic, 0)
    found = with_admin(lambda admin: admin.delete_records({partition: 42}))
    assert found[partition]["low_watermark"] == 42, found
    assert read(topic) == model.from_offset(42)
    try:
        with_admin(lambda admin: admin.delete_records({partition: 101}))
        raise AssertionError("records were deleted that are not there")
    except KafkaError as problem:
        assert "OffsetOutOfRange" in repr(problem) or "OffsetOutOfRange" in str(problem), repr(problem)


def retention() -> None:
    topic, model = create("python-retention"), Model()
    write(topic, model, [(b"%d" % number, b"x" * 200, None, None) for number in range(200)])
    assert read(topic) == model.from_offset(0)
    alter(topic, retention_bytes="15000")

    low = until(f"the first segments of {topic} to go", lambda: settles(topic))
    found = read(topic)
    assert found == model.from_offset(low) and len(found) < 120, f"{sorted(found)} from {low}"


def settles(topic: str):
    """Where the log starts, if something is gone and that stays so for three rounds of retention."""
    before = start(topic)
    time.sleep(1.5)
    return before if before == start(topic) else None


def start(topic: str) -> int:
    consumer = KafkaConsumer(bootstrap_servers=servers, group_id=None)
    partition = TopicPartition(topic, 0)
    found = consumer.beginning_offsets([partition])[partition]
    consumer.close()
    return found


def compaction() -> None:
    topic = create("python-compaction", cleanup_policy="compact", min_cleanable_dirty_ratio="0.01")
    model = Model()
    for generation in range(10):
        write(topic, model, [(b"key-%d" % key, os.urandom(60), None, None)
                             for key in range(50)], CODECS[generation % 5])

    def few_are_left() -> bool:
        found = read(topic)
        model.check_compacted(found)
        return len(found) < 250

    until(f"{topic} to be compacted", few_are_left)

    def files_are_good() -> bool:
        try:
            for files in segments(topic):
                model.check_compacted(as_model(parsed(files)))
            return True
        except FileNotFoundError:
            return False  # a segment was replaced while it was read

    until(f"the files of {topic} to be read between two cleanings", files_are_good)


all_at_once([(scenario.__name__, scenario) for scenario in [
    compaction, deleting_records, offsets_topic_is_kafkas, recompressed_segments_are_kafkas, retention,
    segments_are_kafkas]])
