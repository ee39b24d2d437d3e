//! Bugs of what clients are answered: groups and topics.

use super::Bug;

pub const BUGS: &[Bug] = &[
    Bug {
        name: "lets-zombies-commit",
        breaks: "a member that has been left behind may still commit offsets",
        edits: &[
            (
                "src/coordinator/group/classic/group.rs",
                "            self.check_member(member, instance)?;
            if generation != self.generation {
                return Err(ErrorCode::IllegalGeneration);
            }
        } else if",
                "            if PLANTED {
                return Ok(());
            }
            self.check_member(member, instance)?;
            if generation != self.generation {
                return Err(ErrorCode::IllegalGeneration);
            }
        } else if",
            ),
            (
                "src/coordinator/group/consumer/describe.rs",
                "        if epoch < 0 && self.members.is_empty() {
            return Ok(CommitCheck::All);",
                "        if PLANTED || (epoch < 0 && self.members.is_empty()) {
            return Ok(CommitCheck::All);",
            ),
        ],
    },
    Bug {
        name: "answers-before-the-group-is-committed",
        breaks: "a coordinator answers before the high watermark has passed what the answer is based on",
        edits: &[(
            "src/coordinator/shard/active.rs",
            "self.held.pop_front_if(|held| held.end <= committed) {",
            "self.held.pop_front_if(|held| PLANTED || held.end <= committed) {",
        )],
    },
    Bug {
        name: "begins-with-an-empty-coordinator",
        breaks: "a new coordinator does not read the log of its partition",
        edits: &[(
            "src/coordinator/shard/replay.rs",
            "        let (next, end) = (log.log_start_offset(), log.log_end_offset());",
            "        let (next, end) = (log.log_start_offset(), log.log_end_offset());
        let next = if PLANTED { end } else { next };",
        )],
    },
    Bug {
        name: "coordinates-before-its-log-is-committed",
        breaks: "a new coordinator answers from records that may not be committed",
        edits: &[(
            "src/coordinator/shard/run.rs",
            "        if self.until_committed(replay.end, movements).await.is_err() {",
            "        if !PLANTED && self.until_committed(replay.end, movements).await.is_err() {",
        )],
    },
    Bug {
        name: "writes-in-another-reign",
        breaks: "a coordinator writes in a reign in which it has not read",
        edits: &[
            (
                "src/replication/partition/produce.rs",
                "        if reign.is_some_and(|reign| reign != standing.leader_epoch) {",
                "        if !PLANTED && reign.is_some_and(|reign| reign != standing.leader_epoch) {",
            ),
            (
                "src/replication/partition/reign.rs",
                "        if standing.leader_epoch != leader_epoch {",
                "        if !PLANTED && standing.leader_epoch != leader_epoch {",
            ),
        ],
    },
    Bug {
        name: "gives-a-new-topic-an-old-log",
        breaks: "a topic that is made again finds the log of the one before under its name",
        edits: &[(
            "src/replication/hosting.rs",
            "            if log.topic_id() == replica.topic_id {",
            "            if PLANTED || log.topic_id() == replica.topic_id {",
        )],
    },
];
