//! Guest memory: memfd regions at guest-physical addresses, mapped into this process, shared with the daemon.
//!
//! Three kinds of address meet here and are kept apart: the *guest-physical* address that descriptors hold, the
//! *user* address under which the VMM names the same byte in vhost-user messages (here: where it is mapped), and the
//! offset in the memfd. The daemon writes this memory at any time, so it is only touched through raw pointers,
//! never through references.
#![allow(unsafe_code, reason = "maps memory and copies from and to it")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::allocator::RangeAllocator;
use crate::message::MemoryRegion;

/// The guest's page size in bytes.
pub const PAGE_SIZE: usize = 4096;

/// Where a region lies and how large it is, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionLayout {
    /// Guest-physical address of the first byte.
    pub guest_addr: u64,
    /// Length in bytes; a multiple of the page size.
    pub size: u64,
    /// Offset of the first byte in the memfd; a multiple of the page size.
    pub mmap_offset: u64,
}

impl RegionLayout {
    /// A region that starts at offset 0 of its memfd.
    pub fn new(guest_addr: u64, size: u64) -> RegionLayout {
        RegionLayout {
            guest_addr,
            size,
            mmap_offset: 0,
        }
    }
}

/// One piece of guest memory.
#[derive(Debug)]
pub struct Region {
    layout: RegionLayout,
    file: OwnedFd,
    map: Mapping,
    free: Mutex<RangeAllocator>,
}

impl Region {
    fn new(layout: RegionLayout) -> io::Result<Region> {
        let file = memfd_create(
            c"guest-memory",
            MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING,
        )?;
        nix::unistd::ftruncate(&file, (layout.mmap_offset + layout.size) as i64)?;
        let map = Mapping::new(file.as_fd(), layout.size as usize, layout.mmap_offset)?;
        let free = Mutex::new(RangeAllocator::new(0..layout.size));
        Ok(Region {
            layout,
            file,
            map,
            free,
        })
    }

    /// Where the region lies.
    pub fn layout(&self) -> RegionLayout {
        self.layout
    }

    /// The user address of the first byte, as the VMM tells it to the daemon.
    pub fn user_addr(&self) -> u64 {
        self.map.start.as_ptr() as u64
    }

    /// The memfd behind the region.
    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// The region as vhost-user messages describe it.
    pub fn describe(&self) -> MemoryRegion {
        MemoryRegion {
            guest_addr: self.layout.guest_addr,
            size: self.layout.size,
            user_addr: self.user_addr(),
            mmap_offset: self.layout.mmap_offset,
        }
    }

    /// The offset of `guest_addr`, when `len` bytes from there lie in this region.
    fn offset_of(&self, guest_addr: u64, len: usize) -> Option<usize> {
        let offset = guest_addr.checked_sub(self.layout.guest_addr)?;
        let end = offset.checked_add(len as u64)?;
        (end <= self.layout.size).then_some(offset as usize)
    }

    fn allocate(self: &Arc<Self>, len: usize, align: usize) -> Option<Buffer> {
        let offset = lock(&self.free).allocate(len as u64, align as u64)?;
        Some(Buffer {
            region: Arc::clone(self),
            offset: offset as usize,
            len,
        })
    }
}

/// All memory of the guest; clones share it.
#[derive(Clone, Debug)]
pub struct GuestMemory {
    regions: Arc<RwLock<Vec<Arc<Region>>>>,
}

impl GuestMemory {
    /// Creates one memfd region for each layout.
    ///
    /// # Errors
    /// When the system has no memory or address space for them.
    pub fn new(layouts: &[RegionLayout]) -> io::Result<GuestMemory> {
        let regions: io::Result<Vec<_>> = layouts
            .iter()
            .map(|layout| Region::new(*layout).map(Arc::new))
            .collect();
        Ok(GuestMemory {
            regions: Arc::new(RwLock::new(regions?)),
        })
    }

