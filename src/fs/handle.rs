//! The guest's open files and directories.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::slab::{Key, Slab};
use crate::fuse::{HandleId, NodeId};
use crate::sys::{Errno, FdCell};

/// Whether a handle is of a file or of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// For READ, WRITE and the like.
    File,
    /// For READDIR and the like.
    Directory,
}

/// One open file or directory.
#[derive(Debug, Default)]
pub struct OpenFile {
    fd: FdCell,
    node: AtomicU64,
    directory: AtomicBool,
    /// It has `O_DIRECT`.
    direct: AtomicBool,
    /// Of a directory: where its descriptor stands. Listings of one handle take turns.
    position: Mutex<i64>,
}

impl OpenFile {
    /// Its descriptor.
    pub fn fd(&self) -> Result<BorrowedFd<'_>, Errno> {
        self.fd.borrow()
    }

    /// Whether it was opened with `O_DIRECT` and still has it.
    pub fn is_direct(&self) -> bool {
        self.direct.load(Ordering::Relaxed)
    }

    /// Notes whether it has `O_DIRECT`.
    pub fn set_direct(&self, direct: bool) {
        self.direct.store(direct, Ordering::Relaxed);
    }

    /// Of a directory: where its descriptor stands, for the caller alone while it holds this.
    pub fn position(&self) -> MutexGuard<'_, i64> {
        self.position.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A handle that left the table; its slot and descriptor are given back when nobody uses them.
#[must_use]
#[derive(Clone, Copy, Debug)]
pub struct Removed(u32);

/// All open files and directories of the guest.
#[derive(Debug, Default)]
pub struct HandleTable(Slab<OpenFile>);

impl HandleTable {
    /// Adds a directory of `node`.
    pub fn insert_directory(&self, node: NodeId, fd: OwnedFd) -> HandleId {
        self.insert(node, Kind::Directory, fd, 0)
    }

    /// Adds a file of `node` that was opened with `flags`.
    pub fn insert_file(&self, node: NodeId, fd: OwnedFd, flags: i32) -> HandleId {
        self.insert(node, Kind::File, fd, flags)
    }

    fn insert(&self, node: NodeId, kind: Kind, fd: OwnedFd, flags: i32) -> HandleId {
        let key = self.0.insert(|open| {
            open.set_direct(flags & libc::O_DIRECT != 0);
            open.node.store(node.0, Ordering::Relaxed);
            open.directory
                .store(kind == Kind::Directory, Ordering::Relaxed);
            *open.position() = 0;
            open.fd.put(fd);
        });
        HandleId(key.number())
    }

    /// The open file with this number, if it is of this node and kind; else `EBADF`.
    pub fn resolve(&self, id: HandleId, node: NodeId, kind: Kind) -> Result<&OpenFile, Errno> {
        let open = self.0.get(Key::from_number(id.0)).ok_or(Errno::EBADF)?;
        let matches = open.node.load(Ordering::Relaxed) == node.0
            && open.directory.load(Ordering::Relaxed) == (kind == Kind::Directory);
        if matches { Ok(open) } else { Err(Errno::EBADF) }
    }

    /// Ends a handle, which must be of this node and kind.
    pub fn remove(&self, id: HandleId, node: NodeId, kind: Kind) -> Result<Removed, Errno> {
        self.resolve(id, node, kind)?;
        let key = Key::from_number(id.0);
        if self.0.remove(key) {
            Ok(Removed(key.slot()))
        } else {
            Err(Errno::EBADF)
        }
    }

    /// Ends all handles: the session is over.
    pub fn remove_all(&self) -> impl Iterator<Item = Removed> {
        let keys = self.0.keys().into_iter();
        keys.filter(|&key| self.0.remove(key))
            .map(|key| Removed(key.slot()))
    }

    /// Closes a removed handle's descriptor and frees its slot.
    pub fn give_back(&self, removed: Removed) {
        self.0.recycle(removed.0, |open| drop(open.fd.take()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn c19_a_handle_is_good_for_its_own_node_and_kind_until_released() {
        let table = HandleTable::default();
        let (node, other) = (NodeId(5), NodeId(6));
        let id = table.insert_file(node, File::open("/dev/null").unwrap().into(), 0);

        assert!(table.resolve(id, node, Kind::File).is_ok());
        for (node, kind) in [(other, Kind::File), (node, Kind::Directory)] {
            assert_eq!(table.resolve(id, node, kind).unwrap_err(), Errno::EBADF);
            assert!(table.remove(id, node, kind).is_err());
        }
        let removed = table.remove(id, node, Kind::File).unwrap();
        assert!(table.remove(id, node, Kind::File).is_err());
        table.give_back(removed);
        assert!(table.resolve(id, node, Kind::File).is_err());
    }
}
