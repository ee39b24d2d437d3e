"""kafka-python's admin client: configurations of topics and brokers are shown, changed and reset."""

import time

from kafka import KafkaAdminClient
from kafka.admin import AlterConfigOp, ConfigResource, ConfigResourceType, NewTopic

from expected import BOOTSTRAP, new_name

admin = KafkaAdminClient(bootstrap_servers=BOOTSTRAP.split(","))
TOPIC, BROKER = ConfigResourceType.TOPIC, ConfigResourceType.BROKER


def described(resource_type, name: str, config_filter: str = "all") -> dict:
    """The values by key."""
    (by_name,) = admin.describe_configs([ConfigResource(resource_type, name)], config_filter=config_filter).values()
    return {key: found["value"] for key, found in by_name[name].items()}


def eventually(what: str, check) -> None:
    """Another broker learns of a change by the metadata, a moment later."""
    end = time.monotonic() + 60
    while not check():
        assert time.monotonic() < end, f"waited for {what}"
        time.sleep(0.05)


topic = new_name("python-configs")
admin.create_topics([NewTopic(topic, 1, 3, topic_configs={"retention.ms": "1000000"})])
eventually("the topic's own value", lambda: described(TOPIC, topic, "modified") == {"retention.ms": "1000000"})
for incremental, value in [(True, "2000000"), (False, "3000000")]:
    admin.alter_configs([ConfigResource(TOPIC, topic, configs={"retention.ms": value})], incremental=incremental)
    eventually("the change", lambda: described(TOPIC, topic, "modified") == {"retention.ms": value})
appended = {"cleanup.policy": (AlterConfigOp.APPEND, "compact")}
admin.alter_configs([ConfigResource(TOPIC, topic, configs=appended)])
eventually("the list", lambda: described(TOPIC, topic)["cleanup.policy"] == "delete,compact")

broker = described(BROKER, "1")
assert broker["node.id"] == "1", broker
admin.alter_configs([ConfigResource(BROKER, "1", configs={"max.connections": "4321"})])
eventually("the broker's value", lambda: described(BROKER, "1")["max.connections"] == "4321")
assert "node.id" not in described(BROKER, "1", "dynamic"), "not to be changed while it runs"
admin.alter_configs([ConfigResource(BROKER, "1", configs={"max.connections": (AlterConfigOp.DELETE, None)})])
eventually("the default again", lambda: described(BROKER, "1")["max.connections"] == "2147483647")
admin.delete_topics([topic])
