//! Kafka's keys without effect here: accepted, with one warning each; and those that must not be passed
//! over in silence.

const ZOOKEEPER: &str = "there is no ZooKeeper: the controllers keep the metadata";
const RUNTIME: &str = "Ottla sizes its threads, buffers and retries itself";
const SECURITY: &str = "only PLAINTEXT listeners are supported so far";
const GROUPS: &str = "it belongs to share groups, streams groups or threads that are not there";
const TRANSACTIONS: &str =
    "it belongs to transactions and producer expiry, which are not there yet";
const QUOTAS: &str = "quotas are not there yet";
const TIERED: &str = "remote storage is not there yet";
const METRICS: &str = "there are no JVM metrics reporters";
const PLUGINS: &str = "JVM plug-ins cannot be loaded";
const CHECKPOINTS: &str = "Ottla does this at an interval of its own";
const BALANCE: &str = "leaders are handed over and brought back in a way of Ottla's own";
const QUORUM: &str = "the quorum needs no such setting";
const OLD: &str = "Kafka removed it";

/// Names, by the reason why they have no effect.
const IGNORED: &[(&str, &[&str])] = &[
    (
        ZOOKEEPER,
        &[
            "zookeeper.clientCnxnSocket",
            "zookeeper.connect",
            "zookeeper.connection.timeout.ms",
            "zookeeper.max.in.flight.requests",
            "zookeeper.metadata.migration.enable",
            "zookeeper.session.timeout.ms",
            "zookeeper.set.acl",
            "zookeeper.sync.time.ms",
        ],
    ),
    (
        RUNTIME,
        &[
            "background.threads",
            "connection.failed.authentication.delay.ms",
            "delete.records.purgatory.purge.interval.requests",
            "fetch.purgatory.purge.interval.requests",
            "initial.broker.registration.timeout.ms",
            "log.dir.failure.timeout.ms",
            "num.io.threads",
            "num.network.threads",
            "num.replica.alter.log.dirs.threads",
            "num.replica.fetchers",
            "producer.purgatory.purge.interval.requests",
            "queued.max.requests",
            "replica.fetch.backoff.ms",
            "replica.socket.receive.buffer.bytes",
            "request.timeout.ms",
            "server.max.startup.time.ms",
            "socket.connection.setup.timeout.max.ms",
            "socket.connection.setup.timeout.ms",
            "socket.listen.backlog.size",
            "socket.receive.buffer.bytes",
            "socket.send.buffer.bytes",
        ],
    ),
    (
        SECURITY,
        &[
            "allow.everyone.if.no.acl.found",
            "connections.max.reauth.ms",
            "delegation.token.expiry.check.interval.ms",
            "delegation.token.expiry.time.ms",
            "delegation.token.master.key",
            "delegation.token.max.lifetime.ms",
            "delegation.token.secret.key",
            "early.start.listeners",
            "password.encoder.cipher.algorithm",
            "password.encoder.iterations",
            "password.encoder.key.length",
            "password.encoder.keyfactory.algorithm",
            "password.encoder.old.secret",
            "password.encoder.secret",
            "principal.builder.class",
            "security.providers",
            "super.users",
        ],
    ),
    (
        GROUPS,
        &[
            "group.consumer.assignment.interval.ms",
            "group.coordinator.append.linger.ms",
            "group.coordinator.cached.buffer.max.bytes",
            "group.coordinator.rebalance.protocols",
            "group.coordinator.threads",
            "group.share.assignors",
            "group.share.delivery.count.limit",
            "group.share.enable",
            "group.share.heartbeat.interval.ms",
            "group.share.max.groups",
            "group.share.max.heartbeat.interval.ms",
            "group.share.max.record.lock.duration.ms",
            "group.share.max.session.timeout.ms",
            "group.share.max.share.sessions",
            "group.share.max.size",
            "group.share.min.heartbeat.interval.ms",
            "group.share.min.record.lock.duration.ms",
            "group.share.min.session.timeout.ms",
            "group.share.partition.max.record.locks",
            "group.share.persister.class.name",
            "group.share.record.lock.duration.ms",
            "group.share.session.timeout.ms",
            "group.streams.assignment.interval.ms",
            "group.streams.heartbeat.interval.ms",
            "group.streams.initial.rebalance.delay.ms",
            "group.streams.max.heartbeat.interval.ms",
            "group.streams.max.session.timeout.ms",
            "group.streams.max.size",
            "group.streams.max.standby.replicas",
            "group.streams.min.heartbeat.interval.ms",
            "group.streams.min.session.timeout.ms",
            "group.streams.num.standby.replicas",
            "group.streams.session.timeout.ms",
            "offsets.commit.required.acks",
            "share.coordinator.append.linger.ms",
            "share.coordinator.cold.partition.snapshot.interval.ms",
            "share.coordinator.load.buffer.size",
            "share.coordinator.snapshot.update.records.per.snapshot",
            "share.coordinator.state.topic.compression.codec",
            "share.coordinator.state.topic.min.isr",
            "share.coordinator.state.topic.num.partitions",
            "share.coordinator.state.topic.prune.interval.ms",
            "share.coordinator.state.topic.replication.factor",
            "share.coordinator.state.topic.segment.bytes",
            "share.coordinator.threads",
            "share.coordinator.write.timeout.ms",
            "share.fetch.purgatory.purge.interval.requests",
        ],
    ),
    (
        TRANSACTIONS,
        &[
            "add.partitions.to.txn.retry.backoff.max.ms",
            "add.partitions.to.txn.retry.backoff.ms",
            "producer.id.expiration.check.interval.ms",
            "producer.id.expiration.ms",
            "transaction.abort.timed.out.transaction.cleanup.interval.ms",
            "transaction.max.timeout.ms",
            "transaction.partition.verification.enable",
            "transaction.remove.expired.transaction.cleanup.interval.ms",
            "transaction.state.log.load.buffer.size",
            "transaction.state.log.min.isr",
            "transaction.state.log.num.partitions",
            "transaction.state.log.replication.factor",
            "transaction.state.log.segment.bytes",
            "transaction.two.phase.commit.enable",
            "transactional.id.expiration.ms",
        ],
    ),
    (
        QUOTAS,
        &[
            "alter.log.dirs.replication.quota.window.num",
            "alter.log.dirs.replication.quota.window.size.seconds",
            "client.quota.callback.class",
            "controller.quota.window.num",
            "controller.quota.window.size.seconds",
            "follower.replication.throttled.rate",
            "leader.replication.throttled.rate",
            "quota.window.num",
            "quota.window.size.seconds",
            "replica.alter.log.dirs.io.max.bytes.per.second",
            "replication.quota.window.num",
            "replication.quota.window.size.seconds",
        ],
    ),
    (
        TIERED,
        &[
            "remote.fetch.max.wait.ms",
            "remote.list.offsets.request.timeout.ms",
            "remote.log.index.file.cache.total.size.bytes",
            "remote.log.manager.copier.thread.pool.size",
            "remote.log.manager.copy.max.bytes.per.second",
            "remote.log.manager.copy.quota.window.num",
            "remote.log.manager.copy.quota.window.size.seconds",
            "remote.log.manager.expiration.thread.pool.size",
            "remote.log.manager.fetch.max.bytes.per.second",
            "remote.log.manager.fetch.quota.window.num",
            "remote.log.manager.fetch.quota.window.size.seconds",
            "remote.log.manager.follower.thread.pool.size",
            "remote.log.manager.task.interval.ms",
            "remote.log.manager.task.retry.backoff.max.ms",
            "remote.log.manager.task.retry.backoff.ms",
            "remote.log.manager.task.retry.jitter",
            "remote.log.manager.thread.pool.size",
            "remote.log.metadata.custom.metadata.max.bytes",
            "remote.log.metadata.manager.class.name",
            "remote.log.metadata.manager.class.path",
            "remote.log.metadata.manager.impl.prefix",
            "remote.log.metadata.manager.listener.name",
            "remote.log.reader.max.pending.tasks",
            "remote.log.reader.threads",
            "remote.log.storage.manager.class.name",
            "remote.log.storage.manager.class.path",
            "remote.log.storage.manager.impl.prefix",
            "remote.log.storage.system.enable",
        ],
    ),
    (
        METRICS,
        &[
            "auto.include.jmx.reporter",
            "kafka.metrics.polling.interval.secs",
            "kafka.metrics.reporters",
            "metric.reporters",
            "metrics.num.samples",
            "metrics.recording.level",
            "metrics.sample.window.ms",
            "telemetry.max.bytes",
        ],
    ),
    (
        PLUGINS,
        &["alter.config.policy.class.name", "config.providers", "create.topic.policy.class.name"],
    ),
    (
        CHECKPOINTS,
        &[
            "log.flush.offset.checkpoint.interval.ms",
            "log.flush.scheduler.interval.ms",
            "log.flush.start.offset.checkpoint.interval.ms",
            "replica.high.watermark.checkpoint.interval.ms",
        ],
    ),
    (
        BALANCE,
        &[
            "controlled.shutdown.max.retries",
            "controlled.shutdown.retry.backoff.ms",
            "leader.imbalance.per.broker.percentage",
        ],
    ),
    (
        QUORUM,
        &[
            "controller.performance.always.log.threshold.ms",
            "controller.performance.sample.period.ms",
            "controller.quorum.append.linger.ms",
            "controller.quorum.auto.join.enable",
            "controller.quorum.bootstrap.servers",
            "controller.quorum.election.backoff.max.ms",
            "controller.quorum.fetch.max.bytes",
            "controller.quorum.fetch.snapshot.max.bytes",
            "controller.quorum.request.timeout.ms",
            "controller.quorum.retry.backoff.ms",
            "controller.socket.timeout.ms",
            "internal.metadata.log.segment.bytes",
            "metadata.log.max.snapshot.interval.ms",
            "metadata.log.segment.bytes",
            "metadata.log.segment.min.bytes",
            "metadata.log.segment.ms",
            "metadata.max.idle.interval.ms",
            "metadata.max.retention.bytes",
            "metadata.max.retention.ms",
            "unclean.leader.election.interval.ms",
            "unstable.api.versions.enable",
            "unstable.feature.versions.enable",
        ],
    ),
    (
        OLD,
        &[
            "broker.id.generation.enable",
            "control.plane.listener.name",
            "eligible.leader.replicas.enable",
            "inter.broker.protocol.version",
            "log.message.downconversion.enable",
            "log.message.format.version",
            "log.message.timestamp.difference.max.ms",
            "replica.lag.max.messages",
            "reserved.broker.max.id",
        ],
    ),
];

