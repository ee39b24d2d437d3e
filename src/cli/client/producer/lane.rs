//! The task of one partition. Batches leave in order, several of them unanswered at a time; when
//! one fails, the answers to those after it are awaited, and then all that may be sent again go
//! out again in their old order, before anything new. An idempotent producer's sequence numbers
//! stay with the batch, so that the broker knows what it has already.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::cli::client::error::ClientFailure;
use crate::cli::client::options::Acks;
use crate::cli::client::producer::accumulator::{Accumulator, Next, OpenBatch};
use crate::cli::client::producer::sealed::{Identity, SealedBatch, Sequence, Verdict, judge};
use crate::cli::client::producer::{Delivery, Shared};
use crate::net::client::Connection;
use crate::protocol::messages::init_producer_id::InitProducerIdRequest;
use crate::protocol::messages::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};
use crate::types::{
    ErrorCode, LeaderEpoch, Monotonic, NodeId, Offset, ProducerEpoch, ProducerId, TopicPartition,
};

/// Sends what the accumulator gathers until it is closed and empty.
pub(super) async fn run(
    shared: Arc<Shared>,
    topic_partition: TopicPartition,
    accumulator: Arc<Accumulator>,
) {
    Lane {
        shared,
        topic_partition,
        accumulator,
        sequence: None,
        waiting: VecDeque::new(),
        in_flight: VecDeque::new(),
        road: None,
    }
    .run()
    .await;
}

struct Lane {
    shared: Arc<Shared>,
    topic_partition: TopicPartition,
    accumulator: Arc<Accumulator>,
    /// `None` until the producer has its id.
    sequence: Option<Sequence>,
    /// To be sent before anything new: failed attempts, in order.
    waiting: VecDeque<SealedBatch>,
    in_flight: VecDeque<InFlight>,
    /// The connection in use. It is kept while it holds, so that batches cannot overtake.
    road: Option<Road>,
}

struct InFlight {
    batch: SealedBatch,
    answer: BoxFuture<'static, Result<Offset, ClientFailure>>,
}

struct Road {
    leader: NodeId,
    epoch: LeaderEpoch,
    connection: Arc<Connection>,
}

