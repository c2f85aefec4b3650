//! Split virtqueues: layouts and index arithmetic (virtio 1.2, section 2.7). Pure: no memory.

use crate::wire::wire_struct;

/// Bits of a descriptor's `flags`.
pub mod desc_flag {
    /// `next` holds the index of the chain's next descriptor.
    pub const NEXT: u16 = 1;
    /// The device writes the buffer (else it reads it).
    pub const WRITE: u16 = 2;
    /// The buffer is a table of descriptors.
    pub const INDIRECT: u16 = 4;
}

/// In avail.flags: the driver wants no call (only without EVENT_IDX).
pub const AVAIL_NO_INTERRUPT: u16 = 1;
/// In used.flags: the device wants no kick (only without EVENT_IDX).
pub const USED_NO_NOTIFY: u16 = 1;
/// Bytes of a descriptor.
pub const DESCRIPTOR_SIZE: usize = 16;
/// Largest queue size that virtio allows.
pub const MAX_QUEUE_SIZE: u16 = 32768;

wire_struct! {
    /// One descriptor; `addr` is guest-physical.
    Descriptor { addr: u64, len: u32, flags: u16, next: u16 }
}

/// Byte lengths and offsets of the three parts of a queue of `size` descriptors.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    size: usize,
}

impl Layout {
    /// The layout of a queue with `size` descriptors.
    pub fn new(size: u16) -> Layout {
        Layout { size: size.into() }
    }

    /// Length of the descriptor table.
    pub fn table_len(self) -> usize {
        self.size * DESCRIPTOR_SIZE
    }

    /// Length of the avail ring: flags, idx, ring, used_event.
    pub fn avail_len(self) -> usize {
        6 + 2 * self.size
    }

    /// Length of the used ring: flags, idx, ring, avail_event.
    pub fn used_len(self) -> usize {
        6 + 8 * self.size
    }

    /// Offset of entry `index` (taken modulo the size) in the avail ring.
    pub fn avail_entry(self, index: u16) -> usize {
        4 + 2 * (usize::from(index) % self.size)
    }

    /// Offset of used_event in the avail ring.
    pub fn used_event(self) -> usize {
        4 + 2 * self.size
    }

    /// Offset of entry `index` (taken modulo the size) in the used ring.
    pub fn used_entry(self, index: u16) -> usize {
        4 + 8 * (usize::from(index) % self.size)
    }

    /// Offset of avail_event in the used ring.
    pub fn avail_event(self) -> usize {
        4 + 8 * self.size
    }
}

/// Whether the other side wants a signal: it asked for one once the index passes `event`, and the index went from `old` to
/// `new` (virtio 1.2, section 2.7.7.1).
pub fn needs_event(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_due_when_the_index_passes_the_event() {
        assert!(needs_event(0, 1, 0));
        assert!(!needs_event(1, 1, 0));
        assert!(needs_event(3, 8, 2));
        assert!(!needs_event(8, 8, 2));
        assert!(!needs_event(5, 5, 5));
    }

    #[test]
    fn events_work_across_the_wrap() {
        assert!(needs_event(0xffff, 0, 0xffff));
        assert!(!needs_event(0, 0, 0xffff));
        assert!(needs_event(0xfffe, 2, 0xfffd));
    }

    #[test]
    fn the_layout_is_that_of_the_specification() {
        let layout = Layout::new(8);

        assert_eq!(
            (layout.table_len(), layout.avail_len(), layout.used_len()),
            (128, 22, 70)
        );
        assert_eq!((layout.avail_entry(9), layout.used_entry(9)), (6, 12));
        assert_eq!((layout.used_event(), layout.avail_event()), (20, 68));
    }
}
