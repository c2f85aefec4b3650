//! The guest's memory as the front-end shares it.

use std::fs::File;
use std::ptr::NonNull;

use libc::iovec;
use vhost::vhost_user::message::VhostUserMemoryRegion;
use vm_memory::{
    Address, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion, GuestRegionMmap,
    MmapRegion,
};

use crate::sys;

/// All mapped regions. Unmapped when the last queue that uses them is gone.
#[derive(Debug, Default)]
pub struct Memory {
    /// Sorted by guest address, without overlap.
    regions: Vec<Region>,
    mmap: GuestMemoryMmap,
}

/// One region, as three views of the same bytes.
#[derive(Clone, Copy, Debug)]
struct Region {
    /// Guest-physical address: what descriptors say.
    guest: u64,
    /// The front-end's own address: what vhost-user messages say.
    user: u64,
    /// Where we mapped it.
    host: NonNull<u8>,
    len: u64,
}

// SAFETY: the pointers are plain addresses of a mapping that lives as long as `mmap`; accesses
// through them are the concern of whoever makes them.
unsafe impl Send for Memory {}
// SAFETY: as above; nothing in here changes after construction.
unsafe impl Sync for Memory {}

/// A region as a control message describes it, and the file to map.
pub type SharedRegion = (VhostUserMemoryRegion, File);

impl Memory {
    /// Maps `shared`. Fails on overlaps, and on regions larger than their files.
    pub fn map(shared: Vec<SharedRegion>) -> Result<Self, String> {
        let mut memory = Self::default();
        for region in shared {
            memory = memory.with(region)?;
        }
        Ok(memory)
    }

    /// The same memory and one region more.
    pub fn with(&self, (region, file): SharedRegion) -> Result<Self, String> {
        let (user, len) = (region.user_addr, region.memory_size);
        if len == 0 || user.checked_add(len).is_none() {
            return Err("a region is empty or wraps around".to_owned());
        }
        let overlaps = |other: &Region| user < other.user + other.len && other.user < user + len;
        if self.regions.iter().any(overlaps) {
            return Err("two regions overlap in the front-end's addresses".to_owned());
        }
        if !holds(&file, region.mmap_offset, len) {
            return Err("a region is larger than its file".to_owned());
        }
        let mapping = region
            .mmap_region(file)
            .map_err(|error| error.to_string())?;
        leave_out_of_dumps(&mapping);
        let guest = GuestAddress(region.guest_phys_addr);
        let mapped = GuestRegionMmap::new(mapping, guest).ok_or("a region wraps around")?;
        let mmap = self
            .mmap
            .insert_region(mapped.into())
            .map_err(|error| error.to_string())?;
        let users = self.regions.iter().map(|known| (known.guest, known.user));
        let users = users.chain([(region.guest_phys_addr, user)]).collect();
        Ok(Self::of(mmap, users))
    }

    /// The same memory less one region.
    pub fn without(&self, guest: u64, len: u64) -> Result<Self, String> {
        let removed = self.mmap.remove_region(GuestAddress(guest), len);
        let (mmap, _) = removed.map_err(|error| error.to_string())?;
        Ok(Self::of(
            mmap,
            self.regions
                .iter()
                .map(|known| (known.guest, known.user))
                .collect(),
        ))
    }

    fn of(mmap: GuestMemoryMmap, users: Vec<(u64, u64)>) -> Self {
        let regions = mmap.iter().map(|region| {
            let guest = region.start_addr().raw_value();
            let user = users.iter().find(|(known, _)| *known == guest);
            let host = region.get_host_address(vm_memory::MemoryRegionAddress(0));
            Region {
                guest,
                user: user.expect("every region was described").1,
                host: host
                    .ok()
                    .and_then(NonNull::new)
                    .expect("a mapping has an address"),
                len: region.len(),
            }
        });
        Self {
            regions: regions.collect(),
            mmap,
        }
    }

    /// The mappings themselves, for tests that read guest memory by other means.
    #[cfg(test)]
    pub fn mmap(&self) -> &GuestMemoryMmap {
        &self.mmap
    }

    /// Whether no region is mapped.
    pub fn is_empty(&self) -> bool {
        self.regions.is_empty()
    }

    /// How many regions are mapped.
    pub fn region_count(&self) -> usize {
        self.regions.len()
    }

    /// The guest-physical address of `len` bytes at the front-end's address `user`.
    pub fn guest_address(&self, user: u64, len: u64) -> Option<u64> {
        self.regions.iter().find_map(|region| {
            let offset = user.checked_sub(region.user)?;
            let end = offset.checked_add(len)?;
            (end <= region.len).then_some(region.guest + offset)
        })
    }

    /// The mapped address of `len` bytes at guest-physical address `guest` that lie in one region.
    pub fn contiguous(&self, guest: u64, len: u64) -> Option<NonNull<u8>> {
        let (host, available) = self.locate(guest)?;
        (len <= available).then_some(host)
    }

    /// Appends where the `len` bytes at guest-physical address `guest` are mapped, crossing from
    /// one region into an adjacent one if need be. `None`, with nothing certain in `slices`, when
    /// some of them are not.
    pub fn translate(&self, guest: u64, len: u32, slices: &mut Vec<iovec>) -> Option<()> {
        let (mut address, mut left) = (guest, u64::from(len));
        while left > 0 {
            let (host, available) = self.locate(address)?;
            let part = available.min(left);
            push_merged(slices, host, part as usize);
            address = address.checked_add(part)?;
            left -= part;
        }
        Some(())
    }

