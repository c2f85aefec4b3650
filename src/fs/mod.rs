//! The passthrough file system: a host directory as guests see it.
//!
//! One method per operation: it takes the decoded operation, which is its argument list, and
//! returns values. Nothing here knows virtio, queues or the bytes of a reply; nothing resolves
//! more than one path component, and no component comes in any type but [`Name`].
//!
//! By topic: `lookup` finds, `create` makes, `remove` takes away and moves, `open`, `data`, `attr`
//! and `dir` do what they say; `caller` acts as the guest's process; `node` and `handle` are the
//! tables of what the guest knows; `epoch` says when a slot of theirs is free again; `budget`
//! counts descriptors; `cache` is what the guest may remember.
//!
//! # Lock order
//! A directory handle's position, then a shard of the node table, then a table's free list, then
//! the retired list. None is held over a system call but the first.
//!
//! [`Name`]: crate::fuse::Name

mod attr;
mod budget;
mod cache;
mod caller;
mod create;
mod data;
mod dir;
mod epoch;
mod handle;
mod lookup;
mod node;
mod open;
mod remove;
mod slab;

use std::ops::Deref;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use crate::sys::{self, Errno, ProcFds};
use budget::FdBudget;
use caller::Identity;
use epoch::{Epochs, Reader};
use handle::HandleTable;
use node::NodeTable;

pub use cache::{CachePolicy, DataCache};
pub use dir::Listing;
pub use lookup::Entry;
pub use open::Opened;

/// How a directory is shared.
#[derive(Clone, Debug)]
pub struct FsConfig {
    /// What the guest may remember.
    pub cache: CachePolicy,
    /// Guests may open files with `O_DIRECT`.
    pub allow_direct_io: bool,
    /// The process's limit of open files, which the guest's share is derived from.
    pub fd_limit: u64,
    /// How many of those the rest of the daemon may need.
    pub fd_reserve: u64,
    /// The most workers there will be at a time.
    pub workers: usize,
    /// The process has supplementary groups that it could not drop: its callers must not make
    /// set-group-id files for them.
    pub strip_sgid: bool,
}

/// A shared directory and what the guest knows of it.
#[derive(Debug)]
pub struct PassthroughFs {
    config: FsConfig,
    nodes: NodeTable,
    handles: HandleTable,
    epochs: Arc<Epochs<Retired>>,
    budget: FdBudget,
    proc: ProcFds,
    identity: Identity,
}

/// What the guest gave back, until no worker uses it any more.
#[derive(Debug)]
enum Retired {
    Node(node::Removed),
    Handle(handle::Removed),
}

impl PassthroughFs {
    /// Shares the directory behind `root`, a path descriptor; `proc` is the calling process's.
    pub fn new(root: OwnedFd, proc: ProcFds, config: FsConfig) -> Result<Self, Errno> {
        let stat = sys::stat(root.as_fd(), 0, 0)?;
        // A path descriptor says nothing about whether we may list and enter the directory.
        proc.reopen(root.as_fd(), libc::O_RDONLY | libc::O_DIRECTORY)?;
        sys::stat_child(root.as_fd(), c".")?;
        Ok(Self {
            nodes: NodeTable::new(&stat, root),
            handles: HandleTable::default(),
            epochs: Epochs::new(config.workers),
            budget: FdBudget::new(config.fd_limit, config.fd_reserve),
            proc,
            identity: Identity::of_this_thread()?,
            config,
        })
    }

    /// What the guest may remember.
    pub fn cache(&self) -> &CachePolicy {
        &self.config.cache
    }

    /// Forgets all the guest ever looked up or opened: its session is over.
    pub fn reset(&self) {
        self.handles
            .remove_all()
            .for_each(|handle| self.retire(Retired::Handle(handle)));
        self.nodes
            .forget_all()
            .for_each(|node| self.retire(Retired::Node(node)));
    }

    fn retire(&self, item: Retired) {
        self.epochs.retire(item);
    }

    fn give_back(&self, item: Retired) {
        match item {
            Retired::Node(node) => self.nodes.give_back(node),
            Retired::Handle(handle) => self.handles.give_back(handle),
        }
        self.budget.give_back();
    }
}

/// One worker's way into the file system.
#[derive(Debug)]
pub struct FsWorker {
    fs: Arc<PassthroughFs>,
    reader: Reader<Retired>,
}

impl FsWorker {
    /// Takes one of the `workers` places of the configuration.
    pub fn new(fs: &Arc<PassthroughFs>) -> Self {
        Self {
            fs: Arc::clone(fs),
            reader: fs.epochs.join(),
        }
    }

    /// Starts a request: what its operations find stays usable until the guard is dropped.
    pub fn enter(&self) -> Entered<'_> {
        self.reader.enter();
        Entered(self)
    }
}

/// The file system during one request.
#[derive(Debug)]
pub struct Entered<'a>(&'a FsWorker);

impl Deref for Entered<'_> {
    type Target = PassthroughFs;

    fn deref(&self) -> &PassthroughFs {
        &self.0.fs
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.reader.leave(|item| self.0.fs.give_back(item));
    }
}
