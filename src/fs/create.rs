//! Making files of every kind.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::budget::Permit;
use super::node::Inode;
use super::{Entry, Opened, PassthroughFs};
use crate::fuse::operation::{Create, Forget, Link, Mkdir, Mknod, Open, Symlink, Tmpfile};
use crate::fuse::{Caller, Name, NodeId};
use crate::sys::{self, Errno};

impl PassthroughFs {
    /// CREATE. A new file is opened by the very call that makes it; an existing one, which another
    /// client of the host made meanwhile, is looked up and opened like any other, so that a FIFO
    /// or a device put in its place is never opened.
    pub fn create(&self, caller: &Caller, op: &Create<'_>) -> Result<(Entry, Opened), Errno> {
        /// An entry that exists and does not by turns this often is not worth a worker's time.
        const ATTEMPTS: usize = 8;
        let flags = self.host_flags(op.flags)?;
        let (parent, name) = (self.nodes.resolve(op.parent)?, op.name.as_c_str());
        let mode = self.permitted_mode(parent, caller, op.mode)?;
        let exclusive = op.flags as i32 & libc::O_EXCL != 0;
        for _ in 0..ATTEMPTS {
            let permits = self.permits_for_opened()?;
            let made = self.identity.act_as(caller, || {
                sys::create_exclusive(parent.fd()?, name, flags & !libc::O_TRUNC, mode)
            });
            match made {
                Ok(file) => return self.adopt_opened(parent, file, flags, permits),
                Err(Errno::EEXIST) if !exclusive => drop(permits),
                Err(errno) => return Err(errno),
            }
            match self.find_child(parent, op.name) {
                // It went away again: now it can be made.
                Err(Errno::ENOENT) => continue,
                Err(errno) => return Err(errno),
                Ok(entry) => return self.open_existing(entry, op.flags),
            }
        }
        Err(Errno::ESTALE)
    }

    /// TMPFILE.
    pub fn tmpfile(&self, caller: &Caller, op: &Tmpfile) -> Result<(Entry, Opened), Errno> {
        // The guest's kernel passes O_TMPFILE itself on; no other operation may have it.
        let flags = self.host_flags(op.flags & !(libc::O_TMPFILE as u32))?;
        let parent = self.nodes.resolve(op.parent)?;
        let mode = self.permitted_mode(parent, caller, op.mode)?;
        let permits = self.permits_for_opened()?;
        let file = self
            .identity
            .act_as(caller, || sys::open_temporary(parent.fd()?, flags, mode))?;
        self.adopt_opened(parent, file, flags, permits)
    }

    /// MKDIR.
    pub fn mkdir(&self, caller: &Caller, op: &Mkdir<'_>) -> Result<Entry, Errno> {
        self.make(caller, op.parent, op.name, |directory, name| {
            sys::make_directory(directory, name, op.mode)
        })
    }

    /// MKNOD. Only callers that are privileged on the host too can make device nodes.
    pub fn mknod(&self, caller: &Caller, op: &Mknod<'_>) -> Result<Entry, Errno> {
        let device = decode_device(op.device);
        let mode = self.permitted_mode(self.nodes.resolve(op.parent)?, caller, op.mode)?;
        self.make(caller, op.parent, op.name, |directory, name| {
            sys::make_node(directory, name, mode, device)
        })
    }

    /// SYMLINK.
    pub fn symlink(&self, caller: &Caller, op: &Symlink<'_>) -> Result<Entry, Errno> {
        self.make(caller, op.parent, op.name, |directory, name| {
            sys::symlink(op.target, directory, name)
        })
    }

    /// LINK: one name more for a known file.
    pub fn link(&self, op: &Link<'_>) -> Result<Entry, Errno> {
        let inode = self.nodes.resolve(op.node)?;
        let parent = self.nodes.resolve(op.new_parent)?;
        sys::link(
            &self.proc,
            inode.fd()?,
            parent.fd()?,
            op.new_name.as_c_str(),
        )?;
        self.find_again(parent, inode)
    }

    /// Makes an entry as the caller and finds it, both with a descriptor reserved for it before.
    fn make(
        &self,
        caller: &Caller,
        parent: NodeId,
        name: Name<'_>,
        act: impl FnOnce(BorrowedFd<'_>, &CStr) -> Result<(), Errno>,
    ) -> Result<Entry, Errno> {
        let parent = self.nodes.resolve(parent)?;
        let permit = self.budget.take()?;
        let directory = parent.fd()?;
        self.identity
            .act_as(caller, || act(directory, name.as_c_str()))?;
        let fd = sys::open_child(directory, name.as_c_str())?;
        self.adopt(parent, fd, permit)
    }

    /// The mode of a new file without the set-group-id bit that its caller may not give it. The
    /// kernel takes it away itself (`mode_strip_sgid`, `fs/inode.c`), unless it takes the caller
    /// for a member of the directory's group because of a group that the daemon could not drop.
    fn permitted_mode(&self, parent: &Inode, caller: &Caller, mode: u32) -> Result<u32, Errno> {
        const FOR_GROUP: u32 = libc::S_ISGID | libc::S_IXGRP;
        if !self.config.strip_sgid || mode & FOR_GROUP != FOR_GROUP || caller.uid == 0 {
            return Ok(mode);
        }
        let directory = sys::stat(parent.fd()?, 0, 0)?;
        let inherits = directory.mode() & libc::S_ISGID != 0;
        Ok(match inherits && directory.raw().stx_gid != caller.gid {
            true => mode & !libc::S_ISGID,
            false => mode,
        })
    }

    /// For a node and a handle; taken before the file is made, lest it stays behind without them.
    fn permits_for_opened(&self) -> Result<[Permit<'_>; 2], Errno> {
        Ok([self.budget.take()?, self.budget.take()?])
    }

    /// Makes a file that was just created and opened with `flags` known to the guest.
    fn adopt_opened(
        &self,
        parent: &Inode,
        file: OwnedFd,
        flags: i32,
        [for_node, for_handle]: [Permit<'_>; 2],
    ) -> Result<(Entry, Opened), Errno> {
        let path_fd = self.proc.reopen(file.as_fd(), libc::O_PATH)?;
        let entry = self.adopt(parent, path_fd, for_node)?;
        for_handle.keep();
        let handle = self.handles.insert_file(entry.node, file, flags);
        Ok((entry, Opened { handle }))
    }

    /// Opens a file that was just looked up; if that fails the guest does not know of the lookup.
    fn open_existing(&self, entry: Entry, flags: u32) -> Result<(Entry, Opened), Errno> {
        let node = entry.node;
        self.open(&Open { node, flags })
            .map(|opened| (entry, opened))
            .inspect_err(|_| self.forget(&Forget { node, lookups: 1 }))
    }
}

/// A device number as the kernel packs it for the wire (`new_encode_dev`,
/// `include/linux/kdev_t.h`), as `makedev(3)` packs it.
fn decode_device(device: u32) -> u64 {
    let major = device >> 8 & 0xfff;
    let minor = device & 0xff | device >> 12 & 0xfff00;
    libc::makedev(major, minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_number_keeps_its_major_and_minor() {
        for (major, minor) in [(0, 0), (1, 3), (8, 17), (259, 300), (0xfff, 0xfffff)] {
            let packed = minor & 0xff | major << 8 | (minor & !0xff) << 12;
            assert_eq!(
                decode_device(packed),
                libc::makedev(major, minor),
                "{major}:{minor}"
            );
        }
    }
}
