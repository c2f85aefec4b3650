//! The driver's side of a split virtqueue.
//!
//! `push`, `kick`, `pop` and `wait` are a well-behaved driver. The methods under "raw" write any descriptor and any
//! index, for tests of what a hostile one would do; a queue that has been written to that way is not to be used with `push`
//! any more.

use std::io;
use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};

use crate::eventfd::EventFd;
use crate::memory::{Buffer, GuestMemory};
use crate::message::VringAddress;
use crate::ring::{
    AVAIL_NO_INTERRUPT, DESCRIPTOR_SIZE, Descriptor, Layout, USED_NO_NOTIFY, desc_flag, needs_event,
};
use crate::wire::Wire;

const FLAGS: usize = 0;
const INDEX: usize = 2;

/// What a queue is made with.
#[derive(Clone, Copy, Debug)]
pub struct QueueOptions {
    /// Number of descriptors: a power of two up to 32768.
    pub size: u16,
    /// Chains of more than one descriptor use a table of their own, so that each takes one place in the queue.
    pub indirect: bool,
    /// Signals are limited by used_event and avail_event.
    pub event_idx: bool,
}

/// A piece of guest memory in a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Guest-physical address.
    pub addr: u64,
    /// Length in bytes.
    pub len: u32,
}

/// A chain that the device has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// The token that `push` gave: the chain's first descriptor.
    pub head: u16,
    /// How many bytes the device says to have written.
    pub len: u32,
}

/// There are not enough free descriptors: take completed chains first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueFull;

/// One virtqueue with its rings in guest memory and its three event descriptors.
#[derive(Debug)]
pub struct Queue {
    index: u32,
    options: QueueOptions,
    layout: Layout,
    memory: GuestMemory,
    table: Buffer,
    avail: Buffer,
    used: Buffer,
    kick: EventFd,
    call: EventFd,
    err: EventFd,
    /// Free descriptors, used as a stack so that the same ones stay warm.
    free: Vec<u16>,
    /// The chain behind each descriptor in flight; the device cannot write this copy.
    chains: Vec<Chain>,
    next_avail: u16,
    /// Avail index at the last kick decision.
    kicked_avail: u16,
    last_used: u16,
}

/// What the driver remembers about a descriptor.
#[derive(Debug, Default)]
struct Chain {
    /// Number of descriptors of the chain that starts here; 0 when no chain in flight does.
    len: u16,
    /// The next descriptor of the same chain.
    next: u16,
    /// The descriptor's own indirect table, made when first needed, kept for later chains.
    table: Option<Buffer>,
}

impl Queue {
    /// Allocates queue number `index` in `memory`, page-aligned and zeroed, with fresh events. The daemon does not know it yet.
    ///
    /// # Errors
    /// When no eventfd can be made.
    pub fn new(memory: &GuestMemory, index: u32, options: QueueOptions) -> io::Result<Queue> {
        let layout = Layout::new(options.size);
        let ring = |len| {
            let buffer = memory.allocate(len, crate::memory::PAGE_SIZE);
            buffer.clear();
            buffer
        };
        Ok(Queue {
            index,
            options,
            layout,
            memory: memory.clone(),
            table: ring(layout.table_len()),
            avail: ring(layout.avail_len()),
            used: ring(layout.used_len()),
            kick: EventFd::new()?,
            call: EventFd::new()?,
            err: EventFd::new()?,
            free: (0..options.size).rev().collect(),
            chains: (0..options.size).map(|_| Chain::default()).collect(),
            next_avail: 0,
            kicked_avail: 0,
            last_used: 0,
        })
    }

    /// The queue's number: 0 is hiprio, requests start at 1.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Number of descriptors.
    pub fn size(&self) -> u16 {
        self.options.size
    }

    /// Signals the device.
    pub fn kick_event(&self) -> &EventFd {
        &self.kick
    }

    /// Signalled by the device when chains are used.
    pub fn call_event(&self) -> &EventFd {
        &self.call
    }

    /// Signalled by the device when the queue is broken.
    pub fn err_event(&self) -> &EventFd {
        &self.err
    }

