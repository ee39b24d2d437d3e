//! What of a log is known, or feared, to be damaged. Readers are kept from what is known, so that it
//! is neither served nor replicated, and whoever mends logs is told of both.

use std::collections::BTreeSet;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::log::error::ReadError;
use crate::log::partition_log::Log;
use crate::log::rot_kept;
use crate::log::segment::base_offset_of;
use crate::record::batches;
use crate::types::Offset;

/// A part of a segment that does not hold what was written there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The base offset of the segment.
    pub segment: Offset,
    /// Where in its file the damage begins.
    pub position: u64,
    /// Where in its file the next sound batch begins, or the file should end.
    pub end: u64,
    /// The first offset that cannot be read.
    pub from: Offset,
    /// The offset after the last that cannot be read.
    pub to: Offset,
    /// What is wrong there.
    pub reason: String,
}

/// The damage of one log, as far as anybody has met it since the log was opened.
#[derive(Debug, Default)]
pub(crate) struct Rot {
    /// By offset; almost always empty.
    found: ArcSwap<Vec<Finding>>,
    /// Segments that a reader could not read and nobody has verified since, by base offset.
    suspects: Mutex<BTreeSet<Offset>>,
}

impl Log {
    /// What is known to be damaged, by offset.
    pub fn damage(&self) -> Arc<Vec<Finding>> {
        self.rot.found.load_full()
    }

    /// The segments with known damage, and those that a reader could not read, by base offset.
    pub fn segments_to_mend(&self) -> Vec<Offset> {
        let mut bases = self.rot.suspects.lock().clone();
        bases.extend(self.rot.found.load().iter().map(|finding| finding.segment));
        bases.retain(|base| self.has_segment(*base));
        bases.into_iter().collect()
    }

    /// What was found in a segment that is gone says nothing about what has taken its place.
    pub(crate) fn has_segment(&self, base: Offset) -> bool {
        let segments = self.segments.load();
        segments.binary_search_by_key(&base, |segment| segment.base_offset()).is_ok()
    }

    /// A reader met `error`: if a segment is to blame, whoever mends this log looks at it.
    pub fn suspect(&self, error: &ReadError) {
        let (ReadError::Corrupt { path, .. } | ReadError::Io { path, .. }) = error else { return };
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let Some(base) = base_offset_of(&name) else { return };
        if self.has_segment(base) && self.rot.suspects.lock().insert(base) {
            tracing::error!(log = %self.topic_partition, %error, "a reader has met damage");
            self.shared.tell_of_damage();
        }
    }

    /// What was read at `offset` is not what was written, as far as a reader can tell.
    pub(crate) fn suspect_at(&self, offset: Offset, reason: &str) {
        let segments = self.segments.load();
        let after = segments.partition_point(|segment| segment.base_offset() <= offset);
        if let Some(segment) = after.checked_sub(1).and_then(|index| segments.get(index)) {
            self.suspect(&segment.corrupt(0, format!("read from offset {offset}: {reason}")));
        }
    }

    /// A verification of the segment `base` has found all of `findings`, and nothing else.
    pub(crate) fn note_damage(&self, base: Offset, findings: &[Finding]) {
        let has_news = {
            // Two verifications may end at once.
            let mut suspects = self.rot.suspects.lock();
            suspects.remove(&base);
            self.replace_findings(base, findings)
        };
        if has_news {
            self.shared.tell_of_damage();
        }
    }

    /// True if something is damaged that was not known to be.
    fn replace_findings(&self, base: Offset, findings: &[Finding]) -> bool {
        let known = self.damage();
        let is_of_it = |finding: &&Finding| finding.segment == base;
        if known.iter().filter(is_of_it).eq(findings) {
            return false;
        }
        let is_new = |finding: &&Finding| !known.contains(finding);
        for finding in findings.iter().filter(is_new) {
            let Finding { segment, position, from, to, reason, .. } = finding;
            tracing::error!(
                log = %self.topic_partition, %segment, position, %from, %to, reason,
                "a segment is damaged: what lies there is not served"
            );
        }
        let is_other = |known: &&Finding| known.segment != base && self.has_segment(known.segment);
        let mut all: Vec<Finding> = known.iter().filter(is_other).cloned().collect();
        all.extend_from_slice(findings);
        all.sort_by_key(|finding| (finding.from, finding.segment));
        self.rot.found.store(Arc::new(all));
        rot_kept::keep(self, base, findings);
        findings.iter().any(|finding| is_new(&finding))
    }

    /// How far a reader may go who begins at `from` and wants to go to `limit`.
    pub(crate) fn undamaged_limit(&self, from: Offset, limit: Offset) -> Result<Offset, ReadError> {
        let found = self.rot.found.load();
        if found.is_empty() {
            return Ok(limit);
        }
        let met =
            found.iter().find(|finding| from < finding.to && self.has_segment(finding.segment));
        match met {
            Some(finding) if finding.from <= from => {
                let Finding { from, to, reason, .. } = finding.clone();
                Err(ReadError::Damaged { from, to, reason })
            }
            Some(finding) => Ok(limit.min(finding.from)),
            None => Ok(limit),
        }
    }

    /// Fails if `records`, read at `from`, are not what was written: a replica is sent nothing that
    /// it could not keep. Only sealed segments are looked at, whose bytes may be old; the newest
    /// have just been verified by the append.
    pub fn check_before_replication(
        &self,
        from: Offset,
        records: &bytes::Bytes,
    ) -> Result<(), ReadError> {
        let segments = self.segments.load();
        let after = segments.partition_point(|segment| segment.base_offset() <= from);
        let Some(segment) = after.checked_sub(1).and_then(|index| segments.get(index)) else {
            return Ok(());
        };
        if after == segments.len() {
            return Ok(());
        }
        for batch in batches(records) {
            let sound = batch.and_then(|batch| batch.verify_crc().map(|()| batch));
            let error = match sound {
                Ok(batch) => match self.epoch_at(batch.header.base_offset) {
                    Some(epoch) if epoch != batch.header.partition_leader_epoch => {
                        format!(
                            "a batch bears leader epoch {}",
                            batch.header.partition_leader_epoch
                        )
                    }
                    Some(_) | None => continue,
                },
                Err(error) => error.to_string(),
            };
            return Err(segment.corrupt(0, format!("read from offset {from}: {error}")));
        }
        Ok(())
    }
}
