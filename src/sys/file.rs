//! Calls on open files.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::errno::retry;
use super::{Errno, Window};

/// The most slices one vectored call takes (`IOV_MAX`, `readv(2)`).
const IOV_MAX: usize = 1024;

/// Reads from `offset` on straight into the window's memory. Returns the bytes read: fewer than
/// the window holds only at the end of the file.
pub fn pread_into(fd: BorrowedFd<'_>, window: &Window<'_>, offset: i64) -> Result<usize, Errno> {
    transfer(window, offset, |slices, offset| {
        // SAFETY: the window's contract: its slices are mapped, writable and nobody's reference.
        unsafe { libc::preadv64(fd.as_raw_fd(), slices.as_ptr(), slices.len() as i32, offset) }
    })
}

/// Writes the window's memory to `offset`, or to the end of the file when `append`. Returns the
/// bytes written.
pub fn pwrite_from(
    fd: BorrowedFd<'_>,
    window: &Window<'_>,
    offset: i64,
    append: bool,
) -> Result<usize, Errno> {
    let flags = if append { libc::RWF_APPEND } else { 0 };
    transfer(window, offset, |slices, offset| {
        // SAFETY: the window's contract: its slices are mapped.
        unsafe {
            libc::pwritev2(
                fd.as_raw_fd(),
                slices.as_ptr(),
                slices.len() as i32,
                offset,
                flags,
            )
        }
    })
}

/// Runs `call` on at most [`IOV_MAX`] slices at a time until one comes back short. An error after
/// the first bytes is left for the next request to meet, as `write(2)` itself does.
fn transfer(
    window: &Window<'_>,
    offset: i64,
    call: impl Fn(&[libc::iovec], i64) -> isize,
) -> Result<usize, Errno> {
    let mut done = 0;
    for slices in window.as_iovecs().chunks(IOV_MAX) {
        let wanted: usize = slices.iter().map(|slice| slice.iov_len).sum();
        let moved = match retry(|| call(slices, offset + done as i64)) {
            Ok(count) => count as usize,
            Err(errno) if done == 0 => return Err(errno),
            Err(_) => break,
        };
        done += moved;
        if moved < wanted {
            break;
        }
    }
    Ok(done)
}

/// `ftruncate(2)`.
pub fn truncate(fd: BorrowedFd<'_>, size: i64) -> Result<(), Errno> {
    // SAFETY: takes integers only.
    retry(|| unsafe { libc::ftruncate(fd.as_raw_fd(), size) }).map(drop)
}

/// `fsync(2)`, or `fdatasync(2)` when `data_only`.
pub fn fsync(fd: BorrowedFd<'_>, data_only: bool) -> Result<(), Errno> {
    retry(|| {
        if data_only {
            // SAFETY: takes an integer only.
            unsafe { libc::fdatasync(fd.as_raw_fd()) }
        } else {
            // SAFETY: takes an integer only.
            unsafe { libc::fsync(fd.as_raw_fd()) }
        }
    })
    .map(drop)
}

/// `syncfs(2)`: `fd` must be an opened file, not a path descriptor.
pub fn syncfs(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: takes an integer only.
    retry(|| unsafe { libc::syncfs(fd.as_raw_fd()) }).map(drop)
}

/// `fallocate(2)` with `FALLOC_FL_*` mode bits.
pub fn fallocate(fd: BorrowedFd<'_>, mode: i32, offset: i64, length: i64) -> Result<(), Errno> {
    // SAFETY: takes integers only.
    retry(|| unsafe { libc::fallocate(fd.as_raw_fd(), mode, offset, length) }).map(drop)
}

/// `lseek(2)`; returns the resulting offset.
pub fn seek(fd: BorrowedFd<'_>, offset: i64, whence: i32) -> Result<u64, Errno> {
    // SAFETY: takes integers only.
    let position = retry(|| unsafe { libc::lseek(fd.as_raw_fd(), offset, whence) })?;
    Ok(position as u64)
}

