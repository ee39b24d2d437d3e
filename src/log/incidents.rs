//! Why a log was cut, rebuilt or found damaged: the last few reasons, which the catalog keeps
//! for whoever asks later (`dump-log`). Pure.

use std::collections::VecDeque;

use crate::log::format::{IncidentEntry, Incidents as StoredIncidents};
use crate::types::{Offset, TimestampMs};

/// How many are kept; the oldest makes place.
pub const KEPT_INCIDENTS: usize = 8;
/// Reasons are cut to this, so that all of them fit into one value of the catalog.
const MAX_REASON_BYTES: usize = 350;

/// What happened to a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IncidentKind {
    /// The end was cut off when it was opened: what lay there was not whole, or had nothing before
    /// it to follow.
    Cut,
    /// As [`IncidentKind::Cut`], and what is gone was known to be on the device: the replica counts
    /// as unclean and fetches it again.
    Lost,
    /// Everything was derived anew from the segments, as the catalog was lost.
    Rebuilt,
    /// A file that is not the log's was put aside.
    SetAside,
    /// The leader's log ended earlier, or another leader's records took the place.
    Truncated,
    /// Bytes that had been written are not what they were; they are not served.
    Corrupt,
    /// A kind that a later version wrote.
    Unknown(i8),
}

impl IncidentKind {
    const KNOWN: [(i8, IncidentKind); 6] = [
        (0, IncidentKind::Cut),
        (1, IncidentKind::Lost),
        (2, IncidentKind::Rebuilt),
        (3, IncidentKind::SetAside),
        (4, IncidentKind::Truncated),
        (5, IncidentKind::Corrupt),
    ];

    fn number(self) -> i8 {
        if let IncidentKind::Unknown(number) = self {
            return number;
        }
        Self::KNOWN.iter().find(|(_, kind)| *kind == self).map_or(-1, |(number, _)| *number)
    }

    fn of(number: i8) -> IncidentKind {
        let known = Self::KNOWN.iter().find(|(known, _)| *known == number);
        known.map_or(IncidentKind::Unknown(number), |(_, kind)| *kind)
    }

    /// One word for people.
    pub fn name(self) -> &'static str {
        match self {
            IncidentKind::Cut => "cut",
            IncidentKind::Lost => "lost",
            IncidentKind::Rebuilt => "rebuilt",
            IncidentKind::SetAside => "set-aside",
            IncidentKind::Truncated => "truncated",
            IncidentKind::Corrupt => "corrupt",
            IncidentKind::Unknown(_) => "unknown",
        }
    }
}

/// One thing that happened to a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// When it was noticed.
    pub at: TimestampMs,
    /// What happened.
    pub kind: IncidentKind,
    /// The first offset that is concerned.
    pub from: Offset,
    /// One past the last offset that is concerned; the same as `from` where that is not known.
    pub to: Offset,
    /// How many bytes are concerned, as far as that is known.
    pub bytes: u64,
    /// Why, for people.
    pub reason: String,
}

/// The incidents of one log, and whether the catalog has them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Incidents {
    kept: VecDeque<Incident>,
    /// How many were ever added here, and up to which the catalog has them.
    added: u64,
    stored: u64,
}

impl Incidents {
    /// As the catalog kept them.
    pub(crate) fn from_stored(stored: Vec<Incident>) -> Self {
        Self { kept: stored.into(), added: 0, stored: 0 }
    }

    /// Adds one. What is said already is not said twice: a damaged batch is asked for often.
    pub(crate) fn add(&mut self, mut incident: Incident) -> bool {
        let end = (0..=MAX_REASON_BYTES.min(incident.reason.len()))
            .rev()
            .find(|&end| incident.reason.is_char_boundary(end))
            .unwrap_or(0);
        incident.reason.truncate(end);
        let is_known = |known: &Incident| {
            let is_corrupt = incident.kind == IncidentKind::Corrupt;
            is_corrupt && known.kind == incident.kind && known.reason == incident.reason
        };
        if self.kept.iter().any(is_known) {
            return false;
        }
        if self.kept.len() == KEPT_INCIDENTS {
            self.kept.pop_front();
        }
        self.kept.push_back(incident);
        self.added += 1;
        true
    }

    /// Those that are kept, oldest first.
    pub(crate) fn kept(&self) -> Vec<Incident> {
        self.kept.iter().cloned().collect()
    }

    /// Whether there are some that the catalog does not have.
    pub(crate) fn is_unstored(&self) -> bool {
        self.added != self.stored
    }

