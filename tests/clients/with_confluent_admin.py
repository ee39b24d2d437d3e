"""confluent-kafka's AdminClient: topics, configurations, offsets, the cluster, and Kafka's errors."""

import time

from confluent_kafka import KafkaError, KafkaException, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import (AclOperation, AdminClient, ConfigResource, ConfigSource, NewPartitions, NewTopic,
                                   OffsetSpec)

from expected import BOOTSTRAP, new_name

admin = AdminClient({"bootstrap.servers": BOOTSTRAP})


def only(futures: dict):
    """The result of a call for one thing."""
    (future,) = futures.values()
    return future.result(30)


def refused(code: int, call) -> str:
    """The message with which `call` is refused."""
    try:
        call()
    except KafkaException as problem:
        error = problem.args[0]
        assert error.code() == code, f"{error.name()} instead of {code}: {error.str()}"
        return error.str()
    raise AssertionError(f"done instead of refused with {code}")


def create(topic: NewTopic, **options):
    return only(admin.create_topics([topic], operation_timeout=30, **options))


def the_cluster() -> None:
    cluster = admin.describe_cluster(include_authorized_operations=True).result(30)
    assert sorted(node.id for node in cluster.nodes) == [1, 2, 3], cluster.nodes
    assert cluster.controller.id in (1, 2, 3) and len(cluster.cluster_id) == 22, cluster.cluster_id
    assert AclOperation.CREATE in cluster.authorized_operations, cluster.authorized_operations
    assert admin.list_topics(timeout=30).cluster_id == cluster.cluster_id


def topics(name: str) -> None:
    create(NewTopic(name, 3, 3, config={"retention.ms": "1000000", "min.insync.replicas": "2"}))
    found = only(admin.describe_topics(TopicCollection([name]), include_authorized_operations=True))
    assert [len(partition.replicas) for partition in found.partitions] == [3, 3, 3]
    assert sorted(partition.leader.id for partition in found.partitions) == [1, 2, 3]
    assert AclOperation.WRITE in found.authorized_operations and not found.is_internal
    only(admin.create_partitions([NewPartitions(name, 5)], operation_timeout=30))
    assert len(only(admin.describe_topics(TopicCollection([name]))).partitions) == 5

    only_asked = new_name("only-asked")
    create(NewTopic(only_asked, 1, 1), validate_only=True)
    refused(KafkaError.UNKNOWN_TOPIC_OR_PART, lambda: only(admin.describe_topics(TopicCollection([only_asked]))))


def refusals(name: str) -> None:
    message = refused(KafkaError.TOPIC_ALREADY_EXISTS, lambda: create(NewTopic(name, 3, 3)))
    assert f"'{name}' already exists" in message, message
    message = refused(KafkaError.INVALID_REPLICATION_FACTOR, lambda: create(NewTopic(new_name("x"), 1, 4)))
    assert "only 3 broker(s) are registered" in message, message
    refused(KafkaError.INVALID_PARTITIONS, lambda: create(NewTopic(new_name("x"), 0, 1)))
    refused(KafkaError.TOPIC_EXCEPTION, lambda: create(NewTopic("a/b", 1, 1)))
    for config, word in [({"retention.ms": "soon"}, "retention.ms"), ({"no.such.key": "1"}, "no.such.key")]:
        message = refused(KafkaError.INVALID_CONFIG, lambda: create(NewTopic(new_name("x"), 1, 1, config=config)))
        assert word in message, message
    refused(KafkaError.INVALID_PARTITIONS, lambda: only(admin.create_partitions([NewPartitions(name, 2)])))
    unknown = new_name("unknown")
    refused(KafkaError.UNKNOWN_TOPIC_OR_PART, lambda: only(admin.create_partitions([NewPartitions(unknown, 2)])))
    refused(KafkaError.UNKNOWN_TOPIC_OR_PART, lambda: only(admin.delete_topics([unknown], operation_timeout=30)))


def configurations(name: str) -> None:
    configs = only(admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, name)]))
    assert configs["retention.ms"].value == "1000000", configs["retention.ms"]
    assert configs["retention.ms"].source == ConfigSource.DYNAMIC_TOPIC_CONFIG.value
    assert configs["max.message.bytes"].value == "1048588", configs["max.message.bytes"]
    assert configs["max.message.bytes"].is_default
    configs = only(admin.describe_configs([ConfigResource(ConfigResource.Type.BROKER, "1")]))
    assert configs["node.id"].value == "1" and configs["node.id"].is_read_only
    unknown = ConfigResource(ConfigResource.Type.TOPIC, new_name("unknown"))
    refused(KafkaError.UNKNOWN_TOPIC_OR_PART, lambda: only(admin.describe_configs([unknown])))


def offsets(name: str) -> None:
    partition = TopicPartition(name, 0)

    def offset(spec) -> tuple:
        found = only(admin.list_offsets({partition: spec}))
        return found.offset, found.timestamp

    assert offset(OffsetSpec.earliest()) == (0, -1) and offset(OffsetSpec.latest()) == (0, -1)
    assert offset(OffsetSpec.max_timestamp()) == (-1, -1)
    producer = Producer({"bootstrap.servers": BOOTSTRAP})
    now = int(time.time() * 1000)
    failures = []
    for created in [now + 10, now + 30, now + 20]:
        producer.produce(name, b"x", partition=0, timestamp=created,
                         on_delivery=lambda error, _: failures.append(error) if error else None)
    assert producer.flush(60) == 0 and not failures, failures
    assert offset(OffsetSpec.latest()) == (3, -1)
    assert offset(OffsetSpec.max_timestamp()) == (1, now + 30)
    assert offset(OffsetSpec.for_timestamp(now + 15)) == (1, now + 30)
    assert offset(OffsetSpec.for_timestamp(now + 31)) == (-1, -1)


the_cluster()
topic = new_name("admin")
topics(topic)
refusals(topic)
configurations(topic)
offsets(topic)
only(admin.delete_topics([topic], operation_timeout=30))
refused(KafkaError.UNKNOWN_TOPIC_OR_PART, lambda: only(admin.delete_topics([topic], operation_timeout=30)))
