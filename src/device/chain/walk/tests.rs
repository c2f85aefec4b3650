//! Chains as a driver, or an attacker, lays them out in memory.

use super::super::memory::tests::region;
use super::*;
use virtio_queue::{Queue as OracleQueue, QueueT};
use vm_memory::{Bytes, GuestAddress};

const TABLE: u64 = 0x1000;
const INDIRECT_TABLE: u64 = 0x2000;
const DATA: u64 = 0x4000;
const SIZE: u16 = 16;

struct Queue {
    memory: Memory,
    table: DescriptorTable,
}

impl Queue {
    fn new(indirect: bool) -> Self {
        let memory = Memory::map(vec![region(0x1000, 0x20_0000)]).unwrap();
        let addresses = RingAddresses {
            descriptors: TABLE,
            available: 0x3000,
            used: 0x3800,
            size: SIZE,
        };
        let table = DescriptorTable::new(&memory, &addresses, indirect).unwrap();
        Self { memory, table }
    }

    /// Writes entry `index` of the table at `table`.
    fn set(&self, table: u64, index: u16, (addr, len, flags, next): (u64, u32, u16, u16)) {
        let at = self
            .memory
            .contiguous(table + 16 * u64::from(index), 16)
            .unwrap();
        let descriptor = Descriptor::new(addr, len, flags, next);
        // SAFETY: sixteen mapped bytes.
        unsafe { at.cast::<Descriptor>().write_unaligned(descriptor) };
    }

    fn lens(&self, head: u16) -> Result<(usize, usize), BadChain> {
        let mut chain = Chain::default();
        self.table.walk(head, &self.memory, &mut chain)?;
        let (readable, writable) = chain.buffers(&self.memory);
        Ok((readable.len(), writable.len()))
    }
}

#[test]
fn a_direct_chain_is_split_into_what_is_read_and_what_is_written() {
    let queue = Queue::new(true);
    queue.set(TABLE, 3, (DATA, 40, NEXT, 5));
    queue.set(TABLE, 5, (DATA + 0x100, 8, NEXT, 1));
    queue.set(TABLE, 1, (DATA + 0x200, 16, WRITE | NEXT, 2));
    queue.set(TABLE, 2, (DATA + 0x300, 4096, WRITE, 9));

    assert_eq!(queue.lens(3), Ok((48, 4112)));
}

#[test]
fn an_indirect_chain_is_read_from_its_own_table() {
    let queue = Queue::new(true);
    queue.set(TABLE, 0, (INDIRECT_TABLE, 32, INDIRECT, 0));
    queue.set(INDIRECT_TABLE, 0, (DATA, 40, NEXT, 1));
    queue.set(INDIRECT_TABLE, 1, (DATA, 16, WRITE, 0));

    assert_eq!(queue.lens(0), Ok((40, 16)));
}

#[test]
fn an_indirect_chain_may_be_longer_than_a_small_queue() {
    let queue = Queue::new(true);
    queue.set(TABLE, 0, (INDIRECT_TABLE, 260 * 16, INDIRECT, 0));
    for index in 0..259 {
        queue.set(INDIRECT_TABLE, index, (0x1_0000, 4096, NEXT, index + 1));
    }
    queue.set(INDIRECT_TABLE, 259, (0x1_0000, 16, WRITE, 0));

    assert_eq!(queue.lens(0), Ok((259 * 4096, 16)));
}

#[test]
fn b1_loops_end() {
    let queue = Queue::new(true);
    for len in [0, 8] {
        queue.set(TABLE, 0, (DATA, len, NEXT, 0));
        assert_eq!(queue.lens(0), Err(BadChain::TooManyDescriptors));
        queue.set(TABLE, 0, (DATA, len, NEXT, 1));
        queue.set(TABLE, 1, (DATA, len, NEXT, 0));
        assert_eq!(queue.lens(0), Err(BadChain::TooManyDescriptors));
    }
}

#[test]
fn b2_b3_b4_what_leaves_the_table_or_memory_is_refused() {
    let queue = Queue::new(true);
    for (descriptor, error) in [
        ((DATA, 8, NEXT, SIZE), BadChain::NextOutOfRange),
        ((0x10, 8, 0, 0), BadChain::OutOfMemory),
        ((0x10, 8, WRITE, 0), BadChain::OutOfMemory),
        ((u64::MAX - 3, 8, 0, 0), BadChain::OutOfMemory),
        ((DATA, u32::MAX, 0, 0), BadChain::OutOfMemory),
    ] {
        queue.set(TABLE, 0, descriptor);
        assert_eq!(queue.lens(0), Err(error), "{descriptor:x?}");
    }
}

#[test]
fn b6_malformed_indirect_tables_are_refused() {
    let queue = Queue::new(true);
    for len in [0, 15, 17, 0xffff_fff1] {
        queue.set(TABLE, 0, (INDIRECT_TABLE, len, INDIRECT, 0));
        assert_eq!(queue.lens(0), Err(BadChain::BadIndirect), "length {len:#x}");
    }
    queue.set(TABLE, 0, (INDIRECT_TABLE, 16, INDIRECT | NEXT, 1));
    assert_eq!(queue.lens(0), Err(BadChain::BadIndirect));

    queue.set(TABLE, 0, (INDIRECT_TABLE, 0xffff_fff0, INDIRECT, 0));
    assert_eq!(queue.lens(0), Err(BadChain::OutOfMemory));

    queue.set(TABLE, 0, (INDIRECT_TABLE, 16, INDIRECT, 0));
    queue.set(INDIRECT_TABLE, 0, (INDIRECT_TABLE, 16, INDIRECT, 0));
    assert_eq!(queue.lens(0), Err(BadChain::BadIndirect), "nested");

    queue.set(TABLE, 0, (INDIRECT_TABLE, 65_535 * 16, INDIRECT, 0));
    for index in 0..u16::MAX {
        queue.set(INDIRECT_TABLE, index, (DATA, 1, NEXT, index + 1));
    }
    assert_eq!(queue.lens(0), Err(BadChain::TooManyDescriptors));
}

