"""aiokafka: create topics, produce with every codec, read back; then what programs do besides."""

import asyncio
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.errors import KafkaError

from expected import BOOTSTRAP, CODECS, COUNT, TOPIC_CONFIG, check, new_name, record


async def main() -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    await admin.start()
    for codec in CODECS:
        topic = new_name(f"aio-{codec}")
        await admin.create_topics([NewTopic(topic, 1, 3, topic_configs=TOPIC_CONFIG)])

        producer = AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, acks="all", linger_ms=20,
                                    compression_type=None if codec == "none" else codec)
        await producer.start()
        pending = []
        for number in range(COUNT):
            wanted = record(number)
            pending.append(await producer.send(topic, wanted["value"], wanted["key"], partition=0,
                                               timestamp_ms=wanted["timestamp"], headers=wanted["headers"]))
        for number, future in enumerate(pending):
            assert (await asyncio.wait_for(future, 60)).offset == number
        await producer.stop()

        consumer = AIOKafkaConsumer(bootstrap_servers=BOOTSTRAP, check_crcs=True)
        await consumer.start()
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        for number in range(COUNT):
            found = await asyncio.wait_for(consumer.getone(), 30)
            check(number, found.key, found.value, list(found.headers), found.timestamp, found.offset)
        await consumer.stop()
    await usage(admin)
    await admin.close()


async def send(topic: str, values, **config) -> list:
    """What became of each record of partition 0: its offset, or the name of the error."""
    producer = AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, **config)
    await producer.start()
    results = []
    for future in [await producer.send(topic, value, partition=0) for value in values]:
        try:
            sent = await asyncio.wait_for(future, 60)
            results.append(sent and sent.offset)
        except KafkaError as error:
            results.append(type(error).__name__)
    await producer.stop()
    return results


async def until_partitions(admin: AIOKafkaAdminClient, topic: str, count: int) -> None:
    """The broker that is asked may hear of the new partitions a moment after the one that made them."""
    deadline = time.monotonic() + 30
    while True:
        (found,) = await admin.describe_topics([topic])
        if len(found["partitions"]) == count:
            return
        assert time.monotonic() < deadline, f"waited 30 s for {count} partitions: {found}"
        await asyncio.sleep(0.02)


async def usage(admin: AIOKafkaAdminClient) -> None:
    topic = new_name("aio-usage")
    await admin.create_topics([NewTopic(topic, 2, 3, topic_configs={"max.message.bytes": "100000"})])
    assert await send(topic, [b"all"] * 10, acks="all") == list(range(0, 10))
    assert await send(topic, [b"one"] * 10, acks=1) == list(range(10, 20))
    assert await send(topic, [b"once"] * 10, enable_idempotence=True) == list(range(20, 30))
    await send(topic, [b"zero"] * 10, acks=0)
    assert await send(topic, [b"x" * 150_000]) == ["MessageSizeTooLargeError"]
    assert await send(new_name("aio-made-by-use"), [b"x"]) == [0]
    await admin.create_partitions({topic: NewPartitions(4)})
    await until_partitions(admin, topic, 4)
    assert len((await admin.describe_cluster())["brokers"]) == 3

    consumer = AIOKafkaConsumer(bootstrap_servers=BOOTSTRAP)
    await consumer.start()
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    consumer.seek(partition, 0)
    offsets = [(await asyncio.wait_for(consumer.getone(), 30)).offset for _ in range(40)]
    assert offsets == list(range(40)), offsets
    consumer.seek(partition, 5)
    first = await asyncio.wait_for(consumer.getone(), 30)
    assert first.offset == 5
    consumer.pause(partition)
    assert await consumer.getmany(timeout_ms=500) == {}
    consumer.resume(partition)
    assert (await asyncio.wait_for(consumer.getone(), 30)).offset == 6
    assert await consumer.end_offsets([partition]) == {partition: 40}
    assert (await consumer.offsets_for_times({partition: first.timestamp}))[partition].offset <= 5
    assert await consumer.offsets_for_times({partition: first.timestamp + 3_600_000}) == {partition: None}
    await consumer.stop()
    await admin.delete_topics([topic])


asyncio.run(main())