    /// The regions at this moment.
    pub fn regions(&self) -> Vec<Arc<Region>> {
        self.regions
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Plugs another region in (the daemon does not know it yet).
    pub fn add_region(&self, layout: RegionLayout) -> io::Result<Arc<Region>> {
        let region = Arc::new(Region::new(layout)?);
        self.regions
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::clone(&region));
        Ok(region)
    }

    /// Takes the region at `guest_addr` out; buffers in it stay mapped as long as they live.
    pub fn remove_region(&self, guest_addr: u64) -> Option<Arc<Region>> {
        let mut regions = self.regions.write().unwrap_or_else(PoisonError::into_inner);
        let index = regions
            .iter()
            .position(|region| region.layout.guest_addr == guest_addr)?;
        Some(regions.remove(index))
    }

    /// Reserves `len` zeroed-or-reused bytes at a multiple of `align` (a power of two) in the first region with room.
    ///
    /// # Panics
    /// When no region has room: the test asked for too little memory.
    pub fn allocate(&self, len: usize, align: usize) -> Buffer {
        self.regions()
            .iter()
            .find_map(|region| region.allocate(len, align))
            .unwrap_or_else(|| panic!("no region of the guest memory has {len} bytes left"))
    }

    /// As `allocate`, page-aligned, in the region at `guest_addr` and no other.
    ///
    /// # Panics
    /// When there is no such region, or it has no room.
    pub fn allocate_in(&self, guest_addr: u64, len: usize) -> Buffer {
        self.regions()
            .iter()
            .find(|region| region.layout.guest_addr == guest_addr)
            .and_then(|region| region.allocate(len, PAGE_SIZE))
            .unwrap_or_else(|| panic!("the region at {guest_addr:#x} has no {len} bytes left"))
    }

    /// The user address of a guest-physical address; `None` in a hole.
    pub fn user_addr(&self, guest_addr: u64) -> Option<u64> {
        self.regions().iter().find_map(|region| {
            let offset = region.offset_of(guest_addr, 1)?;
            Some(region.user_addr() + offset as u64)
        })
    }

    /// Copies guest memory at a guest-physical address into `bytes`, whoever has allocated it.
    ///
    /// # Panics
    /// When the range does not lie in one region.
    pub fn read(&self, guest_addr: u64, bytes: &mut [u8]) {
        let (region, offset) = self.find(guest_addr, bytes.len());
        region.map.read(offset, bytes);
    }

    /// Copies `bytes` to a guest-physical address, whoever has allocated it.
    ///
    /// # Panics
    /// When the range does not lie in one region.
    pub fn write(&self, guest_addr: u64, bytes: &[u8]) {
        let (region, offset) = self.find(guest_addr, bytes.len());
        region.map.write(offset, bytes);
    }

    fn find(&self, guest_addr: u64, len: usize) -> (Arc<Region>, usize) {
        self.regions()
            .into_iter()
            .find_map(|region| {
                region
                    .offset_of(guest_addr, len)
                    .map(|offset| (region, offset))
            })
            .unwrap_or_else(|| panic!("no region holds {len} bytes at {guest_addr:#x}"))
    }
}

/// An allocated range of guest memory, freed on drop: do not drop it while the daemon may still use it.
#[derive(Debug)]
pub struct Buffer {
    region: Arc<Region>,
    offset: usize,
    len: usize,
}

impl Buffer {
    /// Guest-physical address of the first byte.
    pub fn guest_addr(&self) -> u64 {
        self.region.layout.guest_addr + self.offset as u64
    }

    /// User address of the first byte, for vhost-user messages.
    pub fn user_addr(&self) -> u64 {
        self.region.user_addr() + self.offset as u64
    }

