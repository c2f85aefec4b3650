//! Listing directories.

use std::ffi::CStr;

use super::handle::Kind;
use super::node::Inode;
use super::{Entry, PassthroughFs};
use crate::fuse::operation::Readdir;
use crate::fuse::{Name, NodeId};
use crate::sys::{self, Errno, RawDirent};

/// A directory being listed.
#[derive(Debug)]
pub struct Listing<'a> {
    fs: &'a PassthroughFs,
    node: NodeId,
    inode: &'a Inode,
}

impl Listing<'_> {
    /// The listed entry with its attributes: the guest then knows it as if it had looked it up.
    /// The dots have none.
    pub fn lookup(&self, name: &CStr) -> Result<Entry, Errno> {
        let name = Name::new(name).map_err(|error| Errno::from_raw(error.errno()))?;
        self.fs.find_child(self.inode, name)
    }

    /// The inode number to show: the root's parent is the root, whatever the host has there.
    pub fn ino(&self, dirent: &RawDirent<'_>) -> u64 {
        if self.node == NodeId::ROOT && dirent.name == c".." {
            self.inode.ino()
        } else {
            dirent.ino
        }
    }
}

impl PassthroughFs {
    /// READDIR and READDIRPLUS: calls `take` with entries from `op.offset` on until it refuses one,
    /// reading at most a `buffer` full.
    pub fn readdir(
        &self,
        op: &Readdir,
        buffer: &mut [u8],
        mut take: impl FnMut(&Listing<'_>, &RawDirent<'_>) -> bool,
    ) -> Result<(), Errno> {
        /// Where the descriptor stands after an entry was refused: nowhere a guest could know.
        const UNKNOWN: i64 = -1;
        let listing = Listing {
            fs: self,
            node: op.node,
            inode: self.nodes.resolve(op.node)?,
        };
        let open = self.handles.resolve(op.handle, op.node, Kind::Directory)?;
        let mut position = open.position();
        if *position != op.offset {
            sys::seek(open.fd()?, op.offset, libc::SEEK_SET)?;
        }
        *position = op.offset;
        let len = sys::read_dirents(open.fd()?, buffer)?;
        for dirent in sys::dirents(&buffer[..len]) {
            if !take(&listing, &dirent) {
                *position = UNKNOWN;
                break;
            }
            *position = dirent.next_offset;
        }
        Ok(())
    }

    /// FSYNCDIR.
    pub fn fsyncdir(&self, op: &crate::fuse::operation::Fsync) -> Result<(), Errno> {
        let open = self.handles.resolve(op.handle, op.node, Kind::Directory)?;
        sys::fsync(open.fd()?, op.data_only)
    }
}
