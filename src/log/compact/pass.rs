//! One compaction of one log: first the last offset of each key is noted, then the sealed segments
//! are written anew, group by group, from the log's start on. It goes in steps of bounded work, and
//! can be dropped between any two: the groups that were replaced stay replaced, and the next pass
//! begins again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::log::compact::batch::{Counts, Outcome, clean, control_type, with_content};
use crate::log::compact::decide::{Decision, LastOf, Passed};
use crate::log::compact::offset_map::OffsetMap;
use crate::log::compact::range::{Cleanable, Sealed, groups};
use crate::log::compact::reader::BatchReader;
use crate::log::error::{ReadError, ReplaceError, StorageError};
use crate::log::partition_log::Log;
use crate::log::producers::ProducerState;
use crate::log::replace::ReplacementFile;
use crate::log::segment::Segment;
use crate::record::{BatchHeader, RecordError, raw_records};
use crate::types::{Offset, ProducerId, TimestampMs};

/// What a pass may take.
#[derive(Debug, Clone, Copy)]
pub struct PassLimits {
    /// The memory for the last offsets of keys: this thread's share of
    /// `log.cleaner.dedupe.buffer.size`.
    pub map_bytes: usize,
    /// `log.cleaner.io.buffer.load.factor`
    pub load_factor: f64,
    /// `log.cleaner.io.buffer.size`: how much is read at once.
    pub read_bytes: usize,
    /// What the keys' hashes are computed under: random.
    pub hash_key: [u64; 2],
}

/// Why a pass did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum CleanError {
    /// The log has changed in a way that a pass cannot follow; the next one begins anew.
    #[error("interrupted: {0}")]
    Interrupted(&'static str),
    /// A segment cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The disk is at fault.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// What was written is not what was to be replaced: nothing was.
    #[error("{0}")]
    Unfit(String),
}

impl From<ReplaceError> for CleanError {
    fn from(error: ReplaceError) -> Self {
        match error {
            ReplaceError::Busy => CleanError::Interrupted("segments are being replaced"),
            ReplaceError::Stale(reason) => CleanError::Interrupted(reason),
            ReplaceError::Unfit(reason) => CleanError::Unfit(reason),
            ReplaceError::Storage(storage) => CleanError::Storage(storage),
        }
    }
}

/// What a pass has done so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cleaned {
    /// The bytes in which keys were looked for.
    pub mapped_bytes: u64,
    /// How many different keys were found there.
    pub keys: u64,
    /// The memory that they took.
    pub map_memory_bytes: u64,
    /// The bytes of the segments that were gone through.
    pub old_bytes: u64,
    /// The bytes of what they are now.
    pub new_bytes: u64,
    /// The records that there were, and those that are left.
    pub records: Counts,
    /// How many segments there were.
    pub old_segments: u64,
    /// How many there are now.
    pub new_segments: u64,
    /// There was no room for all keys: another pass will go on.
    pub map_was_full: bool,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// There is more to do; these bytes were read and written.
    More(u64),
    /// The pass has ended; these bytes were read and written.
    Done(u64),
}

/// A pass over a log.
#[derive(Debug)]
pub struct Cleaning {
    log: Arc<Log>,
    limits: PassLimits,
    now: TimestampMs,
    part: Cleanable,
    /// The log's count of cuts, as far as they are this pass's own.
    cuts: u64,
    stage: Stage,
    buffer: Vec<u8>,
    flags: Vec<bool>,
    cleaned: Cleaned,
}

#[derive(Debug)]
enum Stage {
    Mapping(Box<Mapping>),
    Writing(Box<Writing>),
    Done,
}

/// Keys are being noted.
#[derive(Debug)]
struct Mapping {
    map: OffsetMap,
    passed: Passed,
    /// Where the last batch of each known producer ends.
    producers: BTreeMap<ProducerId, Option<Offset>>,
    segments: VecDeque<Arc<Segment>>,
    reader: Option<BatchReader>,
}

