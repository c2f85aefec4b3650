//! Making files of every kind.

use std::os::fd::{AsFd, OwnedFd};

use super::handle::Kind;
use super::node::Inode;
use super::{Entry, Opened, PassthroughFs};
use crate::fuse::Caller;
use crate::fuse::operation::{Create, Forget, Link, Mkdir, Mknod, Open, Symlink, Tmpfile};
use crate::sys::{self, Errno};

impl PassthroughFs {
    /// CREATE. A new file is opened by the very call that makes it; an existing one, which another
    /// client of the host made meanwhile, is looked up and opened like any other, so that a FIFO
    /// or a device put in its place is never opened.
    pub fn create(&self, caller: &Caller, op: &Create<'_>) -> Result<(Entry, Opened), Errno> {
        let flags = self.host_flags(op.flags)?;
        let (parent, name) = (self.nodes.resolve(op.parent)?, op.name.as_c_str());
        let mode = self.permitted_mode(parent, caller, op.mode)?;
        let exclusive = op.flags as i32 & libc::O_EXCL != 0;
        loop {
            let made = self.identity.act_as(caller, || {
                sys::create_exclusive(parent.fd()?, name, flags & !libc::O_TRUNC, mode)
            });
            match made {
                Ok(file) => return self.adopt_opened(parent, file),
                Err(Errno::EEXIST) if !exclusive => {}
                Err(errno) => return Err(errno),
            }
            match self.open_existing(parent, op) {
                // It went away again: now it can be made.
                Err(Errno::ENOENT) => continue,
                result => return result,
            }
        }
    }

    /// TMPFILE.
    pub fn tmpfile(&self, caller: &Caller, op: &Tmpfile) -> Result<(Entry, Opened), Errno> {
        // The guest's kernel passes O_TMPFILE itself on; no other operation may have it.
        let flags = self.host_flags(op.flags & !(libc::O_TMPFILE as u32))?;
        let parent = self.nodes.resolve(op.parent)?;
        let mode = self.permitted_mode(parent, caller, op.mode)?;
        let file = self
            .identity
            .act_as(caller, || sys::open_temporary(parent.fd()?, flags, mode))?;
        self.adopt_opened(parent, file)
    }

    /// MKDIR.
    pub fn mkdir(&self, caller: &Caller, op: &Mkdir<'_>) -> Result<Entry, Errno> {
        let (parent, name) = (self.nodes.resolve(op.parent)?, op.name.as_c_str());
        self.make(parent, caller, || {
            sys::make_directory(parent.fd()?, name, op.mode)
        })?;
        self.find_child(parent, name)
    }

    /// MKNOD. Only callers that are privileged on the host too can make device nodes.
    pub fn mknod(&self, caller: &Caller, op: &Mknod<'_>) -> Result<Entry, Errno> {
        let (parent, name) = (self.nodes.resolve(op.parent)?, op.name.as_c_str());
        let device = decode_device(op.device);
        let mode = self.permitted_mode(parent, caller, op.mode)?;
        self.make(parent, caller, || {
            sys::make_node(parent.fd()?, name, mode, device)
        })?;
        self.find_child(parent, name)
    }

    /// SYMLINK.
    pub fn symlink(&self, caller: &Caller, op: &Symlink<'_>) -> Result<Entry, Errno> {
        let (parent, name) = (self.nodes.resolve(op.parent)?, op.name.as_c_str());
        self.make(parent, caller, || {
            sys::symlink(op.target, parent.fd()?, name)
        })?;
        self.find_child(parent, name)
    }

    /// LINK: one name more for a known file.
    pub fn link(&self, op: &Link<'_>) -> Result<Entry, Errno> {
        let (inode, parent) = (
            self.nodes.resolve(op.node)?,
            self.nodes.resolve(op.new_parent)?,
        );
        let name = op.new_name.as_c_str();
        sys::link(&self.proc, inode.fd()?, parent.fd()?, name)?;
        self.find_child(parent, name)
    }

    /// Runs `act` as the caller, unless there is no descriptor left to look the result up with.
    fn make(
        &self,
        parent: &Inode,
        caller: &Caller,
        act: impl FnOnce() -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let _permit = self.budget.take()?;
        debug_assert!(parent.fd().is_ok());
        self.identity.act_as(caller, act)
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

    /// Makes a file that was just created and opened known to the guest.
    fn adopt_opened(&self, parent: &Inode, file: OwnedFd) -> Result<(Entry, Opened), Errno> {
        let (for_node, for_handle) = (self.budget.take()?, self.budget.take()?);
        let path_fd = self.proc.reopen(file.as_fd(), libc::O_PATH)?;
        let entry = self.adopt(parent, path_fd, for_node)?;
        for_handle.keep();
        let handle = self.handles.insert(entry.node, Kind::File, file);
        Ok((entry, Opened { handle }))
    }

    fn open_existing(&self, parent: &Inode, op: &Create<'_>) -> Result<(Entry, Opened), Errno> {
        let entry = self.find_child(parent, op.name.as_c_str())?;
        let open = Open {
            node: entry.node,
            flags: op.flags,
        };
        match self.open(&open) {
            Ok(opened) => Ok((entry, opened)),
            Err(errno) => {
                self.forget(&Forget {
                    node: entry.node,
                    lookups: 1,
                });
                Err(errno)
            }
        }
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
