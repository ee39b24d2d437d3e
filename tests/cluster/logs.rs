//! Replicas as their files say them, once the brokers have stopped.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;

use ottla::record::{BatchHeader, Record, batches};

/// The header in which a record bears its number, tombstones too.
pub const NUMBER: &str = "n";

/// The header that says into which incarnation of its topic a record was written.
pub const INCARNATION: &str = "incarnation";

/// One record in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// By its header, or else as its value.
    pub number: Option<u64>,
    pub incarnation: Option<u64>,
    pub key: Option<String>,
    pub is_tombstone: bool,
}

/// Something about the numbers in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oddity {
    /// There twice, from one producer in one epoch.
    Twice { number: u64, before: i64, offset: i64 },
    /// There twice, sent by a producer that had begun a new epoch: it cannot be told from another.
    SentAgain { number: u64, before: i64, offset: i64 },
    /// Behind a record that was sent after it.
    Late { number: u64, offset: i64 },
    /// Without a number.
    Foreign { offset: i64 },
}

/// One replica of one partition.
#[derive(Debug, Default)]
pub struct Replica {
    /// By base offset: the last offset and all bytes of each batch.
    pub batches: BTreeMap<i64, (i64, Bytes)>,
    pub records: BTreeMap<i64, Found>,
    /// What cannot be read, or is there twice.
    pub wrong: Vec<String>,
}

impl Replica {
    /// Reads the segments in a partition's directory.
    pub fn read(directory: &Path) -> Replica {
        let mut replica = Replica::default();
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) => {
                replica.wrong.push(format!("{}: {error}", directory.display()));
                return replica;
            }
        };
        let mut files: Vec<_> = entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
            .collect();
        files.sort();
        for file in files {
            let content = Bytes::from(std::fs::read(&file).unwrap());
            if let Err(error) = replica.take(&content) {
                replica.wrong.push(format!("{}: {error}", file.display()));
            }
        }
        replica
    }

    fn take(&mut self, content: &Bytes) -> Result<(), String> {
        for batch in batches(content) {
            let batch = batch.map_err(|error| error.to_string())?;
            let base = batch.header.base_offset.0;
            batch.verify_crc().map_err(|error| format!("batch {base}: {error}"))?;
            for record in batch.records().map_err(|error| format!("batch {base}: {error}"))? {
                let offset = record.offset.0;
                if self.records.insert(offset, found(&record)).is_some() {
                    return Err(format!("offset {offset} is there twice"));
                }
            }
            self.batches.insert(base, (batch.header.last_offset().0, batch.bytes));
        }
        Ok(())
    }

    /// What an idempotent producer alone here, which counts what it sends, did not want: from `low` on.
    /// A number that is there again counts as the same however often it is sent.
    pub fn oddities(&self, low: i64) -> Vec<Oddity> {
        let mut all = Vec::new();
        let mut greatest = None;
        let mut offsets = BTreeMap::new();
        for (&offset, found) in self.records.range(low..) {
            let Some(number) = found.number else {
                all.push(Oddity::Foreign { offset });
                continue;
            };
            if let Some(before) = offsets.insert(number, offset) {
                all.push(self.again(number, before, offset));
            } else if greatest > Some(number) {
                all.push(Oddity::Late { number, offset });
            }
            greatest = greatest.max(Some(number));
        }
        all
    }

    /// librdkafka answers OUT_OF_ORDER_SEQUENCE_NUMBER to one batch with a new producer epoch for
    /// all, in which it sends again what else was under way: no broker knows these as the same.
    fn again(&self, number: u64, before: i64, offset: i64) -> Oddity {
        if self.producer_at(before) == self.producer_at(offset) {
            Oddity::Twice { number, before, offset }
        } else {
            Oddity::SentAgain { number, before, offset }
        }
    }

    fn header_at(&self, offset: i64) -> Option<BatchHeader> {
        let (_, (_, bytes)) = self.batches.range(..=offset).next_back()?;
        BatchHeader::parse(bytes).ok()
    }

    /// The producer of a record and its epoch.
    fn producer_at(&self, offset: i64) -> Option<(i64, i16)> {
        let header = self.header_at(offset)?;
        Some((header.producer_id.0, header.producer_epoch.0))
    }

    /// How the batch that holds an offset says it came: reign, producer, sequence.
    pub fn origin(&self, offset: i64) -> String {
        let Some(header) = self.header_at(offset) else { return "no batch".to_owned() };
        let (epoch, first) = (header.partition_leader_epoch.0, header.base_offset.0);
        let (producer, generation) = (header.producer_id.0, header.producer_epoch.0);
        let (sequence, records) = (header.base_sequence, header.record_count);
        format!(
            "{records} from {first} of reign {epoch}, producer {producer} in epoch {generation} \
             from sequence {sequence}"
        )
    }

    /// Where its records begin; `None` if it has none.
    pub fn first_offset(&self) -> Option<i64> {
        self.records.keys().next().copied()
    }

    /// The batches that hold offsets of `low..high`.
    pub fn between(&self, low: i64, high: i64) -> BTreeMap<i64, &Bytes> {
        let within = self.batches.range(..high).filter(|(_, (last, _))| *last >= low);
        within.map(|(&base, (_, bytes))| (base, bytes)).collect()
    }

    /// The last record of each key below `high`.
    pub fn last_per_key(&self, high: i64) -> BTreeMap<&str, (i64, &Found)> {
        let records = self.records.range(..high);
        records.filter_map(|(&at, found)| Some((found.key.as_deref()?, (at, found)))).collect()
    }
}

/// The number that a record's headers tell.
pub fn number_in(headers: &[(&str, Option<&[u8]>)]) -> Option<u64> {
    let (_, value) = headers.iter().find(|(key, _)| *key == NUMBER)?;
    number((*value)?)
}

fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

fn found(record: &Record) -> Found {
    let headers: Vec<(&str, Option<&[u8]>)> = record
        .headers
        .iter()
        .map(|header| (header.key.as_str(), header.value.as_deref()))
        .collect();
    let incarnation = headers.iter().find(|(key, _)| *key == INCARNATION);
    Found {
        number: number_in(&headers).or_else(|| number(record.value.as_deref()?)),
        incarnation: incarnation.and_then(|(_, value)| number((*value)?)),
        key: record.key.as_deref().map(|key| String::from_utf8_lossy(key).into_owned()),
        is_tombstone: record.value.is_none(),
    }
}
