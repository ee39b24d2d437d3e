//! Whether all is as it was, once nothing fails any more, and what lies in the logs then.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla::log::Log;
use ottla::metadata::Image;
use ottla::replication::Partition;
use ottla::types::{NodeId, Offset, TopicPartition};
use uuid::Uuid;

use crate::checker::history::{self, FinalRead, Value};
use crate::workload::consumer;
use crate::workload::recorder::Recorder;
use crate::world::machine::Machine;

/// What all nodes know in the end.
struct Known<'a> {
    machines: &'a [Arc<Machine>],
    image: Arc<Image>,
}

/// What lies in the replicas of one partition from where the last of them begins, by their machines:
/// what is before may be gone from each for itself.
pub struct Copies {
    place: TopicPartition,
    topic_id: Uuid,
    start: Offset,
    records: Vec<(String, Records)>,
}

type Records = Vec<(Offset, Value)>;

/// What lies in all partitions that clients write to, once every replica is in sync and readable.
pub fn healed(machines: &[Arc<Machine>]) -> Result<Vec<Copies>, String> {
    let known = Known::look(machines)?;
    known.partitions().try_for_each(|place| known.is_whole(&place))?;
    let written = known.partitions().filter(|place| !place.topic.starts_with("__"));
    written.map(|place| known.read(place)).collect()
}

/// What lies in the logs, which is the same on all nodes that have them.
pub fn same_on_all(
    all: Vec<Copies>,
    recorder: &Recorder,
) -> Result<BTreeMap<history::Log, FinalRead>, String> {
    let mut reads = BTreeMap::new();
    for Copies { place, topic_id, start, records } in all {
        let mut copies = records.into_iter();
        let Some((name, records)) = copies.next() else { continue };
        if let Some((other, differ)) = copies.find(|(_, other)| *other != records) {
            let difference = difference((&name, &records), (&other, &differ));
            return Err(format!("replicas of {place} differ: {difference}"));
        }
        reads.insert(recorder.log(topic_id, place.partition.0), FinalRead { start, records });
    }
    Ok(reads)
}

impl<'a> Known<'a> {
    /// The latest metadata that any node has.
    fn look(machines: &'a [Arc<Machine>]) -> Result<Known<'a>, String> {
        let servers = machines.iter().filter_map(|machine| machine.server());
        let images = servers.map(|server| server.controller().metadata().image());
        let image = images.max_by_key(|image| image.offset()).ok_or("nobody runs")?;
        Ok(Known { machines, image })
    }

    fn partitions(&self) -> impl Iterator<Item = TopicPartition> {
        let all = self.image.partitions();
        all.map(|(topic, index, _)| TopicPartition::new(topic.name.clone(), index.0))
    }

    /// The replicas, each with the name of its machine.
    fn replicas(&self, place: &TopicPartition) -> Result<Vec<(String, Arc<Partition>)>, String> {
        let registered = self.image.partition(place).ok_or(format!("there is no {place}"))?;
        let on = |node: &NodeId| {
            let machine = self.machines.iter().find(|machine| machine.id == node.0);
            let machine = machine.ok_or(format!("there is no node {node}"))?;
            let missing = || format!("{} has no {place}", machine.name);
            let server = machine.server().ok_or_else(missing)?;
            let replicas = server.replicas().ok_or_else(missing)?;
            let partition = replicas.partition(place).map_err(|_| missing())?;
            Ok((machine.name.clone(), partition))
        };
        registered.replicas.iter().map(on).collect()
    }

    fn is_whole(&self, place: &TopicPartition) -> Result<(), String> {
        let all: Vec<_> =
            self.replicas(place)?.into_iter().map(|(_, replica)| replica.describe()).collect();
        let leaders: Vec<_> = all.iter().filter(|one| one.role == "leader").collect();
        let [leader] = leaders[..] else {
            return Err(format!("{place} is led by {} nodes", leaders.len()));
        };
        if leader.isr.len() != all.len() {
            return Err(format!("the ISR of {place} is {:?}", leader.isr));
        }
        let ends: Vec<_> =
            all.iter().flat_map(|one| [one.high_watermark, one.log_end_offset]).collect();
        if ends.iter().any(|end| *end != leader.log_end_offset) {
            return Err(format!("high watermarks and ends of {place} are {ends:?}"));
        }
        Ok(())
    }

    fn read(&self, place: TopicPartition) -> Result<Copies, String> {
        let replicas = self.replicas(&place)?;
        let starts = replicas.iter().map(|(_, replica)| replica.log().log_start_offset());
        let start = starts.max().unwrap_or(Offset::ZERO);
        let read = |(name, replica): (String, Arc<Partition>)| match read(&replica.log(), start) {
            Ok(records) => Ok((name, records)),
            Err(error) => Err(format!("{name}: {place}: {error}")),
        };
        let records = replicas.into_iter().map(read).collect::<Result<_, _>>()?;
        let topic = self.image.topic(&place.topic).ok_or(format!("there is no {place}"))?;
        Ok(Copies { topic_id: topic.id.0, place, start, records })
    }
}

/// Where two replicas part.
fn difference(
    (one, a): (&str, &[(Offset, Value)]),
    (other, b): (&str, &[(Offset, Value)]),
) -> String {
    let at = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let shown = |records: &[(Offset, Value)]| {
        let records = records.iter().skip(at).take(5);
        let records: Vec<_> = records.map(|(offset, value)| format!("{offset}={value}")).collect();
        records.join(" ")
    };
    format!("{one} has {}, {other} has {}", shown(a), shown(b))
}

fn read(log: &Log, start: Offset) -> Result<Vec<(Offset, Value)>, String> {
    let (mut all, mut from) = (Vec::new(), start);
    while from < log.log_end_offset() {
        let slice = log.read(from, log.log_end_offset(), 1 << 20, true);
        let slice = slice.map_err(|error| error.to_string())?;
        let (records, next) =
            consumer::records(&slice.records, from).map_err(|error| error.to_string())?;
        all.extend(records);
        from = slice.next_offset.max(next).max(from.plus(1));
    }
    Ok(all)
}
