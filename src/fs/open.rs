//! Opening and closing.

use super::handle::Kind;
use super::{PassthroughFs, Retired};
use crate::fuse::HandleId;
use crate::fuse::operation::{Open, Release};
use crate::sys::{Errno, FileType};

/// `O_TMPFILE` without the `O_DIRECTORY` it includes.
const TMPFILE_BIT: i32 = libc::O_TMPFILE & !libc::O_DIRECTORY;

/// A file or directory the guest now has open.
#[derive(Clone, Copy, Debug)]
pub struct Opened {
    /// Its number.
    pub handle: HandleId,
}

impl PassthroughFs {
    /// OPEN: only regular files. Opening a FIFO could block and a device reach the host; the guest
    /// has its own for both.
    pub fn open(&self, op: &Open) -> Result<Opened, Errno> {
        let inode = self.nodes.resolve(op.node)?;
        match inode.file_type() {
            FileType::Regular => {}
            FileType::Directory => return Err(Errno::EISDIR),
            FileType::Symlink => return Err(Errno::ELOOP),
            FileType::Special => return Err(Errno::ENXIO),
        }
        let flags = self.host_flags(op.flags)?;
        let permit = self.budget.take()?;
        let fd = self.proc.reopen(inode.fd()?, flags)?;
        permit.keep();
        Ok(Opened {
            handle: self.handles.insert_file(op.node, fd, flags),
        })
    }

    /// OPENDIR.
    pub fn opendir(&self, op: &Open) -> Result<Opened, Errno> {
        let inode = self.nodes.resolve(op.node)?;
        let permit = self.budget.take()?;
        let fd = self
            .proc
            .reopen(inode.fd()?, libc::O_RDONLY | libc::O_DIRECTORY)?;
        permit.keep();
        Ok(Opened {
            handle: self.handles.insert_directory(op.node, fd),
        })
    }

    /// RELEASE.
    pub fn release(&self, op: &Release) -> Result<(), Errno> {
        self.close(op, Kind::File)
    }

    /// RELEASEDIR.
    pub fn releasedir(&self, op: &Release) -> Result<(), Errno> {
        self.close(op, Kind::Directory)
    }

    fn close(&self, op: &Release, kind: Kind) -> Result<(), Errno> {
        let removed = self.handles.remove(op.handle, op.node, kind)?;
        self.retire(Retired::Handle(removed));
        Ok(())
    }

    /// What of the guest's `open(2)` flags the host's file is opened with. Most are the guest
    /// kernel's own business; appending comes with each write, since a program may switch it on
    /// and off; `O_NOATIME` is for a file's owner, which the daemon is not.
    pub(super) fn host_flags(&self, guest: u32) -> Result<i32, Errno> {
        let guest = guest as i32;
        let access = guest & libc::O_ACCMODE;
        if access == libc::O_ACCMODE || guest & (libc::O_PATH | TMPFILE_BIT) != 0 {
            return Err(Errno::EINVAL);
        }
        let direct = if self.config.allow_direct_io {
            libc::O_DIRECT
        } else {
            0
        };
        Ok(access | guest & (libc::O_TRUNC | libc::O_SYNC | libc::O_DSYNC | direct))
    }
}
