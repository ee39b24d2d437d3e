"""confluent-kafka's consumers in groups, under both protocols: sharing and taking over, listeners,
every way of committing, seeking and pausing, static members, cooperative rebalances, patterns, and
a group that changes from one protocol to the other."""

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from expected import BOOTSTRAP, new_name
from waiting import all_at_once, until

PROTOCOLS = {
    "classic": {"group.protocol": "classic", "session.timeout.ms": 6000, "heartbeat.interval.ms": 500},
    "consumer": {"group.protocol": "consumer"},
}
admin = AdminClient({"bootstrap.servers": BOOTSTRAP})


def create(name: str, partitions: int) -> str:
    for future in admin.create_topics([NewTopic(name, partitions, 3)], operation_timeout=30).values():
        future.result(30)
    return name


def send(topic: str, partitions: int, values) -> None:
    """Value `n` to partition `n % partitions`."""
    producer = Producer({"bootstrap.servers": BOOTSTRAP})
    failures = []
    for value in values:
        producer.produce(topic, b"%d" % value, partition=value % partitions,
                         on_delivery=lambda error, _: failures.append(error) if error else None)
    assert producer.flush(60) == 0 and not failures, failures


class Member:
    """A consumer that notes what it gets, and what its listener is told."""

    def __init__(self, protocol: str, group: str, topics, **config):
        self.values, self.told, self.commits = [], [], []
        settings = {"bootstrap.servers": BOOTSTRAP, "group.id": group, "auto.offset.reset": "earliest",
                    "enable.auto.commit": False, **PROTOCOLS[protocol],
                    "on_commit": lambda error, done: self.commits.append((error, done))}
        settings |= {key.replace("_", "."): value for key, value in config.items()}
        self.consumer = Consumer(settings)
        self.consumer.subscribe(topics, on_assign=self.note("assigned"), on_revoke=self.note("revoked"),
                                on_lost=self.note("lost"))

    def note(self, what: str):
        def listener(_, partitions):
            self.told.append((what, sorted((one.topic, one.partition) for one in partitions)))
        return listener

    def poll(self):
        message = self.consumer.poll(0.02)
        if message is None:
            return None
        error = message.error()
        assert error is None or error.retriable() or error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART, error
        if error is None:
            self.values.append(int(message.value()))
            return message
        return None

    def owns(self) -> list:
        return sorted((one.topic, one.partition) for one in self.consumer.assignment())

    def told_of(self, what: str) -> list:
        return [partition for kind, partitions in self.told if kind == what for partition in partitions]

    def next_message(self):
        taken = []
        until("a record", lambda: taken, lambda: taken.extend(filter(None, [self.poll()])))
        return taken[0]

    def committed(self, topic: str, partition: int = 0):
        (found,) = self.consumer.committed([TopicPartition(topic, partition)], timeout=30)
        return found

    def close(self) -> None:
        self.consumer.close()


def poll_until(what: str, members: list, check):
    return until(what, check, lambda: [member.poll() for member in members])


def shares(members: list, count: int) -> bool:
    """Whether each of the members has the same number of partitions, together all `count`."""
    owned = [member.owns() for member in members]
    flat = [partition for one in owned for partition in one]
    return len(flat) == len(set(flat)) == count and len({len(one) for one in owned}) == 1


def sharing_and_taking_over(protocol: str) -> None:
    topic, group = create(new_name("share"), 6), new_name(f"share-{protocol}")
    members = [Member(protocol, group, [topic]) for _ in range(3)]
    poll_until("three members with two partitions each", members, lambda: shares(members, 6))
    send(topic, 6, range(60))
    values = lambda: sorted(value for member in members for value in member.values)
    poll_until("the first 60 records", members, lambda: len(values()) >= 60)
    assert values() == list(range(60)), values()
    for member in members:
        member.consumer.commit(asynchronous=False)
    leaver = members[0]
    had = leaver.owns()
    leaver.close()
    assert leaver.told[0][0] == "assigned" and set(had) <= set(leaver.told_of("revoked")), leaver.told
    poll_until("the two others to have three each", members[1:], lambda: shares(members[1:], 6))
    send(topic, 6, range(60, 120))
    poll_until("the next 60 records", members[1:], lambda: len(values()) >= 120)
    assert values() == list(range(120)), "something committed came twice"
    for member in members[1:]:
        member.close()


def committing(protocol: str) -> None:
    topic, group = create(new_name("commit"), 1), new_name(f"commit-{protocol}")
    send(topic, 1, range(100))
    member = Member(protocol, group, [topic], enable_auto_commit=True, auto_commit_interval_ms=100)
    assert member.committed(topic).offset < 0
    poll_until("ten records", [member], lambda: len(member.values) >= 10)
    until("the automatic commit", lambda: member.committed(topic).offset >= 10)
    member.close()
    seen = len(member.values)

    member = Member(protocol, group, [topic])
    assert member.committed(topic).offset == seen, "closing commits"
    message = member.next_message()
    assert message.offset() == seen
    (done,) = member.consumer.commit(message=message, asynchronous=False)
    assert done.error is None and done.offset == seen + 1, done
    assert member.committed(topic).offset == seen + 1
    member.consumer.commit(offsets=[TopicPartition(topic, 0, 7, "by hand")], asynchronous=True)
    poll_until("the commit's callback", [member], lambda: member.commits)
    error, (done,) = member.commits[-1]
    assert error is None and done.offset == 7, (error, done)
    found = member.committed(topic)
    assert (found.offset, found.metadata) == (7, "by hand"), found
    try:
        member.consumer.commit(offsets=[TopicPartition(topic, 0, 8, "x" * 5000)], asynchronous=False)
        raise AssertionError("oversized metadata was taken")
    except KafkaException as problem:
        assert problem.args[0].code() == KafkaError.OFFSET_METADATA_TOO_LARGE, problem
    member.close()

    member = Member(protocol, group, [topic], enable_auto_commit=True, enable_auto_offset_store=False)
    assert [member.next_message().offset() for _ in range(3)] == [7, 8, 9]
    member.consumer.store_offsets(offsets=[TopicPartition(topic, 0, 9)])
    (position,) = member.consumer.position([TopicPartition(topic, 0)])
    assert position.offset >= 10, position
    member.close()
    member = Member(protocol, group, [topic])
    assert member.next_message().offset() == 9, "what was stored is what closing commits"
    member.close()


