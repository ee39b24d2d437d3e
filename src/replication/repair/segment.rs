//! The mending of one segment: verified, copied where it is sound, filled from other replicas where
//! it is not, put in place.

use std::sync::Arc;

use super::outcome::MendOutcome;
use super::source::Source;
use super::{Repairer, range};
use crate::log::{MendError, MendStep, Mending, SegmentCheck};
use crate::record::batches;
use crate::replication::partition::Partition;
use crate::storage::{OffloadError, offload};
use crate::types::{NodeId, Offset};

/// How much is read or copied before others get the thread.
const SLICE_BYTES: u64 = 4 << 20;

/// Why one segment was not mended.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Log(#[from] MendError),
    #[error(transparent)]
    Offload(#[from] OffloadError),
    /// No replica had what is missing.
    #[error("{}", nowhere(.0))]
    NoSource(Vec<String>),
}

impl From<Failure> for MendOutcome {
    fn from(failure: Failure) -> Self {
        match &failure {
            Failure::Log(error) if error.is_passing() => MendOutcome::NotYet(error.to_string()),
            Failure::Log(_) | Failure::Offload(_) | Failure::NoSource(_) => {
                MendOutcome::Failed(failure.to_string())
            }
        }
    }
}

impl Repairer {
    pub(super) async fn mend_segment(
        &self,
        partition: &Arc<Partition>,
        base: Offset,
    ) -> MendOutcome {
        let check = match self.verify(partition, base).await {
            Ok(Some(check)) => check,
            Ok(None) => return MendOutcome::Sound,
            Err(failure) => return failure.into(),
        };
        match check.conclude() {
            None => return MendOutcome::NotYet("it changed meanwhile".to_owned()),
            Some(findings) if findings.is_empty() => return MendOutcome::Sound,
            Some(_) => {}
        }
        match self.exchange(partition, check, base).await {
            Ok(fetched_bytes) => MendOutcome::Mended { fetched_bytes },
            Err(failure) => failure.into(),
        }
    }

    async fn exchange(
        &self,
        partition: &Arc<Partition>,
        check: SegmentCheck,
        base: Offset,
    ) -> Result<u64, Failure> {
        let sources = self.sources(partition);
        if !check.is_compacted() {
            return self.replace(partition, check, &sources).await;
        }
        drop(check);
        let mut reasons = Vec::new();
        for source in sources {
            match self.take_whole(partition, base, source).await {
                Err(Failure::NoSource(more)) => reasons.extend(more),
                done => return done,
            }
        }
        Err(Failure::NoSource(reasons))
    }

    /// A compacted log is taken from one replica as a whole, up to where it is written to: a
    /// tombstone that one replica has dropped may be what hides a value that another still has. The
    /// damaged segment comes last, so that a crash in between begins all this again.
    async fn take_whole(
        &self,
        partition: &Arc<Partition>,
        damaged: Offset,
        source: NodeId,
    ) -> Result<u64, Failure> {
        let mut bases = partition.log().segments_to_verify();
        bases.pop();
        bases.retain(|base| *base != damaged);
        bases.push(damaged);
        let mut fetched_bytes = 0;
        for base in bases {
            if let Some(check) = self.verify(partition, base).await? {
                fetched_bytes += self.replace(partition, check, &[source]).await?;
            }
        }
        Ok(fetched_bytes)
    }

    async fn verify(
        &self,
        partition: &Partition,
        base: Offset,
    ) -> Result<Option<SegmentCheck>, Failure> {
        let Some(mut check) = partition.log().verify_segment(base) else { return Ok(None) };
        while !check.is_done() {
            check = offload(partition.log().offload(), move || {
                check.step(SLICE_BYTES);
                check
            })
            .await?;
        }
        Ok(Some(check))
    }

