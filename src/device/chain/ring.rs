//! The two rings of a split virtqueue (virtio 1.3, section 2.7).
//!
//! Indices are free-running 16-bit counters. The guest's side of each ring is read with acquire
//! and ours written with release ordering, so that what an index covers is there before it.

use std::fmt;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering, fence};

use super::Memory;

/// The driver wants no interrupt (`VIRTQ_AVAIL_F_NO_INTERRUPT`).
const AVAIL_NO_INTERRUPT: u16 = 1;
/// The device wants no kick (`VIRTQ_USED_F_NO_NOTIFY`).
const USED_NO_NOTIFY: u16 = 1;
/// Bytes of a used element: id and length.
const USED_ELEMENT: usize = 8;

/// Guest-physical addresses of a queue's three parts, and its size.
#[derive(Clone, Copy, Debug)]
pub struct RingAddresses {
    /// The descriptor table: 16 bytes an entry.
    pub descriptors: u64,
    /// The available ring: flags, index, an element each, the driver's event index.
    pub available: u64,
    /// The used ring: flags, index, an element each, the device's event index.
    pub used: u64,
    /// Entries, a power of two.
    pub size: u16,
}

impl RingAddresses {
    /// Bytes of the descriptor table.
    pub fn descriptors_len(size: u16) -> u64 {
        16 * u64::from(size)
    }

    /// Bytes of the available ring.
    pub fn available_len(size: u16) -> u64 {
        6 + 2 * u64::from(size)
    }

    /// Bytes of the used ring.
    pub fn used_len(size: u16) -> u64 {
        6 + 8 * u64::from(size)
    }
}

/// The guest broke the ring's rules; nothing in it can be trusted any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// A ring is not in guest memory.
    Unmapped,
    /// The available index ran ahead by more than the ring holds.
    IndexJumped,
    /// An available element names a descriptor beyond the table.
    HeadOutOfRange,
    /// A chain was made available again before it was returned.
    HeadInFlight,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unmapped => "its rings are not in guest memory",
            Self::IndexJumped => "its available index jumped by more than its size",
            Self::HeadOutOfRange => "it offers a descriptor beyond its table",
            Self::HeadInFlight => "it offers a chain again that is still in use",
        })
    }
}

/// A ring's memory: an array of 16-bit words.
#[derive(Debug)]
struct Words(NonNull<AtomicU16>);

// SAFETY: the words are atomics in guest memory, which its owner keeps mapped.
unsafe impl Send for Words {}

impl Words {
    /// The available ring, aligned to 2. The result is good for as long as `memory` is.
    fn available(memory: &Memory, addresses: &RingAddresses) -> Result<Self, Broken> {
        let len = RingAddresses::available_len(addresses.size);
        Self::locate(memory, addresses.available, len, align_of::<AtomicU16>())
    }

    /// The used ring, aligned to 4. The result is good for as long as `memory` is.
    fn used(memory: &Memory, addresses: &RingAddresses) -> Result<Self, Broken> {
        let len = RingAddresses::used_len(addresses.size);
        Self::locate(memory, addresses.used, len, align_of::<AtomicU32>())
    }

    fn locate(memory: &Memory, guest: u64, len: u64, align: usize) -> Result<Self, Broken> {
        let host = memory.contiguous(guest, len).ok_or(Broken::Unmapped)?;
        let aligned = (host.as_ptr() as usize).is_multiple_of(align);
        aligned.then_some(Self(host.cast())).ok_or(Broken::Unmapped)
    }

    /// Word `index`, which must lie within the ring.
    fn word(&self, index: usize) -> &AtomicU16 {
        // SAFETY: callers stay within the length that `locate` found mapped; the memory is kept
        // mapped by the queue that owns this ring; atomics allow for the guest's own writes.
        unsafe { self.0.add(index).as_ref() }
    }

    /// The 32-bit word at byte `offset`, aligned to 4 within an aligned ring.
    fn wide(&self, offset: usize) -> &AtomicU32 {
        // SAFETY: as for `word`; used elements start at byte 4 of a ring aligned to 4.
        unsafe { self.0.byte_add(offset).cast::<AtomicU32>().as_ref() }
    }
}

const FLAGS: usize = 0;
const INDEX: usize = 1;
const ELEMENTS: usize = 2;

/// The ring in which the driver offers chains. One worker owns it.
#[derive(Debug)]
pub struct AvailRing {
    available: Words,
    /// Where the device says which offer shall kick it: the used ring's last word, or its flags.
    used: Words,
    size: u16,
    event_idx: bool,
    /// The next element to take.
    next: u16,
    /// The driver's index when it was last read.
    seen: u16,
}