    /// Where `guest` is mapped and how many bytes follow in its region.
    fn locate(&self, guest: u64) -> Option<(NonNull<u8>, u64)> {
        let after = self.regions.partition_point(|region| region.guest <= guest);
        let region = &self.regions[after.checked_sub(1)?];
        let offset = guest - region.guest;
        let available = region.len.checked_sub(offset).filter(|&bytes| bytes > 0)?;
        // SAFETY: `offset` is below `len`, so the result stays within the region's mapping.
        let host = unsafe { region.host.add(offset as usize) };
        Some((host, available))
    }
}

/// Whether `len` bytes from `offset` on lie within `file`: touching a mapping beyond its file's end
/// would end the daemon (`SIGBUS`). Devices do not say how large they are.
fn holds(file: &File, offset: u64, len: u64) -> bool {
    let enough = |size: u64| offset.checked_add(len).is_some_and(|end| end <= size);
    file.metadata()
        .is_ok_and(|metadata| !metadata.is_file() || enough(metadata.len()))
}

/// A crash must not bring guest memory to a disk. Core dumps are forbidden as well, so that this is
/// not worth a refusal.
fn leave_out_of_dumps(mapping: &MmapRegion) {
    let address = NonNull::new(mapping.as_ptr()).expect("a mapping has an address");
    if let Err(errno) = sys::leave_out_of_dumps(address, mapping.size()) {
        log::debug!("guest memory would be part of a core dump: {errno}");
    }
}

/// Appends a slice, or lengthens the last one that ends where it begins.
fn push_merged(slices: &mut Vec<iovec>, host: NonNull<u8>, len: usize) {
    match slices.last_mut() {
        Some(last) if last.iov_base as usize + last.iov_len == host.as_ptr() as usize => {
            last.iov_len += len;
        }
        _ => slices.push(iovec {
            iov_base: host.as_ptr().cast(),
            iov_len: len,
        }),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use nix::sys::memfd::{MFdFlags, memfd_create};

    /// A region of `len` bytes; its user address is the guest address plus 2^40.
    pub fn region(guest: u64, len: u64) -> SharedRegion {
        let file = File::from(memfd_create(c"test", MFdFlags::empty()).unwrap());
        file.set_len(len).unwrap();
        (
            VhostUserMemoryRegion::new(guest, len, guest + (1 << 40), 0),
            file,
        )
    }

    /// 0x1000..0x3000 in two adjacent regions, a hole, 0x8000..0x9000.
    fn memory() -> Memory {
        Memory::map(vec![
            region(0x8000, 0x1000),
            region(0x2000, 0x1000),
            region(0x1000, 0x1000),
        ])
        .unwrap()
    }

    fn translated_len(guest: u64, len: u32) -> Option<usize> {
        let mut slices = Vec::new();
        memory().translate(guest, len, &mut slices)?;
        Some(slices.iter().map(|slice| slice.iov_len).sum())
    }

    #[test]
    fn b3_addresses_in_holes_are_nowhere() {
        for (guest, len) in [(0, 1), (0xfff, 1), (0x3000, 1), (0x7fff, 2), (0x9000, 1)] {
            assert_eq!(translated_len(guest, len), None, "{guest:#x}+{len}");
        }
    }

    #[test]
    fn b4_lengths_that_wrap_or_run_out_are_nowhere() {
        for (guest, len) in [(u64::MAX, 1), (0x8fff, 2), (0x8000, u32::MAX), (0x2fff, 2)] {
            assert_eq!(translated_len(guest, len), None, "{guest:#x}+{len:#x}");
        }
    }

    #[test]
    fn b5_a_buffer_may_cross_adjacent_regions() {
        assert_eq!(translated_len(0x1800, 0x1000), Some(0x1000));
        assert!(memory().contiguous(0x1800, 0x1000).is_none());
        assert!(memory().contiguous(0x1000, 0x1000).is_some());
    }

    #[test]
    fn a11_user_addresses_must_lie_in_one_region() {
        let memory = memory();
        assert_eq!(memory.guest_address((1 << 40) + 0x8010, 0x10), Some(0x8010));
        assert_eq!(memory.guest_address((1 << 40) + 0x8ff8, 0x10), None);
        assert_eq!(memory.guest_address(0x8000, 1), None);
        assert_eq!(memory.guest_address(u64::MAX, u64::MAX), None);
    }

    #[test]
    fn a12_overlapping_regions_are_refused() {
        let overlap = vec![region(0x1000, 0x2000), region(0x2000, 0x1000)];
        assert!(Memory::map(overlap).is_err());

        let (mut second, file) = region(0x4000, 0x1000);
        second.user_addr = (1 << 40) + 0x1fff;
        assert!(Memory::map(vec![region(0x1000, 0x1000), (second, file)]).is_err());
    }

    #[test]
    fn a12_a14_empty_regions_and_those_that_wrap_are_refused() {
        for (user, len) in [
            (1 << 40, 0),
            (u64::MAX - 0xfff, 0x1000),
            (u64::MAX, u64::MAX),
        ] {
            let (mut shared, file) = region(0x1000, 0x1000);
            (shared.user_addr, shared.memory_size) = (user, len);
            assert!(
                Memory::default().with((shared, file)).is_err(),
                "{user:#x}+{len:#x}"
            );
        }
    }

    #[test]
    fn a12_a_region_larger_than_its_file_is_refused() {
        let (mut shared, file) = region(0x1000, 0x1000);
        shared.memory_size = 0x2000;
        assert!(Memory::map(vec![(shared, file)]).is_err());
    }

    #[test]
    fn a14_only_known_regions_can_be_removed() {
        let memory = memory();
        assert!(memory.without(0x4000, 0x1000).is_err());
        let smaller = memory.without(0x2000, 0x1000).unwrap();
        assert_eq!(
            (smaller.region_count(), smaller.contiguous(0x2000, 1)),
            (2, None)
        );
    }
}
