//! First-fit allocation of address ranges. Pure arithmetic: knows no memory.

use std::ops::Range;

/// Which parts of an address range are free.
#[derive(Debug)]
pub struct RangeAllocator {
    /// Sorted, disjoint, never touching each other.
    free: Vec<Range<u64>>,
}

impl RangeAllocator {
    /// Everything in `range` is free.
    pub fn new(range: Range<u64>) -> RangeAllocator {
        RangeAllocator { free: vec![range] }
    }

    /// Takes `len` bytes starting at a multiple of `align` (a power of two); `None` when no gap is large enough.
    pub fn allocate(&mut self, len: u64, align: u64) -> Option<u64> {
        let (index, start) = self.free.iter().enumerate().find_map(|(index, gap)| {
            let start = gap.start.checked_next_multiple_of(align)?;
            (start.checked_add(len)? <= gap.end).then_some((index, start))
        })?;
        let gap = self.free[index].clone();
        let rest = [gap.start..start, start + len..gap.end];
        self.free
            .splice(index..=index, rest.into_iter().filter(|r| !r.is_empty()));
        Some(start)
    }

    /// Gives a range back that `allocate` returned.
    pub fn release(&mut self, start: u64, len: u64) {
        let mut range = start..start + len;
        let mut index = self.free.partition_point(|gap| gap.start < start);
        if index > 0 && self.free[index - 1].end == range.start {
            index -= 1;
            range.start = self.free.remove(index).start;
        }
        if self
            .free
            .get(index)
            .is_some_and(|gap| gap.start == range.end)
        {
            range.end = self.free.remove(index).end;
        }
        self.free.insert(index, range);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_aligned_and_do_not_overlap() {
        let mut allocator = RangeAllocator::new(0x1001..0x4000);

        assert_eq!(allocator.allocate(0x10, 0x1000), Some(0x2000));
        assert_eq!(allocator.allocate(0x10, 1), Some(0x1001));
        assert_eq!(allocator.allocate(0x1000, 0x1000), Some(0x3000));
        assert_eq!(allocator.allocate(0x1000, 1), None);
    }

    #[test]
    fn released_neighbours_become_one_gap_again() {
        let mut allocator = RangeAllocator::new(0..0x3000);
        let parts = [0; 3].map(|_: u8| allocator.allocate(0x1000, 1).unwrap());

        for part in [parts[0], parts[2], parts[1]] {
            allocator.release(part, 0x1000);
        }

        assert_eq!(allocator.free, vec![0..0x3000]);
    }
}
