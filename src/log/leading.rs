//! What a leader appends: it is validated outside of any lock, then placed and written under the
//! writer's, one write for all that came at the same time.

use std::cell::RefCell;
use std::io::IoSlice;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use smallvec::{SmallVec, smallvec};

use crate::log::append::{AppendInfo, Extent, check_sequence};
use crate::log::config::LogConfig;
use crate::log::error::{AppendError, StorageError};
use crate::log::partition_log::{Log, Writer};
use crate::log::producers::ProducerBatch;
use crate::log::recompress::recompress;
use crate::log::rolling::Filled;
use crate::log::rounds::Round;
use crate::log::stamp::{Head, stamp};
use crate::log::validate::{AppendOrigin, Few, ValidBatch, validate};
use crate::record::{BatchHeader, HEADER_BYTES};
use crate::types::{LeaderEpoch, Offset, ProducerId, TimestampMs};

/// Up to which size a batch is copied behind its new header to be written from one place.
pub const COPIED_BYTES: usize = 2 << 10;
/// The most that one write takes of batches that came at the same time.
const WRITTEN_AT_ONCE_BYTES: u64 = 256 << 10;

thread_local! {
    static COPIED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Records that are fit for the log and have no place in it yet.
#[derive(Debug)]
pub struct Prepared {
    /// At least one.
    batches: Few<ValidBatch>,
    origin: AppendOrigin,
    at: TimestampMs,
}

impl Prepared {
    /// The one batch that a producer sends.
    fn only(&self) -> Option<&ValidBatch> {
        if let [only] = &self.batches[..] { Some(only) } else { None }
    }

    fn headers(&self) -> impl Iterator<Item = &BatchHeader> {
        self.batches.iter().map(|batch| &batch.header)
    }

    /// Where it was appended.
    fn info(&self) -> AppendInfo {
        let Extent { last_offset, max_timestamp, .. } = Extent::of(self.headers());
        AppendInfo {
            base_offset: self.batches[0].header.base_offset,
            last_offset,
            next_offset: last_offset.plus(1),
            log_append_time: self.batches[0].append_time,
            max_timestamp,
            duplicate: false,
        }
    }
}

/// Batches that one write will take.
struct Run {
    log_end: Offset,
    /// The producers of which a batch is among them.
    producers: SmallVec<[ProducerId; 1]>,
    heads: Few<Head>,
    size_bytes: u64,
}

impl Run {
    fn begin(log_end: Offset) -> Self {
        Self { log_end, producers: SmallVec::new(), heads: Few::new(), size_bytes: 0 }
    }

    /// Gives `prepared` its place behind the others.
    fn place(&mut self, prepared: &mut Prepared, epoch: LeaderEpoch) -> Extent {
        let mut next_offset = self.log_end;
        for batch in &mut prepared.batches {
            self.heads.push(stamp(batch, next_offset, epoch));
            next_offset = batch.header.next_offset();
        }
        Extent::of(prepared.headers())
    }

    /// What was placed last belongs to it.
    fn take(&mut self, prepared: &Prepared, extent: &Extent) {
        let producers = prepared.headers().map(|header| header.producer_id);
        self.producers.extend(producers.filter(|id| *id != ProducerId::NONE));
        self.log_end = extent.next_offset();
        self.size_bytes += extent.size_bytes;
    }
}

impl Log {
    /// Validates `records`, gives them the next offsets and `epoch`, and appends them to the page
    /// cache. `epoch` must not be older than the latest that the log has seen; a newer one begins
    /// here (but see [`Log::assign_epoch`], rule 1).
    pub fn append_as_leader(
        &self,
        records: Bytes,
        epoch: LeaderEpoch,
        origin: AppendOrigin,
    ) -> Result<AppendInfo, AppendError> {
        let prepared = self.prepare(records, origin)?;
        let answer = self.append_prepared(smallvec![prepared], epoch).pop();
        answer.unwrap_or_else(|| Err(self.refused()))
    }

    /// Validates records of which [`Log::append_prepared`] then makes batches of this log.
    pub fn prepare(&self, records: Bytes, origin: AppendOrigin) -> Result<Prepared, AppendError> {
        self.check_writable()?;
        let config = self.config.load();
        let at = self.shared.clock.wall();
        let mut batches = validate(records, origin, &config, at)?;
        if let Some(codec) = config.compression {
            recompress(&mut batches, codec, &config)?;
        }
        Ok(Prepared { batches, origin, at })
    }

    /// As [`Log::append_as_leader`], for records of many that were prepared. They are appended in
    /// their order; each has an answer of its own, as if it had come alone. A write that fails
    /// fails all that it would have taken.
    pub fn append_prepared(
        &self,
        mut round: Round<Prepared>,
        epoch: LeaderEpoch,
    ) -> Round<Result<AppendInfo, AppendError>> {
        let config = self.config.load();
        let mut answers = Round::new();
        let mut writer = self.writer.lock();
        while answers.len() < round.len() {
            let rest = &mut round[answers.len()..];
            match self.append_run(&mut writer, &config, rest, epoch) {
                Ok(Appended::Run(count)) => {
                    answers.extend(rest[..count].iter().map(|prepared| Ok(prepared.info())));
                }
                Ok(Appended::Before(info)) => answers.push(Ok(info)),
                Err((error, count)) => {
                    let again = (1..count).map(|_| Err(self.same_again(&error)));
                    let again: Round<_> = again.collect();
                    answers.push(Err(error));
                    answers.extend(again);
                }
            }
        }
        drop(writer);
        if answers.iter().any(|answer| answer.as_ref().is_ok_and(|info| !info.duplicate)) {
            self.flush_where_due(&config, self.log_end_offset());
        }
        answers
    }

    /// Appends the first of `rest` and those behind it that one write can take with it; how many
    /// that was. An error comes with the number of those that it is for.
    fn append_run(
        &self,
        writer: &mut Writer,
        config: &LogConfig,
        rest: &mut [Prepared],
        epoch: LeaderEpoch,
    ) -> Result<Appended, (AppendError, usize)> {
        let for_one = |error: AppendError| (error, 1);
        self.check_writable().map_err(|error| for_one(error.into()))?;
        let latest = self.latest_epoch();
        if let Some(current) = latest.filter(|&current| current > epoch) {
            return Err(for_one(AppendError::StaleEpoch { got: epoch, current }));
        }
        let before = check_prepared(writer, &rest[0]);
        let before = before.inspect_err(|error| tracing::debug!(%error, "refused"));
        if let Some(before) = before.map_err(for_one)? {
            return Ok(Appended::Before(before));
        }
        let mut run = Run::begin(self.log_end_offset());
        let extent = run.place(&mut rest[0], epoch);
        let active = self.ready(writer, config, &extent).map_err(for_one)?;
        let mut filled = Filled::of(active.segment());
        run.take(&rest[0], &extent);
        filled.add(&extent);
        let mut count = 1;
        while let Some(next) = rest.get_mut(count)
            && self.may_join(writer, &run, next)
        {
            let extent = run.place(next, epoch);
            if self.must_roll(writer, &filled, config, &extent) {
                run.heads.pop();
                break;
            }
            run.take(next, &extent);
            filled.add(&extent);
            count += 1;
        }
        let taken = &rest[..count];
        let batches = taken.iter().flat_map(|prepared| &prepared.batches);
        with_parts(&run.heads, batches.clone(), |parts| self.write(active.segment(), parts))
            .map_err(|error| (error, count))?;
        let published = batches.map(|batch| (&batch.header, &batch.bytes));
        self.publish_all(writer, active.segment(), latest, published, taken[0].at);
        self.ends.log_end.store(run.log_end.0, Ordering::Release);
        Ok(Appended::Run(count))
    }

    /// Whether one write may take `next` with `run`. What needs a judgement of its own begins
    /// another: a producer's next batch is judged once the one before is published.
    fn may_join(&self, writer: &Writer, run: &Run, next: &Prepared) -> bool {
        let Some(only) = next.only() else { return false };
        !run.producers.contains(&only.header.producer_id)
            && run.size_bytes + only.bytes.len() as u64 <= WRITTEN_AT_ONCE_BYTES
            && matches!(check_prepared(writer, next), Ok(None))
    }

    fn same_again(&self, error: &AppendError) -> AppendError {
        match error {
            AppendError::Storage(StorageError::DiskFull(path)) => {
                StorageError::DiskFull(path.clone()).into()
            }
            _ => StorageError::Poisoned(error.to_string()).into(),
        }
    }

    fn refused(&self) -> AppendError {
        StorageError::Poisoned("nothing was appended".to_owned()).into()
    }
}

/// What became of the first of those that wait.
enum Appended {
    /// It was appended, and those behind it, so many together.
    Run(usize),
    /// It had been appended before.
    Before(AppendInfo),
}

/// Calls `write` with what is to be written: each batch with its new header. Small batches are
/// copied to one place, which costs less than having the system gather parts.
fn with_parts<'a, T>(
    heads: &[Head],
    batches: impl Iterator<Item = &'a ValidBatch> + Clone,
    write: impl FnOnce(&[IoSlice<'_>]) -> T,
) -> T {
    if batches.clone().all(|batch| batch.bytes.len() <= COPIED_BYTES) {
        return COPIED.with_borrow_mut(|copied| {
            copied.clear();
            for (head, batch) in heads.iter().zip(batches) {
                copied.extend_from_slice(head);
                copied.extend_from_slice(&batch.bytes[HEADER_BYTES..]);
            }
            write(&[IoSlice::new(copied)])
        });
    }
    let mut parts: SmallVec<[IoSlice<'_>; 2]> = SmallVec::with_capacity(heads.len() * 2);
    for (head, batch) in heads.iter().zip(batches) {
        parts.push(IoSlice::new(head));
        parts.push(IoSlice::new(&batch.bytes[HEADER_BYTES..]));
    }
    write(&parts)
}

/// Where it is if a producer has sent it before; an error if it is not due.
fn check_prepared(writer: &Writer, prepared: &Prepared) -> Result<Option<AppendInfo>, AppendError> {
    let Some(batch) = prepared.only() else { return Ok(None) };
    let original = check_sequence(writer, &batch.header, prepared.origin)?;
    Ok(original.map(|original| duplicate_of(original, batch)))
}

fn duplicate_of(original: ProducerBatch, batch: &ValidBatch) -> AppendInfo {
    AppendInfo {
        base_offset: original.base_offset,
        last_offset: original.last_offset,
        next_offset: original.last_offset.plus(1),
        log_append_time: batch.append_time.map(|_| original.timestamp),
        max_timestamp: original.timestamp,
        duplicate: true,
    }
}
