//! Records addressed by number, resolved without a lock.
//!
//! A number is a slot and the generation of its use, so a number that was given back never means
//! the slot's next user. Slots never move: they live in chunks, each twice the size of the one
//! before, that are made when first needed.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Slots in the first chunk.
const FIRST_CHUNK: u32 = 64;
/// Chunks of 64, 128, ... slots: enough for every slot number of 32 bits.
const CHUNKS: usize = 26;
/// Slot 0 is never used, so 0 is no number: FUSE means "no node" by it.
const FIRST_SLOT: u32 = 1;

/// The number of a record in use: generation in the high half, slot in the low.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    slot: u32,
    generation: u32,
}

impl Key {
    /// The key as the guest writes it.
    pub fn from_number(number: u64) -> Self {
        Self {
            slot: number as u32,
            generation: (number >> 32) as u32,
        }
    }

    /// The key as a number; the first record ever is 1.
    pub fn number(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.slot)
    }

    /// The slot, of at most one record at a time.
    pub fn slot(self) -> u32 {
        self.slot
    }
}

/// A table of records.
#[derive(Debug)]
pub struct Slab<T> {
    chunks: [OnceLock<Box<[Slot<T>]>>; CHUNKS],
    free: Mutex<FreeSlots>,
}

#[derive(Debug)]
struct FreeSlots {
    /// Used before, free again.
    recycled: Vec<u32>,
    /// The first slot never used.
    fresh: u32,
}

#[derive(Debug, Default)]
struct Slot<T> {
    /// Twice the generation, odd while in use.
    state: AtomicU32,
    record: T,
}

impl<T: Default> Slab<T> {
    /// An empty table.
    pub fn new() -> Self {
        Self {
            chunks: [const { OnceLock::new() }; CHUNKS],
            free: Mutex::new(FreeSlots {
                recycled: Vec::new(),
                fresh: FIRST_SLOT,
            }),
        }
    }

    /// Takes a free slot, lets `fill` set its record and makes it findable.
    pub fn insert(&self, fill: impl FnOnce(&T)) -> Key {
        let index = {
            let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
            free.recycled.pop().unwrap_or_else(|| {
                free.fresh += 1;
                free.fresh - 1
            })
        };
        let slot = self.slot_or_new(index);
        fill(&slot.record);
        let state = slot.state.load(Ordering::Relaxed) + 1;
        slot.state.store(state, Ordering::Release);
        Key {
            slot: index,
            generation: state >> 1,
        }
    }

    /// The record of `key`, while that is in use.
    pub fn get(&self, key: Key) -> Option<&T> {
        let slot = self.slot(key.slot)?;
        let state = slot.state.load(Ordering::Acquire);
        (Some(state) == in_use(key.generation)).then_some(&slot.record)
    }