    /// Body of SET_VRING_ADDR: user addresses, as the VMM gives them.
    pub fn address(&self) -> VringAddress {
        VringAddress {
            index: self.index,
            flags: 0,
            descriptor: self.table.user_addr(),
            used: self.used.user_addr(),
            available: self.avail.user_addr(),
            log: self.used.guest_addr(),
        }
    }

    /// Number of descriptors that no chain uses.
    pub fn free_descriptors(&self) -> usize {
        self.free.len()
    }

    /// Descriptors that a chain of `segments` takes out of the queue.
    pub fn descriptors_for(&self, segments: usize) -> usize {
        if self.options.indirect {
            segments.min(1)
        } else {
            segments
        }
    }

    // ---- a driver's work ----

    /// Makes a chain of buffers available: the readable ones, then the writable ones. Returns its token. Does not kick.
    ///
    /// # Errors
    /// `QueueFull` when descriptors are missing; nothing has changed then.
    ///
    /// # Panics
    /// When the chain is empty.
    pub fn push(&mut self, readable: &[Segment], writable: &[Segment]) -> Result<u16, QueueFull> {
        let count = readable.len() + writable.len();
        assert!(count > 0, "a chain has at least one segment");
        let head = if self.options.indirect && count > 1 {
            self.push_indirect(readable, writable)?
        } else {
            self.push_direct(readable, writable)?
        };
        self.avail.write(
            self.layout.avail_entry(self.next_avail),
            &head.to_le_bytes(),
        );
        self.next_avail = self.next_avail.wrapping_add(1);
        // Publishes the descriptors and the entry: the device loads idx with acquire semantics.
        self.avail
            .store_u16(INDEX, self.next_avail, Ordering::Release);
        Ok(head)
    }

    fn push_direct(
        &mut self,
        readable: &[Segment],
        writable: &[Segment],
    ) -> Result<u16, QueueFull> {
        let count = readable.len() + writable.len();
        let rest = self.free.len().checked_sub(count).ok_or(QueueFull)?;
        for (position, (segment, flags)) in segments(readable, writable).enumerate() {
            // The chain takes the stack's top `count` places, downwards.
            let index = self.free[rest + count - 1 - position];
            let next = if position + 1 < count {
                Some(self.free[rest + count - 2 - position])
            } else {
                None
            };
            self.write_descriptor(index, descriptor(segment, flags, next));
            self.chains[usize::from(index)].next = next.unwrap_or(0);
        }
        let head = self.free[rest + count - 1];
        self.free.truncate(rest);
        self.chains[usize::from(head)].len = count as u16;
        Ok(head)
    }

    fn push_indirect(
        &mut self,
        readable: &[Segment],
        writable: &[Segment],
    ) -> Result<u16, QueueFull> {
        let head = self.free.pop().ok_or(QueueFull)?;
        let count = readable.len() + writable.len();
        let chain = &mut self.chains[usize::from(head)];
        chain.len = 1;
        let table = indirect_table(&mut chain.table, &self.memory, count);
        for (position, (segment, flags)) in segments(readable, writable).enumerate() {
            let next = (position + 1 < count).then_some(position as u16 + 1);
            table.write(
                position * DESCRIPTOR_SIZE,
                &descriptor(segment, flags, next).encode(),
            );
        }
        let len = (count * DESCRIPTOR_SIZE) as u32;
        let flags = desc_flag::INDIRECT;
        let entry = Descriptor {
            addr: table.guest_addr(),
            len,
            flags,
            next: 0,
        };
        self.write_descriptor(head, entry);
        Ok(head)
    }

    /// Kicks the device if it wants that, after one or more pushes; returns whether it was.
    pub fn kick(&mut self) -> bool {
        // Our idx must be visible before we look whether the device still waits for it.
        fence(Ordering::SeqCst);
        let old = std::mem::replace(&mut self.kicked_avail, self.next_avail);
        let wanted = if self.options.event_idx {
            needs_event(self.avail_event(), self.next_avail, old)
        } else {
            self.used.load_u16(FLAGS, Ordering::Relaxed) & USED_NO_NOTIFY == 0
        };
        if wanted {
            self.kick.signal();
        }
        wanted
    }

