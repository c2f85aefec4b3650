//! The bytes of open files.

use std::os::fd::BorrowedFd;

use super::PassthroughFs;
use super::handle::Kind;
use crate::fuse::operation::{CopyFileRange, Fallocate, Flush, Fsync, Lseek, Read, Write};
use crate::fuse::{HandleId, NodeId};
use crate::sys::{self, Errno, Span, WriteTo};

/// Most bytes of one COPY_FILE_RANGE: callers ask for the rest again, and a worker is not held for
/// long.
const MAX_COPY: u64 = 128 << 20;

impl PassthroughFs {
    /// READ, straight into `target`.
    pub fn read(&self, op: &Read, target: &mut Span<'_>) -> Result<usize, Errno> {
        let fd = self.file_as(op.node, op.handle, op.flags as i32)?;
        sys::pread_into(fd, target, op.offset)
    }

    /// WRITE, straight from `source`. Where the guest cannot clear set-id bits itself, the host does.
    pub fn write(&self, op: &Write, source: &mut Span<'_>) -> Result<usize, Errno> {
        let flags = if op.from_cache { 0 } else { op.flags as i32 };
        let fd = self.file_as(op.node, op.handle, flags)?;
        let to = WriteTo {
            offset: op.offset,
            flags: write_flags(flags),
            whole: op.from_cache,
        };
        if op.kill_priv {
            self.identity
                .without_fsetid(|| sys::pwrite_from(fd, source, to))
        } else {
            sys::pwrite_from(fd, source, to)
        }
    }

    /// FLUSH: closing a duplicate makes network file systems report what closing reports.
    pub fn flush(&self, op: &Flush) -> Result<(), Errno> {
        sys::close_duplicate(self.file(op.node, op.handle)?)
    }

    /// FSYNC.
    pub fn fsync(&self, op: &Fsync) -> Result<(), Errno> {
        sys::fsync(self.file(op.node, op.handle)?, op.data_only)
    }

    /// FALLOCATE.
    pub fn fallocate(&self, op: &Fallocate) -> Result<(), Errno> {
        let fd = self.file(op.node, op.handle)?;
        sys::fallocate(fd, op.mode as i32, op.offset, op.length)
    }

    /// LSEEK.
    pub fn lseek(&self, op: &Lseek) -> Result<u64, Errno> {
        sys::seek(self.file(op.node, op.handle)?, op.offset, op.whence)
    }

    /// COPY_FILE_RANGE.
    pub fn copy_file_range(&self, op: &CopyFileRange) -> Result<usize, Errno> {
        let from = self.file(op.node_in, op.handle_in)?;
        let to = self.file(op.node_out, op.handle_out)?;
        let length = op.length.min(MAX_COPY) as usize;
        sys::copy_file_range((from, op.offset_in), (to, op.offset_out), length, op.flags)
    }

    /// The open file, without `O_DIRECT` once the guest's own has it no more.
    fn file_as(&self, node: NodeId, handle: HandleId, flags: i32) -> Result<BorrowedFd<'_>, Errno> {
        let open = self.handles.resolve(handle, node, Kind::File)?;
        if open.is_direct() && flags & libc::O_DIRECT == 0 {
            sys::clear_direct(open.fd()?)?;
            open.set_direct(false);
        }
        open.fd()
    }

    fn file(&self, node: NodeId, handle: HandleId) -> Result<BorrowedFd<'_>, Errno> {
        self.handles.resolve(handle, node, Kind::File)?.fd()
    }
}

/// What of the guest's current `open(2)` flags each write has to say, since programs may change them
/// (`F_SETFL`) or ask for them for one write only (`pwritev2(2)`).
fn write_flags(flags: i32) -> i32 {
    let append = if flags & libc::O_APPEND != 0 {
        libc::RWF_APPEND
    } else {
        0
    };
    let sync = match flags & libc::O_SYNC {
        0 => 0,
        libc::O_DSYNC => libc::RWF_DSYNC,
        _ => libc::RWF_SYNC,
    };
    append | sync
}
