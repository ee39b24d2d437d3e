"""confluent-kafka as programs use it: acks, idempotence, sizes, missing topics, many partitions,
seeking and pausing, times, and a group id beside an assignment."""

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from expected import BOOTSTRAP, new_name

admin = AdminClient({"bootstrap.servers": BOOTSTRAP})


def create(prefix: str, partitions: int = 1, **config) -> str:
    name = new_name(prefix)
    config = {key.replace("_", "."): str(value) for key, value in config.items()}
    for future in admin.create_topics([NewTopic(name, partitions, 3, config=config)], operation_timeout=30).values():
        future.result(30)
    return name


def send(topic: str, values, **config) -> list:
    """What became of each record of partition 0: its offset, or the error's code."""
    results = []
    producer = Producer({"bootstrap.servers": BOOTSTRAP, **{key.replace("_", "."): value for key, value in config.items()}})
    for value in values:
        producer.produce(topic, value, partition=0,
                         on_delivery=lambda error, sent: results.append((error.code(),) if error else sent.offset()))
    assert producer.flush(60) == 0
    return results


def consumer_of(partitions, **config) -> Consumer:
    settings = {"group.id": "not-used", "enable.auto.commit": False}
    settings |= {key.replace("_", "."): value for key, value in config.items()}
    consumer = Consumer({"bootstrap.servers": BOOTSTRAP, **settings})
    consumer.assign(partitions)
    return consumer


def take(consumer: Consumer, count: int) -> list:
    taken = []
    while len(taken) < count:
        message = consumer.poll(30)
        assert message is not None and message.error() is None, message and message.error()
        taken.append(message)
    return taken


def acks_and_idempotence() -> None:
    topic = create("acks", min_insync_replicas=2)
    # A leader that has not heard of its new topic yet drops what comes with acks=0, as Kafka's does.
    assert send(topic, [b"first"]) == [0]
    send(topic, [b"0"] * 50, acks="0")
    consumer = consumer_of([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    assert [message.value() for message in take(consumer, 51)][1:] == [b"0"] * 50
    consumer.close()
    assert send(topic, [b"1"] * 50, acks="1") == list(range(51, 101))
    assert send(topic, [b"all"] * 50, acks="all") == list(range(101, 151))
    assert send(topic, [b"once"] * 50, enable_idempotence=True) == list(range(151, 201))


def sizes() -> None:
    topic = create("sizes", max_message_bytes=100_000)
    too_large = [(KafkaError.MSG_SIZE_TOO_LARGE,)]
    assert send(topic, [b"x" * 99_900]) == [0]
    assert send(topic, [b"x" * 100_000]) == too_large
    assert send(topic, [b"x" * 100_000], enable_idempotence=True) == too_large
    assert send(topic, [b"x" * 900_000], compression_type="gzip") == [1]
    large = create("large", max_message_bytes=12_000_000)
    assert send(large, [b"y" * 10_000_000], message_max_bytes=12_000_000) == [0]
    consumer = consumer_of([TopicPartition(large, 0, OFFSET_BEGINNING)])
    (message,) = take(consumer, 1)
    assert message.value() == b"y" * 10_000_000
    consumer.close()


def missing_topics() -> None:
    topic = new_name("made-by-use")
    assert send(topic, [None, b""]) == [0, 1]
    consumer = consumer_of([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    assert [message.value() for message in take(consumer, 2)] == [None, b""]
    consumer.close()
    producer = Producer({"bootstrap.servers": BOOTSTRAP})
    found = producer.list_topics(topic, timeout=30).topics[topic]
    assert found.error is None and len(found.partitions) >= 1
    failures = []
    producer.produce("not/a/topic", b"x", on_delivery=lambda error, _: failures.append(error.code()))
    producer.flush(60)
    assert failures == [KafkaError.TOPIC_EXCEPTION], failures


def many_partitions() -> None:
    topic = create("many", 60)
    producer = Producer({"bootstrap.servers": BOOTSTRAP})
    for number in range(3000):
        producer.produce(topic, b"%d" % number, partition=number % 60)
    assert producer.flush(60) == 0
    consumer = consumer_of([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(60)])
    for message in take(consumer, 3000):
        assert int(message.value()) == message.offset() * 60 + message.partition()
    consumer.close()


def seeking_pausing_times() -> None:
    topic = create("seek")
    assert send(topic, [b"%d" % number for number in range(100)]) == list(range(100))
    partition = TopicPartition(topic, 0)
    consumer = consumer_of([TopicPartition(topic, 0, 40)])
    first = take(consumer, 2)
    assert [message.offset() for message in first] == [40, 41]
    consumer.seek(TopicPartition(topic, 0, 7))
    assert take(consumer, 1)[0].offset() == 7
    consumer.pause([partition])
    assert consumer.poll(0.5) is None
    consumer.resume([partition])
    assert take(consumer, 1)[0].offset() == 8
    assert consumer.get_watermark_offsets(partition, timeout=30) == (0, 100)
    time = first[0].timestamp()[1]
    (found,) = consumer.offsets_for_times([TopicPartition(topic, 0, time)], timeout=30)
    assert 0 <= found.offset <= 40, found
    (found,) = consumer.offsets_for_times([TopicPartition(topic, 0, time + 3_600_000)], timeout=30)
    assert found.offset == -1, found
    consumer.close()

    consumer = consumer_of([TopicPartition(topic, 0, 5000)], auto_offset_reset="earliest")
    assert take(consumer, 1)[0].offset() == 0
    consumer.close()
    consumer = consumer_of([TopicPartition(topic, 0, 5000)], auto_offset_reset="error")
    message = consumer.poll(30)
    assert message.error().code() == KafkaError._AUTO_OFFSET_RESET, message.error()
    consumer.close()


def a_group_id_beside_an_assignment() -> None:
    topic = create("grouped")
    assert send(topic, [b"x"] * 10) == list(range(10))
    group = new_name("group")
    consumer = consumer_of([TopicPartition(topic, 0, OFFSET_BEGINNING)], group_id=group, enable_auto_commit=True)
    assert [message.offset() for message in take(consumer, 10)] == list(range(10))
    consumer.close()
    consumer = consumer_of([TopicPartition(topic, 0)], group_id=group)
    (committed,) = consumer.committed([TopicPartition(topic, 0)], timeout=30)
    assert committed.offset == 10, committed
    consumer.close()


acks_and_idempotence()
sizes()
missing_topics()
many_partitions()
seeking_pausing_times()
a_group_id_beside_an_assignment()