    /// Takes one used chain and frees its descriptors; `None` when there is none.
    ///
    /// # Panics
    /// When the device returns a chain that is not in flight: that is the failure of a test.
    pub fn pop(&mut self) -> Option<Used> {
        let used = self.pop_raw()?;
        self.release(used.head);
        Some(used)
    }

    fn release(&mut self, head: u16) {
        let count = self
            .chains
            .get_mut(usize::from(head))
            .map_or(0, |chain| std::mem::take(&mut chain.len));
        assert!(
            count > 0,
            "queue {}: the device returned head {head}, which is not in flight",
            self.index
        );
        let start = self.free.len();
        let mut index = head;
        for _ in 0..count {
            self.free.push(index);
            index = self.chains[usize::from(index)].next;
        }
        // The same order as before the push, so that the next chain gets the same descriptors.
        self.free[start..].reverse();
    }

    /// Takes one used chain, sleeping on the call event until there is one or the time is over.
    pub fn wait(&mut self, timeout: Duration) -> Option<Used> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(used) = self.pop() {
                return Some(used);
            }
            if self.arm() {
                continue;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if !self.call.wait(Some(left)) {
                return self.pop();
            }
            self.call.take();
        }
    }

    /// Takes one used chain, polling the ring until there is one or the time is over.
    pub fn spin(&mut self, timeout: Duration) -> Option<Used> {
        let deadline = Instant::now() + timeout;
        loop {
            for _ in 0..1000 {
                if let Some(used) = self.pop() {
                    return Some(used);
                }
                std::hint::spin_loop();
            }
            if Instant::now() > deadline {
                return None;
            }
        }
    }

    /// Asks the device for a call at the next used chain; true when there is one already.
    pub fn arm(&mut self) -> bool {
        if self.options.event_idx {
            self.avail
                .store_u16(self.layout.used_event(), self.last_used, Ordering::Relaxed);
        } else {
            self.avail.store_u16(FLAGS, 0, Ordering::Relaxed);
        }
        // Our wish must be visible before we look for what was used meanwhile.
        fence(Ordering::SeqCst);
        self.used_index() != self.last_used
    }

    /// Asks the device for no calls, until `arm`.
    pub fn disarm(&mut self) {
        if self.options.event_idx {
            let never = self.last_used.wrapping_sub(1);
            self.avail
                .store_u16(self.layout.used_event(), never, Ordering::Relaxed);
        } else {
            self.avail
                .store_u16(FLAGS, AVAIL_NO_INTERRUPT, Ordering::Relaxed);
        }
    }

    // ---- raw ----

    /// Guest-physical addresses of the descriptor table, the avail ring and the used ring.
    pub fn guest_addrs(&self) -> [u64; 3] {
        [
            self.table.guest_addr(),
            self.avail.guest_addr(),
            self.used.guest_addr(),
        ]
    }

    /// Writes any descriptor.
    pub fn write_descriptor(&self, index: u16, descriptor: Descriptor) {
        self.table
            .write(usize::from(index) * DESCRIPTOR_SIZE, &descriptor.encode());
    }

    /// Reads a descriptor back.
    pub fn descriptor(&self, index: u16) -> Descriptor {
        let bytes = self
            .table
            .array::<DESCRIPTOR_SIZE>(usize::from(index) * DESCRIPTOR_SIZE);
        Descriptor::get(&mut &bytes[..])
    }

    /// Writes any head at a place (modulo the queue size) of the avail ring.
    pub fn write_avail_entry(&self, place: u16, head: u16) {
        self.avail
            .write(self.layout.avail_entry(place), &head.to_le_bytes());
    }

    /// The avail index that the device sees.
    pub fn avail_index(&self) -> u16 {
        self.avail.load_u16(INDEX, Ordering::Relaxed)
    }

    /// Writes any avail index.
    pub fn write_avail_index(&self, index: u16) {
        self.avail.store_u16(INDEX, index, Ordering::Release);
    }

    /// Writes any avail flags.
    pub fn write_avail_flags(&self, flags: u16) {
        self.avail.store_u16(FLAGS, flags, Ordering::Release);
    }

    /// Writes any used_event.
    pub fn write_used_event(&self, index: u16) {
        self.avail
            .store_u16(self.layout.used_event(), index, Ordering::Release);
    }

    /// Makes a chain available that was written with `write_descriptor`. Does not kick.
    pub fn publish_raw(&mut self, head: u16) {
        self.write_avail_entry(self.next_avail, head);
        self.next_avail = self.next_avail.wrapping_add(1);
        self.write_avail_index(self.next_avail);
    }

    /// The device's used index.
    pub fn used_index(&self) -> u16 {
        self.used.load_u16(INDEX, Ordering::Acquire)
    }

    /// The device's used flags.
    pub fn used_flags(&self) -> u16 {
        self.used.load_u16(FLAGS, Ordering::Acquire)
    }

    /// The avail index at which the device wants its next kick.
    pub fn avail_event(&self) -> u16 {
        self.used
            .load_u16(self.layout.avail_event(), Ordering::Relaxed)
    }

    /// Takes one used chain, whatever its head is, and frees no descriptor.
    pub fn pop_raw(&mut self) -> Option<Used> {
        if self.used_index() == self.last_used {
            return None;
        }
        let entry: [u8; 8] = self.used.array(self.layout.used_entry(self.last_used));
        self.last_used = self.last_used.wrapping_add(1);
        let (head, len) = (u32::get(&mut &entry[..4]), u32::get(&mut &entry[4..]));
        let head = u16::try_from(head).expect("the device returned a head above 65535");
        Some(Used { head, len })
    }

    /// As `pop_raw`, waiting for the call event.
    pub fn wait_raw(&mut self, timeout: Duration) -> Option<Used> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(used) = self.pop_raw() {
                return Some(used);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if !self.arm() && !self.call.wait(Some(left)) {
                return self.pop_raw();
            }
            self.call.take();
        }
    }
}

