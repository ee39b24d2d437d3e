//! Leader epochs as both sides of replication compare them: is the asker in our reign, and where
//! do two logs part (rules 3 to 5).

pub use crate::log::EpochEnd;
use crate::types::{ErrorCode, LeaderEpoch, Offset};

/// Compares the leader epoch that a request believes in (or [`LeaderEpoch::NONE`]: it does not
/// say) with ours.
pub fn check_leader_epoch(requested: LeaderEpoch, ours: LeaderEpoch) -> Result<(), ErrorCode> {
    if requested == LeaderEpoch::NONE || requested == ours {
        Ok(())
    } else if requested < ours {
        Err(ErrorCode::FencedLeaderEpoch)
    } else {
        Err(ErrorCode::UnknownLeaderEpoch)
    }
}

/// Whether the log that answered could tell.
pub fn is_defined(end: EpochEnd) -> bool {
    end.epoch != LeaderEpoch::NONE && end.end_offset != Offset::UNKNOWN
}

/// What a fetcher says about the log that it has so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchPosition {
    /// The offset that it wants next.
    pub fetch_offset: Offset,
    /// The epoch of the last record that it has, or [`LeaderEpoch::NONE`]: do not compare.
    pub last_fetched_epoch: LeaderEpoch,
}

/// Whether the fetcher's log has left ours (rule 5). `our_end` is where `last_fetched_epoch` ends
/// in our log. An offset below the log start is out of range whatever the epochs say (KAFKA-12996).
pub fn divergence(
    position: FetchPosition,
    our_end: EpochEnd,
    log_start: Offset,
) -> Result<Option<EpochEnd>, ErrorCode> {
    if position.fetch_offset < log_start {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    if position.last_fetched_epoch == LeaderEpoch::NONE {
        return Ok(None);
    }
    if !is_defined(our_end) {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    let diverged =
        our_end.epoch < position.last_fetched_epoch || our_end.end_offset < position.fetch_offset;
    Ok(diverged.then_some(our_end))
}

/// Where a follower cuts its log after the leader has told where the logs part (rule 4): never at
/// the high watermark. `ours` is where the leader's epoch ends in our own log; if we do not know
/// that epoch we cut to the largest smaller one, and the next fetch asks again (KIP-279).
pub fn truncation_point(leader: EpochEnd, ours: EpochEnd, log_end: Offset) -> Offset {
    let point = if !is_defined(ours) {
        leader.end_offset
    } else if ours.epoch == leader.epoch {
        leader.end_offset.min(ours.end_offset)
    } else {
        ours.end_offset
    };
    point.min(log_end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(epoch: i32, end_offset: i64) -> EpochEnd {
        EpochEnd { epoch: LeaderEpoch(epoch), end_offset: Offset(end_offset) }
    }

    #[test]
    fn a_request_of_another_reign_is_told_so() {
        let ours = LeaderEpoch(5);
        assert_eq!(check_leader_epoch(LeaderEpoch::NONE, ours), Ok(()));
        assert_eq!(check_leader_epoch(LeaderEpoch(5), ours), Ok(()));
        assert_eq!(check_leader_epoch(LeaderEpoch(4), ours), Err(ErrorCode::FencedLeaderEpoch));
        assert_eq!(check_leader_epoch(LeaderEpoch(6), ours), Err(ErrorCode::UnknownLeaderEpoch));
    }

    #[test]
    fn rule_04_truncation_goes_to_the_common_prefix_never_to_the_high_watermark() {
        // (leader's answer, the same epoch in our log, our log end) -> where to cut
        let table = [
            (end(3, 10), end(3, 14), 14, 10), // both know epoch 3, the leader has less of it
            (end(3, 14), end(3, 10), 12, 10), // we have less of epoch 3, and something after it
            (end(3, 14), end(2, 8), 12, 8), // epoch 3 is unknown here: cut to the end of 2, ask again
            (end(3, 20), end(3, 20), 12, 12), // never past the log end
            (end(3, 7), EpochEnd::UNDEFINED, 12, 7), // no history here: believe the leader
        ];
        for (leader, ours, log_end, cut) in table {
            assert_eq!(
                truncation_point(leader, ours, Offset(log_end)),
                Offset(cut),
                "leader {leader:?}, ours {ours:?}, log end {log_end}"
            );
        }
    }

    #[test]
    fn rule_05_divergence_is_found_by_epoch_and_offset() {
        let at = |offset, epoch| FetchPosition {
            fetch_offset: Offset(offset),
            last_fetched_epoch: LeaderEpoch(epoch),
        };
        let start = Offset(5);
        assert_eq!(divergence(at(10, 3), end(3, 12), start), Ok(None));
        assert_eq!(divergence(at(12, 3), end(3, 12), start), Ok(None));
        assert_eq!(divergence(at(13, 3), end(3, 12), start), Ok(Some(end(3, 12))));
        assert_eq!(divergence(at(10, 3), end(2, 12), start), Ok(Some(end(2, 12))));
        assert_eq!(divergence(at(10, -1), EpochEnd::UNDEFINED, start), Ok(None));
    }

    #[test]
    fn rule_05_below_the_log_start_is_out_of_range_even_if_the_epochs_differ() {
        let position =
            FetchPosition { fetch_offset: Offset(4), last_fetched_epoch: LeaderEpoch(3) };
        for our_end in [end(2, 3), end(3, 9), EpochEnd::UNDEFINED] {
            assert_eq!(
                divergence(position, our_end, Offset(5)),
                Err(ErrorCode::OffsetOutOfRange),
                "{our_end:?}"
            );
        }
    }

    #[test]
    fn rule_05_an_epoch_above_all_known_ones_is_out_of_range() {
        let position =
            FetchPosition { fetch_offset: Offset(9), last_fetched_epoch: LeaderEpoch(9) };
        assert_eq!(
            divergence(position, EpochEnd::UNDEFINED, Offset(0)),
            Err(ErrorCode::OffsetOutOfRange)
        );
    }
}