    /// Length in bytes.
    #[allow(
        clippy::len_without_is_empty,
        reason = "nobody allocates empty buffers"
    )]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Copies `bytes` into the buffer at `offset`.
    ///
    /// # Panics
    /// When they do not fit. The same holds for every method below.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        self.region.map.write(self.at(offset, bytes.len()), bytes);
    }

    /// Copies out of the buffer at `offset`.
    pub fn read(&self, offset: usize, bytes: &mut [u8]) {
        self.region.map.read(self.at(offset, bytes.len()), bytes);
    }

    /// A copy of `len` bytes at `offset`.
    pub fn to_vec(&self, offset: usize, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.read(offset, &mut bytes);
        bytes
    }

    /// A copy of `N` bytes at `offset`.
    pub fn array<const N: usize>(&self, offset: usize) -> [u8; N] {
        let mut bytes = [0; N];
        self.read(offset, &mut bytes);
        bytes
    }

    /// Fills the buffer with zeros, as a driver gets its ring pages.
    pub fn clear(&self) {
        self.region.map.fill(self.at(0, self.len), self.len, 0);
    }

    /// Loads an aligned 16-bit value.
    pub fn load_u16(&self, offset: usize, order: Ordering) -> u16 {
        u16::from_le(self.region.map.atomic_u16(self.at(offset, 2)).load(order))
    }

    /// Stores an aligned 16-bit value.
    pub fn store_u16(&self, offset: usize, value: u16, order: Ordering) {
        self.region
            .map
            .atomic_u16(self.at(offset, 2))
            .store(value.to_le(), order);
    }

    /// Loads an aligned 32-bit value.
    pub fn load_u32(&self, offset: usize, order: Ordering) -> u32 {
        u32::from_le(self.region.map.atomic_u32(self.at(offset, 4)).load(order))
    }

    /// One read(2) from `fd` straight into the buffer; returns the number of bytes.
    pub fn read_from(&self, fd: BorrowedFd<'_>, offset: usize, len: usize) -> io::Result<usize> {
        self.region.map.read_from(fd, self.at(offset, len), len)
    }

    /// One write(2) to `fd` straight out of the buffer; returns the number of bytes.
    pub fn write_to(&self, fd: BorrowedFd<'_>, offset: usize, len: usize) -> io::Result<usize> {
        self.region.map.write_to(fd, self.at(offset, len), len)
    }

    /// The place in the mapping of `len` bytes at `offset`, checked against the buffer's own bounds.
    fn at(&self, offset: usize, len: usize) -> usize {
        assert!(
            offset.checked_add(len).is_some_and(|end| end <= self.len),
            "{len} bytes at {offset} do not fit a buffer of {}",
            self.len
        );
        self.offset + offset
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        lock(&self.region.free).release(self.offset as u64, self.len as u64);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A shared mapping of a file. Every access checks its bounds.
#[derive(Debug)]
struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to no thread; it is unmapped once, by the last owner's drop.
unsafe impl Send for Mapping {}
// SAFETY: shared access goes through raw copies and atomics only; what racing copies see is the guest's (test's) affair,
// as it is for the memory of a real guest.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(file: BorrowedFd<'_>, len: usize, offset: u64) -> io::Result<Mapping> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_NORESERVE;
        // SAFETY: a null hint lets the kernel choose an unused range, so no existing mapping changes.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                protection,
                flags,
                file.as_raw_fd(),
                offset as i64,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Mapping { start, len })
    }

    /// A pointer to `len` bytes at `offset` within the mapping.
    fn pointer(&self, offset: usize, len: usize) -> *mut u8 {
        assert!(
            offset.checked_add(len).is_some_and(|end| end <= self.len),
            "access outside of the mapping"
        );
        // SAFETY: offset <= self.len, checked above, so the result stays in (or one past) the mapping.
        unsafe { self.start.as_ptr().add(offset) }
    }

    fn write(&self, offset: usize, bytes: &[u8]) {
        let target = self.pointer(offset, bytes.len());
        // SAFETY: `target` holds bytes.len() bytes; a Rust slice never overlaps the mapping, as none is ever made of it.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len()) }
    }

    fn read(&self, offset: usize, bytes: &mut [u8]) {
        let source = self.pointer(offset, bytes.len());
        // SAFETY: `source` holds bytes.len() bytes; a Rust slice never overlaps the mapping, as none is ever made of it.
        unsafe { std::ptr::copy_nonoverlapping(source, bytes.as_mut_ptr(), bytes.len()) }
    }

    fn fill(&self, offset: usize, len: usize, byte: u8) {
        let target = self.pointer(offset, len);
        // SAFETY: `target` holds `len` bytes.
        unsafe { std::ptr::write_bytes(target, byte, len) }
    }

    fn atomic_u16(&self, offset: usize) -> &AtomicU16 {
        let pointer = self.pointer(offset, 2).cast::<u16>();
        assert!(pointer.is_aligned(), "a 16-bit ring field must be aligned");
        // SAFETY: aligned, in bounds, and mapped for as long as `self` is borrowed.
        unsafe { AtomicU16::from_ptr(pointer) }
    }

    fn atomic_u32(&self, offset: usize) -> &AtomicU32 {
        let pointer = self.pointer(offset, 4).cast::<u32>();
        assert!(pointer.is_aligned(), "a 32-bit ring field must be aligned");
        // SAFETY: aligned, in bounds, and mapped for as long as `self` is borrowed.
        unsafe { AtomicU32::from_ptr(pointer) }
    }

    fn read_from(&self, fd: BorrowedFd<'_>, offset: usize, len: usize) -> io::Result<usize> {
        let target = self.pointer(offset, len);
        // SAFETY: the kernel writes at most `len` bytes to `target`, which holds them.
        let count = unsafe { libc::read(fd.as_raw_fd(), target.cast(), len) };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    fn write_to(&self, fd: BorrowedFd<'_>, offset: usize, len: usize) -> io::Result<usize> {
        let source = self.pointer(offset, len);
        // SAFETY: the kernel reads at most `len` bytes from `source`, which holds them.
        let count = unsafe { libc::write(fd.as_raw_fd(), source.cast(), len) };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `new` with this length, and nothing borrows it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_regions_with_a_hole() -> GuestMemory {
        let layouts = [
            RegionLayout::new(0x1000, 0x2000),
            RegionLayout {
                guest_addr: 0x10_0000,
                size: 0x4000,
                mmap_offset: 0x1000,
            },
        ];
        GuestMemory::new(&layouts).unwrap()
    }

    #[test]
    fn a_buffer_is_seen_at_its_guest_address() {
        let memory = two_regions_with_a_hole();
        let buffer = memory.allocate_in(0x10_0000, 0x1000);

        buffer.write(4, b"hello");

        let mut bytes = [0; 5];
        memory.read(buffer.guest_addr() + 4, &mut bytes);
        assert_eq!(&bytes, b"hello");
    }

    #[test]
    fn allocation_falls_over_to_the_next_region() {
        let memory = two_regions_with_a_hole();

        let buffer = memory.allocate(0x3000, PAGE_SIZE);

        assert_eq!(buffer.guest_addr(), 0x10_0000);
    }

    #[test]
    fn a_hole_has_no_user_address() {
        let memory = two_regions_with_a_hole();

        assert!(memory.user_addr(0x2fff).is_some());
        assert_eq!(memory.user_addr(0x3000), None);
        assert_eq!(memory.user_addr(0xfff), None);
    }

    #[test]
    #[should_panic(expected = "do not fit")]
    fn a_write_past_the_end_panics() {
        two_regions_with_a_hole()
            .allocate(16, 16)
            .write(12, &[0; 5]);
    }

    #[test]
    fn the_memfd_holds_the_bytes_at_the_mmap_offset() {
        let memory = two_regions_with_a_hole();
        memory.write(0x10_0002, b"x");

        let mut bytes = [0; 1];
        let file = memory.regions()[1].file().try_clone_to_owned().unwrap();
        std::os::unix::fs::FileExt::read_at(&std::fs::File::from(file), &mut bytes, 0x1002)
            .unwrap();

        assert_eq!(&bytes, b"x");
    }
}
