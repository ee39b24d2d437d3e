//! A producer without retries: each record is sent once, so that what became of it is plain.
//! Several requests are under way at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use ottla::net::HostPort;
use ottla::net::client::ClientError;
use ottla::protocol::messages::produce::ProduceResponse;
use ottla::types::{Offset, Random, TimestampMs};
use uuid::Uuid;

use super::produce::{self, Batch};
use super::recorder::Place;
use super::{Surroundings, TOPIC};
use crate::checker::history::{Acks, Action, Outcome, Process, Send, Value};
use crate::client::Client;

/// How many requests to one broker are under way at most.
const IN_FLIGHT: usize = 5;

/// From one request to the next, in microseconds at most.
const PAUSE_US: u64 = 8_000;

/// A request has so many records at most.
const RECORDS: u64 = 5;

/// A request under way, and what it holds.
struct Sent {
    address: HostPort,
    topic_id: Uuid,
    acks: Acks,
    batch: Batch,
    places: Vec<Place>,
}

type Answer = (Sent, Result<ProduceResponse, ClientError>);

struct Producer {
    name: String,
    number: u32,
    process: Process,
    around: Surroundings,
    random: Arc<dyn Random>,
    client: Client,
    under_way: FuturesUnordered<BoxFuture<'static, Answer>>,
    /// How many of them each broker has.
    in_flight: BTreeMap<HostPort, usize>,
    sent: u32,
}

/// Sends until `until`.
pub async fn run(around: Surroundings, number: u32, until: Duration) -> turmoil::Result {
    let name = format!("p{number}");
    let mut producer = Producer {
        process: around.recorder.process(&name),
        random: around.random(&name),
        client: around.client(&name),
        under_way: FuturesUnordered::new(),
        in_flight: BTreeMap::new(),
        sent: 0,
        number,
        name,
        around,
    };
    while producer.around.trace.now() < until {
        producer.pause().await;
        producer.send().await?;
    }
    while let Some(answer) = producer.under_way.next().await {
        producer.take(answer);
    }
    Ok(())
}

impl Producer {
    /// Until the next request is due.
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

    async fn send(&mut self) -> turmoil::Result {
        let partition = self.random.below(self.around.plan.partitions.unsigned_abs().into());
        let partition = i32::try_from(partition)?;
        let acks = match self.random.below(8) {
            0 => Acks::Zero,
            1 | 2 => Acks::One,
            _ => Acks::All,
        };
        let Some((topic_id, address)) = self.client.leader(TOPIC, partition).await else {
            return Ok(());
        };
        if self.in_flight.get(&address).is_some_and(|count| *count >= IN_FLIGHT) {
            return Ok(());
        }
        let (batch, places) = self.invoke(topic_id, partition, acks);
        if acks == Acks::Zero {
            return self.send_unanswered(topic_id, &address, &batch, &places).await;
        }
        let now = self.timestamp()?;
        let request = produce::request(topic_id, acks, std::slice::from_ref(&batch), now)?;
        let sent = Sent { address, topic_id, acks, batch, places };
        *self.in_flight.entry(sent.address.clone()).or_default() += 1;
        let sending = match self.client.connect(&sent.address).await {
            Ok(connection) => connection.send(&request),
            Err(error) => Err(error),
        };
        match sending {
            Ok(answer) => self.under_way.push(Box::pin(async move { (sent, answer.await) })),
            Err(error) => self.take((sent, Err(error))),
        }
        Ok(())
    }

    fn timestamp(&self) -> Result<TimestampMs, std::num::TryFromIntError> {
        Ok(TimestampMs(i64::try_from(self.around.trace.now().as_millis())?))
    }

    /// Nobody says what becomes of it.
    async fn send_unanswered(
        &mut self,
        topic_id: Uuid,
        address: &HostPort,
        batch: &Batch,
        places: &[Place],
    ) -> turmoil::Result {
        let batches = std::slice::from_ref(batch);
        let request = produce::request(topic_id, Acks::Zero, batches, self.timestamp()?)?;
        let sent = match self.client.connect(address).await {
            Ok(connection) => connection.send_unanswered(&request).await,
            Err(error) => Err(error),
        };
        if sent.is_err() {
            self.client.hang_up(address);
            self.client.forget(TOPIC);
        }
        let recorder = &self.around.recorder;
        places.iter().for_each(|place| {
            recorder.sent(
                *place,
                match &sent {
                    Ok(()) => Outcome::Acknowledged(None),
                    Err(_) => Outcome::Unknown,
                },
            );
        });
        Ok(())
    }

    /// Writes down that records are about to be sent.
    fn invoke(&mut self, topic_id: Uuid, partition: i32, acks: Acks) -> (Batch, Vec<Place>) {
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
            acks,
            producer: None,
            transaction: None,
            outcome: Outcome::Unknown,
        };
        let sends = values.iter().map(|value| Action::Send(send(value)));
        let places = sends.map(|send| self.around.recorder.begin(self.process, send)).collect();
        (Batch { partition, values, sequence: None }, places)
    }

    fn take(&mut self, (sent, answer): Answer) {
        self.in_flight.entry(sent.address.clone()).and_modify(|count| *count -= 1);
        let outcome = match answer {
            Ok(answer) => match produce::answer(&answer, sent.batch.partition) {
                Ok(base_offset) => Outcome::Acknowledged(base_offset),
                Err(error) if produce::is_refusal(error) => Outcome::Failed,
                Err(_) => Outcome::Unknown,
            },
            Err(ClientError::Refused { .. } | ClientError::Unreachable { .. }) => Outcome::Failed,
            Err(_) => {
                self.client.hang_up(&sent.address);
                Outcome::Unknown
            }
        };
        if let Outcome::Acknowledged(base_offset) = outcome {
            self.around.recorder.answered();
            self.tell(&sent, base_offset);
        } else {
            self.client.forget(TOPIC);
        }
        self.note(&sent, &outcome);
        for (place, nth) in sent.places.iter().zip(0..) {
            let outcome = match outcome {
                Outcome::Acknowledged(base_offset) => {
                    Outcome::Acknowledged(Some(Offset(base_offset.0 + nth)))
                }
                Outcome::Failed => Outcome::Failed,
                Outcome::Unknown => Outcome::Unknown,
            };
            self.around.recorder.sent(*place, outcome);
        }
    }

    fn tell(&self, sent: &Sent, base_offset: Offset) {
        let count = i64::try_from(sent.places.len()).unwrap_or_default();
        if sent.acks == Acks::All {
            let (partition, last) = (sent.batch.partition, base_offset.plus(count - 1));
            self.around.told.acknowledged(sent.topic_id, partition, last.0);
        }
    }

    fn note(&self, sent: &Sent, outcome: &Outcome<Offset>) {
        let (values, partition) = (&sent.batch.values, sent.batch.partition);
        let Some(first) = values.first() else { return };
        let what = format_args!("{first} and on, {} to {TOPIC}-{partition}", values.len());
        self.around
            .trace
            .note(&self.name, format_args!("{what} acks {:?}: {outcome:?}", sent.acks));
    }
}
