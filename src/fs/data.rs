//! The bytes of open files.

use std::os::fd::BorrowedFd;

use super::PassthroughFs;
use super::handle::Kind;
use crate::fuse::operation::{CopyFileRange, Fallocate, Flush, Fsync, Lseek, Read, Write};
use crate::fuse::{HandleId, NodeId};
use crate::sys::{self, Errno, Window};

/// Most bytes one call of the kernel moves (`MAX_RW_COUNT`, `include/linux/fs.h`), so a count
/// always fits the replies' 32 bits.
const MAX_RW_COUNT: u64 = 0x7fff_f000;

impl PassthroughFs {
    /// READ, straight into `window`.
    pub fn read(&self, op: &Read, window: &Window<'_>) -> Result<usize, Errno> {
        sys::pread_into(self.file(op.node, op.handle)?, window, op.offset)
    }

    /// WRITE, straight from `window`. Where the guest cannot clear set-id bits itself, the host does.
    pub fn write(&self, op: &Write, window: &Window<'_>) -> Result<usize, Errno> {
        let fd = self.file(op.node, op.handle)?;
        let write = || sys::pwrite_from(fd, window, op.offset, op.append);
        if op.kill_priv {
            self.identity.without_fsetid(write)
        } else {
            write()
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
        let length = op.length.min(MAX_RW_COUNT) as usize;
        sys::copy_file_range((from, op.offset_in), (to, op.offset_out), length, op.flags)
    }

    fn file(&self, node: NodeId, handle: HandleId) -> Result<BorrowedFd<'_>, Errno> {
        self.handles.resolve(handle, node, Kind::File)?.fd()
    }
}
