//! What an append's error means to a coordinator's client.

use crate::types::ErrorCode;

/// As Kafka's GroupCoordinatorService maps what a write has met.
pub(super) fn of(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::UnknownTopicOrPartition
        | ErrorCode::NotEnoughReplicas
        | ErrorCode::NotEnoughReplicasAfterAppend
        | ErrorCode::RequestTimedOut => ErrorCode::CoordinatorNotAvailable,
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::MessageTooLarge
        | ErrorCode::RecordListTooLarge
        | ErrorCode::InvalidFetchSize => ErrorCode::UnknownServerError,
        // All others mean to the client what they say.
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stops_a_write_is_told_in_a_coordinators_words() {
        for (met, told) in [
            (ErrorCode::NotEnoughReplicas, ErrorCode::CoordinatorNotAvailable),
            (ErrorCode::NotEnoughReplicasAfterAppend, ErrorCode::CoordinatorNotAvailable),
            (ErrorCode::RequestTimedOut, ErrorCode::CoordinatorNotAvailable),
            (ErrorCode::UnknownTopicOrPartition, ErrorCode::CoordinatorNotAvailable),
            (ErrorCode::NotLeaderOrFollower, ErrorCode::NotCoordinator),
            (ErrorCode::KafkaStorageError, ErrorCode::NotCoordinator),
            (ErrorCode::MessageTooLarge, ErrorCode::UnknownServerError),
            (ErrorCode::RecordListTooLarge, ErrorCode::UnknownServerError),
            (ErrorCode::InvalidFetchSize, ErrorCode::UnknownServerError),
            (ErrorCode::UnknownServerError, ErrorCode::UnknownServerError),
        ] {
            assert_eq!(of(met), told, "{}", met.name());
        }
    }
}
