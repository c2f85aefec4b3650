//! Calls on open files.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::iovec;

use super::Errno;
use super::errno::retry;
use super::iov::{Span, Window};

/// The most slices one vectored call takes (`IOV_MAX`, `readv(2)`).
const IOV_MAX: usize = 1024;
/// Every file system's blocks are multiples of it.
const SECTOR: i64 = 512;

/// Reads from `offset` on straight into the memory of `target`. Returns the bytes read: fewer than
/// it holds only at the end of the file.
///
/// A call also comes back short before a block that cannot be read. A file seldom ends at a block's
/// border, so there one more call tells the end from an error.
pub fn pread_into(fd: BorrowedFd<'_>, target: &mut Span<'_>, offset: i64) -> Result<usize, Errno> {
    let mut done = 0;
    while done < target.len() {
        let call = |slices: &[iovec]| {
            let position = offset + done as i64;
            // SAFETY: the span's contract: its slices are mapped, writable and nobody's reference.
            unsafe {
                libc::preadv64(
                    fd.as_raw_fd(),
                    slices.as_ptr(),
                    slices.len() as i32,
                    position,
                )
            }
        };
        let (moved, wanted) = transfer(&target.rest(done), call)?;
        done += moved;
        let at_border = (offset + done as i64) % SECTOR == 0;
        if moved == 0 || moved < wanted && !at_border {
            break;
        }
    }
    Ok(done)
}

/// How [`pwrite_from`] writes.
#[derive(Clone, Copy, Debug)]
pub struct WriteTo {
    /// To this byte on.
    pub offset: i64,
    /// `RWF_*` flags of `pwritev2(2)`.
    pub flags: i32,
    /// Everything or an error; else the bytes before an error count, and the error is left for the
    /// next write to meet, as `write(2)` itself does.
    pub whole: bool,
}

/// Writes the memory of `source`. Returns the bytes written.
pub fn pwrite_from(fd: BorrowedFd<'_>, source: &mut Span<'_>, to: WriteTo) -> Result<usize, Errno> {
    let mut done = 0;
    while done < source.len() {
        let call = |slices: &[iovec]| {
            let (count, offset) = (slices.len() as i32, to.offset + done as i64);
            // SAFETY: the span's contract: its slices are mapped.
            unsafe { libc::pwritev2(fd.as_raw_fd(), slices.as_ptr(), count, offset, to.flags) }
        };
        match transfer(&source.rest(done), call) {
            Ok((0, _)) => break,
            Ok((moved, wanted)) => {
                done += moved;
                if moved < wanted && !to.whole {
                    break;
                }
            }
            Err(_) if done > 0 && !to.whole => break,
            Err(errno) => return Err(errno),
        }
    }
    if to.whole && done < source.len() {
        return Err(Errno::EIO);
    }
    Ok(done)
}

/// Makes one vectored call. Returns how many bytes it moved and how many it was to move.
fn transfer(
    window: &Window<'_>,
    call: impl Fn(&[iovec]) -> isize,
) -> Result<(usize, usize), Errno> {
    let slices = window.as_iovecs();
    let slices = &slices[..slices.len().min(IOV_MAX)];
    let wanted = slices.iter().map(|slice| slice.iov_len).sum();
    let moved = retry(|| call(slices))?;
    Ok((moved as usize, wanted))
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
    use std::fs::File;
    use std::os::fd::AsFd;

    /// Runs `act` on buffers of `count` slices of `len` bytes each, all zero.
    fn with_buffers<R>(count: usize, len: usize, act: impl FnOnce(&mut GuestBuffers) -> R) -> R {
        let mut memory = vec![0u8; count * len];
        let mut slices: Vec<iovec> = memory
            .chunks_mut(len)
            .map(|part| iovec {
                iov_base: part.as_mut_ptr().cast(),
                iov_len: len,
            })
            .collect();
        // SAFETY: `memory` outlives the buffers and is not touched meanwhile.
        let mut buffers = unsafe { GuestBuffers::new(&mut slices, count * len) };
        act(&mut buffers)
    }

    fn file_of(bytes: &[u8]) -> File {
        use nix::sys::memfd::{MFdFlags, memfd_create};
        let file = File::from(memfd_create(c"test", MFdFlags::empty()).unwrap());
        std::os::unix::fs::FileExt::write_all_at(&file, bytes, 0).unwrap();
        file
    }

    #[test]
    fn more_slices_than_one_call_takes_are_read_and_written_in_order() {
        let pattern: Vec<u8> = (0..3000u32).map(|n| n as u8).collect();
        let (source, copy) = (file_of(&pattern), file_of(&[]));
        with_buffers(3000, 1, |buffers| {
            let mut span = buffers.span(0, 3000);
            assert_eq!(pread_into(source.as_fd(), &mut span, 0).unwrap(), 3000);
            let to = WriteTo {
                offset: 0,
                flags: 0,
                whole: false,
            };
            assert_eq!(pwrite_from(copy.as_fd(), &mut span, to).unwrap(), 3000);
        });
        let mut written = Vec::new();
        std::io::Seek::rewind(&mut &copy).unwrap();
        std::io::Read::read_to_end(&mut &copy, &mut written).unwrap();
        assert_eq!(written, pattern);
    }

    #[test]
    fn the_end_of_the_file_ends_a_read_wherever_it_is() {
        for len in [0, 1, 511, 512, 1000, 4096] {
            let file = file_of(&vec![7; len]);
            let read = with_buffers(3, 4096, |buffers| {
                pread_into(file.as_fd(), &mut buffers.span(0, 8192), 0).unwrap()
            });
            assert_eq!(read, len);
        }
    }
}
