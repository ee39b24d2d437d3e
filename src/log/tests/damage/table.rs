//! The cells. Pure data, and the test that walks it.

use super::inflict::{Scene, inflict};
use super::judge::{judge, judge_whatever};
use std::panic::{AssertUnwindSafe, catch_unwind};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// One bit is another.
    BitFlip,
    /// A page is zero.
    ZeroedPage,
    /// The file ends earlier, at any byte.
    TruncatedTail,
    /// The second half of the last write is not there.
    TornBatch,
    /// The file is gone.
    Missing,
    /// A file of another name lies beside it.
    ExtraFile,
    /// A copy lies beside it under the name of another segment.
    Duplicate,
    /// It cannot be read (EIO).
    Unreadable,
    /// The directory cannot be changed.
    ReadOnly,
}

/// To what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A segment that is no longer written.
    Sealed,
    /// The segment that is written, below the recovery point.
    ActiveBelow,
    /// The segment that is written, above the recovery point.
    ActiveAbove,
    /// The catalog, as a whole.
    Catalog,
    /// `meta.properties`
    MetaProperties,
    /// `partition.metadata`
    PartitionMetadata,
    /// The marker of a run, or of a clean shutdown, whichever there is.
    Marker,
}

/// When.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// While the directory is open.
    Running,
    /// After the process was killed, on a machine that went on.
    Killed,
    /// After the directory was closed.
    Closed,
}

