//! An idempotent producer: what it does not know the outcome of it sends again, with the same
//! sequence numbers, up to five batches of a partition at a time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use ottla::net::HostPort;
use ottla::net::client::ClientError;
use ottla::protocol::messages::init_producer_id::InitProducerIdRequest;
use ottla::protocol::messages::produce::ProduceResponse;
use ottla::types::{ErrorCode, Offset, ProducerEpoch, ProducerId, Random, TimestampMs};
use uuid::Uuid;

use super::produce::{self, Batch};
use super::recorder::Place;
use super::{Surroundings, TOPIC};
use crate::checker::history::{Acks, Action, Outcome, Process, Send, Value};
use crate::client::Client;

/// How many batches of a partition are under way at most: as many as a broker remembers.
const IN_FLIGHT: usize = 5;

/// A batch has so many records at most.
const RECORDS: u64 = 5;

/// From one batch to the next, in microseconds at most.
const PAUSE_US: u64 = 3_000;

/// Before a partition is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(30);

/// How long it goes on trying, once no more is to be sent.
const PATIENCE: Duration = Duration::from_secs(2);

/// A batch that is not acknowledged.
struct Pending {
    batch: Batch,
    places: Vec<Place>,
    under_way: bool,
    /// It may be in the log.
    doubtful: bool,
}

/// The batches for one partition, in their order.
#[derive(Default)]
struct Lane {
    next_sequence: i32,
    pending: VecDeque<Pending>,
    /// All that is pending has to be sent again, but not before.
    again_at: Option<Duration>,
}

impl Lane {
    fn is_under_way(&self) -> bool {
        self.pending.iter().any(|pending| pending.under_way)
    }
}

/// A request under way: to whom, the partition and the first sequence number.
type Sent = (HostPort, Uuid, i32, i32);

type Answer = (Sent, Result<ProduceResponse, ClientError>);

struct Producer {
    name: String,
    number: u32,
    process: Process,
    around: Surroundings,
    random: Arc<dyn Random>,
    client: Client,
    identity: Option<(ProducerId, ProducerEpoch)>,
    /// A broker does not take what comes next: another identity is needed.
    lost: bool,
    lanes: BTreeMap<i32, Lane>,
    under_way: FuturesUnordered<BoxFuture<'static, Answer>>,
    sent: u32,
}

/// Sends until `until`, and then for a while what is not acknowledged.
pub async fn run(around: Surroundings, number: u32, until: Duration) -> turmoil::Result {
    let name = format!("p{number}");
    let mut producer = Producer {
        process: around.recorder.process(&name),
        random: around.random(&name),
        client: around.client(&name),
        identity: None,
        lost: false,
        lanes: BTreeMap::new(),
        under_way: FuturesUnordered::new(),
        sent: 0,
        number,
        name,
        around,
    };
    while producer.now() < until + PATIENCE {
        let ends = producer.now() >= until;
        if ends && producer.lanes.values().all(|lane| lane.pending.is_empty()) {
            break;
        }
        producer.pause().await;
        producer.turn(ends).await?;
    }
    producer.give_up();
    Ok(())
}

impl Producer {
    fn now(&self) -> Duration {
        self.around.trace.now()
    }

    /// Until the next batch is due.
    async fn pause(&mut self) {
        let pause = tokio::time::sleep(Duration::from_micros(self.random.below(PAUSE_US)));
        tokio::pin!(pause);
        loop {
            tokio::select! {
                biased;
                Some(answer) = self.under_way.next() => self.take(answer),
                () = &mut pause => return,
            }
        }
    }

    /// Sends something, if there is something to send.
    async fn turn(&mut self, ends: bool) -> turmoil::Result {
        if self.lost && self.under_way.is_empty() {
            self.give_up();
        }
        let Some((id, epoch)) = self.identity else { return self.become_somebody().await };
        let partition = self.random.below(self.around.plan.partitions.unsigned_abs().into());
        let partition = i32::try_from(partition)?;
        let (now, lane) = (self.now(), self.lanes.entry(partition).or_default());
        match lane.again_at {
            _ if self.lost => return Ok(()),
            Some(at) if at > now || lane.is_under_way() => return Ok(()),
            Some(_) => {}
            None if ends || lane.pending.len() >= IN_FLIGHT => return Ok(()),
            None => {}
        }
        let Some((topic_id, address)) = self.client.leader(TOPIC, partition).await else {
            return Ok(());
        };
        let lane = self.lanes.entry(partition).or_default();
        if lane.again_at.take().is_none() {
            self.add(topic_id, partition, (id, epoch));
        }
        self.send(topic_id, partition, &address).await
    }

    /// Asks for an id.
    async fn become_somebody(&mut self) -> turmoil::Result {
        let address = self.client.any();
        let request = InitProducerIdRequest::default();
        let asking = self.client.ask(&address, &request);
        match tokio::time::timeout(Duration::from_millis(500), asking).await {
            Ok(Ok(answer)) if answer.error_code == ErrorCode::None.code() => {
                let (id, epoch) = (answer.producer_id, answer.producer_epoch);
                self.around.trace.note(&self.name, format_args!("is producer {id} from now on"));
                self.around.recorder.answered();
                self.identity = Some((ProducerId(id), ProducerEpoch(epoch)));
            }
            Ok(Ok(_)) => {}
            Ok(Err(_)) | Err(_) => self.client.hang_up(&address),
        }
        Ok(())
    }

