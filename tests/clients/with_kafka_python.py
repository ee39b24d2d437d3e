"""kafka-python: create topics, produce with every codec, read back; then what programs do besides."""


from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewPartitions, NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError

from expected import BOOTSTRAP, CODECS, COUNT, TOPIC_CONFIG, check, new_name, record

servers = BOOTSTRAP.split(",")
admin = KafkaAdminClient(bootstrap_servers=servers)
for codec in CODECS:
    topic = new_name(f"python-{codec}")
    admin.create_topics([NewTopic(topic, 1, 3, topic_configs=TOPIC_CONFIG)])

    producer = KafkaProducer(bootstrap_servers=servers, acks="all", linger_ms=20,
                             compression_type=None if codec == "none" else codec)
    pending = []
    for number in range(COUNT):
        wanted = record(number)
        pending.append(producer.send(topic, wanted["value"], wanted["key"], wanted["headers"], partition=0,
                                     timestamp_ms=wanted["timestamp"]))
    producer.flush(60)
    for number, future in enumerate(pending):
        assert future.get(30).offset == number
    producer.close()

    consumer = KafkaConsumer(bootstrap_servers=servers, group_id=None, consumer_timeout_ms=30_000)
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    consumer.seek_to_beginning(partition)
    for number in range(COUNT):
        found = next(consumer)
        check(number, found.key, found.value, found.headers, found.timestamp, found.offset)
    assert consumer.end_offsets([partition]) == {partition: COUNT}
    consumer.close()


def send(topic: str, values, **config) -> list:
    """What became of each record of partition 0: its offset, or the name of the error."""
    producer = KafkaProducer(bootstrap_servers=servers, **config)
    pending = [producer.send(topic, value, partition=0) for value in values]
    producer.flush(60)
    results = []
    for future in pending:
        try:
            results.append(future.get(30).offset)
        except KafkaError as error:
            results.append(type(error).__name__)
    producer.close()
    return results


topic = new_name("python-usage")
admin.create_topics([NewTopic(topic, 2, 3, topic_configs={"max.message.bytes": "100000"})])
assert send(topic, [b"all"] * 10, enable_idempotence=False, acks="all") == list(range(0, 10))
assert send(topic, [b"one"] * 10, enable_idempotence=False, acks=1) == list(range(10, 20))
assert send(topic, [b"once"] * 10, enable_idempotence=True) == list(range(20, 30))
send(topic, [b"zero"] * 10, enable_idempotence=False, acks=0)
assert send(topic, [b"x" * 150_000]) == ["MessageSizeTooLargeError"]
assert send(new_name("python-made-by-use"), [b"x"]) == [0]
try:
    admin.create_topics([NewTopic(topic, 2, 3)])
    raise AssertionError("created twice")
except TopicAlreadyExistsError:
    pass
admin.create_partitions({topic: NewPartitions(4)})
found = admin.describe_topics([topic])[0]
assert sorted(partition["partition_index"] for partition in found["partitions"]) == [0, 1, 2, 3], found
assert len(admin.describe_cluster()["brokers"]) == 3

consumer = KafkaConsumer(bootstrap_servers=servers, group_id=None, consumer_timeout_ms=30_000)
partition = TopicPartition(topic, 0)
consumer.assign([partition])
consumer.seek(partition, 5)
assert next(consumer).offset == 5
consumer.seek_to_beginning(partition)
assert [next(consumer).offset for _ in range(40)] == list(range(40))
consumer.pause(partition)
consumer.seek(partition, 3)
assert consumer.poll(500) == {}
consumer.resume(partition)
first = next(consumer)
assert first.offset == 3
assert consumer.beginning_offsets([partition]) == {partition: 0}
assert consumer.offsets_for_times({partition: first.timestamp})[partition].offset <= 3
assert consumer.offsets_for_times({partition: first.timestamp + 3_600_000}) == {partition: None}
consumer.close()
admin.delete_topics([topic])
admin.close()
