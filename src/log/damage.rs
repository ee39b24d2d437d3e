//! Damage that opening a directory finds. It is noted, durably, before anything is mended: a start
//! that fails halfway must find it again, or the directory would look as if nothing had happened.

use parking_lot::Mutex;

use crate::log::error::StorageError;
use crate::log::marker::{Markers, PreviousRun};

/// Takes note of damage in one directory.
#[derive(Debug)]
pub(crate) struct DamageNotes {
    markers: Markers,
    previous_run: PreviousRun,
    is_noted: Mutex<bool>,
}

impl DamageNotes {
    /// Nothing is damaged yet in a directory whose last run ended as `previous_run` says.
    pub(crate) fn new(markers: Markers, previous_run: PreviousRun) -> Self {
        Self { markers, previous_run, is_noted: Mutex::new(false) }
    }

    /// Something is gone that was known to be on the device.
    pub(crate) fn lost(&self) -> Result<(), StorageError> {
        let mut is_noted = self.is_noted.lock();
        if !*is_noted {
            self.markers.begin(self.previous_run.damaged())?;
            *is_noted = true;
        }
        Ok(())
    }

    /// Something is gone that was written and not known to be on the device. Where the machine
    /// stopped that is no surprise; where only the process died the page cache should have had it.
    pub(crate) fn lost_unsynced(&self) -> Result<(), StorageError> {
        match self.previous_run {
            PreviousRun::ProcessDied { .. } => self.lost(),
            // Nothing is appended after the last checkpoint of a run that closes its directory.
            PreviousRun::Clean { .. } | PreviousRun::Fresh | PreviousRun::Unclean { .. } => Ok(()),
        }
    }

    /// How the previous run counts in the light of what was found.
    pub(crate) fn previous_run(&self) -> PreviousRun {
        if *self.is_noted.lock() { self.previous_run.damaged() } else { self.previous_run }
    }
}