#[test]
fn b6_indirect_tables_need_the_feature() {
    let queue = Queue::new(false);
    queue.set(TABLE, 0, (INDIRECT_TABLE, 16, INDIRECT, 0));
    queue.set(INDIRECT_TABLE, 0, (DATA, 40, 0, 0));
    assert_eq!(queue.lens(0), Err(BadChain::BadIndirect));
}

#[test]
fn b7_the_sum_of_lengths_stays_within_32_bits() {
    let memory = Memory::map(vec![region(0, 1 << 32)]).unwrap();
    let addresses = RingAddresses {
        descriptors: 0,
        available: 0x3000,
        used: 0x3800,
        size: SIZE,
    };
    let table = DescriptorTable::new(&memory, &addresses, true).unwrap();
    let queue = Queue { memory, table };
    for index in 0..3 {
        queue.set(0, index, (0x1_0000, 0x8000_0000, NEXT, index + 1));
    }
    assert_eq!(queue.lens(0), Err(BadChain::TooLong));
}

#[test]
fn b9_readable_after_writable_is_refused() {
    let queue = Queue::new(true);
    queue.set(TABLE, 0, (DATA, 16, WRITE | NEXT, 1));
    queue.set(TABLE, 1, (DATA, 40, 0, 0));
    assert_eq!(queue.lens(0), Err(BadChain::ReadableAfterWritable));
}

#[test]
fn b18_a_chain_of_nothing_is_nothing() {
    let queue = Queue::new(true);
    queue.set(TABLE, 0, (0, 0, 0, 0));
    assert_eq!(queue.lens(0), Ok((0, 0)));
}

/// Numbers that look random and are the same every time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % limit
    }
}

/// Lays out a well-formed chain, direct or indirect, of random descriptors in random order.
fn lay_out_chain(queue: &Queue, random: &mut Random) -> u16 {
    let len = 1 + random.below(u64::from(SIZE) - 1) as u16;
    let readable = random.below(u64::from(len) + 1) as u16;
    let mut slots: Vec<u16> = (0..SIZE).collect();
    for last in (1..slots.len()).rev() {
        slots.swap(last, random.below(last as u64 + 1) as usize);
    }
    let head = slots[0];
    let table = if random.below(2) == 0 {
        TABLE
    } else {
        queue.set(
            TABLE,
            head,
            (INDIRECT_TABLE, 16 * u32::from(SIZE), INDIRECT, 0),
        );
        // A chain in a table of its own starts at its first entry.
        let first = slots
            .iter()
            .position(|&slot| slot == 0)
            .expect("slot 0 is there");
        slots.swap(0, first);
        INDIRECT_TABLE
    };
    for position in 0..len {
        let is_last = position + 1 == len;
        let flags = if position < readable { 0 } else { WRITE } | if is_last { 0 } else { NEXT };
        let next = if is_last {
            0
        } else {
            slots[usize::from(position) + 1]
        };
        // Never adjacent, so that no two are merged into one slice.
        let addr = 0x1_0000 + u64::from(position) * 0x1000 + random.below(16);
        let descriptor = (addr, 1 + random.below(0xf00) as u32, flags, next);
        queue.set(table, slots[usize::from(position)], descriptor);
    }
    head
}

/// What the rust-vmm implementation reads of the same chain: host address, length, writable.
fn oracle(queue: &Queue, head: u16) -> Vec<(usize, usize, bool)> {
    let mmap = queue.memory.mmap();
    mmap.write_obj(head, GuestAddress(0x3004)).unwrap();
    mmap.write_obj(1u16, GuestAddress(0x3002)).unwrap();
    let mut oracle = OracleQueue::new(SIZE).unwrap();
    oracle.set_size(SIZE);
    oracle.set_desc_table_address(Some(TABLE as u32), None);
    oracle.set_avail_ring_address(Some(0x3000), None);
    oracle.set_used_ring_address(Some(0x3800), None);
    oracle.set_ready(true);
    let chain = oracle
        .pop_descriptor_chain(mmap)
        .expect("one chain is available");
    chain
        .map(|descriptor| {
            let len = descriptor.len() as usize;
            let host = queue
                .memory
                .contiguous(descriptor.addr().0, len as u64)
                .unwrap();
            (host.as_ptr() as usize, len, descriptor.is_write_only())
        })
        .collect()
}

#[test]
fn well_formed_chains_are_read_as_another_implementation_reads_them() {
    let queue = Queue::new(true);
    let mut random = Random(1);
    for round in 0..2000 {
        let head = lay_out_chain(&queue, &mut random);
        let mut chain = Chain::default();

        queue.table.walk(head, &queue.memory, &mut chain).unwrap();

        let slices = |list: &[iovec], writable| -> Vec<_> {
            list.iter()
                .map(|slice| (slice.iov_base as usize, slice.iov_len, writable))
                .collect()
        };
        let ours = [
            slices(&chain.readable, false),
            slices(&chain.writable, true),
        ]
        .concat();
        assert_eq!(ours, oracle(&queue, head), "round {round}");
    }
}
