//! The inodes the guest knows, by node id and by identity.
//!
//! A node is found by its id without a lock (`fs::slab`), by its identity under the lock of one of
//! [`SHARDS`] shards. Lookup counts change only under the shard's lock, so a node cannot be found
//! by identity and forgotten at the same time. The path descriptor pins the host's inode while
//! the node lives: its inode number cannot come to mean another file.

use std::hash::BuildHasher;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::{DefaultHashBuilder, HashTable};

use super::slab::{Key, Slab};
use crate::fuse::NodeId;
use crate::sys::{Errno, FdCell, FileType, Stat};

const SHARDS: usize = 16;

/// What makes two host files the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    dev: u64,
    ino: u64,
    mount: u64,
}

impl From<&Stat> for Identity {
    fn from(stat: &Stat) -> Self {
        Self {
            dev: stat.dev(),
            ino: stat.raw().stx_ino,
            mount: stat.mount_id(),
        }
    }
}

/// Our record of a host file.
#[derive(Debug, Default)]
pub struct Inode {
    dev: AtomicU64,
    ino: AtomicU64,
    mount: AtomicU64,
    /// Lookups the guest holds; written under the shard's lock.
    lookups: AtomicU64,
    /// `S_IFMT` bits.
    format: AtomicU32,
    fd: FdCell,
}

impl Inode {
    /// Its path descriptor.
    pub fn fd(&self) -> Result<BorrowedFd<'_>, Errno> {
        self.fd.borrow()
    }

    /// Its type, which no inode ever changes.
    pub fn file_type(&self) -> FileType {
        FileType::of_mode(self.format.load(Ordering::Relaxed))
    }

    /// The mount it was reached through.
    pub fn mount_id(&self) -> u64 {
        self.mount.load(Ordering::Relaxed)
    }

    /// The device it is on.
    pub fn dev(&self) -> u64 {
        self.dev.load(Ordering::Relaxed)
    }

    /// Its inode number on the host.
    pub fn ino(&self) -> u64 {
        self.ino.load(Ordering::Relaxed)
    }

    fn identity(&self) -> Identity {
        Identity {
            dev: self.dev.load(Ordering::Relaxed),
            ino: self.ino.load(Ordering::Relaxed),
            mount: self.mount.load(Ordering::Relaxed),
        }
    }

    fn fill(&self, identity: Identity, stat: &Stat, fd: OwnedFd) {
        self.dev.store(identity.dev, Ordering::Relaxed);
        self.ino.store(identity.ino, Ordering::Relaxed);
        self.mount.store(identity.mount, Ordering::Relaxed);
        self.format
            .store(stat.mode() & libc::S_IFMT, Ordering::Relaxed);
        self.lookups.store(1, Ordering::Relaxed);
        self.fd.put(fd);
    }
}

/// A node that left the table; its slot and descriptor are given back when nobody uses them.
#[must_use]
#[derive(Clone, Copy, Debug)]
pub struct Removed(u32);

/// All inodes the guest knows.
#[derive(Debug)]
pub struct NodeTable {
    nodes: Slab<Inode>,
    shards: [Mutex<HashTable<u32>>; SHARDS],
    hasher: DefaultHashBuilder,
}

impl NodeTable {
    /// A table that holds just the root.
    pub fn new(root: &Stat, fd: OwnedFd) -> Self {
        let table = Self {
            nodes: Slab::new(),
            shards: [const { Mutex::new(HashTable::new()) }; SHARDS],
            hasher: DefaultHashBuilder::default(),
        };
        let id = table.insert(root, fd);
        assert_eq!(id, NodeId::ROOT, "the first node is the root");
        table
    }

    /// The inode with this id, or `EBADF`.
    pub fn resolve(&self, id: NodeId) -> Result<&Inode, Errno> {
        self.nodes.get(Key::from_number(id.0)).ok_or(Errno::EBADF)
    }

    /// The known node of this file, if any; the guest holds one lookup more of it.
    pub fn find(&self, stat: &Stat) -> Option<NodeId> {
        let identity = Identity::from(stat);
        let hash = self.hasher.hash_one(identity);
        self.find_in(&self.shard(hash), hash, identity)
    }

