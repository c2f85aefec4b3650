//! Opening and closing.

use super::super::abi::{OpenIn, ReleaseIn};
use super::super::cursor::Cursor;
use super::super::{HandleId, NodeId, WireError};

/// Open a file or directory.
#[derive(Debug)]
pub struct Open {
    /// What to open.
    pub node: NodeId,
    /// `open(2)` flags as the guest's program gave them.
    pub flags: u32,
}

impl Open {
    pub(super) fn decode(node: NodeId, mut body: Cursor<'_>) -> Result<Self, WireError> {
        let args: OpenIn = body.take()?;
        Ok(Self {
            node,
            flags: args.flags,
        })
    }

    /// Whether the opened file could be changed through it or by it.
    pub(super) fn writes(&self) -> bool {
        let flags = self.flags as i32;
        flags & libc::O_ACCMODE != libc::O_RDONLY || flags & libc::O_TRUNC != 0
    }
}

/// Close a file or directory.
#[derive(Debug)]
pub struct Release {
    /// Of this inode.
    pub node: NodeId,
    /// The handle that ends.
    pub handle: HandleId,
}

impl Release {
    pub(super) fn decode(node: NodeId, mut body: Cursor<'_>) -> Result<Self, WireError> {
        let args: ReleaseIn = body.take()?;
        Ok(Self {
            node,
            handle: HandleId(args.fh),
        })
    }
}
