//! A batch with its sequence numbers, ready to go over the wire as often as it must, and what an
//! answer means for it. Pure: the lane acts on what is decided here.

use bytes::Bytes;

use crate::cli::client::batch;
use crate::cli::client::error::ClientFailure;
use crate::cli::client::producer::ProducerRecord;
use crate::cli::client::producer::accumulator::OpenBatch;
use crate::record::{Compression, RecordError};
use crate::types::{ErrorCode, Monotonic, Offset, ProducerEpoch, ProducerId};

/// Whose sequence numbers a batch carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) id: ProducerId,
    pub(super) epoch: ProducerEpoch,
}

impl Identity {
    /// A producer that is not idempotent.
    pub(super) const NONE: Identity = Identity { id: ProducerId::NONE, epoch: ProducerEpoch::NONE };
}

/// The next sequence number of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sequence {
    pub(super) identity: Identity,
    next: i32,
}

impl Sequence {
    /// Starts at 0.
    pub(super) fn new(identity: Identity) -> Self {
        Self { identity, next: 0 }
    }

    /// The numbers for `count` records; after the greatest comes 0.
    fn take(&mut self, count: usize) -> i32 {
        if self.identity == Identity::NONE {
            return -1;
        }
        let first = self.next;
        let count = i64::try_from(count).unwrap_or(0);
        let after = (i64::from(first) + count) % (i64::from(i32::MAX) + 1);
        self.next = i32::try_from(after).unwrap_or(0);
        first
    }
}

/// A batch as it is sent.
#[derive(Debug)]
pub(super) struct SealedBatch {
    pub(super) records: Vec<ProducerRecord>,
    /// What it takes of the producer's memory.
    pub(super) size_bytes: usize,
    pub(super) created: Monotonic,
    pub(super) attempts: u32,
    identity: Identity,
    base_sequence: i32,
    pub(super) bytes: Bytes,
}

impl SealedBatch {
    /// Gives a batch the next sequence numbers and encodes it.
    pub(super) fn new(
        open: OpenBatch,
        sequence: &mut Sequence,
        compression: Compression,
    ) -> Result<Self, (OpenBatch, RecordError)> {
        let before = *sequence;
        let base_sequence = sequence.take(open.records.len());
        let sealed = Self::numbered(open, before.identity, base_sequence, compression);
        if sealed.is_err() {
            *sequence = before;
        }
        sealed
    }

    fn numbered(
        open: OpenBatch,
        identity: Identity,
        base_sequence: i32,
        compression: Compression,
    ) -> Result<Self, (OpenBatch, RecordError)> {
        let encoded =
            batch::encode(&open.records, identity.id, identity.epoch, base_sequence, compression);
        match encoded {
            Ok(bytes) => Ok(Self {
                records: open.records,
                size_bytes: open.size_bytes,
                created: open.created,
                attempts: 0,
                identity,
                base_sequence,
                bytes,
            }),
            Err(error) => Err((open, error)),
        }
    }

    /// Whether it carries sequence numbers.
    pub(super) fn is_numbered(&self) -> bool {
        self.identity != Identity::NONE
    }

    /// Two halves with the sequence numbers that their records had.
    pub(super) fn split_in_sequence(
        self,
        compression: Compression,
    ) -> [Result<Self, (OpenBatch, RecordError)>; 2] {
        let (identity, attempts) = (self.identity, self.attempts);
        let mut sequence = Sequence { identity, next: self.base_sequence };
        self.split().map(|open| {
            let mut half = Self::new(open, &mut sequence, compression)?;
            half.attempts = attempts;
            Ok(half)
        })
    }

    /// The records as they were, to be given other sequence numbers.
    pub(super) fn reopen(self) -> OpenBatch {
        OpenBatch { records: self.records, size_bytes: self.size_bytes, created: self.created }
    }

    /// Two halves of a batch that is too large for the broker.
    pub(super) fn split(self) -> [OpenBatch; 2] {
        let mut first = self.reopen();
        let half = first.records.len() / 2;
        let records = first.records.split_off(half);
        let size_bytes: usize = records.iter().map(ProducerRecord::size_bytes).sum();
        let second = OpenBatch { records, size_bytes, created: first.created };
        first.size_bytes -= size_bytes;
        [first, second]
    }

    /// The callers' tokens.
    pub(super) fn tokens(&self) -> Vec<u64> {
        self.records.iter().map(|record| record.token).collect()
    }
}

