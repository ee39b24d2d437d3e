"""kafka-python's consumers in groups, and its admin client."""

from threading import Event, Thread

from kafka import ConsumerRebalanceListener, KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic, OffsetSpec
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.errors import GroupSubscribedToTopicError, NoError
from kafka.structs import OffsetAndMetadata

from expected import BOOTSTRAP, new_name
from waiting import all_at_once, until

servers = BOOTSTRAP.split(",")


def create(name: str, partitions: int) -> str:
    admin = KafkaAdminClient(bootstrap_servers=servers)
    admin.create_topics([NewTopic(name, partitions, 3)])
    admin.close()
    return name


def send(topic: str, partitions: int, values) -> None:
    """Value `n` to partition `n % partitions`."""
    producer = KafkaProducer(bootstrap_servers=servers)
    for pending in [producer.send(topic, b"%d" % value, partition=value % partitions) for value in values]:
        pending.get(30)
    producer.close()


class Member(ConsumerRebalanceListener):
    """A consumer that notes what it gets, and what its listener is told."""

    def __init__(self, group: str, topic=None, pattern=None, **config):
        settings = {"enable_auto_commit": False, "auto_offset_reset": "earliest", "session_timeout_ms": 6000,
                    "heartbeat_interval_ms": 300, **config}
        self.consumer = KafkaConsumer(bootstrap_servers=servers, group_id=group, **settings)
        self.values, self.told = [], []
        self.consumer.subscribe([topic] if topic else (), pattern, self)

    def on_partitions_assigned(self, assigned):
        self.told.append(("assigned", sorted(assigned)))

    def on_partitions_revoked(self, revoked):
        self.told.append(("revoked", sorted(revoked)))

    def poll(self, most=None, timeout_ms=500) -> list:
        found = [one for records in self.consumer.poll(timeout_ms, max_records=most).values() for one in records]
        self.values.extend(int(one.value) for one in found)
        return found

    def next_record(self):
        taken = []
        until("a record", lambda: taken, lambda: taken.extend(self.poll(1)))
        return taken[0]

    def owns(self) -> list:
        return sorted(self.consumer.assignment())


class Polled(Member):
    """A member with a thread that polls it while records come all the time, and commits by itself. If a poll ended between
    SyncGroup and its answer, this client would never look at its assignment: so no poll ends for
    want of records."""

    def __init__(self, *arguments, **config):
        super().__init__(*arguments, enable_auto_commit=True, **config)
        self.leaving, self.owned = Event(), []
        self.thread = Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.leaving.is_set():
            self.poll(timeout_ms=20_000)
            self.owned = super().owns()
        self.consumer.close()

    def owns(self) -> list:
        return self.owned

    def leave(self) -> None:
        self.leaving.set()
        self.thread.join(60)
        assert not self.thread.is_alive(), "a member does not leave"


class Stream:
    """Sends value `n` to partition `n % partitions`, n = 0, 1, ..., until it is ended."""

    def __init__(self, topic: str, partitions: int):
        self.topic, self.partitions, self.sent, self.ending = topic, partitions, 0, Event()
        self.thread = Thread(target=self.run)
        self.thread.start()

    def run(self):
        producer = KafkaProducer(bootstrap_servers=servers)
        while not self.ending.wait(0.01):
            producer.send(self.topic, b"%d" % self.sent, partition=self.sent % self.partitions)
            self.sent += 1
        producer.close()


def poll_until(what: str, members: list, check):
    return until(what, check, lambda: [member.poll() for member in members])


def shares(members: list, count: int) -> bool:
    owned = [member.owns() for member in members]
    flat = [partition for one in owned for partition in one]
    return len(flat) == len(set(flat)) == count and len({len(one) for one in owned}) == 1


def sharing_and_taking_over(**config) -> None:
    topic, group = create(new_name("py-share"), 4), new_name("py-share")
    stream = Stream(topic, 4)
    members = [Polled(group, topic, **config) for _ in range(2)]
    until("two members with two partitions each", lambda: shares(members, 4))
    for member in members:
        seen = len(member.values)
        until("further records of each", lambda: len(member.values) > seen + 20)
    members[0].leave()
    until("the other to have all", lambda: len(members[1].owns()) == 4)
    values = lambda: sorted(value for member in members for value in member.values)
    seen = len(members[1].values)
    until("further records of the other", lambda: len(members[1].values) > seen + 40)
    stopped = stream.sent
    until("all up to now", lambda: values()[:stopped] == list(range(stopped)))
    members[1].leave()
    stream.ending.set()
    stream.thread.join()
    assert values() == list(range(len(values()))), "lost, or something committed came twice"
    assert [kind for kind, _ in members[0].told][-1] == "revoked", members[0].told


def cooperative() -> None:
    sharing_and_taking_over(partition_assignment_strategy=[CooperativeStickyAssignor])