/// What must happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing: all is read.
    Unharmed,
    /// All is read; what was wrong is put right, and the reason kept or logged.
    Mended,
    /// All is read, but the directory counts as unclean.
    Distrusted,
    /// The damaged batches are not read, all others are; the scrubber fetches them.
    Withheld,
    /// As [`Outcome::Withheld`], or read with a checksum that tells every reader.
    LeftToChecksum,
    /// The log ends before the damage; the directory counts as unclean, so that the rest is
    /// fetched again.
    CutAndUnclean,
    /// The log ends above its recovery point, before the damage, and the reason is kept. Unclean
    /// but where it looks as a write that was interrupted.
    CutOrUnclean,
    /// The directory is not opened, and the error says this; once it is put right, all is read.
    Refused(&'static str),
    /// As [`Outcome::Refused`], unless it is in what nobody reads: a comment.
    RefusedUnlessUnread(&'static str),
    /// The directory takes no more writes, and all is read.
    Offline,
    /// Makes no sense.
    Senseless,
}

use Damage::*;
use Outcome::*;
use Place::*;

/// What, where; while running, after a kill, after a clean stop.
pub const TABLE: &[(Damage, Place, [Outcome; 3])] = &[
    (BitFlip, Sealed, [LeftToChecksum, Withheld, Withheld]),
    (BitFlip, ActiveBelow, [LeftToChecksum, Withheld, Withheld]),
    (BitFlip, ActiveAbove, [LeftToChecksum, CutAndUnclean, Senseless]),
    (BitFlip, Catalog, [Senseless, Senseless, Senseless]), // on_sled: sled has checksums
    (
        BitFlip,
        MetaProperties,
        [Unharmed, RefusedUnlessUnread("/data"), RefusedUnlessUnread("/data")],
    ),
    (BitFlip, PartitionMetadata, [Unharmed, Mended, Mended]),
    (BitFlip, Marker, [Unharmed, Distrusted, Distrusted]),
    (ZeroedPage, Sealed, [LeftToChecksum, Withheld, Withheld]),
    (ZeroedPage, ActiveBelow, [LeftToChecksum, Withheld, Withheld]),
    (ZeroedPage, ActiveAbove, [LeftToChecksum, CutAndUnclean, Senseless]),
    (ZeroedPage, Catalog, [Senseless, Senseless, Senseless]), // on_sled
    (
        ZeroedPage,
        MetaProperties,
        [Unharmed, Refused("restore the file"), Refused("restore the file")],
    ),
    (ZeroedPage, PartitionMetadata, [Unharmed, Mended, Mended]),
    (ZeroedPage, Marker, [Unharmed, Distrusted, Distrusted]),
    (TruncatedTail, Sealed, [Withheld, CutAndUnclean, CutAndUnclean]),
    (TruncatedTail, ActiveBelow, [Withheld, CutAndUnclean, CutAndUnclean]),
    (TruncatedTail, ActiveAbove, [Withheld, CutOrUnclean, Senseless]),
    (TruncatedTail, Catalog, [Senseless, Distrusted, Distrusted]), // emptied; by bytes: on_sled
    (
        TruncatedTail,
        MetaProperties,
        [Unharmed, Refused("restore the file"), Refused("restore the file")],
    ),
    (TruncatedTail, PartitionMetadata, [Unharmed, Mended, Mended]),
    (TruncatedTail, Marker, [Unharmed, Distrusted, Distrusted]),
    (TornBatch, Sealed, [LeftToChecksum, Withheld, Withheld]),
    (TornBatch, ActiveBelow, [LeftToChecksum, Withheld, Withheld]),
    (TornBatch, ActiveAbove, [LeftToChecksum, CutOrUnclean, Senseless]),
    (TornBatch, Catalog, [Senseless, Senseless, Senseless]), // no batches there
    (TornBatch, MetaProperties, [Senseless, Senseless, Senseless]),
    (TornBatch, PartitionMetadata, [Senseless, Senseless, Senseless]),
    (TornBatch, Marker, [Senseless, Senseless, Senseless]),
    (Missing, Sealed, [Unharmed, CutAndUnclean, CutAndUnclean]), // running: the file is open
    (Missing, ActiveBelow, [Unharmed, CutAndUnclean, CutAndUnclean]),
    (Missing, ActiveAbove, [Senseless, Senseless, Senseless]), // one file with what is below
    (Missing, Catalog, [Offline, Distrusted, Distrusted]),
    (Missing, MetaProperties, [Unharmed, Refused("is missing"), Refused("is missing")]),
    (Missing, PartitionMetadata, [Unharmed, Mended, Mended]),
    (Missing, Marker, [Unharmed, Distrusted, Distrusted]),
    (ExtraFile, Sealed, [Unharmed, Mended, Mended]), // the name of a segment amid another
    (ExtraFile, ActiveBelow, [Unharmed, Mended, Mended]),
    (ExtraFile, ActiveAbove, [Unharmed, CutAndUnclean, Unharmed]), // behind the log's end
    (ExtraFile, Catalog, [Unharmed, Unharmed, Unharmed]),
    (ExtraFile, MetaProperties, [Unharmed, Unharmed, Unharmed]),
    (ExtraFile, PartitionMetadata, [Unharmed, Unharmed, Unharmed]),
    (ExtraFile, Marker, [Senseless, Senseless, Senseless]), // a marker more is the marker
    (Duplicate, Sealed, [Unharmed, Mended, Mended]),
    (Duplicate, ActiveBelow, [Unharmed, Mended, Mended]),
    (Duplicate, ActiveAbove, [Unharmed, Mended, Senseless]),
    (Duplicate, Catalog, [Senseless, Senseless, Senseless]),
    (Duplicate, MetaProperties, [Senseless, Senseless, Senseless]),
    (Duplicate, PartitionMetadata, [Senseless, Senseless, Senseless]),
    (Duplicate, Marker, [Senseless, Senseless, Senseless]),
    (Unreadable, Sealed, [Withheld, Withheld, Withheld]),
    (Unreadable, ActiveBelow, [Withheld, Refused("read"), Withheld]),
    (Unreadable, ActiveAbove, [Withheld, Refused("read"), Senseless]),
    (Unreadable, Catalog, [Offline, Refused("check the disk"), Refused("check the disk")]),
    (
        Unreadable,
        MetaProperties,
        [Unharmed, Refused("meta.properties"), Refused("meta.properties")],
    ),
    (Unreadable, PartitionMetadata, [Unharmed, Mended, Mended]),
    (Unreadable, Marker, [Unharmed, Distrusted, Distrusted]),
    // One place stands for all: the directory is what cannot be changed.
    (ReadOnly, Sealed, [Offline, Refused("may be written"), Refused("may be written")]),
];

/// `OTTLA_DAMAGE_SEED` runs one seed, `OTTLA_DAMAGE_SEEDS` so many.
pub fn seeds(default: u64) -> std::ops::RangeInclusive<u64> {
    let wanted = |name| std::env::var(name).ok().and_then(|number| number.parse::<u64>().ok());
    match wanted("OTTLA_DAMAGE_SEED") {
        Some(seed) => seed..=seed,
        None => 0..=wanted("OTTLA_DAMAGE_SEEDS").unwrap_or(default),
    }
}

#[test]
fn every_cell_ends_as_the_table_says() {
    let mut cells = 0;
    let mut wrong = Vec::new();
    for (damage, place, outcomes) in TABLE {
        for (when, outcome) in [When::Running, When::Killed, When::Closed].iter().zip(outcomes) {
            if *outcome == Senseless {
                continue;
            }
            cells += 1;
            for seed in seeds(8) {
                let cell = AssertUnwindSafe(|| {
                    let mut scene = Scene::play(*when, seed);
                    inflict(&mut scene, *damage, *place);
                    judge(scene, *outcome);
                });
                if catch_unwind(cell).is_err() {
                    wrong.push(format!(
                        "{damage:?} × {place:?} × {when:?}: {outcome:?}, seed {seed}"
                    ));
                    break;
                }
            }
        }
    }
    assert!(cells > 90, "only {cells} cells");
    assert!(wrong.is_empty(), "{} cells ended otherwise:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_table_has_a_line_for_everything() {
    let damages =
        [BitFlip, ZeroedPage, TruncatedTail, TornBatch, Missing, ExtraFile, Duplicate, Unreadable];
    let places =
        [Sealed, ActiveBelow, ActiveAbove, Catalog, MetaProperties, PartitionMetadata, Marker];
    for damage in damages {
        for place in places {
            let lines = TABLE.iter().filter(|(d, p, _)| (*d, *p) == (damage, place)).count();
            assert_eq!(lines, 1, "{damage:?} × {place:?}");
        }
    }
}

#[test]
fn two_damages_at_once_are_not_silent_either() {
    let mut random = StdRng::seed_from_u64(7);
    let cells: Vec<_> = TABLE.iter().filter(|(damage, ..)| *damage != ReadOnly).collect();
    for seed in seeds(200) {
        let (when, column) = if random.random() { (When::Killed, 1) } else { (When::Closed, 2) };
        let mut pick = || loop {
            let (damage, place, outcomes) = cells[random.random_range(0..cells.len())];
            if outcomes[column] != Senseless {
                return (*damage, *place);
            }
        };
        let (first, mut second) = (pick(), pick());
        let is_active = |place| matches!(place, ActiveBelow | ActiveAbove);
        while second.1 == first.1 || (is_active(first.1) && is_active(second.1)) {
            second = pick();
        }
        let pair = AssertUnwindSafe(|| {
            let mut scene = Scene::play(when, seed);
            for (damage, place) in [first, second] {
                inflict(&mut scene, damage, place);
            }
            judge_whatever(&scene);
        });
        assert!(catch_unwind(pair).is_ok(), "{first:?} and {second:?} {when:?}, seed {seed}");
    }
}