impl Lane {
    async fn run(mut self) {
        loop {
            let wait = match self.send_what_is_due().await {
                Next::Closed if self.in_flight.is_empty() => return,
                Next::Wait(wait) => Some(wait),
                Next::Batch(_) | Next::Nothing | Next::Closed => None,
            };
            let accumulator = self.accumulator.clone();
            let linger = async {
                match wait {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            let has_room = self.in_flight.len() < self.shared.options.max_in_flight;
            tokio::select! {
                biased;
                answered = first_answer(&mut self.in_flight), if !self.in_flight.is_empty() => {
                    self.answered(answered).await;
                }
                () = accumulator.bell.notified(), if has_room => {}
                () = linger, if has_room => {}
            }
        }
    }

    /// Sends until nothing is due or enough is in flight; says what the accumulator said last.
    async fn send_what_is_due(&mut self) -> Next {
        while self.in_flight.len() < self.shared.options.max_in_flight {
            let batch = match self.waiting.pop_front() {
                Some(batch) => batch,
                None => match self.accumulator.next(self.now()) {
                    Next::Batch(open) => match self.seal(open).await {
                        Some(batch) => batch,
                        None => continue,
                    },
                    other => return other,
                },
            };
            self.send(batch).await;
        }
        Next::Nothing
    }

    /// Gives a batch its sequence numbers, or tells that it is lost.
    async fn seal(&mut self, open: OpenBatch) -> Option<SealedBatch> {
        let mut sequence = match self.sequence {
            Some(sequence) => sequence,
            None => match self.identity(open.created).await {
                Ok(identity) => Sequence::new(identity),
                Err(failure) => {
                    self.lose_open(open, failure);
                    return None;
                }
            },
        };
        let sealed = SealedBatch::new(open, &mut sequence, self.shared.options.compression);
        self.sequence = Some(sequence);
        match sealed {
            Ok(batch) => Some(batch),
            Err((open, error)) => {
                self.lose_open(open, error.into());
                None
            }
        }
    }

    /// A producer id of this lane's own: ordering is the partition's affair.
    async fn identity(&mut self, since: Monotonic) -> Result<Identity, ClientFailure> {
        if !self.shared.options.is_idempotent {
            return Ok(Identity::NONE);
        }
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: i32::MAX,
            ..Default::default()
        };
        loop {
            let asked = self.shared.cluster.ask(&request, "a producer id", |response| {
                ClientFailure::check(response.error_code, None)?;
                Ok(Identity {
                    id: ProducerId(response.producer_id),
                    epoch: ProducerEpoch(response.producer_epoch),
                })
            });
            match asked.await {
                Err(failure) if failure.is_retriable() && !self.is_expired(since) => {
                    tokio::time::sleep(self.shared.options.retry_backoff).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// One attempt. What cannot even be sent is treated as a failed answer.
    async fn send(&mut self, mut batch: SealedBatch) {
        batch.attempts += 1;
        match self.transmit(&batch).await {
            Ok(answer) => self.in_flight.push_back(InFlight { batch, answer }),
            Err(failure) => self.recover(batch, failure).await,
        }
    }

    async fn transmit(
        &mut self,
        batch: &SealedBatch,
    ) -> Result<BoxFuture<'static, Result<Offset, ClientFailure>>, ClientFailure> {
        let connection = self.connection().await?;
        let topic = &self.topic_partition.topic;
        let metadata = self.shared.cluster.metadata();
        let topic_id = metadata.topics.get(topic).map(|known| known.id.0).unwrap_or_default();
        let options = &self.shared.options;
        let request = ProduceRequest {
            acks: options.acks.code(),
            timeout_ms: i32::try_from(options.request_timeout.as_millis()).unwrap_or(i32::MAX),
            topic_data: vec![TopicProduceData {
                name: topic.as_str().into(),
                topic_id,
                partition_data: vec![PartitionProduceData {
                    index: self.topic_partition.partition.0,
                    records: Some(batch.bytes.clone()),
                }],
            }],
            ..Default::default()
        };
        if options.acks == Acks::None {
            connection.send_unanswered(&request).await?;
            return Ok(std::future::ready(Ok(Offset::UNKNOWN)).boxed());
        }
        let answer = connection.send(&request)?;
        Ok(async move { base_offset(&answer.await?) }.boxed())
    }

    /// The connection to the leader as the metadata has it now.
    async fn connection(&mut self) -> Result<Arc<Connection>, ClientFailure> {
        let TopicPartition { topic, partition } = &self.topic_partition;
        let cluster = &self.shared.cluster;
        let known = match cluster.partition(topic, *partition) {
            Some(known) if known.leader.is_some() => known,
            _ => {
                cluster.refresh(Some(std::slice::from_ref(topic)), false).await?;
                cluster.partition(topic, *partition).ok_or_else(no_leader)?
            }
        };
        let leader = known.leader.ok_or_else(no_leader)?;
        if let Some(road) = &self.road {
            let is_same = road.leader == leader && road.epoch == known.leader_epoch;
            if is_same && !road.connection.is_closed() {
                return Ok(road.connection.clone());
            }
        }
        let connection = cluster.broker(leader).await?;
        let epoch = known.leader_epoch;
        self.road = Some(Road { leader, epoch, connection: connection.clone() });
        Ok(connection)
    }

    async fn answered(&mut self, outcome: Result<Offset, ClientFailure>) {
        let Some(InFlight { batch, .. }) = self.in_flight.pop_front() else { return };
        match outcome {
            Ok(offset) => self.delivered(batch, offset),
            Err(failure) => self.recover(batch, failure).await,
        }
    }

    /// After a failure: awaits what is in flight, decides about each batch, and puts what shall
    /// be sent again before everything else.
    async fn recover(&mut self, first: SealedBatch, failure: ClientFailure) {
        let mut failed = vec![(first, judge(Err(failure)))];
        while let Some(InFlight { batch, answer }) = self.in_flight.pop_front() {
            failed.push((batch, judge(answer.await)));
        }
        let mut recovery = Recovery::default();
        let mut must_look = false;
        for (batch, verdict) in failed {
            let may_try_again = self.may_try_again(&batch);
            match verdict {
                Verdict::Delivered(offset) => self.delivered(batch, offset),
                Verdict::Again(_) if may_try_again => {
                    must_look = true;
                    recovery.keep(batch);
                }
                // It only followed one that did not arrive.
                Verdict::OutOfSequence(_) if recovery.has_gap() && may_try_again => {
                    recovery.keep(batch);
                }
                Verdict::TooLarge(_) if batch.records.len() > 1 => recovery.split(batch),
                Verdict::Again(failure)
                | Verdict::OutOfSequence(failure)
                | Verdict::TooLarge(failure)
                | Verdict::Lost(failure) => {
                    recovery.lost();
                    self.lose(batch, failure);
                }
            }
        }
        for batch in self.waiting.drain(..) {
            recovery.keep(batch);
        }
        self.prepare(recovery).await;
        if must_look {
            self.look_for_the_leader().await;
        }
    }

    /// Makes ready what is to be sent again. What comes after a batch that was lost gets a new
    /// producer id, because the lost one's sequence numbers will never be used; what came before
    /// it keeps its numbers, because the broker may have it already.
    async fn prepare(&mut self, recovery: Recovery) {
        if recovery.is_lost && self.shared.options.is_idempotent {
            self.sequence = None;
        }
        for Retry { batch, must_split, must_renumber } in recovery.retries {
            let compression = self.shared.options.compression;
            let attempts = batch.attempts;
            let opens = if must_renumber && must_split {
                Vec::from(batch.split())
            } else if must_renumber {
                vec![batch.reopen()]
            } else if must_split {
                for half in batch.split_in_sequence(compression) {
                    match half {
                        Ok(half) => self.waiting.push_back(half),
                        Err((open, error)) => self.lose_open(open, error.into()),
                    }
                }
                continue;
            } else {
                self.waiting.push_back(batch);
                continue;
            };
            for open in opens {
                if let Some(mut sealed) = self.seal(open).await {
                    sealed.attempts = attempts;
                    self.waiting.push_back(sealed);
                }
            }
        }
    }

    fn may_try_again(&self, batch: &SealedBatch) -> bool {
        batch.attempts <= self.shared.options.retries && !self.is_expired(batch.created)
    }

    fn is_expired(&self, created: Monotonic) -> bool {
        self.now().since(created) >= self.shared.options.delivery_timeout
    }

    /// Waits a moment and asks who leads now.
    async fn look_for_the_leader(&mut self) {
        tokio::time::sleep(self.shared.options.retry_backoff).await;
        let topic = std::slice::from_ref(&self.topic_partition.topic);
        // If nobody can be asked now, the next attempt says so.
        let _ = self.shared.cluster.refresh(Some(topic), false).await;
    }

    fn delivered(&self, batch: SealedBatch, offset: Offset) {
        self.tell(batch.tokens(), Ok(offset), batch.size_bytes);
    }

    fn lose(&self, batch: SealedBatch, failure: ClientFailure) {
        self.lose_open(batch.reopen(), failure);
    }

    fn lose_open(&self, open: OpenBatch, failure: ClientFailure) {
        let age = self.now().since(open.created);
        let failure = if failure.is_retriable() && age >= self.shared.options.delivery_timeout {
            ClientFailure::TimedOut {
                what: format!("the acknowledgement of {}", self.topic_partition),
                after: age,
                reason: Some(failure.to_string()),
            }
        } else {
            failure
        };
        let tokens = open.records.iter().map(|record| record.token).collect();
        self.tell(tokens, Err(failure), open.size_bytes);
    }

    fn tell(&self, tokens: Vec<u64>, outcome: Result<Offset, ClientFailure>, size_bytes: usize) {
        let topic_partition = self.topic_partition.clone();
        self.shared.deliver(Delivery { topic_partition, tokens, outcome }, size_bytes);
    }

    fn now(&self) -> Monotonic {
        self.shared.cluster.clock().monotonic()
    }
}

/// What a recovery has decided, in the batches' order.
#[derive(Default)]
struct Recovery {
    retries: Vec<Retry>,
    is_lost: bool,
}

struct Retry {
    batch: SealedBatch,
    must_split: bool,
    must_renumber: bool,
}

impl Recovery {
    fn keep(&mut self, batch: SealedBatch) {
        let must_renumber = self.is_lost && batch.is_numbered();
        self.retries.push(Retry { batch, must_split: false, must_renumber });
    }

    fn split(&mut self, batch: SealedBatch) {
        let must_renumber = self.is_lost && batch.is_numbered();
        self.retries.push(Retry { batch, must_split: true, must_renumber });
    }

    fn lost(&mut self) {
        self.is_lost = true;
    }

    /// Whether a batch before the next one is not in the log.
    fn has_gap(&self) -> bool {
        self.is_lost || !self.retries.is_empty()
    }
}

/// The answer to the oldest request. It stays where it is until it is there.
async fn first_answer(in_flight: &mut VecDeque<InFlight>) -> Result<Offset, ClientFailure> {
    match in_flight.front_mut() {
        Some(first) => (&mut first.answer).await,
        None => std::future::pending().await,
    }
}

/// What a response says of the one partition that was sent.
fn base_offset(response: &ProduceResponse) -> Result<Offset, ClientFailure> {
    let partition = response
        .responses
        .iter()
        .flat_map(|topic| &topic.partition_responses)
        .next()
        .ok_or(ClientFailure::Unsupported("an answer for this partition"))?;
    let of_record =
        partition.record_errors.iter().find_map(|of| of.batch_index_error_message.as_deref());
    let message = of_record.or(partition.error_message.as_deref());
    ClientFailure::check(partition.error_code, message)?;
    Ok(Offset(partition.base_offset))
}

fn no_leader() -> ClientFailure {
    ClientFailure::Refused { code: ErrorCode::LeaderNotAvailable, message: None }
}
