//! Finding files and giving them back.

use std::os::fd::{AsFd, OwnedFd};

use super::budget::Permit;
use super::node::Inode;
use super::{PassthroughFs, Retired};
use crate::fuse::operation::{Forget, Lookup};
use crate::fuse::{Name, NodeId};
use crate::sys::{self, Errno, FileType, Stat};

/// A file the guest now knows: one lookup of `node` is its.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its number.
    pub node: NodeId,
    /// Its attributes.
    pub stat: Stat,
    /// It is the root of another mount or device than its parent's.
    pub submount: bool,
}

impl PassthroughFs {
    /// LOOKUP.
    pub fn lookup(&self, op: &Lookup<'_>) -> Result<Entry, Errno> {
        self.find_child(self.nodes.resolve(op.parent)?, op.name)
    }

    /// FORGET.
    pub fn forget(&self, op: &Forget) {
        if let Some(node) = self.nodes.forget(op.node, op.lookups) {
            self.retire(Retired::Node(node));
        }
    }

    /// The entry `name` of `parent`. A known file costs one system call: its node pins the inode,
    /// so the same numbers mean the same file.
    pub(super) fn find_child(&self, parent: &Inode, name: Name<'_>) -> Result<Entry, Errno> {
        let name = name.as_c_str();
        let stat = sys::stat_child(parent.fd()?, name)?;
        if let Some(node) = self.nodes.find(&stat) {
            return Ok(entry(parent, node, stat));
        }
        let permit = self.budget.take()?;
        let fd = sys::open_child(parent.fd()?, name)?;
        self.adopt(parent, fd, permit)
    }

    /// A known file, found in `parent` once more.
    pub(super) fn find_again(&self, parent: &Inode, inode: &Inode) -> Result<Entry, Errno> {
        let stat = sys::stat(inode.fd()?, 0, 0)?;
        // Another thread may have forgotten it meanwhile.
        let node = self.nodes.find(&stat).ok_or(Errno::ESTALE)?;
        Ok(entry(parent, node, stat))
    }

    /// Makes the file behind the path descriptor `fd`, found in `parent`, known to the guest.
    pub(super) fn adopt(
        &self,
        parent: &Inode,
        fd: OwnedFd,
        permit: Permit<'_>,
    ) -> Result<Entry, Errno> {
        let stat = sys::stat(fd.as_fd(), 0, 0)?;
        let (node, kept) = self.nodes.find_or_insert(&stat, fd);
        if kept {
            permit.keep();
        }
        Ok(entry(parent, node, stat))
    }
}

/// A directory on another mount is announced, and so is one on another device of the same mount: a
/// btrfs subvolume, whose root has the inode number of every other's.
fn entry(parent: &Inode, node: NodeId, stat: Stat) -> Entry {
    let elsewhere = stat.mount_id() != parent.mount_id() || stat.dev() != parent.dev();
    let submount = stat.file_type() == FileType::Directory && elsewhere;
    Entry {
        node,
        stat,
        submount,
    }
}
