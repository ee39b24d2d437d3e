//! Bugs of followers.

use super::Bug;

pub const BUGS: &[Bug] = &[
    Bug {
        name: "cuts-to-the-high-watermark",
        breaks: "a follower of a new leader first cuts its log to its own high watermark \
                 (rule 4, KIP-101, KAFKA-1211)",
        edits: &[(
            "src/replication/partition/roles.rs",
            "        } else if !leads {
            self.follow(&registration);",
            "        } else if !leads {
            if PLANTED
                && registration.assignment.leader_epoch > self.current_leader().leader_epoch
            {
                self.log().truncate_to(self.log().high_watermark()).await.ok();
            }
            self.follow(&registration);",
        )],
    },
    Bug {
        name: "never-cuts",
        breaks: "a leader does not tell where a follower's log has left its own (rule 5, KIP-595)",
        edits: &[(
            "src/replication/partition/read.rs",
            "let diverging = self.check_position(wanted)?;",
            "let diverging = self.check_position(wanted)?.filter(|_| !PLANTED);",
        )],
    },
    Bug {
        name: "takes-an-answer-of-an-old-reign",
        breaks: "a follower appends what an earlier leader answers to a fetch of before the cut \
                 (rule 5, KAFKA-18991)",
        edits: &[
            (
                "src/replication/follower/mod.rs",
                "        now: Monotonic,
    ) -> Step {
        if self.in_flight.as_ref() != Some(ask) {
            return Step::Stale;",
                "        now: Monotonic,
    ) -> Step {
        if !PLANTED && self.in_flight.as_ref() != Some(ask) {
            return Step::Stale;",
            ),
            (
                "src/replication/follower/mod.rs",
                "        if !self.describes(ask, log) {",
                "        if !PLANTED && !self.describes(ask, log) {",
            ),
        ],
    },
    Bug {
        name: "takes-the-high-watermark-before-the-cut",
        breaks: "a follower that is told where to cut first takes the leader's high watermark \
                 (rule 5, KAFKA-14704)",
        edits: &[(
            "src/replication/partition/follow.rs",
            "            Step::Truncate(cut) => Followed::Cut(cut),
            Step::Locate => Followed::Locate,",
            "            Step::Truncate(cut) => {
                if PLANTED {
                    self.log().set_high_watermark(followed.answer.high_watermark);
                }
                Followed::Cut(cut)
            }
            Step::Locate => Followed::Locate,",
        )],
    },
    Bug {
        name: "takes-the-high-watermark-as-it-is",
        breaks: "a follower's high watermark follows its leader's even back (rule 6)",
        edits: &[(
            "src/replication/follower/mod.rs",
            "        current.max(leaders.min(log_end))",
            "        if PLANTED { leaders.min(log_end) } else { current.max(leaders.min(log_end)) }",
        ), (
            "src/replication/partition/follow.rs",
            "        if next > before {
            self.log()",
            "        if next > before || PLANTED {
            self.log()",
        )],
    },
    Bug {
        name: "reports-what-is-not-synced",
        breaks: "with flush.messages=1 a follower fetches on before what it has is on its disk",
        edits: &[(
            "src/replication/partition/follow.rs",
            "        !self.flushes_before_ack() || self.log()",
            "        PLANTED || !self.flushes_before_ack() || self.log()",
        )],
    },
    Bug {
        name: "cuts-beyond-the-common-history",
        breaks: "a follower that does not know the leader's epoch cuts where the leader says, not to \
                 its own largest smaller epoch (rule 4, KIP-279, KAFKA-6361)",
        edits: &[(
            "src/replication/epochs.rs",
            "    } else if ours.epoch == leader.epoch {",
            "    } else if PLANTED || ours.epoch == leader.epoch {",
        )],
    },
    Bug {
        name: "answers-epochs-with-the-log-end",
        breaks: "a leader says of every epoch that it knows that it ends where its log ends (rule 3)",
        edits: &[(
            "src/log/epochs.rs",
            "        let end_offset = self.starts[higher].start_offset;",
            "        let end_offset =
            if PLANTED { log_end } else { self.starts[higher].start_offset };",
        )],
    },
    Bug {
        name: "leaves-a-partition-out-of-its-session",
        breaks: "an answer within a fetch session leaves out a partition whose high watermark has \
                 moved (KIP-227)",
        edits: &[(
            "src/broker/handlers/fetch/mod.rs",
            "            high_watermark: fetched.high_watermark,
            log_start_offset: fetched.log_start_offset,",
            "            high_watermark: if PLANTED { Offset::ZERO } else { fetched.high_watermark },
            log_start_offset: fetched.log_start_offset,",
        )],
    },
    Bug {
        name: "does-not-wake-followers",
        breaks: "an append wakes no fetch that waits for records",
        edits: &[(
            "src/replication/partition/produce.rs",
            "        self.waiters.wake(Interest::LogEnd);",
            "        if !PLANTED {
            self.waiters.wake(Interest::LogEnd);
        }",
        )],
    },
];
