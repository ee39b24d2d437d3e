//! The last offset of each key, in bounded memory: 24 bytes a slot, the key's hash and the offset.
//! Pure.

use crate::log::compact::hash::hash;
use crate::types::Offset;

/// What one slot takes.
pub const SLOT_BYTES: usize = 24;

/// The key's hash, and one more than the offset; all 0: free.
type Slot = [u64; 3];

/// The last offsets of keys, up to a number of keys.
#[derive(Debug)]
pub struct OffsetMap {
    slots: Vec<Slot>,
    hash_key: [u64; 2],
    most: usize,
    len: usize,
    latest: Option<Offset>,
}

impl OffsetMap {
    /// A map that takes at most `memory_bytes`, and no more than `most_keys` need; of its slots at
    /// most the share `load_factor` is used, and at least one.
    pub fn new(
        memory_bytes: usize,
        load_factor: f64,
        most_keys: u64,
        hash_key: [u64; 2],
    ) -> OffsetMap {
        let load_factor = load_factor.clamp(0.01, 1.0);
        let affordable = memory_bytes / SLOT_BYTES;
        let wanted = most_keys as f64 / load_factor + 2.0;
        let count = if wanted < affordable as f64 { wanted as usize } else { affordable }.max(2);
        let most = ((count as f64 * load_factor) as usize).clamp(1, count - 1);
        OffsetMap { slots: vec![[0; 3]; count], hash_key, most, len: 0, latest: None }
    }

    /// Notes that `key` stands at `offset`, which is later than all before. False: there is no
    /// room for another key, and nothing has changed.
    #[must_use]
    pub fn put(&mut self, key: &[u8], offset: Offset) -> bool {
        let [low, high] = hash(self.hash_key, key);
        let at = self.find(low, high);
        let slot = &mut self.slots[at];
        if slot[2] == 0 {
            if self.len == self.most {
                return false;
            }
            self.len += 1;
        }
        *slot = [low, high, offset.0.cast_unsigned().wrapping_add(1)];
        self.latest = Some(offset);
        true
    }

    /// Everything up to `offset` has been looked at.
    pub fn note_latest(&mut self, offset: Offset) {
        self.latest = self.latest.max(Some(offset));
    }

    /// The last offset that was looked at.
    pub fn latest(&self) -> Option<Offset> {
        self.latest
    }

    /// Where `key` stands last.
    pub fn get(&self, key: &[u8]) -> Option<Offset> {
        let [low, high] = hash(self.hash_key, key);
        let offset = self.slots[self.find(low, high)][2];
        (offset != 0).then(|| Offset((offset - 1).cast_signed()))
    }

    /// The slot of a hash, or the free one that it would get. One is always free.
    fn find(&self, low: u64, high: u64) -> usize {
        let count = self.slots.len();
        let scaled = (u128::from(low) * count as u128) >> 64;
        let mut at = usize::try_from(scaled).unwrap_or(0);
        loop {
            let slot = &self.slots[at];
            if slot[2] == 0 || (slot[0], slot[1]) == (low, high) {
                return at;
            }
            at = if at + 1 == count { 0 } else { at + 1 };
        }
    }

    /// How many keys it holds.
    pub fn key_count(&self) -> usize {
        self.len
    }

    /// The memory that its slots take.
    pub fn memory_bytes(&self) -> usize {
        self.slots.len() * SLOT_BYTES
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn it_tells_what_an_ordinary_map_tells() {
        for (memory_bytes, load_factor, keys) in
            [(24 * 500, 0.9, 300), (48, 0.5, 3), (1 << 16, 1.0, 900)]
        {
            let mut map = OffsetMap::new(memory_bytes, load_factor, u64::MAX, [1, 2]);
            assert!(map.memory_bytes() <= memory_bytes);
            let mut model = BTreeMap::new();
            for offset in 0..3_000_i64 {
                let key = format!("key {}", offset * 7919 % keys).into_bytes();
                let taken = map.put(&key, Offset(offset));
                assert_eq!(taken, model.contains_key(&key) || model.len() < map.most);
                if taken {
                    model.insert(key, Offset(offset));
                    assert_eq!(map.latest(), Some(Offset(offset)));
                }
            }
            assert_eq!(map.key_count(), model.len());
            for key in (0..keys).map(|key| format!("key {key}").into_bytes()) {
                assert_eq!(map.get(&key), model.get(&key).copied());
            }
        }
    }

    #[test]
    fn it_takes_no_more_memory_than_the_keys_need() {
        let map = OffsetMap::new(128 << 20, 0.9, 1_000, [1, 2]);
        assert!(map.memory_bytes() < 40_000, "{}", map.memory_bytes());
        assert!(map.most >= 1_000);
        let least = OffsetMap::new(0, 0.9, 1_000, [1, 2]);
        assert_eq!((least.most, least.slots.len()), (1, 2));
    }
}