/// What becomes of a batch after an attempt.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It is in the log.
    Delivered(Offset),
    /// Another attempt may succeed.
    Again(ClientFailure),
    /// The broker takes smaller ones.
    TooLarge(ClientFailure),
    /// It failed for good.
    Lost(ClientFailure),
    /// Its sequence numbers are not those that the broker expects.
    OutOfSequence(ClientFailure),
}

/// What an attempt's outcome means.
pub(super) fn judge(outcome: Result<Offset, ClientFailure>) -> Verdict {
    let failure = match outcome {
        Ok(offset) => return Verdict::Delivered(offset),
        Err(failure) => failure,
    };
    match failure.code() {
        // An earlier attempt succeeded and its answer was lost; too long ago to know the offset.
        Some(ErrorCode::DuplicateSequenceNumber) => Verdict::Delivered(Offset::UNKNOWN),
        Some(ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge) => {
            Verdict::TooLarge(failure)
        }
        Some(ErrorCode::OutOfOrderSequenceNumber | ErrorCode::UnknownProducerId) => {
            Verdict::OutOfSequence(failure)
        }
        _ if failure.is_retriable() => Verdict::Again(failure),
        _ => Verdict::Lost(failure),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn open(count: u64) -> OpenBatch {
        let records: Vec<ProducerRecord> = (0..count)
            .map(|token| ProducerRecord {
                token,
                value: Some(Bytes::from(vec![b'x'; 10])),
                ..ProducerRecord::default()
            })
            .collect();
        let size_bytes = records.iter().map(ProducerRecord::size_bytes).sum();
        OpenBatch { records, size_bytes, created: Monotonic::default() }
    }

    fn refused(code: ErrorCode) -> Result<Offset, ClientFailure> {
        Err(ClientFailure::Refused { code, message: None })
    }

    #[test]
    fn sequences_go_round_after_the_greatest() {
        let identity = Identity { id: ProducerId(1), epoch: ProducerEpoch(0) };
        let mut sequence = Sequence { identity, next: i32::MAX - 1 };
        assert_eq!(sequence.take(3), i32::MAX - 1);
        assert_eq!(sequence.take(1), 1);
        assert_eq!(Sequence::new(Identity::NONE).take(3), -1);
    }

    #[test]
    fn halves_have_all_records_and_all_memory() {
        let mut sequence = Sequence::new(Identity::NONE);
        let whole = SealedBatch::new(open(5), &mut sequence, Compression::None).unwrap();
        let size_bytes = whole.size_bytes;
        let [first, second] = whole.split();
        assert_eq!(first.records.len(), 2);
        assert_eq!(second.records.len(), 3);
        assert_eq!(first.size_bytes + second.size_bytes, size_bytes);
        assert_eq!(first.size_bytes, open(2).size_bytes);
    }

    #[test]
    fn halves_keep_the_sequence_numbers_of_their_records() {
        let identity = Identity { id: ProducerId(1), epoch: ProducerEpoch(0) };
        let mut sequence = Sequence { identity, next: 10 };
        let whole = SealedBatch::new(open(5), &mut sequence, Compression::None).unwrap();
        let numbers = whole.split_in_sequence(Compression::None).map(|half| {
            let half = half.unwrap();
            (half.base_sequence, half.records.len())
        });
        assert_eq!(numbers, [(10, 2), (12, 3)]);
        assert_eq!(sequence.next, 15);
    }

    #[test]
    fn verdicts() {
        use ErrorCode as Code;
        assert!(matches!(judge(Ok(Offset(7))), Verdict::Delivered(Offset(7))));
        for (code, verdict) in [
            (Code::DuplicateSequenceNumber, "Delivered"),
            (Code::NotLeaderOrFollower, "Again"),
            (Code::NotEnoughReplicas, "Again"),
            (Code::NotEnoughReplicasAfterAppend, "Again"),
            (Code::RequestTimedOut, "Again"),
            (Code::KafkaStorageError, "Again"),
            (Code::CorruptMessage, "Again"),
            (Code::MessageTooLarge, "TooLarge"),
            (Code::OutOfOrderSequenceNumber, "OutOfSequence"),
            (Code::UnknownProducerId, "OutOfSequence"),
            (Code::InvalidRecord, "Lost"),
            (Code::InvalidProducerEpoch, "Lost"),
            (Code::TopicAuthorizationFailed, "Lost"),
        ] {
            let text = format!("{:?}", judge(refused(code)));
            assert!(text.starts_with(verdict), "{code:?}: {text}");
        }
    }
}
