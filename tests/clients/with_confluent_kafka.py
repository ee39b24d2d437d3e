"""confluent-kafka (librdkafka): create topics, produce with every codec, read back, delete."""


from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from expected import BOOTSTRAP, CODECS, COUNT, TOPIC_CONFIG, check, new_name, record

admin = AdminClient({"bootstrap.servers": BOOTSTRAP})
for codec in CODECS:
    topic = new_name(f"confluent-{codec}")
    for future in admin.create_topics([NewTopic(topic, 1, 3, config=TOPIC_CONFIG)], operation_timeout=30).values():
        future.result(30)

    producer = Producer({"bootstrap.servers": BOOTSTRAP, "compression.type": codec, "linger.ms": 20})
    failures = []
    for number in range(COUNT):
        wanted = record(number)
        producer.produce(topic, wanted["value"], wanted["key"], partition=0, headers=wanted["headers"],
                         timestamp=wanted["timestamp"],
                         on_delivery=lambda error, _: failures.append(error) if error else None)
    assert producer.flush(60) == 0 and not failures, failures

    consumer = Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": "unused", "enable.auto.commit": False,
                         "check.crcs": True})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    for number in range(COUNT):
        message = consumer.poll(30)
        assert message is not None and message.error() is None, message and message.error()
        check(number, message.key(), message.value(), message.headers(), message.timestamp()[1], message.offset())
    low, high = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=30)
    assert (low, high) == (0, COUNT), (low, high)
    consumer.close()
    for future in admin.delete_topics([topic], operation_timeout=30).values():
        future.result(30)
