"""aiokafka's consumers in groups, and what its admin client does with groups."""

import asyncio

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import OffsetAndMetadata

from expected import BOOTSTRAP, new_name
from waiting import PATIENCE_S


async def create(name: str, partitions: int) -> str:
    admin = AIOKafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    await admin.start()
    await admin.create_topics([NewTopic(name, partitions, 3)])
    await admin.close()
    return name


async def send(topic: str, partitions: int, values) -> None:
    """Value `n` to partition `n % partitions`."""
    producer = AIOKafkaProducer(bootstrap_servers=BOOTSTRAP)
    await producer.start()
    for pending in [await producer.send(topic, b"%d" % value, partition=value % partitions) for value in values]:
        await asyncio.wait_for(pending, 30)
    await producer.stop()


class Member(ConsumerRebalanceListener):
    """A consumer that notes what it gets, and what its listener is told."""

    def __init__(self, group: str, topic=None, pattern=None, **config):
        settings = {"enable_auto_commit": False, "auto_offset_reset": "earliest", "session_timeout_ms": 6000,
                    "heartbeat_interval_ms": 300, **config}
        self.consumer = AIOKafkaConsumer(bootstrap_servers=BOOTSTRAP, group_id=group, **settings)
        self.subscribed = {"topics": [topic]} if topic else {"pattern": pattern}
        self.values, self.told = [], []

    async def start(self):
        self.consumer.subscribe(**self.subscribed, listener=self)
        await self.consumer.start()
        return self

    def on_partitions_assigned(self, assigned):
        self.told.append(("assigned", sorted(assigned)))

    def on_partitions_revoked(self, revoked):
        self.told.append(("revoked", sorted(revoked)))

    async def poll(self) -> None:
        for records in (await self.consumer.getmany(timeout_ms=50)).values():
            self.values.extend(int(one.value) for one in records)

    async def next_record(self):
        return await asyncio.wait_for(self.consumer.getone(), PATIENCE_S)

    def owns(self) -> list:
        return sorted(self.consumer.assignment())


async def poll_until(what: str, members: list, check) -> None:
    async def polling():
        while not check():
            await asyncio.gather(*(member.poll() for member in members))
    try:
        await asyncio.wait_for(polling(), PATIENCE_S)
    except TimeoutError:
        raise AssertionError(f"waited {PATIENCE_S} s for {what}") from None


def shares(members: list, count: int) -> bool:
    owned = [member.owns() for member in members]
    flat = [partition for one in owned for partition in one]
    return len(flat) == len(set(flat)) == count and len({len(one) for one in owned}) == 1


async def sharing_and_taking_over() -> None:
    topic, group = await create(new_name("aio-share"), 4), new_name("aio-share")
    members = await asyncio.gather(*(Member(group, topic).start() for _ in range(2)))
    await poll_until("two members with two partitions each", members, lambda: shares(members, 4))
    await send(topic, 4, range(40))
    values = lambda: sorted(value for member in members for value in member.values)
    await poll_until("the first 40 records", members, lambda: len(values()) >= 40)
    for member in members:
        await member.consumer.commit()
    await members[0].consumer.stop()
    await poll_until("the other to have all", members[1:], lambda: len(members[1].owns()) == 4)
    assert "revoked" in [kind for kind, _ in members[1].told], members[1].told
    await send(topic, 4, range(40, 80))
    await poll_until("the next 40 records", members[1:], lambda: len(values()) >= 80)
    assert values() == list(range(80)), "something committed came twice"
    await members[1].consumer.stop()


async def committing_seeking_pausing() -> None:
    topic, group = await create(new_name("aio-commit"), 1), new_name("aio-commit")
    partition = TopicPartition(topic, 0)
    await send(topic, 1, range(50))
    member = await Member(group, topic, enable_auto_commit=True, auto_commit_interval_ms=100).start()
    assert (await member.next_record()).offset == 0
    await member.consumer.stop()

    member = await Member(group, topic).start()
    consumer = member.consumer
    assert await consumer.committed(partition) == 1, "stopping commits"
    assert (await member.next_record()).offset == 1
    consumer.seek(partition, 20)
    assert (await member.next_record()).offset == 20 and await consumer.position(partition) == 21
    await consumer.commit()
    assert await consumer.committed(partition) == 21
    await consumer.commit({partition: OffsetAndMetadata(23, "by hand")})
    assert await consumer.committed(partition) == 23
    consumer.pause(partition)
    assert await consumer.getmany(timeout_ms=300) == {}
    consumer.resume(partition)
    assert (await member.next_record()).offset == 21
    await consumer.seek_to_committed()
    assert (await member.next_record()).offset == 23
    await consumer.stop()


async def static_members() -> None:
    topic, group = await create(new_name("aio-static"), 4), new_name("aio-static")
    start = lambda name: Member(group, topic, group_instance_id=name).start()
    one, two = await asyncio.gather(start("one"), start("two"))
    await poll_until("two static members with two partitions each", [one, two], lambda: shares([one, two], 4))
    had, told = one.owns(), list(two.told)
    await one.consumer.stop()
    one = await start("one")
    await poll_until("the restarted member to have its partitions again", [one, two], lambda: one.owns() == had)
    await send(topic, 4, range(20))
    await poll_until("all records", [one, two], lambda: len(one.values + two.values) >= 20)
    assert two.told == told, f"a restart of the other was a rebalance: {two.told[len(told):]}"
    for member in (one, two):
        await member.consumer.stop()


async def patterns() -> None:
    prefix = new_name("aio-pattern")
    first = await create(f"{prefix}-a", 1)
    member = await Member(new_name("aio-pattern"), pattern=f"^{prefix}-.*", metadata_max_age_ms=500).start()
    await poll_until("the matching topic", [member], lambda: member.owns() == [TopicPartition(first, 0)])
    second = await create(f"{prefix}-b", 1)
    await poll_until("the topic made later", [member], lambda: TopicPartition(second, 0) in member.owns())
    await member.consumer.stop()


async def administration() -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    await admin.start()
    topic, group = await create(new_name("aio-admin"), 2), new_name("aio-admin")
    await send(topic, 2, range(20))
    member = await Member(group, topic).start()
    await poll_until("the records", [member], lambda: len(member.values) >= 20)
    await member.consumer.commit()
    assert (group, "consumer") in [tuple(one)[:2] for one in await admin.list_consumer_groups()]
    assert await admin.find_coordinator(group) in (1, 2, 3)
    (described,) = await admin.describe_consumer_groups([group])
    assert group in str(described) and "Stable" in str(described), described
    offsets = await admin.list_consumer_group_offsets(group)
    assert sorted(one.offset for one in offsets.values()) == [10, 10], offsets
    await member.consumer.stop()
    await admin.close()


async def main() -> None:
    await asyncio.gather(sharing_and_taking_over(), committing_seeking_pausing(), static_members(), patterns(),
                         administration())


asyncio.run(main())