    /// Ends the use of `key`: it is not found any more. Only one of several callers gets `true`;
    /// its duty is to call [`Slab::recycle`] once nobody uses the record.
    pub fn remove(&self, key: Key) -> bool {
        let (Some(state), Some(slot)) = (in_use(key.generation), self.slot(key.slot)) else {
            return false;
        };
        let next = state.wrapping_add(1);
        slot.state
            .compare_exchange(state, next, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Lets `clear` empty the record of a removed key and frees its slot.
    pub fn recycle(&self, index: u32, clear: impl FnOnce(&T)) {
        let slot = self.slot(index).expect("a slot that was in use");
        clear(&slot.record);
        if slot.state.load(Ordering::Relaxed) == 0 {
            // Its generations are used up, and no number may come twice: never again.
            return;
        }
        self.free
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recycled
            .push(index);
    }

    /// The record in `index`, in use or not: for callers that know by other means.
    pub fn record(&self, index: u32) -> &T {
        &self.slot(index).expect("a slot that was in use").record
    }

    /// The key under which slot `index` is in use now, if it is.
    pub fn key_of(&self, index: u32) -> Option<Key> {
        let state = self.slot(index)?.state.load(Ordering::Acquire);
        (state & 1 == 1).then_some(Key {
            slot: index,
            generation: state >> 1,
        })
    }

    /// The keys in use.
    pub fn keys(&self) -> Vec<Key> {
        let end = self
            .free
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .fresh;
        (FIRST_SLOT..end)
            .filter_map(|index| self.key_of(index))
            .collect()
    }

    fn slot(&self, index: u32) -> Option<&Slot<T>> {
        let (chunk, offset) = locate(index);
        self.chunks.get(chunk)?.get()?.get(offset)
    }

    fn slot_or_new(&self, index: u32) -> &Slot<T> {
        let (chunk, offset) = locate(index);
        let make = || (0..FIRST_CHUNK << chunk).map(|_| Slot::default()).collect();
        &self.chunks[chunk].get_or_init(make)[offset]
    }
}

impl<T: Default> Default for Slab<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// The state of a slot in use in this generation. Generations have 31 bits: with its top bit dropped
/// a guest's number would be one more number of the same record.
fn in_use(generation: u32) -> Option<u32> {
    generation.checked_mul(2).map(|even| even | 1)
}

/// Chunk and offset of a slot: chunk `n` holds slots `64 * (2^n - 1)` and up.
fn locate(index: u32) -> (usize, usize) {
    let shifted = u64::from(index) + u64::from(FIRST_CHUNK);
    let chunk = shifted.ilog2() - FIRST_CHUNK.ilog2();
    (
        chunk as usize,
        (shifted - (u64::from(FIRST_CHUNK) << chunk)) as usize,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    fn insert(slab: &Slab<AtomicU64>, value: u64) -> Key {
        slab.insert(|record| record.store(value, Ordering::Relaxed))
    }

    fn get(slab: &Slab<AtomicU64>, key: Key) -> Option<u64> {
        slab.get(key).map(|record| record.load(Ordering::Relaxed))
    }

    #[test]
    fn the_first_record_is_number_one() {
        let slab = Slab::new();
        assert_eq!(insert(&slab, 5).number(), 1);
        assert_eq!(get(&slab, Key::from_number(1)), Some(5));
    }

    #[test]
    fn a_number_never_means_the_slots_next_user() {
        let slab = Slab::new();
        let old = insert(&slab, 5);

        assert!(slab.remove(old) && !slab.remove(old));
        slab.recycle(old.slot(), |_| ());
        let new = insert(&slab, 6);

        assert_eq!(
            (new.slot(), get(&slab, old), get(&slab, new)),
            (old.slot(), None, Some(6))
        );
    }

    #[test]
    fn no_number_of_a_guest_finds_what_is_not_there() {
        let slab = Slab::new();
        insert(&slab, 5);
        for number in [
            0,
            2,
            63,
            64,
            65,
            1 << 31,
            u32::MAX.into(),
            1 << 32 | 1,
            1 << 63 | 1,
            u64::MAX,
        ] {
            assert_eq!(get(&slab, Key::from_number(number)), None, "{number:#x}");
        }
    }

    #[test]
    fn chunks_follow_each_other_without_gap_or_overlap() {
        let mut expected = (0, 0);
        for index in 0..10_000 {
            assert_eq!(locate(index), expected, "slot {index}");
            expected.1 += 1;
            if expected.1 == (FIRST_CHUNK << expected.0) as usize {
                expected = (expected.0 + 1, 0);
            }
        }
        assert!(locate(u32::MAX).0 <= CHUNKS);
    }

    #[test]
    fn records_stay_where_they_are_while_the_table_grows() {
        let slab = Slab::new();
        let keys: Vec<_> = (0..5_000).map(|value| insert(&slab, value)).collect();
        for (value, key) in keys.iter().enumerate() {
            assert_eq!(get(&slab, *key), Some(value as u64));
        }
        assert_eq!(slab.keys(), keys);
    }
}
