//! Where recent reads of a segment ended: who reads on from there need not look for the place. A
//! segment that is sealed has an index entry per mebibyte only.

use parking_lot::Mutex;

use crate::types::Offset;

/// How many readers may follow each other through one segment without losing their places.
const PLACES: usize = 4;

/// The end of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ReadEnd {
    /// Where the reader goes on.
    offset: Offset,
    /// The position of the batch there.
    position: u64,
    /// How often the log had been cut before the read began: after another cut something else may
    /// lie there.
    cuts: u64,
}

/// The ends of recent reads, the latest first. Only a help: who finds it locked does without.
#[derive(Debug, Default)]
pub(crate) struct ReadEnds(Mutex<[Option<ReadEnd>; PLACES]>);

impl ReadEnds {
    /// A read that began at `from` ended where the batch of `offset` begins, if there is one.
    pub(crate) fn note(&self, from: Offset, offset: Offset, position: u64, cuts: u64) {
        let Some(mut ends) = self.0.try_lock() else { return };
        let is_it = |end: &Option<ReadEnd>| end.is_some_and(|end| end.offset == from);
        let place = ends.iter().position(is_it).unwrap_or(PLACES - 1);
        ends[..=place].rotate_right(1);
        ends[0] = Some(ReadEnd { offset, position, cuts });
    }

    /// Where the batch of `offset` begins, if a read ended there and the log was not cut since.
    pub(crate) fn position_of(&self, offset: Offset, cuts: u64) -> Option<u64> {
        let ends = self.0.try_lock()?;
        let found = ends.iter().flatten().find(|end| end.offset == offset && end.cuts == cuts);
        found.map(|end| end.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_readers_keep_their_places_and_a_cut_takes_them_all() {
        let ends = ReadEnds::default();
        for step in 0..10 {
            for reader in 0..4 {
                let offset = |step: i64| Offset(reader * 100 + step);
                let position = u64::try_from(offset(step).0).unwrap_or(0) * 10;
                if step > 0 {
                    assert_eq!(ends.position_of(offset(step), 7), Some(position));
                }
                ends.note(offset(step), offset(step + 1), position + 10, 7);
            }
        }
        assert_eq!(ends.position_of(Offset(10), 8), None);
        assert_eq!(ends.position_of(Offset(9), 7), None);
    }
}
