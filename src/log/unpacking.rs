//! How much memory the unpacking of producers' batches takes together: a few KiB may unpack to hundreds
//! of MiB, and many such may come at once.

use parking_lot::{Mutex, MutexGuard};

use crate::record::RecordError;

/// What a batch may unpack to.
const MAX_UNPACKED_BYTES: usize = 256 << 20;

/// What batches may unpack to side by side. Those that need more take turns.
const UNPACKED_AT_ONCE_BYTES: usize = 16 << 20;

static TURN: Mutex<()> = Mutex::new(());

/// What came out, and the turn that it holds until it is dropped, if it is large.
#[derive(Debug)]
pub(crate) struct Unpacked<T> {
    /// What came out.
    pub(crate) content: T,
    _turn: Option<MutexGuard<'static, ()>>,
}

/// Unpacks, given how much may come out. What turns out to be large is unpacked again when nothing
/// else that is large is unpacked in this process.
pub(crate) fn unpack<T>(
    within: impl Fn(usize) -> Result<T, RecordError>,
) -> Result<Unpacked<T>, RecordError> {
    match within(UNPACKED_AT_ONCE_BYTES) {
        Err(RecordError::TooLarge { .. }) => {
            let turn = TURN.lock();
            Ok(Unpacked { content: within(MAX_UNPACKED_BYTES)?, _turn: Some(turn) })
        }
        unpacked => Ok(Unpacked { content: unpacked?, _turn: None }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use crate::record::Compression;

    #[test]
    fn what_is_large_takes_its_turn_and_the_rest_does_not_wait_for_it() {
        let packed = |bytes: usize| Compression::Zstd.compress(&vec![0; bytes]).unwrap();
        let (small, large) = (packed(1000), packed(UNPACKED_AT_ONCE_BYTES + 1));
        let unpacked = |packed: &[u8]| unpack(|limit| Compression::Zstd.decompress(packed, limit));
        let first = unpacked(&large).unwrap();
        assert_eq!(first.content.len(), UNPACKED_AT_ONCE_BYTES + 1);
        assert!(TURN.is_locked());
        assert_eq!(unpacked(&small).unwrap().content.len(), 1000);
        // Another large one gets the turn once the first is gone.
        let second = std::sync::atomic::AtomicBool::new(false);
        let second_is_done = || second.load(std::sync::atomic::Ordering::SeqCst);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                assert!(unpacked(&large).is_ok());
                second.store(true, std::sync::atomic::Ordering::SeqCst);
            });
            assert!(!second_is_done());
            drop(first);
        });
        assert!(second_is_done());
    }

    #[test]
    fn what_is_too_large_or_broken_is_refused_and_gives_its_turn_back() {
        let refused = unpack(|limit_bytes| Err::<(), _>(RecordError::TooLarge { limit_bytes }));
        let limit_bytes = MAX_UNPACKED_BYTES;
        assert_eq!(refused.unwrap_err(), RecordError::TooLarge { limit_bytes });
        let broken = unpack(|_| Err::<(), _>(RecordError::Invalid("it is broken")));
        assert_eq!(broken.unwrap_err(), RecordError::Invalid("it is broken"));
        assert!(unpack(Ok).is_ok());
    }
}