/// The segments of a chain in order, each with its direction's flag.
fn segments<'a>(
    readable: &'a [Segment],
    writable: &'a [Segment],
) -> impl Iterator<Item = (Segment, u16)> + 'a {
    let readable = readable.iter().map(|segment| (*segment, 0));
    readable.chain(writable.iter().map(|segment| (*segment, desc_flag::WRITE)))
}

fn descriptor(segment: Segment, flags: u16, next: Option<u16>) -> Descriptor {
    let chained = if next.is_some() { desc_flag::NEXT } else { 0 };
    let (flags, next) = (flags | chained, next.unwrap_or(0));
    Descriptor {
        addr: segment.addr,
        len: segment.len,
        flags,
        next,
    }
}

/// A descriptor's indirect table with room for `count` entries.
fn indirect_table<'a>(
    table: &'a mut Option<Buffer>,
    memory: &GuestMemory,
    count: usize,
) -> &'a Buffer {
    let len = count * DESCRIPTOR_SIZE;
    if table.as_ref().is_none_or(|table| table.len() < len) {
        *table = None;
    }
    table.get_or_insert_with(|| memory.allocate(len.next_power_of_two(), DESCRIPTOR_SIZE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::RegionLayout;

    const SEGMENTS: [Segment; 3] = [
        Segment { addr: 0x10, len: 1 },
        Segment { addr: 0x20, len: 2 },
        Segment { addr: 0x30, len: 3 },
    ];

    fn queue(indirect: bool, event_idx: bool) -> Queue {
        let memory = GuestMemory::new(&[RegionLayout::new(0, 1 << 20)]).unwrap();
        Queue::new(
            &memory,
            1,
            QueueOptions {
                size: 4,
                indirect,
                event_idx,
            },
        )
        .unwrap()
    }

    /// Plays the device: returns `head`.
    fn complete(queue: &Queue, head: u16, len: u32) {
        let index = queue.used_index();
        let entry = [u32::from(head).to_le_bytes(), len.to_le_bytes()].concat();
        queue.used.write(queue.layout.used_entry(index), &entry);
        queue
            .used
            .store_u16(INDEX, index.wrapping_add(1), Ordering::Release);
    }

    #[test]
    fn a_direct_chain_is_linked_readable_before_writable() {
        let mut queue = queue(false, false);

        let head = queue.push(&SEGMENTS[..1], &SEGMENTS[1..]).unwrap();

        let first = queue.descriptor(head);
        let second = queue.descriptor(first.next);
        let third = queue.descriptor(second.next);
        assert_eq!((first.addr, first.flags), (0x10, desc_flag::NEXT));
        assert_eq!(
            (second.addr, second.flags),
            (0x20, desc_flag::NEXT | desc_flag::WRITE)
        );
        assert_eq!(
            (third.addr, third.len, third.flags),
            (0x30, 3, desc_flag::WRITE)
        );
        assert_eq!(queue.avail_index(), 1);
    }

    #[test]
    fn an_indirect_chain_takes_one_descriptor() {
        let mut queue = queue(true, false);

        let head = queue.push(&SEGMENTS[..1], &SEGMENTS[1..]).unwrap();

        let entry = queue.descriptor(head);
        assert_eq!((entry.flags, entry.len), (desc_flag::INDIRECT, 48));
        assert_eq!(queue.free_descriptors(), 3);
    }

    #[test]
    fn a_full_queue_takes_no_chain_until_one_returns() {
        let mut queue = queue(false, false);
        let head = queue.push(&SEGMENTS, &[]).unwrap();
        assert_eq!(queue.push(&SEGMENTS[..2], &[]), Err(QueueFull));

        complete(&queue, head, 9);

        assert_eq!(queue.pop(), Some(Used { head, len: 9 }));
        assert_eq!(queue.free_descriptors(), 4);
        assert!(queue.push(&SEGMENTS[..2], &[]).is_ok());
    }

    #[test]
    fn chains_may_return_in_any_order_across_the_index_wrap() {
        for indirect in [false, true] {
            let mut queue = queue(indirect, true);
            for _ in 0..40_000 {
                let a = queue.push(&SEGMENTS[..1], &SEGMENTS[1..2]).unwrap();
                let b = queue.push(&SEGMENTS[..1], &SEGMENTS[1..2]).unwrap();
                complete(&queue, b, 1);
                complete(&queue, a, 2);
                assert_eq!(queue.pop(), Some(Used { head: b, len: 1 }));
                assert_eq!(queue.pop(), Some(Used { head: a, len: 2 }));
            }
            assert_eq!(queue.free_descriptors(), 4);
        }
    }

    #[test]
    #[should_panic(expected = "not in flight")]
    fn a_head_returned_twice_is_found_out() {
        let mut queue = queue(false, false);
        let head = queue.push(&SEGMENTS, &[]).unwrap();
        complete(&queue, head, 0);
        complete(&queue, head, 0);
        queue.pop();

        queue.pop();
    }

    #[test]
    fn kicks_follow_avail_event() {
        let mut queue = queue(false, true);
        queue.push(&SEGMENTS[..1], &[]).unwrap();
        assert!(queue.kick());

        queue.push(&SEGMENTS[..1], &[]).unwrap();
        assert!(!queue.kick());

        queue
            .used
            .store_u16(queue.layout.avail_event(), 2, Ordering::Relaxed);
        queue.push(&SEGMENTS[..1], &[]).unwrap();
        assert!(queue.kick());
        assert_eq!(queue.kick_event().take(), 2);
    }

    #[test]
    fn kicks_follow_the_used_flags_without_event_idx() {
        let mut queue = queue(false, false);
        queue
            .used
            .store_u16(FLAGS, USED_NO_NOTIFY, Ordering::Relaxed);
        queue.push(&SEGMENTS[..1], &[]).unwrap();
        assert!(!queue.kick());

        queue.used.store_u16(FLAGS, 0, Ordering::Relaxed);
        assert!(queue.kick());
    }

    #[test]
    fn waiting_ends_at_the_time_out() {
        assert_eq!(queue(false, true).wait(Duration::from_millis(5)), None);
    }
}