    /// What the catalog keeps, and the number to tell [`Self::note_stored`] when it has it.
    pub(crate) fn to_store(&self) -> (StoredIncidents, u64) {
        let entry = |incident: &Incident| IncidentEntry {
            at: incident.at.0,
            kind: incident.kind.number(),
            from_offset: incident.from.0,
            to_offset: incident.to.0,
            bytes: i64::try_from(incident.bytes).unwrap_or(i64::MAX),
            reason: incident.reason.as_str().into(),
        };
        (StoredIncidents { entries: self.kept.iter().map(entry).collect() }, self.added)
    }

    /// The catalog has what [`Self::to_store`] gave with `number`.
    pub(crate) fn note_stored(&mut self, number: u64) {
        self.stored = self.stored.max(number);
    }
}

/// What the catalog's value says.
pub(crate) fn from_entries(stored: &StoredIncidents) -> Vec<Incident> {
    let incident = |entry: &IncidentEntry| Incident {
        at: TimestampMs(entry.at),
        kind: IncidentKind::of(entry.kind),
        from: Offset(entry.from_offset),
        to: Offset(entry.to_offset),
        bytes: u64::try_from(entry.bytes).unwrap_or(0),
        reason: entry.reason.to_string(),
    };
    stored.entries.iter().map(incident).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::log::format::{from_bytes, to_bytes};
    use crate::storage::{CatalogBatch, MAX_VALUE_BYTES};

    fn incident(kind: IncidentKind, from: i64, reason: &str) -> Incident {
        Incident {
            at: TimestampMs(1_700_000_000_000),
            kind,
            from: Offset(from),
            to: Offset(from + 5),
            bytes: 77,
            reason: reason.to_owned(),
        }
    }

    #[test]
    fn the_last_ones_are_kept_and_fit_into_one_value() {
        let mut incidents = Incidents::default();
        assert!(!incidents.is_unstored());
        for from in 0..20 {
            assert!(incidents.add(incident(IncidentKind::Lost, from, &"ü".repeat(1_000))));
        }
        let (stored, number) = incidents.to_store();
        assert_eq!(stored.entries.len(), KEPT_INCIDENTS);
        let bytes = to_bytes(&stored);
        assert!(bytes.len() < MAX_VALUE_BYTES, "{}", bytes.len());
        let mut batch = CatalogBatch::new();
        batch.put(*b"key", bytes.clone());
        let kept = from_entries(&from_bytes(&bytes).unwrap());
        assert_eq!(kept, incidents.kept());
        assert_eq!((kept[0].from, kept[7].from), (Offset(12), Offset(19)));
        assert!(incidents.is_unstored());
        incidents.add(incident(IncidentKind::Cut, 50, "later"));
        incidents.note_stored(number);
        assert!(incidents.is_unstored(), "the last one came after");
    }

    #[test]
    fn damage_that_is_found_again_and_again_is_said_once() {
        let mut incidents = Incidents::default();
        let found = incident(IncidentKind::Corrupt, 3, "a flipped bit");
        let again = Incident { at: TimestampMs(1_700_000_000_009), ..found.clone() };
        assert!(incidents.add(found.clone()));
        assert!(!incidents.add(again));
        assert!(!incidents.add(incident(IncidentKind::Corrupt, 4, "a flipped bit")));
        assert!(incidents.add(incident(IncidentKind::Corrupt, 4, "another one")));
        let cut = incident(IncidentKind::Cut, 3, "torn");
        assert!(incidents.add(cut.clone()) && incidents.add(cut), "each cut happened");
    }

    #[test]
    fn golden_what_the_catalog_keeps_is_read_for_ever() {
        let stored = "0000030000018bcfe56800010000000000000005000000000000000a000000000000004d0b73\
                      686f72742066696c65000000018bcfe568006300000000000000000000000000000000000000\
                      0000000000010000"
            .replace(char::is_whitespace, "");
        let bytes: Vec<u8> = (0..stored.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&stored[at..at + 2], 16).unwrap())
            .collect();
        let kept = from_entries(&from_bytes(&bytes).unwrap());
        let mut lost = incident(IncidentKind::Lost, 5, "short file");
        lost.to = Offset(10);
        let later = Incident {
            at: TimestampMs(1_700_000_000_000),
            kind: IncidentKind::Unknown(99),
            from: Offset(0),
            to: Offset(0),
            bytes: 0,
            reason: String::new(),
        };
        assert_eq!(kept, [lost, later]);
        let mut incidents = Incidents::default();
        kept.into_iter().for_each(|incident| {
            incidents.add(incident);
        });
        assert_eq!(to_bytes(&incidents.to_store().0), bytes, "and written as ever");
    }
}
