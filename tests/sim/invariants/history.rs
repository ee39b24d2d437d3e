//! One partition through the run: what is committed, who led it, and what its replicas have of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use ottla::broker::Server;
use ottla::log::Log;
use ottla::record::batches;
use ottla::replication::{Isolation, ListOffset, Partition};
use ottla::types::{LeaderEpoch, NodeId, Offset, TopicPartition};

use super::told::Word;

/// How long two leaders may answer at the same time: their clocks may differ a little.
const OVERLAP: Duration = Duration::from_secs(1);

/// How long a record may take, where nothing fails, until all replicas have it.
const PROMPT: Duration = Duration::from_millis(250);

/// When, and in which process, a replica is looked at.
pub struct Moment<'a> {
    pub step: u64,
    pub now: Duration,
    pub server: &'a Arc<Server>,
    pub is_paused: bool,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct History {
    name: TopicPartition,
    /// The highest high watermark of all: whoever leads later has everything below.
    committed: Offset,
    /// The batches below, by offset, as the first replica had them that knew them to be committed.
    batches: Vec<Known>,
    /// Who led in each reign, with the high watermark of then.
    reigns: BTreeMap<LeaderEpoch, (i32, Offset)>,
    replicas: BTreeMap<i32, Replica>,
    /// Since when more than one node has answered as the leader.
    two_answer_since: Option<Duration>,
    /// Since when not all replicas have what lies below that offset.
    waiting: Option<(Duration, Offset)>,
}

/// A batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    base: Offset,
    next: Offset,
    epoch: LeaderEpoch,
    crc: u32,
}

/// A replica as it was seen last.
#[derive(Debug)]
struct Replica {
    process: Weak<Server>,
    partition: Weak<Partition>,
    step: u64,
    ends: Ends,
    reign: Option<LeaderEpoch>,
    /// Below this its batches are known to be the committed ones.
    compared: Offset,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ends {
    start: Offset,
    stable: Offset,
    high_watermark: Offset,
    end: Offset,
}

impl Ends {
    fn of(log: &Log) -> Ends {
        Ends {
            start: log.log_start_offset(),
            stable: log.last_stable_offset(),
            high_watermark: log.high_watermark(),
            end: log.log_end_offset(),
        }
    }

    /// Log start ≤ last stable offset ≤ high watermark ≤ log end.
    fn are_ordered(self) -> bool {
        self.start <= self.stable
            && self.stable <= self.high_watermark
            && self.high_watermark <= self.end
    }
}

impl History {
    /// Of a partition that was just made.
    pub fn of(name: TopicPartition) -> History {
        History {
            name,
            committed: Offset::ZERO,
            batches: Vec::new(),
            reigns: BTreeMap::new(),
            replicas: BTreeMap::new(),
            two_answer_since: None,
            waiting: None,
        }
    }

    /// Looks at one replica; what is new about it.
    ///
    /// # Errors
    /// What does not hold.
    pub fn look(
        &mut self,
        node: i32,
        partition: &Arc<Partition>,
        moment: &Moment<'_>,
    ) -> Result<Option<String>, String> {
        let log = partition.log();
        let (ends, reign) = (Ends::of(&log), partition.reign());
        if reign.is_some() {
            self.look_at_leader(node, partition, ends, moment)?;
        }
        let process = Arc::downgrade(moment.server);
        let mut compared = Offset::ZERO;
        if let Some(known) = self.replicas.get_mut(&node)
            && known.process.ptr_eq(&process)
        {
            known.step = moment.step;
            if (known.ends, known.reign) == (ends, reign) {
                return Ok(None);
            }
            if ends.high_watermark < known.ends.high_watermark {
                let before = known.ends.high_watermark;
                return Err(format!(
                    "fell back to high watermark {} from {before}",
                    ends.high_watermark
                ));
            }
            compared = known.compared;
        } else if log.recovery().lost_below_recovery_point {
            return Err(format!("has lost what was on the disk: {:?}", log.recovery()));
        }
        if !ends.are_ordered() {
            return Err(format!("is not in order: {ends:?}"));
        }
        let news = match reign {
            Some(reign) => self.leads(node, partition, reign, ends.high_watermark)?,
            None => None,
        };
        let compared = self.compare(&log, ends, compared)?;
        self.committed = self.committed.max(ends.high_watermark);
        let (step, partition) = (moment.step, Arc::downgrade(partition));
        let replica = Replica { process, partition, step, ends, reign, compared };
        self.replicas.insert(node, replica);
        Ok(news)
    }

