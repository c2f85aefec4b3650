//! Walking a descriptor chain, once, straight from the table (virtio 1.3, section 2.7.5).

use std::fmt;
use std::ptr::NonNull;

use libc::iovec;
use virtio_queue::desc::split::Descriptor;

use super::{Broken, Memory, RingAddresses};
use crate::sys::GuestBuffers;

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

/// Drivers may chain as many descriptors as the queue has entries. Linux guests before 5.13 put
/// more than that into an indirect table (`virtqueue_add_split`), so small queues allow this many.
const MIN_CHAIN_LIMIT: u32 = 1024;

/// One chain as memory: what the driver wrote and what it wants written. Made once and used again
/// for every chain.
#[derive(Debug, Default)]
pub struct Chain {
    readable: Vec<iovec>,
    writable: Vec<iovec>,
    readable_len: u32,
    writable_len: u32,
}

// SAFETY: the slices are addresses in guest memory, which the exchange's queue keeps mapped.
unsafe impl Send for Chain {}

impl Chain {
    /// What the driver wrote, and where it wants the reply.
    pub fn buffers(&mut self, _memory: &Memory) -> (GuestBuffers<'_>, GuestBuffers<'_>) {
        let (readable_len, writable_len) = (self.readable_len, self.writable_len);
        // SAFETY: `walk` took the slices from `Memory::translate`, so they are mapped as long as
        // the memory borrowed here is, and no Rust reference points into guest memory.
        let readable = unsafe { GuestBuffers::new(&mut self.readable, readable_len as usize) };
        // SAFETY: as above; regions are mapped writable.
        let writable = unsafe { GuestBuffers::new(&mut self.writable, writable_len as usize) };
        (readable, writable)
    }

    /// Whether it is worth keeping, so that no driver makes us hold much memory for long.
    pub fn is_small(&self) -> bool {
        self.readable.capacity().max(self.writable.capacity()) <= MIN_CHAIN_LIMIT as usize
    }

    fn clear(&mut self) {
        self.readable.clear();
        self.writable.clear();
        self.readable_len = 0;
        self.writable_len = 0;
    }

    fn push(&mut self, memory: &Memory, descriptor: &Descriptor) -> Result<(), BadChain> {
        let (slices, total) = if descriptor.flags() & WRITE != 0 {
            (&mut self.writable, &mut self.writable_len)
        } else if self.writable_len > 0 {
            return Err(BadChain::ReadableAfterWritable);
        } else {
            (&mut self.readable, &mut self.readable_len)
        };
        *total = total
            .checked_add(descriptor.len())
            .ok_or(BadChain::TooLong)?;
        memory
            .translate(descriptor.addr().0, descriptor.len(), slices)
            .ok_or(BadChain::OutOfMemory)
    }
}

/// Why a chain cannot be used. It is returned with nothing written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadChain {
    /// A buffer or an indirect table is not in guest memory.
    OutOfMemory,
    /// It goes on beyond its table.
    NextOutOfRange,
    /// It has more descriptors than it may, or goes round in circles.
    TooManyDescriptors,
    /// Its lengths do not fit 32 bits.
    TooLong,
    /// A readable buffer follows a writable one.
    ReadableAfterWritable,
    /// An indirect table within another, in the middle of a chain, of a wrong length or without
    /// the feature.
    BadIndirect,
}

impl fmt::Display for BadChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OutOfMemory => "it is not in guest memory",
            Self::NextOutOfRange => "it goes on beyond its table",
            Self::TooManyDescriptors => "it has too many descriptors",
            Self::TooLong => "its lengths overflow",
            Self::ReadableAfterWritable => "a readable buffer follows a writable one",
            Self::BadIndirect => "its indirect table is malformed",
        })
    }
}

/// A queue's descriptor table.
#[derive(Debug)]
pub struct DescriptorTable {
    table: Table,
    /// `VIRTIO_F_INDIRECT_DESC` was negotiated.
    indirect: bool,
}

/// A table of descriptors in guest memory.
#[derive(Clone, Copy, Debug)]
struct Table {
    start: NonNull<Descriptor>,
    len: u32,
}

// SAFETY: the table is an address in guest memory, which the queue that owns it keeps mapped.
unsafe impl Send for DescriptorTable {}

impl Table {
    fn locate(memory: &Memory, guest: u64, len: u32) -> Option<Self> {
        let bytes = u64::from(len) * size_of::<Descriptor>() as u64;
        let start = memory.contiguous(guest, bytes)?.cast();
        Some(Self { start, len })
    }

    /// A copy of entry `index`.
    fn read(&self, index: u32) -> Result<Descriptor, BadChain> {
        if index >= self.len {
            return Err(BadChain::NextOutOfRange);
        }
        // SAFETY: `locate` found `len` entries mapped and `index` is below; the entry may be
        // unaligned and change at any time, hence the volatile read of its bytes.
        let bytes = unsafe {
            self.start
                .add(index as usize)
                .cast::<[u8; 16]>()
                .read_volatile()
        };
        // SAFETY: a descriptor is plain bytes, every pattern of which is valid.
        Ok(unsafe { std::mem::transmute::<[u8; 16], Descriptor>(bytes) })
    }
}

impl DescriptorTable {
    /// Locates the table of a queue. The result is good for as long as `memory` is.
    pub fn new(memory: &Memory, addresses: &RingAddresses, indirect: bool) -> Result<Self, Broken> {
        let table = Table::locate(memory, addresses.descriptors, addresses.size.into());
        Ok(Self {
            table: table.ok_or(Broken::Unmapped)?,
            indirect,
        })
    }

    /// Reads the chain that starts at `head` into `chain`.
    pub fn walk(&self, head: u16, memory: &Memory, chain: &mut Chain) -> Result<(), BadChain> {
        chain.clear();
        let (mut table, mut index) = (self.table, u32::from(head));
        let mut left = self.table.len.max(MIN_CHAIN_LIMIT);
        let mut direct = true;
        loop {
            let descriptor = table.read(index)?;
            if descriptor.flags() & INDIRECT != 0 {
                if !direct {
                    return Err(BadChain::BadIndirect);
                }
                table = self.indirect_table(&descriptor, memory)?;
                (index, direct) = (0, false);
                // A table stands for its entries: the descriptor that points to it counts for none.
                continue;
            }
            left = left.checked_sub(1).ok_or(BadChain::TooManyDescriptors)?;
            chain.push(memory, &descriptor)?;
            if descriptor.flags() & NEXT == 0 {
                return Ok(());
            }
            index = descriptor.next().into();
        }
    }

    fn indirect_table(&self, descriptor: &Descriptor, memory: &Memory) -> Result<Table, BadChain> {
        const ENTRY: u32 = size_of::<Descriptor>() as u32;
        let len = descriptor.len();
        let well_formed =
            self.indirect && descriptor.flags() & NEXT == 0 && len > 0 && len.is_multiple_of(ENTRY);
        if !well_formed {
            return Err(BadChain::BadIndirect);
        }
        Table::locate(memory, descriptor.addr().0, len / ENTRY).ok_or(BadChain::OutOfMemory)
    }
}

#[cfg(test)]
mod tests;