def committing_seeking_pausing() -> None:
    topic, group = create(new_name("py-commit"), 1), new_name("py-commit")
    partition = TopicPartition(topic, 0)
    send(topic, 1, range(50))
    member = Member(group, topic, enable_auto_commit=True, auto_commit_interval_ms=100)
    consumer = member.consumer
    assert member.next_record().offset == 0
    poll_until("the automatic commit", [member], lambda: (consumer.committed(partition) or 0) > 0)
    consumer.close()

    member = Member(group, topic)
    consumer = member.consumer
    poll_until("the assignment", [member], member.owns)
    consumer.seek(partition, 20)
    assert member.next_record().offset == 20 and consumer.position(partition) == 21
    consumer.commit()
    assert consumer.committed(partition) == 21
    consumer.commit({partition: OffsetAndMetadata(22, "by hand", -1)})
    assert consumer.committed(partition, metadata=True).metadata == "by hand"
    done = []
    consumer.commit_async({partition: OffsetAndMetadata(23, "", -1)}, lambda offsets, answer: done.append(answer))
    poll_until("the commit's callback", [member], lambda: done)
    assert not isinstance(done[0], Exception), done
    assert consumer.committed(partition) == 23
    consumer.pause(partition)
    assert all(member.poll() == [] for _ in range(2)), "a paused partition went on"
    consumer.resume(partition)
    consumer.seek(partition, 30)
    assert member.next_record().offset == 30
    consumer.close()
    member = Member(group, topic)
    assert member.next_record().offset == 23
    member.consumer.close()


def static_members() -> None:
    topic, group = create(new_name("py-static"), 4), new_name("py-static")
    stream = Stream(topic, 4)
    one, two = (Polled(group, topic, group_instance_id=name) for name in ("one", "two"))
    until("two static members with two partitions each", lambda: shares([one, two], 4))
    had, told = one.owns(), list(two.told)
    one.leave()
    again = Polled(group, topic, group_instance_id="one")
    until("the restarted member to have its partitions again", lambda: again.owns() == had)
    values = lambda: sorted(one.values + two.values + again.values)
    stopped = stream.sent
    until("all up to now", lambda: values()[:stopped] == list(range(stopped)))
    assert two.told == told, f"a restart of the other was a rebalance: {two.told[len(told):]}"
    for member in (again, two):
        member.leave()
    stream.ending.set()
    stream.thread.join()


def patterns() -> None:
    prefix = new_name("py-pattern")
    first = create(f"{prefix}-a", 1)
    stream = Stream(first, 1)
    member = Polled(new_name("py-pattern"), pattern=f"^{prefix}-.*", metadata_max_age_ms=500)
    until("the matching topic", lambda: member.owns() == [TopicPartition(first, 0)])
    second = create(f"{prefix}-b", 1)
    until("the topic made later", lambda: TopicPartition(second, 0) in member.owns())
    member.leave()
    stream.ending.set()
    stream.thread.join()


def administration() -> None:
    admin = KafkaAdminClient(bootstrap_servers=servers)
    topic, group = create(new_name("py-admin"), 2), new_name("py-admin")
    send(topic, 2, range(20))
    member = Member(group, topic, client_id="described")
    poll_until("the records", [member], lambda: len(member.values) >= 20)
    member.consumer.commit()
    (found,) = [one for one in admin.list_groups() if one["group_id"] == group]
    assert (found["protocol_type"], found["group_state"]) == ("consumer", "Stable"), found
    assert group in [one["group_id"] for one in admin.list_groups(states_filter=["Stable"], types_filter=["classic"])]
    assert group not in [one["group_id"] for one in admin.list_groups(states_filter=["Empty"])]
    described = admin.describe_groups([group])[group]
    assert described["group_state"] == "Stable" and len(described["members"]) == 1, described
    assert described["members"][0]["client_id"] == "described", described
    first, second = TopicPartition(topic, 0), TopicPartition(topic, 1)
    assert {p: o.offset for p, o in admin.list_group_offsets(group)[group].items()} == {first: 10, second: 10}
    assert admin.delete_group_offsets(group, [first]) == {first: GroupSubscribedToTopicError}
    assert admin.delete_groups([group]) == {group: "NonEmptyGroupError"}
    member.consumer.close()

    assert admin.alter_group_offsets(group, {first: OffsetAndMetadata(3, "", -1)}) == {first: NoError}
    assert admin.list_group_offsets({group: [first]})[group][first].offset == 3
    reset = admin.reset_group_offsets(group, {first: OffsetSpec.EARLIEST, second: 4})
    assert {p: one["offset"] for p, one in reset.items()} == {first: 0, second: 4}, reset
    assert admin.delete_group_offsets(group, [first]) == {first: NoError}
    assert list(admin.list_group_offsets(group)[group]) == [second]
    assert admin.delete_groups([group]) == {group: "OK"}
    assert admin.delete_groups([group]) == {group: "GroupIdNotFoundError"}
    admin.close()


all_at_once([(scenario.__name__, scenario) for scenario in
             [sharing_and_taking_over, cooperative, committing_seeking_pausing, static_members, patterns,
              administration]])
