"""confluent-kafka's AdminClient and groups: list, describe, read and alter offsets, delete, and the
errors for what cannot be done."""

from confluent_kafka import (Consumer, ConsumerGroupState, ConsumerGroupTopicPartitions, ConsumerGroupType, KafkaError,
                             KafkaException, TopicPartition)
from confluent_kafka.admin import AdminClient, NewTopic

from expected import BOOTSTRAP, new_name
from waiting import all_at_once, until

admin = AdminClient({"bootstrap.servers": BOOTSTRAP})


def only(futures: dict):
    """The result of a call for one thing."""
    (future,) = futures.values()
    return future.result(30)


def refused(code: int, call) -> None:
    try:
        call()
    except KafkaException as problem:
        error = problem.args[0]
        assert error.code() == code, f"{error.name()} instead of {code}: {error.str()}"
        return
    raise AssertionError(f"done instead of refused with {code}")


def listed(**filters) -> dict:
    found = admin.list_consumer_groups(**filters).result(30)
    assert not found.errors, found.errors
    return {group.group_id: group for group in found.valid}


def offsets(group: str) -> dict:
    found = only(admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]))
    return {(one.topic, one.partition): one.offset for one in found.topic_partitions}


def alter(group: str, topic: str, partition: int, offset: int) -> None:
    wanted = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, partition, offset)])
    (done,) = only(admin.alter_consumer_group_offsets([wanted])).topic_partitions
    if done.error:
        raise KafkaException(done.error)


def a_group_of(protocol: str, kind: ConsumerGroupType) -> None:
    topic, group = new_name("administered"), new_name(f"administered-{protocol}")
    only(admin.create_topics([NewTopic(topic, 2, 3)], operation_timeout=30))
    consumer = Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": group, "group.protocol": protocol,
                         "client.id": "described", "enable.auto.commit": False, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    until("the assignment", lambda: len(consumer.assignment()) == 2, lambda: consumer.poll(0.05))
    consumer.commit(offsets=[TopicPartition(topic, 0, 0)], asynchronous=False)

    until("the group to be stable", lambda: listed()[group].state == ConsumerGroupState.STABLE,
          lambda: consumer.poll(0.05))
    assert listed()[group].type == kind, listed()[group].type
    assert group in listed(states={ConsumerGroupState.STABLE}, types={kind})
    assert group not in listed(states={ConsumerGroupState.EMPTY})
    found = only(admin.describe_consumer_groups([group], include_authorized_operations=True))
    assert found.state == ConsumerGroupState.STABLE and found.type == kind and found.coordinator.id in (1, 2, 3)
    assert found.authorized_operations, found.authorized_operations
    (member,) = found.members
    assert member.client_id == "described" and "127.0.0.1" in member.host and member.member_id, member
    owned = sorted((one.topic, one.partition) for one in member.assignment.topic_partitions)
    assert owned == [(topic, 0), (topic, 1)], owned
    assert offsets(group) == {(topic, 0): 0}, offsets(group)
    refused(KafkaError.NON_EMPTY_GROUP, lambda: only(admin.delete_consumer_groups([group])))
    refused(KafkaError.UNKNOWN_MEMBER_ID, lambda: alter(group, topic, 0, 1))
    consumer.close()

    until("the group to be empty", lambda: listed()[group].state == ConsumerGroupState.EMPTY)
    alter(group, topic, 1, 5)
    assert offsets(group) == {(topic, 0): 0, (topic, 1): 5}, offsets(group)
    only(admin.delete_consumer_groups([group]))
    assert group not in listed() and offsets(group) == {}
    refused(KafkaError.GROUP_ID_NOT_FOUND, lambda: only(admin.delete_consumer_groups([group])))


def a_group_without_members() -> None:
    topic, group = new_name("memberless"), new_name("memberless")
    only(admin.create_topics([NewTopic(topic, 1, 3)], operation_timeout=30))
    alter(group, topic, 0, 3)
    assert offsets(group) == {(topic, 0): 3}
    assert listed()[group].state == ConsumerGroupState.EMPTY
    found = only(admin.describe_consumer_groups([new_name("nobody")]))
    assert found.state == ConsumerGroupState.DEAD and not found.members, found.state
    unknown = new_name("unknown")
    refused(KafkaError.UNKNOWN_TOPIC_OR_PART, lambda: alter(group, unknown, 0, 3))
    only(admin.delete_topics([topic], operation_timeout=30))
    until("the deleted topic's offsets to go", lambda: offsets(group) == {})


all_at_once([("a classic group", a_group_of, "classic", ConsumerGroupType.CLASSIC),
             ("a consumer group", a_group_of, "consumer", ConsumerGroupType.CONSUMER),
             ("a group without members", a_group_without_members)])