    /// The node of this file, which `fd` is a path descriptor of; known ones keep their own. The
    /// guest holds one lookup more of it. The boolean says whether `fd` was kept.
    pub fn find_or_insert(&self, stat: &Stat, fd: OwnedFd) -> (NodeId, bool) {
        let identity = Identity::from(stat);
        let hash = self.hasher.hash_one(identity);
        let mut shard = self.shard(hash);
        if let Some(id) = self.find_in(&shard, hash, identity) {
            return (id, false);
        }
        let key = self.nodes.insert(|inode| inode.fill(identity, stat, fd));
        shard.insert_unique(hash, key.slot(), |&slot| {
            self.hasher.hash_one(self.nodes.record(slot).identity())
        });
        (NodeId(key.number()), true)
    }

    fn insert(&self, stat: &Stat, fd: OwnedFd) -> NodeId {
        self.find_or_insert(stat, fd).0
    }

    /// The guest gives `lookups` of a node back; more than it holds count as all. A node without
    /// lookups leaves the table. The root stays, and unknown ids mean nothing.
    pub fn forget(&self, id: NodeId, lookups: u64) -> Option<Removed> {
        if id == NodeId::ROOT {
            return None;
        }
        let key = Key::from_number(id.0);
        let inode = self.nodes.get(key)?;
        let hash = self.hasher.hash_one(inode.identity());
        let mut shard = self.shard(hash);
        // Another thread may have removed it before we had the lock.
        let inode = self.nodes.get(key)?;
        let left = inode
            .lookups
            .load(Ordering::Relaxed)
            .saturating_sub(lookups);
        inode.lookups.store(left, Ordering::Relaxed);
        if left > 0 || !self.nodes.remove(key) {
            return None;
        }
        if let Ok(entry) = shard.find_entry(hash, |&slot| slot == key.slot()) {
            entry.remove();
        }
        Some(Removed(key.slot()))
    }

    /// Forgets everything but the root: the session is over.
    pub fn forget_all(&self) -> impl Iterator<Item = Removed> {
        let ids = self
            .nodes
            .keys()
            .into_iter()
            .map(|key| NodeId(key.number()));
        ids.filter_map(|id| self.forget(id, u64::MAX))
    }

    /// Closes a removed node's descriptor and frees its slot.
    pub fn give_back(&self, removed: Removed) {
        self.nodes.recycle(removed.0, |inode| drop(inode.fd.take()));
    }

    fn find_in(&self, shard: &HashTable<u32>, hash: u64, identity: Identity) -> Option<NodeId> {
        let same = |&slot: &u32| self.nodes.record(slot).identity() == identity;
        let slot = *shard.find(hash, same)?;
        let lookups = &self.nodes.record(slot).lookups;
        lookups.store(lookups.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        self.nodes.key_of(slot).map(|key| NodeId(key.number()))
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, HashTable<u32>> {
        // hashbrown takes its control bytes from the top bits and its buckets from the low ones.
        let index = (hash >> 32) as usize % SHARDS;
        self.shards[index]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys;
    use std::fs::File;
    use std::os::fd::AsFd;

    fn open(path: &str) -> (Stat, OwnedFd) {
        let file = File::open(path).unwrap();
        (sys::stat(file.as_fd(), 0, 0).unwrap(), file.into())
    }

    fn table() -> NodeTable {
        let (stat, fd) = open("/");
        NodeTable::new(&stat, fd)
    }

    #[test]
    fn the_same_file_is_the_same_node() {
        let table = table();
        let (stat, fd) = open("/dev/null");
        let (again, second_fd) = open("/dev/null");

        let (id, kept) = table.find_or_insert(&stat, fd);

        assert!(kept);
        assert_eq!(table.find_or_insert(&again, second_fd), (id, false));
        assert_eq!(table.find(&again), Some(id));
    }

    #[test]
    fn c21_a_node_goes_with_its_last_lookup_and_not_before() {
        let table = table();
        let (stat, fd) = open("/dev/null");
        let (id, _) = table.find_or_insert(&stat, fd);
        table.find(&stat);

        assert!(table.forget(id, 1).is_none() && table.resolve(id).is_ok());
        let removed = table.forget(id, u64::MAX).expect("the last lookup");

        assert_eq!(table.resolve(id).unwrap_err(), Errno::EBADF);
        assert!(table.forget(id, 1).is_none() && table.find(&stat).is_none());
        table.give_back(removed);
        let (stat, fd) = open("/dev/null");
        assert_ne!(
            table.find_or_insert(&stat, fd).0,
            id,
            "a new life is a new number"
        );
    }

    #[test]
    fn c20_the_root_cannot_be_forgotten() {
        let table = table();
        assert!(table.forget(NodeId::ROOT, u64::MAX).is_none());
        assert_eq!(table.forget_all().count(), 0);
        assert!(table.resolve(NodeId::ROOT).is_ok());
    }
}