/// Families that are open: any name that begins so.
const FAMILIES: &[(&str, &str)] = &[
    ("ssl.", SECURITY),
    ("sasl.", SECURITY),
    ("listener.name.", SECURITY),
    ("zookeeper.ssl.", ZOOKEEPER),
    ("config.providers.", PLUGINS),
];

/// What a user relies on: to ignore it would be worse than to refuse it.
const REFUSED: &[(&str, &str)] = &[
    (
        "authorizer.class.name",
        "there is no authorizer yet, and without one everybody may do everything; remove it if that is meant",
    ),
    ("broker.id", "it is called node.id now"),
    ("port", "write listeners=PLAINTEXT://:9092 with your port instead"),
    ("host.name", "write listeners=PLAINTEXT://host:9092 instead"),
    ("advertised.port", "write advertised.listeners=PLAINTEXT://host:9092 instead"),
    ("advertised.host.name", "write advertised.listeners=PLAINTEXT://host:9092 instead"),
];

/// Those of them that Kafka lets be changed while a broker runs: here too, without effect.
const DYNAMIC: &[&str] = &[
    "background.threads",
    "follower.replication.throttled.rate",
    "group.coordinator.cached.buffer.max.bytes",
    "leader.replication.throttled.rate",
    "metric.reporters",
    "num.io.threads",
    "num.network.threads",
    "num.replica.fetchers",
    "producer.id.expiration.ms",
    "remote.fetch.max.wait.ms",
    "remote.list.offsets.request.timeout.ms",
    "remote.log.index.file.cache.total.size.bytes",
    "remote.log.manager.copier.thread.pool.size",
    "remote.log.manager.copy.max.bytes.per.second",
    "remote.log.manager.expiration.thread.pool.size",
    "remote.log.manager.fetch.max.bytes.per.second",
    "remote.log.manager.follower.thread.pool.size",
    "remote.log.reader.threads",
    "replica.alter.log.dirs.io.max.bytes.per.second",
    "transaction.partition.verification.enable",
];

/// Whether Kafka lets the key be changed while a broker runs.
pub fn is_dynamic(name: &str) -> bool {
    DYNAMIC.contains(&name)
}

/// Why the key has no effect, if it is such a key.
pub fn why_ignored(name: &str) -> Option<&'static str> {
    let listed = IGNORED.iter().find(|(_, names)| names.contains(&name)).map(|(why, _)| *why);
    listed
        .or_else(|| FAMILIES.iter().find(|(start, _)| name.starts_with(start)).map(|(_, why)| *why))
}

/// What to do instead of setting the key, if it is refused.
pub fn why_refused(name: &str) -> Option<&'static str> {
    REFUSED.iter().find(|(refused, _)| *refused == name).map(|(_, advice)| *advice)
}

/// The names without effect, but for the open families.
pub fn names() -> impl Iterator<Item = &'static str> {
    IGNORED.iter().flat_map(|(_, names)| names.iter().copied())
}
