//! Listings.

use super::super::abi::ReadIn;
use super::super::cursor::Cursor;
use super::super::{HandleId, NodeId, WireError};
use super::offset;

/// List entries (READDIR and READDIRPLUS).
#[derive(Debug)]
pub struct Readdir {
    /// Of this inode.
    pub node: NodeId,
    /// Through this open directory.
    pub handle: HandleId,
    /// After the entry that carried this offset; zero is the start.
    pub offset: i64,
    /// At most this many bytes.
    pub size: u32,
}

impl Readdir {
    pub(super) fn decode(node: NodeId, mut body: Cursor<'_>) -> Result<Self, WireError> {
        let args: ReadIn = body.take()?;
        Ok(Self {
            node,
            handle: HandleId(args.fh),
            offset: offset(args.offset)?,
            size: args.size,
        })
    }
}