/// Segments are being written anew.
#[derive(Debug)]
struct Writing {
    decision: Decision,
    end: Offset,
    groups: VecDeque<Vec<Arc<Segment>>>,
    group: Option<Group>,
}

/// One group of segments that become one.
#[derive(Debug)]
struct Group {
    old: Vec<Arc<Segment>>,
    /// How many of them were gone through.
    done: usize,
    reader: Option<BatchReader>,
    file: ReplacementFile,
    next_offset: Offset,
    changed: bool,
    records: Counts,
}

impl Cleaning {
    /// Begins a pass over what may be compacted of `log`; `None` if there is nothing.
    pub fn begin(log: &Arc<Log>, limits: PassLimits, now: TimestampMs) -> Option<Cleaning> {
        let cuts = log.cuts();
        let part = log.cleanable(now)?;
        if part.dirty_bytes == 0 {
            return None;
        }
        let dirty = |segment: &Arc<Segment>| {
            segment.next_offset() > part.first_dirty && segment.next_offset() <= part.end
        };
        let most_keys = u64::try_from(part.end.since(part.first_dirty)).unwrap_or(0);
        let mapping = Mapping {
            map: OffsetMap::new(limits.map_bytes, limits.load_factor, most_keys, limits.hash_key),
            passed: Passed::new(log.aborted_transactions(part.first_dirty, part.end)),
            producers: log.producer_states().into_iter().map(|(id, _)| (id, None)).collect(),
            segments: log.sealed_segments().into_iter().filter(dirty).collect(),
            reader: None,
        };
        Some(Cleaning {
            log: Arc::clone(log),
            limits,
            now,
            part,
            cuts,
            stage: Stage::Mapping(Box::new(mapping)),
            buffer: Vec::new(),
            flags: Vec::new(),
            cleaned: Cleaned::default(),
        })
    }

    /// The log.
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// What was done so far.
    pub fn cleaned(&self) -> Cleaned {
        self.cleaned
    }

    /// Does some of the work, about `budget_bytes` of reading and writing. Blocks. Damage that it
    /// meets is told to whoever mends the log.
    pub fn step(&mut self, budget_bytes: u64) -> Result<Step, CleanError> {
        self.go_on(budget_bytes).map_err(|error| self.blame(error))
    }

    fn blame(&self, error: CleanError) -> CleanError {
        if self.log.is_closing.load(Ordering::Acquire) {
            // It was deleted, or has moved to another directory.
            return CleanError::Interrupted("the log was closed");
        }
        let CleanError::Read(damage) = &error else { return error };
        // A cut that is under way looks like damage: none is, while its lock is held here.
        let writer = self.log.writer.lock();
        let is_cut = self.log.cuts() != self.cuts;
        drop(writer);
        if is_cut {
            return CleanError::Interrupted("the log was cut");
        }
        self.log.suspect(damage);
        error
    }

    fn go_on(&mut self, budget_bytes: u64) -> Result<Step, CleanError> {
        if self.log.cuts() != self.cuts {
            return Err(CleanError::Interrupted("the log was cut"));
        }
        let mut done = 0;
        while done < budget_bytes {
            // An error ends the pass: the stage is not needed any more then.
            let (stage, bytes) = match std::mem::replace(&mut self.stage, Stage::Done) {
                Stage::Mapping(mapping) => self.map(mapping)?,
                Stage::Writing(writing) => self.write(writing)?,
                Stage::Done => return Ok(Step::Done(done)),
            };
            self.stage = stage;
            done += bytes;
        }
        Ok(Step::More(done))
    }