    async fn replace(
        &self,
        partition: &Partition,
        check: SegmentCheck,
        sources: &[NodeId],
    ) -> Result<u64, Failure> {
        let mut mending =
            offload(partition.log().offload(), move || Mending::begin(&check)).await??;
        loop {
            let (back, step) = offload(partition.log().offload(), move || {
                let step = mending.advance(SLICE_BYTES);
                (mending, step)
            })
            .await?;
            mending = back;
            match step? {
                MendStep::More => {}
                MendStep::Complete => break,
                MendStep::Missing { from, to } => {
                    mending = self.fill(partition, mending, (from, to), sources).await?;
                }
            }
        }
        Ok(offload(partition.log().offload(), move || mending.finish()).await??)
    }

    /// Gets what is missing, from as many replicas as it takes.
    async fn fill(
        &self,
        partition: &Partition,
        mut mending: Mending,
        (from, to): (Offset, Offset),
        sources: &[NodeId],
    ) -> Result<Mending, Failure> {
        let mut reasons = Vec::new();
        let mut missing = from;
        for &node in sources {
            let source = match Source::connect(&self.way, node).await {
                Ok(source) => source,
                Err(error) => {
                    reasons.push(format!("broker {node}: {error}"));
                    continue;
                }
            };
            let (back, reached, failed) =
                self.fill_from(&source, partition, mending, missing, to).await?;
            (mending, missing) = (back, reached);
            match failed {
                None => return Ok(mending),
                Some(reason) => reasons.push(format!("broker {node}: {reason}")),
            }
        }
        let what = range(missing, to);
        reasons.iter_mut().for_each(|reason| *reason = format!("{what}: {reason}"));
        Err(Failure::NoSource(reasons))
    }

    /// Takes what one replica has; how far that went, and why not to the end.
    async fn fill_from(
        &self,
        source: &Source,
        partition: &Partition,
        mut mending: Mending,
        from: Offset,
        to: Offset,
    ) -> Result<(Mending, Offset, Option<String>), Failure> {
        let leader_epoch = partition.current_leader().leader_epoch;
        let mut missing = from;
        while missing < to {
            let given = match source.fetch(partition, leader_epoch, missing).await {
                Ok(given) => given,
                Err(error) => return Ok((mending, missing, Some(error.to_string()))),
            };
            let knows_all = given.high_watermark >= to;
            let (back, taken) = offload(partition.log().offload(), move || {
                let taken = take(&mut mending, given.records, missing, to, knows_all);
                (mending, taken)
            })
            .await?;
            mending = back;
            match taken? {
                Taken { reached, unfit: None } => missing = reached,
                Taken { reached, unfit } => return Ok((mending, reached, unfit)),
            }
        }
        Ok((mending, missing, None))
    }
}

fn nowhere(reasons: &[String]) -> String {
    match reasons {
        [] => "there is no other replica in sync".to_owned(),
        reasons => format!("no other replica has what is missing: {}", reasons.join("; ")),
    }
}

/// What was taken of one answer.
struct Taken {
    reached: Offset,
    /// Why the rest was not.
    unfit: Option<String>,
}

fn take(
    mending: &mut Mending,
    records: bytes::Bytes,
    from: Offset,
    to: Offset,
    knows_all: bool,
) -> Result<Taken, MendError> {
    let mut reached = from;
    let mut goes_beyond = false;
    for batch in batches(&records) {
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => return Ok(Taken { reached, unfit: Some(error.to_string()) }),
        };
        if batch.header.base_offset >= to {
            goes_beyond = true;
            break;
        }
        match mending.fill(&batch) {
            Ok(()) => reached = batch.header.next_offset(),
            Err(MendError::Unfit(reason)) => return Ok(Taken { reached, unfit: Some(reason) }),
            Err(error) => return Err(error),
        }
    }
    if reached < to && goes_beyond && knows_all {
        return match mending.fill_no_more() {
            Ok(()) => Ok(Taken { reached: to, unfit: None }),
            Err(MendError::Unfit(reason)) => Ok(Taken { reached, unfit: Some(reason) }),
            Err(error) => Err(error),
        };
    }
    let stands_still = reached == from;
    Ok(Taken { reached, unfit: stands_still.then(|| "it has nothing there".to_owned()) })
}