    /// A reign has one leader, whose high watermark does not fall and who is in the ISR.
    fn leads(
        &mut self,
        node: i32,
        partition: &Partition,
        reign: LeaderEpoch,
        high_watermark: Offset,
    ) -> Result<Option<String>, String> {
        let described = partition.describe();
        if described.role == "leader" && !described.isr.contains(&NodeId(node)) {
            return Err("is led by a node that is not in the ISR".to_owned());
        }
        let Some((leader, before)) = self.reigns.get_mut(&reign) else {
            self.reigns.insert(reign, (node, high_watermark));
            let name = &self.name;
            return Ok(Some(format!("leads {name} in {reign}, high watermark {high_watermark}")));
        };
        if *leader != node {
            return Err(format!("is led here in {reign}, and by n{leader}"));
        }
        if high_watermark < *before {
            return Err(format!(
                "fell back to high watermark {high_watermark} from {before} in {reign}"
            ));
        }
        *before = high_watermark;
        Ok(None)
    }

    /// What leaders answer: only one of them does, and the end that it tells is not below what is
    /// committed.
    fn look_at_leader(
        &mut self,
        node: i32,
        partition: &Partition,
        ends: Ends,
        moment: &Moment<'_>,
    ) -> Result<(), String> {
        let answers =
            |partition: &Partition| partition.reign().is_some() && partition.check_live().is_ok();
        let others = self.replicas.iter().filter(|(other, it)| {
            **other != node && it.reign.is_some() && it.step + 1 >= moment.step
        });
        let mut others = others.filter_map(|(other, it)| Some((*other, it.partition.upgrade()?)));
        let other = others.find(|(_, partition)| answers(partition));
        let serves = !moment.is_paused && answers(partition);
        match other {
            Some((other, _)) if serves => {
                let since = *self.two_answer_since.get_or_insert(moment.now);
                if moment.now - since > OVERLAP {
                    return Err(format!(
                        "has been answered for by n{other} as well since {since:?}"
                    ));
                }
            }
            _ => self.two_answer_since = None,
        }
        if !serves || ends.high_watermark >= self.committed || self.two_answer_since.is_some() {
            return Ok(());
        }
        let latest = ListOffset {
            timestamp: ListOffset::LATEST,
            isolation: Isolation::ReadUncommitted,
            current_leader_epoch: LeaderEpoch::NONE,
            is_replica: false,
        };
        match partition.list_offset(latest) {
            Ok(told) if told.offset < self.committed => Err(format!(
                "is said to end at {}, and {} was committed",
                told.offset, self.committed
            )),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Holds what a replica takes for committed against what others have there. Gives how far.
    fn compare(&mut self, log: &Log, ends: Ends, compared: Offset) -> Result<Offset, String> {
        let mut from = compared.min(ends.end).max(ends.start);
        let is_compacted = log.config().cleanup_compact && log.segment_count() > 1;
        while from < ends.high_watermark && !is_compacted {
            // What has rotted is somebody else's concern.
            let Ok(slice) = log.read(from, ends.high_watermark, 1 << 20, true) else { break };
            for batch in batches(&slice.records) {
                let header = batch.map_err(|error| error.to_string())?.header;
                self.compare_batch(Known {
                    base: header.base_offset,
                    next: header.next_offset(),
                    epoch: header.partition_leader_epoch,
                    crc: header.crc,
                })?;
            }
            if slice.records.is_empty() {
                break;
            }
            from = slice.next_offset;
        }
        Ok(from)
    }

    fn compare_batch(&mut self, batch: Known) -> Result<(), String> {
        let at = self.batches.partition_point(|known| known.base < batch.base);
        let before = at.checked_sub(1).map(|before| self.batches[before]);
        match self.batches.get(at).copied() {
            Some(known) if known == batch => return Ok(()),
            Some(known) if known.base < batch.next => {
                return Err(format!("has {batch:?}, and others have {known:?}"));
            }
            Some(_) | None => {}
        }
        if let Some(known) = before.filter(|known| known.next > batch.base) {
            return Err(format!("has {batch:?}, and others have {known:?}"));
        }
        self.batches.insert(at, batch);
        Ok(())
    }

    /// Whether a member has everything that is committed.
    pub fn check_member(&self, node: NodeId, step: u64) -> Result<(), String> {
        let seen = self.replicas.get(&node.0).filter(|replica| replica.step == step);
        let Some(replica) = seen else { return Ok(()) };
        let (name, committed) = (&self.name, self.committed);
        if replica.ends.end < committed {
            let end = replica.ends.end;
            return Err(format!("{name} on n{node} ends at {end}, and {committed} is committed"));
        }
        let Some(last) = self.batches.last().filter(|last| last.next == committed) else {
            return Ok(());
        };
        let Some(partition) = replica.partition.upgrade() else { return Ok(()) };
        match partition.log().epoch_at(last.base) {
            Some(epoch) if epoch != last.epoch => Err(format!(
                "{name} on n{node} has a batch of epoch {epoch} at {}, committed is {last:?}",
                last.base
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether what a client was told is true. Where the leader is gone since the last look, nobody
    /// saw how far it had got.
    pub fn check(&self, word: &Word, flushed: bool, step: u64) -> Result<(), String> {
        let (name, committed) = (&self.name, self.committed);
        let leader = self.reigns.last_key_value().map(|(_, (node, _))| node);
        let leader = leader.and_then(|node| self.replicas.get(node));
        if leader.is_none_or(|replica| replica.step != step) {
            return Ok(());
        }
        match word {
            Word::Read(_, offset) if *offset >= committed => Err(format!(
                "{offset} of {name} was read, and no more than {committed} is committed"
            )),
            Word::Acknowledged(_, offset) if *offset >= committed => Err(format!(
                "{offset} of {name} was acknowledged, and no more than {committed} is committed"
            )),
            Word::Acknowledged(_, offset) if flushed => self.check_synced(*offset, step),
            Word::Acknowledged(..) | Word::Read(..) => Ok(()),
        }
    }

    /// Whether all replicas have what was appended, and one knows it, soon after: nothing fails.
    pub fn check_prompt(&mut self, now: Duration) -> Result<(), String> {
        let ends = || self.replicas.values().map(|replica| replica.ends);
        let known = ends().map(|ends| ends.end).min().unwrap_or_default().min(self.committed);
        match self.waiting.filter(|(_, end)| known < *end) {
            Some((since, end)) if now - since > PROMPT => {
                Err(format!("{}: not all have up to {end} what one has since {since:?}", self.name))
            }
            Some(_) => Ok(()),
            None => {
                let end = ends().map(|ends| ends.end).max().unwrap_or_default();
                self.waiting = (known < end).then_some((now, end));
                Ok(())
            }
        }
    }

    /// What was acknowledged where everything is flushed first is on the disks of all who have it
    /// but those that have started since.
    fn check_synced(&self, offset: Offset, step: u64) -> Result<(), String> {
        for (node, replica) in self.replicas.iter().filter(|(_, replica)| replica.step == step) {
            let Some(partition) = replica.partition.upgrade() else { continue };
            let log = partition.log();
            let leads = replica.reign.is_some();
            if leads && replica.ends.end > offset && log.flushed_offset() <= offset {
                let (name, flushed) = (&self.name, log.flushed_offset());
                return Err(format!(
                    "{offset} of {name} was acknowledged, and n{node} has synced up to {flushed}"
                ));
            }
        }
        Ok(())
    }
}
