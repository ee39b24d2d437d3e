//! Bugs of the controller and its quorum.

use super::Bug;

pub const BUGS: &[Bug] = &[
    Bug {
        name: "elects-outside-the-isr",
        breaks: "any broker that is alive may be elected (rule 14)",
        edits: &[(
            "src/metadata/election.rs",
            "        next.leader = kept.or_else(|| first(&next.isr));",
            "        let anybody = || next.replicas.iter().copied().rev().find(may_lead);
        next.leader = kept.or_else(|| if PLANTED { anybody() } else { first(&next.isr) });",
        )],
    },
    Bug {
        name: "elects-uncleanly-in-silence",
        breaks: "where nobody has everything, whoever comes first is elected (rule 14, KIP-966)",
        edits: &[(
            "src/metadata/election.rs",
            "    match (change.search == Search::Unclean).then(any).flatten() {",
            "    match (PLANTED || change.search == Search::Unclean).then(any).flatten() {",
        )],
    },
    Bug {
        name: "recovers-without-waiting",
        breaks: "a partition that lost everybody is recovered from whoever is back, without the rest \
                 of its last members (rule 15)",
        edits: &[(
            "src/controller/machine/tick.rs",
            "        if !broker.is_active() {
            return;",
            "        if !broker.is_active() && PLANTED {
            continue;
        }
        if !broker.is_active() {
            return;",
        )],
    },
    Bug {
        name: "never-asks-eligible-leaders",
        breaks: "with an empty ISR no eligible leader is elected (rule 14, KIP-966)",
        edits: &[(
            "src/metadata/election.rs",
            "    if let Some(leader) = first(&next.elr) {",
            "    if let Some(leader) = first(&next.elr).filter(|_| !PLANTED) {",
        )],
    },
    Bug {
        name: "keeps-eligible-leaders",
        breaks: "eligible leaders stay so although the ISR has its minimum and commits without them \
                 (rule 14)",
        edits: &[
            (
                "src/metadata/election.rs",
                "    if next.isr.len() >= change.min_isr {
        next.elr.clear();",
                "    if next.isr.len() >= change.min_isr {
        if PLANTED {
            next.elr.retain(|node| !change.isr.contains(node));
            return;
        }
        next.elr.clear();",
            ),
            (
                "src/replication/leader/mod.rs",
                "|| !self.elr.is_empty()
",
                "|| (!PLANTED && !self.elr.is_empty())
",
            ),
        ],
    },
    Bug {
        name: "makes-nobody-eligible",
        breaks: "below the minimum those who leave the ISR are forgotten (rule 14, KIP-966)",
        edits: &[(
            "src/metadata/election.rs",
            "        .filter(|node| held_all(node) && !in_isr(node) && !lost(node))",
            "        .filter(|node| !PLANTED && held_all(node) && !in_isr(node) && !lost(node))",
        )],
    },
    Bug {
        name: "leads-on-in-the-same-epoch",
        breaks: "a new leader is given the epoch of the one before (rule 17)",
        edits: &[(
            "src/metadata/election.rs",
            "    if next.leader != partition.leader {
        next.leader_epoch",
            "    if next.leader != partition.leader && !PLANTED {
        next.leader_epoch",
        )],
    },
    Bug {
        name: "accepts-an-old-incarnation",
        breaks: "a follower is taken into the ISR for what an earlier process of its had \
                 (rule 10, KIP-903, KAFKA-14139)",
        edits: &[(
            "src/controller/machine/alter_partition.rs",
            "        && (member.broker_epoch == BrokerEpoch::NONE",
            "        && (PLANTED
            || member.broker_epoch == BrokerEpoch::NONE",
        )],
    },
    Bug {
        name: "accepts-a-change-of-an-old-version",
        breaks: "a change of the ISR is made that was proposed before another change (rule 13)",
        edits: &[(
            "src/controller/machine/alter_partition.rs",
            "    if item.partition_epoch < partition.partition_epoch {",
            "    if !PLANTED && item.partition_epoch < partition.partition_epoch {",
        )],
    },
    Bug {
        name: "reuses-a-broker-epoch",
        breaks: "a broker's new process is registered under the epoch of the one before (rule 16)",
        edits: &[(
            "src/controller/machine/brokers.rs",
            "    let broker_epoch = situation.image.next_broker_epoch();",
            "    let next = situation.image.next_broker_epoch();
    let broker_epoch = if PLANTED { previous.unwrap_or(next) } else { next };",
        )],
    },
    Bug {
        name: "takes-every-run-for-clean",
        breaks: "a broker that lost unsynced writes stays eligible (rule 15, KAFKA-18106)",
        edits: &[(
            "src/controller/machine/brokers.rs",
            "        PreviousRun::Unclean | PreviousRun::Fresh => false,",
            "        PreviousRun::Unclean | PreviousRun::Fresh => PLANTED,",
        )],
    },
    Bug {
        name: "decides-without-a-majority",
        breaks: "a controller that has just started believes that it still leads the quorum",
        edits: &[(
            "src/controller/office.rs",
            "        let asking = tokio::time::timeout(CERTAINTY_PATIENCE, raft.ensure_linearizable());
        match asking.await {
            Ok(Ok(_)) => {}",
            "        let asking = tokio::time::timeout(CERTAINTY_PATIENCE, async {
            if PLANTED { Ok(None) } else { raft.ensure_linearizable().await }
        });
        match asking.await {
            Ok(Ok(_)) => {}",
        )],
    },
    Bug {
        name: "answers-before-the-commit",
        breaks: "the controller answers what it has decided before a majority has it",
        edits: &[(
            "src/controller/decision.rs",
            "decided.next_if(|next| next.due_after <= committed) {",
            "decided.next_if(|next| PLANTED || next.due_after <= committed) {",
        )],
    },
    Bug {
        name: "folds-what-was-decided-on-another-image",
        breaks: "entries are applied that were decided on metadata which has changed since",
        edits: &[(
            "src/controller/raft/state_machine.rs",
            "        if data.decided_in_term != log_id.leader_id.term || data.decided_on_version != version {",
            "        let is_stale =
            data.decided_in_term != log_id.leader_id.term || data.decided_on_version != version;
        if is_stale && !PLANTED {",
        )],
    },
    Bug {
        name: "skips-a-record-on-one-node",
        breaks: "a node leaves a metadata record out, now and then",
        edits: &[
            (
                "src/controller/raft/state_machine.rs",
                "            let outcome = folded.apply(entry).map_err(|error| {",
                "            let mut entry = entry;
            if let EntryPayload::Normal(data) = &mut entry.payload
                && PLANTED
                && self.random.below(100) == 0
            {
                data.records.pop();
            }
            let outcome = folded.apply(entry).map_err(|error| {",
            ),
        ],
    },
    Bug {
        name: "serves-before-it-knows-itself",
        breaks: "a broker is put into service before it has the metadata up to its own registration",
        edits: &[(
            "src/controller/lifecycle.rs",
            "            ready: wishes.logs_loaded && knows_itself(&image, node_id, broker_epoch),",
            "            ready: wishes.logs_loaded
                && (PLANTED || knows_itself(&image, node_id, broker_epoch)),",
        )],
    },
    Bug {
        name: "leaves-records-out-of-snapshots",
        breaks: "a snapshot of the metadata lacks its last record",
        edits: &[(
            "src/controller/raft/snapshot.rs",
            "    let records = image.to_records();",
            "    let mut records = image.to_records();
    if PLANTED {
        records.pop();
    }",
        )],
    },
];