impl AvailRing {
    /// Starts taking at index `base`.
    pub fn new(
        memory: &Memory,
        addresses: &RingAddresses,
        event_idx: bool,
        base: u16,
    ) -> Result<Self, Broken> {
        Ok(Self {
            available: Words::available(memory, addresses)?,
            used: Words::used(memory, addresses)?,
            size: addresses.size,
            event_idx,
            next: base,
            seen: base,
        })
    }

    /// The head of the next chain on offer, if any.
    pub fn take(&mut self) -> Result<Option<u16>, Broken> {
        if self.next == self.seen {
            self.seen = self.available.word(INDEX).load(Ordering::Acquire);
            match self.seen.wrapping_sub(self.next) {
                0 => return Ok(None),
                offered if offered > self.size => return Err(Broken::IndexJumped),
                _ => {}
            }
        }
        let element = ELEMENTS + usize::from(self.next % self.size);
        let head = self.available.word(element).load(Ordering::Relaxed);
        if head >= self.size {
            return Err(Broken::HeadOutOfRange);
        }
        self.next = self.next.wrapping_add(1);
        Ok(Some(head))
    }

    /// The index of the next element to take: what a stopped queue goes on from.
    pub fn position(&self) -> u16 {
        self.next
    }

    /// Asks the driver to kick on its next offer. `true`: it has already made one, so there may be
    /// no kick.
    pub fn ask_for_kick(&mut self) -> bool {
        if self.event_idx {
            let avail_event = ELEMENTS + usize::from(self.size) * USED_ELEMENT / 2;
            self.used
                .word(avail_event)
                .store(self.next, Ordering::Relaxed);
        } else {
            self.used.word(FLAGS).store(0, Ordering::Relaxed);
        }
        // The driver publishes its index, then reads our wish; we do it the other way round.
        fence(Ordering::SeqCst);
        self.available.word(INDEX).load(Ordering::Acquire) != self.next
    }

    /// Tells the driver that kicks are not needed for now. With event indices the one left behind
    /// says so already.
    pub fn decline_kicks(&mut self) {
        if !self.event_idx {
            self.used
                .word(FLAGS)
                .store(USED_NO_NOTIFY, Ordering::Relaxed);
        }
    }
}

/// The ring in which the device returns chains.
#[derive(Debug)]
pub struct UsedRing {
    used: Words,
    available: Words,
    size: u16,
    event_idx: bool,
    /// The next element to write.
    next: u16,
    /// Where `next` stood at the last decision about an interrupt; at first there was none.
    decided: Option<u16>,
}

impl UsedRing {
    /// Goes on from the index in the ring.
    pub fn new(
        memory: &Memory,
        addresses: &RingAddresses,
        event_idx: bool,
    ) -> Result<Self, Broken> {
        let used = Words::used(memory, addresses)?;
        let available = Words::available(memory, addresses)?;
        let next = used.word(INDEX).load(Ordering::Acquire);
        Ok(Self {
            used,
            available,
            size: addresses.size,
            event_idx,
            next,
            decided: None,
        })
    }

    /// Returns the chain with this head, `len` bytes written to it.
    pub fn put(&mut self, head: u16, len: u32) {
        let offset = 2 * ELEMENTS + usize::from(self.next % self.size) * USED_ELEMENT;
        self.used
            .wide(offset)
            .store(u32::from(head).to_le(), Ordering::Relaxed);
        self.used
            .wide(offset + 4)
            .store(len.to_le(), Ordering::Relaxed);
        self.next = self.next.wrapping_add(1);
        self.used.word(INDEX).store(self.next, Ordering::Release);
    }

    /// Whether the driver wants an interrupt for what was returned since the last call.
    pub fn wants_interrupt(&mut self) -> bool {
        // We publish our index, then read the driver's wish; it does it the other way round.
        fence(Ordering::SeqCst);
        if !self.event_idx {
            return self.available.word(FLAGS).load(Ordering::Relaxed) & AVAIL_NO_INTERRUPT == 0;
        }
        let used_event = self.available.word(ELEMENTS + usize::from(self.size));
        let wanted = used_event.load(Ordering::Relaxed);
        match self.decided.replace(self.next) {
            Some(before) => crossed(wanted, self.next, before),
            None => true,
        }
    }
}

/// Whether index `event` was passed on the way from `before` to `now` (virtio 1.3, section 2.7.7.2,
/// `vring_need_event`).
fn crossed(event: u16, now: u16, before: u16) -> bool {
    now.wrapping_sub(event).wrapping_sub(1) < now.wrapping_sub(before)
}

#[cfg(test)]
mod tests {
    use super::super::memory::tests::region;
    use super::*;