    /// Notes the keys of one batch.
    fn map(&mut self, mut mapping: Box<Mapping>) -> Result<(Stage, u64), CleanError> {
        let Some(mut reader) = mapping.reader.take() else {
            let Some(segment) = mapping.segments.pop_front() else {
                return Ok((self.begin_writing(*mapping), 0));
            };
            mapping.reader = Some(self.reader(segment, self.part.first_dirty));
            return Ok((Stage::Mapping(mapping), 0));
        };
        let Some((header, range)) = reader.next_batch()? else {
            mapping.map.note_latest(reader.segment().next_offset().plus(-1));
            self.buffer = reader.into_buffer();
            return Ok((Stage::Mapping(mapping), 0));
        };
        let bytes = header.size_bytes() as u64;
        self.cleaned.mapped_bytes += bytes;
        let noted = note_keys(&mut mapping, &header, reader.bytes(range), self.part.first_dirty)
            .map_err(|error| bad_batch(reader.segment(), &header, &error))?;
        if !noted {
            self.cleaned.map_was_full = true;
            self.buffer = reader.into_buffer();
            return Ok((self.begin_writing(*mapping), bytes));
        }
        mapping.reader = Some(reader);
        Ok((Stage::Mapping(mapping), bytes))
    }

    fn reader(&mut self, segment: Arc<Segment>, from: Offset) -> BatchReader {
        let position = segment.with_index(|index| index.position_for_offset(from));
        let buffer = std::mem::take(&mut self.buffer);
        BatchReader::new(segment, position, self.limits.read_bytes, buffer)
    }

    fn begin_writing(&mut self, mapping: Mapping) -> Stage {
        let Mapping { map, producers, .. } = mapping;
        self.cleaned.keys = map.key_count() as u64;
        self.cleaned.map_memory_bytes = map.memory_bytes() as u64;
        let end = map.latest().map_or(self.part.first_dirty, |latest| latest.plus(1));
        let sealed = self.log.sealed_segments();
        let sizes: Vec<Sealed> = sealed.iter().map(|segment| segment.sealed()).collect();
        let segment_bytes = self.log.config().segment_bytes;
        let groups = groups(&sizes, end, segment_bytes);
        let log = &self.log;
        let retention_ms = i64::try_from(log.config().delete_retention.as_millis());
        let horizon = self.now.0.saturating_add(retention_ms.unwrap_or(i64::MAX));
        let last = |(id, state): (ProducerId, ProducerState)| {
            (id, LastOf::of(&state, producers.get(&id).copied().flatten()))
        };
        Stage::Writing(Box::new(Writing {
            decision: Decision {
                map,
                now: self.now,
                delete_horizon: TimestampMs(horizon),
                producers: log.producer_states().into_iter().map(last).collect(),
                passed: Passed::new(log.aborted_transactions(Offset::ZERO, self.part.end)),
            },
            end,
            groups: groups.into_iter().map(|group| sealed[group].to_vec()).collect(),
            group: None,
        }))
    }

    /// Writes one batch, or begins or ends a group.
    fn write(&mut self, mut writing: Box<Writing>) -> Result<(Stage, u64), CleanError> {
        let Some(mut group) = writing.group.take() else {
            let Some(old) = writing.groups.pop_front() else {
                self.log.note_compacted(writing.end, self.cuts)?;
                return Ok((Stage::Done, 0));
            };
            writing.group = Some(self.begin_group(old)?);
            return Ok((Stage::Writing(writing), 0));
        };
        let Some(mut reader) = group.reader.take() else {
            let Some(segment) = group.old.get(group.done) else {
                self.end_group(&mut writing, group)?;
                return Ok((Stage::Writing(writing), 0));
            };
            group.reader = Some(self.reader(Arc::clone(segment), segment.base_offset()));
            writing.group = Some(group);
            return Ok((Stage::Writing(writing), 0));
        };
        let mut bytes = 0;
        match reader.next_batch()? {
            None => {
                group.done += 1;
                self.buffer = reader.into_buffer();
            }
            Some((header, range)) => {
                let batch = reader.bytes(range);
                bytes = batch.len() as u64;
                let written = group.take(&mut writing.decision, &header, batch, &mut self.flags);
                bytes += written.map_err(|error| match error {
                    TakeError::Record(error) => {
                        CleanError::Read(bad_batch(reader.segment(), &header, &error))
                    }
                    TakeError::Replace(error) => error.into(),
                })?;
                group.reader = Some(reader);
            }
        }
        writing.group = Some(group);
        Ok((Stage::Writing(writing), bytes))
    }