/// `copy_file_range(2)`; returns the bytes copied.
pub fn copy_file_range(
    from: (BorrowedFd<'_>, i64),
    to: (BorrowedFd<'_>, i64),
    length: usize,
    flags: u32,
) -> Result<usize, Errno> {
    let (mut offset_in, mut offset_out) = (from.1, to.1);
    let count = retry(|| {
        // SAFETY: both offsets are live and writable for the call.
        unsafe {
            libc::copy_file_range(
                from.0.as_raw_fd(),
                &raw mut offset_in,
                to.0.as_raw_fd(),
                &raw mut offset_out,
                length,
                flags,
            )
        }
    })?;
    Ok(count as usize)
}

/// What `fstatfs(2)` says of a file system. Sizes are in units of `fragment_size` bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileSystemStat {
    /// All blocks.
    pub blocks: u64,
    /// Free blocks.
    pub blocks_free: u64,
    /// Free blocks for ordinary users.
    pub blocks_available: u64,
    /// All inodes.
    pub files: u64,
    /// Free inodes.
    pub files_free: u64,
    /// Preferred transfer size in bytes.
    pub block_size: u32,
    /// Longest name in bytes.
    pub name_max: u32,
    /// Unit of the block counts in bytes.
    pub fragment_size: u32,
}

/// `fstatfs(2)`; works on path descriptors too.
pub fn fstatfs(fd: BorrowedFd<'_>) -> Result<FileSystemStat, Errno> {
    let mut answer = MaybeUninit::<libc::statfs64>::uninit();
    // SAFETY: `answer` is a writable statfs64 that outlives the call.
    retry(|| unsafe { libc::fstatfs64(fd.as_raw_fd(), answer.as_mut_ptr()) })?;
    // SAFETY: the call succeeded, so the kernel wrote the whole structure.
    let stat = unsafe { answer.assume_init() };
    Ok(FileSystemStat {
        blocks: stat.f_blocks,
        blocks_free: stat.f_bfree,
        blocks_available: stat.f_bavail,
        files: stat.f_files,
        files_free: stat.f_ffree,
        block_size: stat.f_bsize as u32,
        name_max: stat.f_namelen as u32,
        fragment_size: if stat.f_frsize == 0 {
            stat.f_bsize
        } else {
            stat.f_frsize
        } as u32,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::GuestBuffers;

    /// Transfers `slices` one-byte slices, of which the `n`th call moves `moved[n]`; the offsets of
    /// the calls and the result.
    fn transfer_bytes(slices: usize, moved: &[isize]) -> (Vec<i64>, Result<usize, Errno>) {
        let mut memory = vec![0u8; 2 * slices];
        let iovec = |byte: &mut [u8]| libc::iovec {
            iov_base: byte.as_mut_ptr().cast(),
            iov_len: 1,
        };
        let mut iovecs: Vec<_> = memory.chunks_mut(2).map(iovec).collect();
        // SAFETY: `memory` outlives the buffers and is not touched meanwhile.
        let mut buffers = unsafe { GuestBuffers::new(&mut iovecs, slices) };
        let offsets = std::cell::RefCell::new(Vec::new());
        let result = transfer(&buffers.window(0, slices), 100, |_, offset| {
            offsets.borrow_mut().push(offset);
            moved[offsets.borrow().len() - 1]
        });
        (offsets.into_inner(), result)
    }

    #[test]
    fn more_slices_than_one_call_takes_are_moved_by_several() {
        let (offsets, result) = transfer_bytes(2500, &[1024, 1024, 452]);
        assert_eq!((offsets, result), (vec![100, 1124, 2148], Ok(2500)));
    }

    #[test]
    fn a_call_that_comes_back_short_is_the_last() {
        let (offsets, result) = transfer_bytes(2500, &[1024, 1000, 452]);
        assert_eq!((offsets, result), (vec![100, 1124], Ok(2024)));
    }
}
