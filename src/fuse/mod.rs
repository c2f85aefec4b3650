//! The wire: FUSE messages of protocol 7.27 to 7.46, decoded into typed operations and encoded
//! from typed replies.
//!
//! Pure: no system call, no unsafe code, nothing of files, queues or the host. A request is decoded
//! once ([`Request::decode`]) into types that hold the protocol's rules ([`Name`] is one checked
//! component), so nothing behind this module ever looks at guest bytes again.

pub mod abi;
mod cursor;
mod dirent;
mod error;
mod init;
mod name;
pub mod operation;
mod reply;

pub use dirent::Dirent;
pub use error::WireError;
pub use init::{Features, InitRequest, Negotiation, Session, negotiate};
pub use name::Name;
pub use operation::{Operation, Request};
pub use reply::Reply;

/// The number by which the guest knows one of our inodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodeId(pub u64);

impl NodeId {
    /// The root of the share (`FUSE_ROOT_ID`).
    pub const ROOT: Self = Self(abi::ROOT_ID);
}

/// The number by which the guest knows one of its open files or directories.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HandleId(pub u64);

/// On whose behalf the guest's kernel sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The process's fsuid, a guest number.
    pub uid: u32,
    /// The process's fsgid, a guest number.
    pub gid: u32,
}