    const ADDRESSES: RingAddresses = RingAddresses {
        descriptors: 0x1000,
        available: 0x2000,
        used: 0x3000,
        size: 8,
    };

    fn memory() -> Memory {
        Memory::map(vec![region(0x1000, 0x4000)]).unwrap()
    }

    /// The driver's side of a 16-bit word.
    fn word(memory: &Memory, guest: u64) -> &AtomicU16 {
        let host = memory.contiguous(guest, 2).unwrap();
        // SAFETY: the memory is mapped for as long as `memory` is.
        unsafe { host.cast::<AtomicU16>().as_ref() }
    }

    fn offer(memory: &Memory, index: u16, heads: &[u16]) {
        for (n, head) in heads.iter().enumerate() {
            let element = (index as u64 + n as u64) % 8;
            word(memory, 0x2004 + 2 * element).store(*head, Ordering::Relaxed);
        }
        let end = index.wrapping_add(heads.len() as u16);
        word(memory, 0x2002).store(end, Ordering::Release);
    }

    #[test]
    fn heads_come_in_the_order_they_are_offered_across_the_wrap() {
        let memory = memory();
        let mut ring = AvailRing::new(&memory, &ADDRESSES, true, 65_534).unwrap();
        word(&memory, 0x2002).store(65_534, Ordering::Relaxed);
        assert_eq!(ring.take(), Ok(None));

        offer(&memory, 65_534, &[3, 1, 4]);

        let heads: Vec<_> = std::iter::from_fn(|| ring.take().unwrap()).collect();
        assert_eq!((heads, ring.position()), (vec![3, 1, 4], 1));
    }

    #[test]
    fn b10_an_index_that_jumps_breaks_the_queue() {
        for index in [9, 32_768, u16::MAX] {
            let memory = memory();
            let mut ring = AvailRing::new(&memory, &ADDRESSES, true, 0).unwrap();
            word(&memory, 0x2002).store(index, Ordering::Relaxed);
            assert_eq!(ring.take(), Err(Broken::IndexJumped), "{index}");
        }
    }

    #[test]
    fn b2_a_head_beyond_the_table_breaks_the_queue() {
        let memory = memory();
        let mut ring = AvailRing::new(&memory, &ADDRESSES, true, 0).unwrap();
        offer(&memory, 0, &[8]);
        assert_eq!(ring.take(), Err(Broken::HeadOutOfRange));
    }

    #[test]
    fn an_offer_made_while_asking_for_a_kick_is_not_lost() {
        let memory = memory();
        for event_idx in [true, false] {
            let mut ring = AvailRing::new(&memory, &ADDRESSES, event_idx, 0).unwrap();
            word(&memory, 0x2002).store(0, Ordering::Relaxed);
            assert!(!ring.ask_for_kick());
            offer(&memory, 0, &[1]);
            assert!(ring.ask_for_kick());
        }
    }

    #[test]
    fn returned_chains_are_written_before_the_index() {
        let memory = memory();
        let mut ring = UsedRing::new(&memory, &ADDRESSES, true).unwrap();

        ring.put(5, 96);

        assert_eq!(word(&memory, 0x3002).load(Ordering::Acquire), 1);
        assert_eq!(word(&memory, 0x3004).load(Ordering::Relaxed), 5);
        assert_eq!(word(&memory, 0x3008).load(Ordering::Relaxed), 96);
    }

    #[test]
    fn an_interrupt_is_wanted_when_the_event_index_is_passed() {
        let memory = memory();
        let mut ring = UsedRing::new(&memory, &ADDRESSES, true).unwrap();
        let used_event = word(&memory, 0x2004 + 16);
        ring.put(0, 0);
        assert!(ring.wants_interrupt(), "the first time it is unknown");

        used_event.store(2, Ordering::Relaxed);
        ring.put(0, 0);
        assert!(!ring.wants_interrupt());
        ring.put(0, 0);
        assert!(ring.wants_interrupt());
        assert!(!ring.wants_interrupt(), "nothing was returned since");
    }

    #[test]
    fn b13_the_event_index_works_across_the_wrap() {
        for before in [0u16, 1, 65_530, 65_535] {
            for steps in 1..8u16 {
                for event in 0..8u16 {
                    let event_at = before.wrapping_add(event);
                    let passed = event < steps;
                    assert_eq!(
                        crossed(event_at, before.wrapping_add(steps), before),
                        passed
                    );
                }
            }
        }
    }

    #[test]
    fn b17_rings_outside_memory_break_the_queue() {
        let memory = memory();
        let outside = RingAddresses {
            used: 0x4ff8,
            ..ADDRESSES
        };
        assert_eq!(
            UsedRing::new(&memory, &outside, true).unwrap_err(),
            Broken::Unmapped
        );
    }
}