    fn begin_group(&mut self, old: Vec<Arc<Segment>>) -> Result<Group, CleanError> {
        let (Some(first), Some(last)) = (old.first(), old.last()) else {
            return Err(CleanError::Interrupted("there is nothing to replace"));
        };
        let file = ReplacementFile::begin(&self.log, first.base_offset())?.as_of(self.cuts);
        let next_offset = last.next_offset();
        Ok(Group {
            changed: old.len() > 1,
            old,
            done: 0,
            reader: None,
            file,
            next_offset,
            records: Counts::default(),
        })
    }

    fn end_group(&mut self, writing: &mut Writing, mut group: Group) -> Result<(), CleanError> {
        let old_bytes: u64 = group.old.iter().map(|segment| segment.size_bytes()).sum();
        let mut new_bytes = old_bytes;
        let gone = writing.decision.passed.take_gone();
        if group.changed || !gone.is_empty() {
            group.file.forget_aborted(gone);
            let replaced = self.log.replace_segments(&group.old, group.file)?;
            self.cuts = replaced.cuts;
            new_bytes = replaced.new_bytes;
        }
        let cleaned = &mut self.cleaned;
        cleaned.old_bytes += old_bytes;
        cleaned.new_bytes += new_bytes;
        cleaned.old_segments += group.old.len() as u64;
        cleaned.new_segments += 1;
        cleaned.records.read += group.records.read;
        cleaned.records.kept += group.records.kept;
        Ok(())
    }
}

fn bad_batch(segment: &Segment, header: &BatchHeader, error: &RecordError) -> ReadError {
    let reason = format!("the batch at offset {}: {error}", header.base_offset);
    segment.corrupt(segment.with_index(|i| i.position_for_offset(header.base_offset)), reason)
}

/// Why a batch was not taken.
enum TakeError {
    Record(RecordError),
    Replace(ReplaceError),
}

impl Group {
    /// Decides over one batch and writes what is left of it; how many bytes that is.
    fn take(
        &mut self,
        decision: &mut Decision,
        header: &BatchHeader,
        batch: &[u8],
        flags: &mut Vec<bool>,
    ) -> Result<u64, TakeError> {
        let must_stay = header.next_offset() == self.next_offset;
        let (outcome, counts) =
            clean(decision, header, batch, must_stay, flags).map_err(TakeError::Record)?;
        self.records.read += counts.read;
        self.records.kept += counts.kept;
        match outcome {
            Outcome::AsItIs => {
                self.file.append(batch, header).map_err(TakeError::Replace)?;
                Ok(batch.len() as u64)
            }
            Outcome::Changed(header, bytes) => {
                self.changed = true;
                self.file.append(&bytes, &header).map_err(TakeError::Replace)?;
                Ok(bytes.len() as u64)
            }
            Outcome::Gone => {
                self.changed = true;
                Ok(0)
            }
        }
    }
}

/// Notes the keys of a batch at or behind `from`; false if there is no room for one of them.
fn note_keys(
    mapping: &mut Mapping,
    header: &BatchHeader,
    batch: &[u8],
    from: Offset,
) -> Result<bool, RecordError> {
    if header.last_offset() < from {
        return Ok(true);
    }
    let Mapping { map, passed, producers, .. } = mapping;
    if let Some(last) = producers.get_mut(&header.producer_id).filter(|_| !header.is_control()) {
        *last = Some(header.last_offset());
    }
    let all_noted = with_content(header, batch, |content| {
        if header.is_control() {
            passed.control(header, control_type(header, content)?);
            return Ok(true);
        }
        if passed.data(header) {
            return Ok(true);
        }
        for record in raw_records(content) {
            let record = record?;
            let offset = header.base_offset.plus(i64::from(record.offset_delta));
            if let Some(key) = record.key.filter(|_| offset >= from)
                && !map.put(key, offset)
            {
                return Ok(false);
            }
        }
        Ok(true)
    })?;
    if all_noted {
        map.note_latest(header.last_offset());
    }
    Ok(all_noted)
}