    /// A new batch at the end of the lane.
    fn add(&mut self, topic_id: Uuid, partition: i32, identity: (ProducerId, ProducerEpoch)) {
        let log = self.around.recorder.log(topic_id, partition);
        let count = 1 + u32::try_from(self.random.below(RECORDS)).unwrap_or(0);
        let numbers = self.sent..self.sent + count;
        self.sent += count;
        let upper = u64::from(self.number) << 32;
        let values: Vec<_> = numbers.map(|number| Value(upper | u64::from(number))).collect();
        let send = |value: &Value| Send {
            log,
            value: *value,
            key: None,
            tombstone: false,
            acks: Acks::All,
            producer: Some(identity.0),
            transaction: None,
            outcome: Outcome::Unknown,
        };
        let sends = values.iter().map(|value| Action::Send(send(value)));
        let places = sends.map(|send| self.around.recorder.begin(self.process, send)).collect();
        let lane = self.lanes.entry(partition).or_default();
        let sequence = Some((identity.0, identity.1, lane.next_sequence));
        lane.next_sequence += i32::try_from(count).unwrap_or(0);
        let batch = Batch { partition, values, sequence };
        lane.pending.push_back(Pending { batch, places, under_way: false, doubtful: false });
    }

    /// Sends what is not under way, in its order.
    async fn send(
        &mut self,
        topic_id: Uuid,
        partition: i32,
        address: &HostPort,
    ) -> turmoil::Result {
        let now = TimestampMs(i64::try_from(self.now().as_millis())?);
        let retry_at = self.now() + RETRY_PAUSE;
        let connected = self.client.connect(address).await;
        let lane = self.lanes.entry(partition).or_default();
        let Ok(connection) = connected else {
            lane.again_at = Some(retry_at);
            self.client.forget(TOPIC);
            return Ok(());
        };
        for pending in lane.pending.iter_mut().filter(|pending| !pending.under_way) {
            let batches = std::slice::from_ref(&pending.batch);
            let Ok(answer) = connection.send(&produce::request(topic_id, Acks::All, batches, now)?)
            else {
                lane.again_at = Some(retry_at);
                break;
            };
            pending.under_way = true;
            let first = pending.batch.sequence.map_or(0, |(_, _, first)| first);
            let sent = (address.clone(), topic_id, partition, first);
            self.under_way.push(Box::pin(async move { (sent, answer.await) }));
        }
        Ok(())
    }

    fn take(&mut self, ((address, topic_id, partition, first), answer): Answer) {
        let result = match &answer {
            Ok(answer) => produce::answer(answer, partition).map_err(Some),
            Err(_) => {
                self.client.hang_up(&address);
                Err(None)
            }
        };
        let (now, lane) = (self.now(), self.lanes.entry(partition).or_default());
        let is_it = |pending: &Pending| {
            pending.batch.sequence.is_some_and(|(_, _, sequence)| sequence == first)
        };
        let Some(place) = lane.pending.iter().position(is_it) else { return };
        let acknowledged = match result {
            Ok(base_offset) => Some(Some(base_offset)),
            // So old that the broker does not remember where it is.
            Err(Some(ErrorCode::DuplicateSequenceNumber)) => Some(None),
            Err(error) => {
                let pending = &mut lane.pending[place];
                pending.under_way = false;
                pending.doubtful |= error.is_none_or(|error| !produce::is_refusal(error));
                lane.again_at = Some(now + RETRY_PAUSE);
                // Those behind come after what is missing; what is first must be next.
                self.lost |= place == 0 && error.is_some_and(is_lost);
                self.client.forget(TOPIC);
                let what = format_args!("from {first} on to {TOPIC}-{partition}: {error:?}");
                return self.around.trace.note(&self.name, what);
            }
        };
        if let Some(pending) = lane.pending.remove(place) {
            self.acknowledge(topic_id, &pending, acknowledged.flatten());
        }
    }

    fn acknowledge(&self, topic_id: Uuid, pending: &Pending, base_offset: Option<Offset>) {
        let (recorder, partition) = (&self.around.recorder, pending.batch.partition);
        recorder.answered();
        for (place, nth) in pending.places.iter().zip(0..) {
            let offset = base_offset.map(|offset| offset.plus(nth));
            recorder.sent(*place, Outcome::Acknowledged(offset));
        }
        let count = i64::try_from(pending.places.len()).unwrap_or(1);
        if let Some(base_offset) = base_offset {
            self.around.told.acknowledged(topic_id, partition, base_offset.plus(count - 1).0);
        }
        let (first, count) = (pending.batch.values[0], pending.places.len());
        let what = format_args!("{first} and on, {count} to {TOPIC}-{partition}: {base_offset:?}");
        self.around.trace.note(&self.name, what);
    }

    /// What is pending stays so; what comes is another producer's.
    fn give_up(&mut self) {
        for pending in std::mem::take(&mut self.lanes).into_values().flat_map(|lane| lane.pending) {
            let outcome = || match pending.doubtful || pending.under_way {
                true => Outcome::Unknown,
                false => Outcome::Failed,
            };
            pending.places.iter().for_each(|place| self.around.recorder.sent(*place, outcome()));
        }
        self.around.trace.note(&self.name, "gives up what is pending");
        (self.identity, self.lost) = (None, false);
    }
}

/// Whether the broker expects something else next, or knows nothing of the producer.
fn is_lost(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::OutOfOrderSequenceNumber
            | ErrorCode::UnknownProducerId
            | ErrorCode::InvalidProducerEpoch
    )
}
