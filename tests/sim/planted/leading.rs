//! Bugs of leaders.

use super::Bug;

pub const BUGS: &[Bug] = &[
    Bug {
        name: "acknowledges-before-the-isr-has-it",
        breaks: "acks=all is answered as acks=1 is (rule 9)",
        edits: &[(
            "src/replication/partition/produce.rs",
            "        if produced.acks != -1 {",
            "        if PLANTED || produced.acks != -1 {",
        )],
    },
    Bug {
        name: "acknowledges-what-is-not-synced",
        breaks: "with flush.messages=1 a leader acknowledges before its own sync",
        edits: &[(
            "src/replication/partition/produce.rs",
            "        if self.flushes_before_ack() && self.log()",
            "        if !PLANTED && self.flushes_before_ack() && self.log()",
        )],
    },
    Bug {
        name: "acknowledges-what-another-reign-replaced",
        breaks: "a leader that was deposed and elected again acknowledges what it appended before, \
                 whatever lies there now (rule 9)",
        edits: &[(
            "src/replication/partition/produce.rs",
            "                if self.still_holds(produced) {",
            "                if PLANTED || self.still_holds(produced) {",
        )],
    },
    Bug {
        name: "counts-a-diverging-fetch",
        breaks: "a leader takes the fetch of a follower whose log has left its own for progress \
                 (rule 5, KAFKA-13141)",
        edits: &[(
            "src/replication/partition/read.rs",
            "self.bounds(wanted, reader, false)?",
            "self.bounds(wanted, reader, PLANTED)?",
        )],
    },
    Bug {
        name: "counts-a-fetch-of-an-old-reign",
        breaks: "a leader takes any follower's fetch for progress, whatever reign it is of and \
                 whatever it has (rules 5 and 10)",
        edits: &[
            (
                "src/replication/partition/read.rs",
                "        check_leader_epoch(requested, standing.leader_epoch)
    }",
                "        if PLANTED && matches!(reader, Reader::Follower { .. }) {
            return Ok(());
        }
        check_leader_epoch(requested, standing.leader_epoch)
    }",
            ),
            (
                "src/replication/partition/read.rs",
                "                    check_leader_epoch(wanted.current_leader_epoch, leader.leader_epoch())?;
                    let known_start",
                "                    if !PLANTED {
                        check_leader_epoch(wanted.current_leader_epoch, leader.leader_epoch())?;
                    }
                    let known_start",
            ),
        ],
    },
    Bug {
        name: "counts-a-fetch-of-an-old-incarnation",
        breaks: "a leader takes a fetch for progress that a process sent which has ended since \
                 (rule 10, KIP-903, KAFKA-14139)",
        edits: &[(
            "src/replication/leader/mod.rs",
            "        if registered.max(seen).is_some_and(",
            "        if !PLANTED && registered.max(seen).is_some_and(",
        )],
    },
    Bug {
        name: "forgets-a-pending-newcomer",
        breaks: "the high watermark waits for the confirmed ISR only, not for who is proposed as a \
                 member (rule 6, KIP-497)",
        edits: &[(
            "src/replication/leader/mod.rs",
            "            let counts = self.isr.maximal_contains(*node)
                || (progress",
            "            let counts = (PLANTED && self.isr.committed().contains(node))
                || (!PLANTED && self.isr.maximal_contains(*node))
                || (!PLANTED && progress",
        )],
    },
    Bug {
        name: "forgets-whom-it-proposes-to-drop",
        breaks: "the high watermark does not wait for a member that is proposed to leave the ISR, but \
                 may still be elected (rule 6, KIP-497)",
        edits: &[(
            "src/replication/leader/isr.rs",
            "            IsrState::Committed { isr } | IsrState::PendingShrink { isr, .. } => {
                isr.contains(&node)
            }",
            "            IsrState::PendingShrink { removing, .. }
                if PLANTED && removing.contains(&node) =>
            {
                false
            }
            IsrState::Committed { isr } | IsrState::PendingShrink { isr, .. } => {
                isr.contains(&node)
            }",
        )],
    },
    Bug {
        name: "commits-below-the-minimum",
        breaks: "the high watermark rises while the ISR is below its minimum (rule 8, KAFKA-15583)",
        edits: &[(
            "src/replication/leader/mod.rs",
            "        if self.is_below_minimum() {
            return None;",
            "        if !PLANTED && self.is_below_minimum() {
            return None;",
        )],
    },
    Bug {
        name: "lets-anybody-join-the-isr",
        breaks: "a follower is proposed for the ISR before it has what is committed (rule 10)",
        edits: &[(
            "src/replication/leader/mod.rs",
            "            || !in_sync
",
            "            || (!PLANTED && !in_sync)
",
        )],
    },
    Bug {
        name: "lets-join-before-the-reign-began",
        breaks: "to join the ISR a new leader's high watermark is enough, which may lie below what was \
                 committed (rule 10, KAFKA-7128)",
        edits: &[(
            "src/replication/leader/mod.rs",
            "self.high_watermark.max(self.epoch_start);",
            "match PLANTED {
                true => self.high_watermark,
                false => self.high_watermark.max(self.epoch_start),
            };",
        )],
    },
    Bug {
        name: "takes-an-old-answer",
        breaks: "a leader takes the controller's answer to a change of the ISR, although newer \
                 metadata has come since (rules 2 and 7)",
        edits: &[
            (
                "src/replication/leader/mod.rs",
                "        if self.isr.pending() != Some(id) {",
                "        if !PLANTED && self.isr.pending() != Some(id) {",
            ),
            (
                "src/replication/leader/mod.rs",
                "        if confirmed.leader_epoch != self.leader_epoch
            || confirmed.partition_epoch < self.partition_epoch",
                "        if confirmed.leader_epoch != self.leader_epoch
            || (!PLANTED && confirmed.partition_epoch < self.partition_epoch)",
            ),
        ],
    },
    Bug {
        name: "takes-a-change-back-that-was-made",
        breaks: "a leader takes a change of the ISR back whose outcome it does not know (rule 7)",
        edits: &[(
            "src/replication/leader/mod.rs",
            "            Err(_unexpected) => {
",
            "            Err(_) if PLANTED => {
                self.isr = IsrState::Committed { isr: self.isr.committed().clone() };
                Answered::Reverted
            }
            Err(_unexpected) => {
",
        )],
    },
    Bug {
        name: "serves-after-its-session",
        breaks: "a broker answers as leader although its session with the controller has run out",
        edits: &[(
            "src/replication/partition/mod.rs",
            "        if self.node.surrounds.is_live() {",
            "        if PLANTED || self.node.surrounds.is_live() {",
        )],
    },
    Bug {
        name: "leads-before-its-reign-is-durable",
        breaks: "a leader begins without noting where its reign begins (rule 1, KAFKA-7415)",
        edits: &[(
            "src/replication/partition/roles.rs",
            "            match self.log().assign_epoch(registration.assignment.leader_epoch).await {
                Ok(()) =>",
            "            let begun = match PLANTED {
                true => Ok(()),
                false => self.log().assign_epoch(registration.assignment.leader_epoch).await,
            };
            match begun {
                Ok(()) =>",
        )],
    },
    Bug {
        name: "shows-what-is-not-committed",
        breaks: "a consumer reads to the end of the log, beyond the high watermark",
        edits: &[(
            "src/replication/partition/read.rs",
            "                    Isolation::ReadUncommitted => high_watermark,
",
            "                    Isolation::ReadUncommitted if PLANTED => self.log().log_end_offset(),
                    Isolation::ReadUncommitted => high_watermark,
",
        )],
    },
    Bug {
        name: "tells-an-end-that-is-not-settled",
        breaks: "a new leader tells its high watermark for the end, although it may lie below what \
                 was committed (rule 18, KIP-207)",
        edits: &[(
            "src/replication/partition/read.rs",
            "        let end_is_known = settled || wanted.is_replica;",
            "        let end_is_known = PLANTED || settled || wanted.is_replica;",
        )],
    },
];
