//! Attributes of files and of the file system.

use std::os::fd::{AsFd, BorrowedFd};

use super::PassthroughFs;
use super::handle::Kind;
use super::node::Inode;
use crate::fuse::operation::{Access, Getattr, SetTime, Setattr, Statx};
use crate::fuse::{Caller, HandleId, NodeId};
use crate::sys::{self, Errno, FileSystemStat, FileType, Stat};

impl PassthroughFs {
    /// GETATTR.
    pub fn getattr(&self, op: &Getattr) -> Result<Stat, Errno> {
        sys::stat(self.object(op.node, op.handle)?, 0, 0)
    }

    /// STATX.
    pub fn statx(&self, op: &Statx) -> Result<Stat, Errno> {
        /// Fields a guest may ask for; the rest is the host's business.
        const FIELDS: u32 = libc::STATX_BASIC_STATS | libc::STATX_BTIME;
        const SYNC: u32 = (libc::AT_STATX_FORCE_SYNC | libc::AT_STATX_DONT_SYNC) as u32;
        let fd = self.object(op.node, op.handle)?;
        sys::stat(fd, op.mask & FIELDS, (op.sync & SYNC) as i32)
    }

    /// SETATTR. The owner first, since changing it clears set-id bits that `mode` may want; the
    /// times last, since a new size changes them.
    pub fn setattr(&self, op: &Setattr) -> Result<Stat, Errno> {
        let inode = self.nodes.resolve(op.node)?;
        if op.uid.is_some() || op.gid.is_some() {
            sys::chown(inode.fd()?, op.uid, op.gid)?;
        }
        if let Some(mode) = op.mode {
            self.chmod(inode, mode)?;
        }
        if let Some(size) = op.size {
            self.resize(inode, op, size)?;
        }
        if op.atime.is_some() || op.mtime.is_some() {
            let times = [timespec(op.atime), timespec(op.mtime)];
            sys::set_times(&self.proc, inode.fd()?, &times)?;
        }
        sys::stat(inode.fd()?, 0, 0)
    }

    /// READLINK, into `buffer`.
    pub fn readlink<'b>(&self, node: NodeId, buffer: &'b mut [u8]) -> Result<&'b [u8], Errno> {
        let inode = self.nodes.resolve(node)?;
        match inode.file_type() {
            FileType::Symlink => sys::read_link(inode.fd()?, buffer),
            _ => Err(Errno::EINVAL),
        }
    }

    /// STATFS.
    pub fn statfs(&self, node: NodeId) -> Result<FileSystemStat, Errno> {
        sys::fstatfs(self.nodes.resolve(node)?.fd()?)
    }

    /// SYNCFS of the file system that `node` is on.
    pub fn syncfs(&self, node: NodeId) -> Result<(), Errno> {
        let inode = self.nodes.resolve(node)?;
        let opened = match inode.file_type() {
            FileType::Directory | FileType::Regular => {
                self.proc.reopen(inode.fd()?, libc::O_RDONLY)?
            }
            _ => return Err(Errno::EINVAL),
        };
        sys::syncfs(opened.as_fd())
    }

    /// ACCESS, by the permission bits. Linux guests never ask: they check permissions themselves.
    pub fn access(&self, caller: &Caller, op: &Access) -> Result<(), Errno> {
        let stat = sys::stat(self.nodes.resolve(op.node)?.fd()?, 0, 0)?;
        if permits(&stat, caller, op.mask) {
            Ok(())
        } else {
            Err(Errno::EACCES)
        }
    }

    /// The open file when there is one, else the inode's path descriptor.
    fn object(&self, node: NodeId, handle: Option<HandleId>) -> Result<BorrowedFd<'_>, Errno> {
        let inode = self.nodes.resolve(node)?;
        let kind = match inode.file_type() {
            FileType::Directory => Kind::Directory,
            _ => Kind::File,
        };
        match handle {
            Some(handle) => self.handles.resolve(handle, node, kind)?.fd(),
            None => inode.fd(),
        }
    }

    fn chmod(&self, inode: &Inode, mode: u32) -> Result<(), Errno> {
        match inode.file_type() {
            FileType::Symlink => Err(Errno::EOPNOTSUPP),
            _ => sys::chmod(&self.proc, inode.fd()?, mode),
        }
    }

    fn resize(&self, inode: &Inode, op: &Setattr, size: i64) -> Result<(), Errno> {
        match inode.file_type() {
            FileType::Regular => {}
            FileType::Directory => return Err(Errno::EISDIR),
            _ => return Err(Errno::EINVAL),
        }
        if let Some(handle) = op.handle {
            return sys::truncate(
                self.handles.resolve(handle, op.node, Kind::File)?.fd()?,
                size,
            );
        }
        let opened = self.proc.reopen(inode.fd()?, libc::O_WRONLY)?;
        sys::truncate(opened.as_fd(), size)
    }
}

fn timespec(time: Option<SetTime>) -> libc::timespec {
    let (tv_sec, tv_nsec) = match time {
        None => (0, libc::UTIME_OMIT),
        Some(SetTime::Now) => (0, libc::UTIME_NOW),
        Some(SetTime::At(secs, nanos)) => (secs, nanos.into()),
    };
    libc::timespec { tv_sec, tv_nsec }
}

/// The check of `path_resolution(7)`, "Permissions".
fn permits(stat: &Stat, caller: &Caller, mask: u32) -> bool {
    let (raw, mode) = (stat.raw(), stat.mode());
    if caller.uid == 0 {
        let executable = mode & 0o111 != 0 || stat.file_type() == FileType::Directory;
        return mask & libc::X_OK as u32 == 0 || executable;
    }
    let granted = if caller.uid == raw.stx_uid {
        mode >> 6
    } else if caller.gid == raw.stx_gid {
        mode >> 3
    } else {
        mode
    };
    granted & mask == mask
}
