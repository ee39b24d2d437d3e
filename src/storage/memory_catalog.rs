//! A catalog in memory that loses what was not flushed when it crashes, and fails on demand.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::catalog::{Catalog, CatalogBatch, CatalogChange, CatalogError, Entries};
use super::memory_disk::{MemoryDisk, Seeded};

/// A handle on a catalog in memory. Clones share it; a crash makes all handles of before useless,
/// as the death of their process would.
#[derive(Debug, Clone, Default)]
pub struct MemoryCatalog {
    state: Arc<Mutex<State>>,
    life: u64,
    /// The disk that it lies on, where that can break.
    disk: Option<MemoryDisk>,
}

#[derive(Debug, Default)]
struct State {
    current: BTreeMap<Vec<u8>, Vec<u8>>,
    durable: BTreeMap<Vec<u8>, Vec<u8>>,
    unflushed: Vec<CatalogBatch>,
    life: u64,
    fail_apply_in: Option<u64>,
    fail_flush_in: Option<u64>,
    broken: bool,
}

impl MemoryCatalog {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// The power fails: of the batches since the last flush, the first few survive, how many the
    /// seed says. Gives the handle for the time after.
    pub fn crash(&self, seed: u64) -> MemoryCatalog {
        let mut state = self.state.lock();
        let unflushed = std::mem::take(&mut state.unflushed);
        let kept = Seeded::new(seed).below(unflushed.len() as u64 + 1);
        for batch in unflushed.iter().take(usize::try_from(kept).unwrap_or(usize::MAX)) {
            change(&mut state.durable, batch);
        }
        state.current = state.durable.clone();
        self.next_life(&mut state)
    }

    /// The process dies; nothing that was applied is lost. Gives the handle for the time after.
    pub fn kill(&self) -> MemoryCatalog {
        self.next_life(&mut self.state.lock())
    }

    /// The `nth` apply from now (1: the next) fails and changes nothing.
    pub fn fail_apply(&self, nth: u64) {
        self.state.lock().fail_apply_in = Some(nth);
    }

    /// The `nth` flush from now (1: the next) fails, and makes nothing durable.
    pub fn fail_flush(&self, nth: u64) {
        self.state.lock().fail_flush_in = Some(nth);
    }

    /// Breaks with that disk.
    pub fn on(self, disk: &MemoryDisk) -> Self {
        Self { disk: Some(disk.clone()), ..self }
    }

    /// Whether every call fails from now on.
    pub fn set_broken(&self, broken: bool) {
        self.state.lock().broken = broken;
    }

    fn next_life(&self, state: &mut State) -> MemoryCatalog {
        state.life += 1;
        (state.fail_apply_in, state.fail_flush_in, state.broken) = (None, None, false);
        MemoryCatalog { state: self.state.clone(), life: state.life, disk: None }
    }

    fn alive(&self) -> Result<parking_lot::MutexGuard<'_, State>, CatalogError> {
        let state = self.state.lock();
        if state.life != self.life {
            return Err(CatalogError::Failed("the process of this handle is dead".to_owned()));
        }
        if state.broken || self.disk.as_ref().is_some_and(MemoryDisk::is_broken) {
            return Err(CatalogError::Failed("broken on demand".to_owned()));
        }
        Ok(state)
    }
}

impl Catalog for MemoryCatalog {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, CatalogError> {
        Ok(self.alive()?.current.get(key).cloned())
    }

    fn scan_prefix(&self, prefix: &[u8]) -> Result<Entries, CatalogError> {
        let state = self.alive()?;
        let entries = state.current.range(prefix.to_vec()..);
        Ok(entries
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }

    fn apply(&self, batch: CatalogBatch) -> Result<(), CatalogError> {
        batch.check_sizes()?;
        let mut state = self.alive()?;
        if falls_due(&mut state.fail_apply_in) {
            return Err(CatalogError::Failed("apply fails on demand".to_owned()));
        }
        change(&mut state.current, &batch);
        state.unflushed.push(batch);
        Ok(())
    }

    fn flush(&self) -> Result<(), CatalogError> {
        let mut state = self.alive()?;
        if falls_due(&mut state.fail_flush_in) {
            return Err(CatalogError::Failed("flush fails on demand".to_owned()));
        }
        for batch in std::mem::take(&mut state.unflushed) {
            change(&mut state.durable, &batch);
        }
        Ok(())
    }
}

fn change(map: &mut BTreeMap<Vec<u8>, Vec<u8>>, batch: &CatalogBatch) {
    for change in batch.changes() {
        match change {
            CatalogChange::Put(key, value) => map.insert(key.clone(), value.clone()),
            CatalogChange::Delete(key) => map.remove(key),
        };
    }
}

/// Counts down; true when the count has come to its end.
pub(super) fn falls_due(countdown: &mut Option<u64>) -> bool {
    match countdown {
        Some(0 | 1) => {
            *countdown = None;
            true
        }
        Some(left) => {
            *left -= 1;
            false
        }
        None => false,
    }
}
