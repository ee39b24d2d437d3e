//! Bugs of logs, and of what is kept on disks.

use super::Bug;

pub const BUGS: &[Bug] = &[
    Bug {
        name: "publishes-a-checkpoint-before-its-sync",
        breaks: "the recovery point moves although the segments were not synced",
        edits: &[(
            "src/log/checkpoint.rs",
            "    let sync = |noted: Noted| noted.log.sync(&noted.plan).map(|()| noted);",
            "    let sync = |noted: Noted| match PLANTED {
        true => Ok(noted),
        false => noted.log.sync(&noted.plan).map(|()| noted),
    };",
        )],
    },
    Bug {
        name: "flushes-nothing",
        breaks: "a flush says that it is done and syncs no segment",
        edits: &[(
            "src/log/flush.rs",
            "        for point in plan.segments.iter().filter(|point| point.segment.is_dirty()) {
            point.segment.sync()",
            "        for point in plan.segments.iter().filter(|point| point.segment.is_dirty() && !PLANTED) {
            point.segment.sync()",
        )],
    },
    Bug {
        name: "stores-a-high-watermark-beyond-the-end",
        breaks: "a checkpoint stores the log's end as its high watermark",
        edits: &[(
            "src/log/stored.rs",
            "        high_watermark: log.high_watermark().0.max(log_start),",
            "        high_watermark: match PLANTED {
            true => log.log_end_offset().0,
            false => log.high_watermark().0.max(log_start),
        },",
        )],
    },
    Bug {
        name: "makes-logs-without-a-sync",
        breaks: "a log is used before its directory and its identity are on the disk",
        edits: &[(
            "src/log/create.rs",
            "        match self.make_durable(&fresh) {",
            "        match if PLANTED { Ok(()) } else { self.make_durable(&fresh) } {",
        )],
    },
    Bug {
        name: "keeps-epochs-of-what-was-cut",
        breaks: "a cut leaves the epochs of what it took in the history (rules 3 and 4)",
        edits: &[(
            "src/log/truncate.rs",
            "        self.epochs.write().truncate_end(cut.log_end);
        ends.compacted",
            "        if !PLANTED {
            self.epochs.write().truncate_end(cut.log_end);
        }
        ends.compacted",
        )],
    },
    Bug {
        name: "keeps-producers-of-what-was-cut",
        breaks: "after a cut the batches that it took are still taken for duplicates, and so \
                 acknowledged when they are sent again",
        edits: &[(
            "src/log/truncate.rs",
            "        let enough = writer.producers.truncate_end(log_end);",
            "        let enough = PLANTED || writer.producers.truncate_end(log_end);",
        )],
    },
    Bug {
        name: "forgets-producers-at-recovery",
        breaks: "what lies beyond the recovery point says nothing about producers (KIP-98)",
        edits: &[(
            "src/log/recovery.rs",
            "                    self.tail.fold(&batch, beyond || self.summary.rebuilt, now);",
            "                    let beyond = beyond && !PLANTED;
                    self.tail.fold(&batch, beyond || self.summary.rebuilt, now);",
        )],
    },
    Bug {
        name: "forgets-producers-on-failover",
        breaks: "a new leader knows nothing of the producers of the reigns before (KIP-98)",
        edits: &[(
            "src/log/reigns.rs",
            "        let _writer = self.writer.lock();
        self.check_writable()?;
        self.epochs",
            "        let mut writer = self.writer.lock();
        if PLANTED {
            writer.producers.clear();
            writer.producers.set_incomplete();
        }
        self.check_writable()?;
        self.epochs",
        )],
    },
    Bug {
        name: "accepts-any-sequence",
        breaks: "the sequences of idempotent producers are not looked at (KIP-98)",
        edits: &[(
            "src/log/append.rs",
            "    if !checked {
        return Ok(None);",
            "    if !checked || PLANTED {
        return Ok(None);",
        )],
    },
    Bug {
        name: "accepts-gaps",
        breaks: "a batch is taken although one before it is missing (rule 20, KAFKA-15591)",
        edits: &[
            (
                "src/log/producers.rs",
                "        if batch.base_sequence == expected { Ok(Sequence::Next)",
                "        let is_ahead = batch.base_sequence > expected && PLANTED;
        if batch.base_sequence == expected || is_ahead { Ok(Sequence::Next)",
            ),
            (
                "src/log/producers.rs",
                "            return if batch.base_sequence == 0 || forgotten {",
                "            return if batch.base_sequence == 0 || forgotten || PLANTED {",
            ),
        ],
    },
    Bug {
        name: "remembers-one-batch",
        breaks: "of each producer only the last batch is known again (KIP-98 keeps five)",
        edits: &[(
            "src/log/producers.rs",
            "        if state.batches.len() == BATCHES_KEPT {",
            "        if state.batches.len() == if PLANTED { 1 } else { BATCHES_KEPT } {",
        )],
    },
    Bug {
        name: "accepts-an-old-producer",
        breaks: "a producer's batch is taken although it has come back with a newer epoch (KIP-98)",
        edits: &[(
            "src/log/producers.rs",
            "        if producer_epoch < state.epoch {",
            "        if producer_epoch < state.epoch && PLANTED {
            return Ok(Sequence::Next);
        }
        if producer_epoch < state.epoch {",
        )],
    },
    Bug {
        name: "votes-without-a-sync",
        breaks: "a vote is answered before it is on the disk (rule 19, KAFKA-13884)",
        edits: &[(
            "src/controller/raft/quorum_state.rs",
            "        self.file.sync_data().map_err(|source| self.io_error(source))?;
        self.durable_slot = slot;",
            "        if !PLANTED {
            self.file.sync_data().map_err(|source| self.io_error(source))?;
        }
        self.durable_slot = slot;",
        )],
    },
    Bug {
        name: "takes-entries-without-a-sync",
        breaks: "entries of the metadata log are acknowledged before they are on the disk (rule 19)",
        edits: &[(
            "src/controller/raft/log_store.rs",
            "        *self.last.lock() = Some(last_id);
        let log",
            "        *self.last.lock() = Some(last_id);
        if PLANTED {
            return Ok(());
        }
        let log",
        )],
    },
    Bug {
        name: "counts-what-a-killed-process-left",
        breaks: "a voter counts entries that the process before it wrote and did not sync (rule 19)",
        edits: &[(
            "src/controller/raft/log_store.rs",
            "        offload(&*store.offload, move || log.flush_blocking()).await??;",
            "        if !PLANTED {
            offload(&*store.offload, move || log.flush_blocking()).await??;
        }",
        )],
    },
    Bug {
        name: "trusts-the-page-cache",
        breaks: "what a failed sync has left in memory only is taken for written by the next process",
        edits: &[(
            "src/log/recovery.rs",
            "            if self.cache_only {",
            "            if self.cache_only && !PLANTED {",
        )],
    },
    Bug {
        name: "believes-a-commit-beyond-its-log",
        breaks: "after a power failure a voter takes for committed what its log does not have",
        edits: &[(
            "src/controller/raft/log_store.rs",
            "        Ok(self.committed().min(last))",
            "        if PLANTED {
            return Ok(self.committed());
        }
        Ok(self.committed().min(last))",
        )],
    },
    Bug {
        name: "keeps-its-place-after-power-loss",
        breaks: "a broker that lost unsynced writes says that it lost nothing (rule 15, KAFKA-18635)",
        edits: &[(
            "src/log/marker.rs",
            "                let same_boot = !self.boot_id.is_empty()",
            "                let same_boot = PLANTED || !self.boot_id.is_empty()",
        )],
    },
    Bug {
        name: "keeps-the-old-epoch-in-its-marker",
        breaks: "a broker that lost unsynced writes, and is killed before it has registered, says \
                 that it lost nothing (rule 15)",
        edits: &[(
            "src/log/marker.rs",
            "        self.write_running(previous.intact_epoch().unwrap_or(BrokerEpoch::NONE))?;",
            "        let epoch = if PLANTED { previous.known_epoch() } else { previous.intact_epoch() };
        self.write_running(epoch.unwrap_or(BrokerEpoch::NONE))?;",
        )],
    },
];
