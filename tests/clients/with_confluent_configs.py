"""confluent-kafka's AdminClient: configurations of topics, brokers and groups change while the cluster runs."""

import time

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import (AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ConfigSource, NewTopic,
                                   ResourceType)

from expected import BOOTSTRAP, new_name

admin = AdminClient({"bootstrap.servers": BOOTSTRAP})


def only(futures: dict):
    (future,) = futures.values()
    return future.result(30)


def alter(resource_type, name: str, *operations) -> None:
    entries = [ConfigEntry(key, value, incremental_operation=operation) for key, operation, value in operations]
    only(admin.incremental_alter_configs([ConfigResource(resource_type, name, incremental_configs=entries)]))


def refused(code: int, *arguments) -> str:
    try:
        alter(*arguments)
    except KafkaException as problem:
        error = problem.args[0]
        assert error.code() == code, f"{error.name()} instead of {code}: {error.str()}"
        return error.str()
    raise AssertionError(f"done instead of refused with {code}: {arguments}")


def described(resource_type, name: str, key: str):
    found = only(admin.describe_configs([ConfigResource(resource_type, name)]))[key]
    return found.value, ConfigSource(found.source)


def eventually(what: str, check) -> None:
    """Another broker learns of a change by the metadata, a moment later."""
    end = time.monotonic() + 60
    while not check():
        assert time.monotonic() < end, f"waited for {what}"
        time.sleep(0.05)


def taken(topic: str, size: int) -> bool:
    errors = []
    producer = Producer({"bootstrap.servers": BOOTSTRAP, "acks": "all", "message.max.bytes": 10_000_000})
    producer.produce(topic, b"x" * size, partition=0, on_delivery=lambda error, _: errors.append(error))
    assert producer.flush(60) == 0
    (error,) = errors
    return error is None


SET, DELETE = AlterConfigOpType.SET, AlterConfigOpType.DELETE
APPEND, SUBTRACT = AlterConfigOpType.APPEND, AlterConfigOpType.SUBTRACT
TOPIC, BROKER = ResourceType.TOPIC, ResourceType.BROKER
OWN, DEFAULT = ConfigSource.DYNAMIC_TOPIC_CONFIG, ConfigSource.DEFAULT_CONFIG

topic = new_name("configs")
only(admin.create_topics([NewTopic(topic, 1, 3)], operation_timeout=30))
alter(TOPIC, topic, ("retention.ms", SET, "1000000"), ("cleanup.policy", APPEND, "compact"))
eventually("the topic's values", lambda: described(TOPIC, topic, "retention.ms") == ("1000000", OWN))
assert described(TOPIC, topic, "cleanup.policy") == ("delete,compact", OWN)
alter(TOPIC, topic, ("retention.ms", DELETE, None), ("cleanup.policy", SUBTRACT, "compact"))
eventually("the default", lambda: described(TOPIC, topic, "retention.ms")[1] == DEFAULT)
assert described(TOPIC, topic, "cleanup.policy") == ("delete", OWN)

assert taken(topic, 5_000)
alter(TOPIC, topic, ("max.message.bytes", SET, "1000"))
eventually("a large message to be refused", lambda: not taken(topic, 5_000))
alter(TOPIC, topic, ("max.message.bytes", DELETE, None))
eventually("a large message to be taken", lambda: taken(topic, 5_000))

# The old call, which replaces everything.
only(admin.alter_configs([ConfigResource(TOPIC, topic, set_config={"segment.ms": "60000"})]))
eventually("the whole to be replaced", lambda: described(TOPIC, topic, "segment.ms") == ("60000", OWN))
assert described(TOPIC, topic, "cleanup.policy") == ("delete", DEFAULT)

alter(BROKER, "2", ("max.connections", SET, "1234"))
eventually("the broker's value",
           lambda: described(BROKER, "2", "max.connections") == ("1234", ConfigSource.DYNAMIC_BROKER_CONFIG))
alter(BROKER, "2", ("max.connections", DELETE, None))

message = refused(KafkaError.INVALID_CONFIG, TOPIC, topic, ("retention.ms", SET, "soon"))
assert "Not a number of type LONG" in message, message
message = refused(KafkaError.INVALID_CONFIG, TOPIC, topic, ("no.such.key", SET, "1"))
assert "no.such.key" in message, message
refused(KafkaError.INVALID_CONFIG, TOPIC, topic, ("retention.ms", APPEND, "1"))
refused(KafkaError.UNKNOWN_TOPIC_OR_PART, TOPIC, new_name("unknown"), ("retention.ms", SET, "1"))
message = refused(KafkaError.INVALID_REQUEST, BROKER, "1", ("node.id", SET, "9"))
assert "Cannot update these configs dynamically" in message, message
only(admin.delete_topics([topic], operation_timeout=30))
