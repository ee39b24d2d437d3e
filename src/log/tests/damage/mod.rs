//! What a damaged directory does: the matrix of what × where × when.
//!
//! [`table`] says, one line per cell, what must happen; [`inflict`] does the damage; [`judge`] looks
//! at what came of it. [`in_turn`] fails every write and every sync of a life in turn; [`on_sled`]
//! does to real catalogs what memory cannot. The metadata log, its snapshots and `quorum-state`
//! have their own lines in `controller::raft`.
//!
//! In every cell, whatever the table says: what is read is byte for byte what was appended; nothing
//! panics and no reader stands still; and whatever was appended and cannot be read is told of, by an
//! error, by an incident that the catalog keeps, or by the directory counting as unclean (rule 15:
//! then its replicas leave the ISR and fetch again what they lack).
//!
//! What was decided:
//! - **A damaged byte of a record** is found by the first reader after the log was opened: what
//!   lay on the disk then has its checksums verified the first time it is read. What this process
//!   wrote itself is not verified again for every reader (that costs a reader of the page cache a
//!   third): followers and consumers verify what they get, and the scrubber reads it back. Where a
//!   batch lies, which no checksum covers, is always looked at. Damage is refused with
//!   CORRUPT_MESSAGE, kept as an incident, and repaired by the scrubber.
//! - **A segment that is missing or short** below the recovery point ends the log there; what lay
//!   behind it is set aside for a day. A log with a hole would be a leader that has lost records
//!   without knowing; a log that ends early is brought up by the leader as any other.
//! - **A segment that nobody knows** below the recovery point is set aside; the log goes on.
//! - **Beyond the recovery point** a log is cut at the first byte that is not as it was written.
//!   After a power failure that is what must be expected, and the replica is unclean anyway. After
//!   the death of the process alone, the beginning of one batch at the end is a write that was
//!   interrupted and that nobody acknowledged; anything else is damage, and counts as unclean. A
//!   file that somebody else cut within that last half second cannot be told from the former.
//! - **A file that cannot be read**, a directory that cannot be written, a disk that is full when
//!   it is opened: refused. That the disk says no tells nothing about what is on it, so nothing is
//!   cut, set aside or rebuilt for it.
//! - **`meta.properties`** is refused if it is damaged, or missing where there are logs, or names
//!   another directory id than the catalog; it is the one file that cannot be derived.

mod in_turn;
mod inflict;
mod judge;
mod on_sled;
mod table;
