//! Chains as a driver, or an attacker, lays them out in memory.

use super::super::memory::tests::region;
use super::*;

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