def seeking_and_pausing(protocol: str) -> None:
    topic, group = create(new_name("seek"), 1), new_name(f"seek-{protocol}")
    send(topic, 1, range(100))
    member = Member(protocol, group, [topic])
    partition = TopicPartition(topic, 0)
    assert member.next_message().offset() == 0
    member.consumer.seek(TopicPartition(topic, 0, 50))
    assert [member.next_message().offset() for _ in range(2)] == [50, 51]
    member.consumer.pause([partition])
    assert all(member.poll() is None for _ in range(25)), "a paused partition went on"
    member.consumer.resume([partition])
    assert member.next_message().offset() == 52
    (position,) = member.consumer.position([partition])
    assert position.offset == 53, position
    member.close()


def static_members(protocol: str) -> None:
    topic, group = create(new_name("static"), 4), new_name(f"static-{protocol}")
    one = Member(protocol, group, [topic], group_instance_id="one")
    two = Member(protocol, group, [topic], group_instance_id="two")
    poll_until("two static members with two partitions each", [one, two], lambda: shares([one, two], 4))
    had, told = one.owns(), list(two.told)
    one.close()
    one = Member(protocol, group, [topic], group_instance_id="one")
    poll_until("the restarted member to have its partitions again", [one, two], lambda: one.owns() == had)
    send(topic, 4, range(40))
    values = lambda: sorted(one.values + two.values)
    poll_until("all records", [one, two], lambda: len(values()) >= 40)
    assert values() == list(range(40)), values()
    assert two.told == told, f"a restart of the other was a rebalance: {two.told[len(told):]}"
    for member in [one, two]:
        member.close()


def cooperative(protocol: str) -> None:
    """A third member gets two of six partitions from two others: two move, four stay where they are."""
    topic, group = create(new_name("cooperative"), 6), new_name(f"cooperative-{protocol}")
    config = {"partition.assignment.strategy": "cooperative-sticky"} if protocol == "classic" else {}
    members = [Member(protocol, group, [topic], **config) for _ in range(2)]
    poll_until("two members with three partitions each", members, lambda: shares(members, 6))
    for member in members:
        member.told.clear()
    members.append(Member(protocol, group, [topic], **config))
    poll_until("three members with two partitions each", members, lambda: shares(members, 6))
    revoked = [partition for member in members for partition in member.told_of("revoked")]
    assert len(revoked) == 2 and sorted(revoked) == members[2].owns(), revoked
    assert not any(member.told_of("assigned") for member in members[:2]), [member.told for member in members]
    for member in members:
        member.close()


def patterns(protocol: str) -> None:
    prefix = new_name("pattern")
    first = create(f"{prefix}-a", 1)
    create(f"other-{prefix}", 1)
    member = Member(protocol, new_name(f"pattern-{protocol}"), [f"^{prefix}-.*"],
                    **{"topic.metadata.refresh.interval.ms": 500, "metadata.max.age.ms": 1000})
    poll_until("the matching topic", [member], lambda: member.owns() == [(first, 0)])
    second = create(f"{prefix}-b", 1)
    poll_until("the topic made later", [member], lambda: member.owns() == [(first, 0), (second, 0)])
    send(second, 1, range(3))
    poll_until("its records", [member], lambda: len(member.values) >= 3)
    member.close()


def from_one_protocol_to_the_other() -> None:
    """A classic group in which a member of the new protocol appears, and the old one leaves."""
    topic, group = create(new_name("online"), 4), new_name("online")
    old = Member("classic", group, [topic], **{"partition.assignment.strategy": "cooperative-sticky"})
    poll_until("the classic member to have all", [old], lambda: len(old.owns()) == 4)
    send(topic, 4, range(20))
    poll_until("its records", [old], lambda: len(old.values) >= 20)
    old.consumer.commit(asynchronous=False)
    new = Member("consumer", group, [topic])
    poll_until("both to share", [old, new], lambda: shares([old, new], 4))
    send(topic, 4, range(20, 40))
    values = lambda: sorted(old.values + new.values)
    poll_until("all records", [old, new], lambda: len(values()) >= 40)
    old.consumer.commit(asynchronous=False)
    old.close()
    poll_until("the new member to have all", [new], lambda: len(new.owns()) == 4)
    send(topic, 4, range(40, 60))
    poll_until("the last records", [new], lambda: len(values()) >= 60)
    assert values() == list(range(60)), values()
    new.close()


SCENARIOS = [sharing_and_taking_over, committing, seeking_and_pausing, static_members, cooperative, patterns]
all_at_once([(f"{scenario.__name__} ({protocol})", scenario, protocol)
             for scenario in SCENARIOS for protocol in PROTOCOLS]
            + [("from_one_protocol_to_the_other", from_one_protocol_to_the_other)])
