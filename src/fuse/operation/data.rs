//! Moving and arranging the bytes of open files.

use super::super::abi::{
    CopyFileRangeIn, FSYNC_FDATASYNC, FallocateIn, FlushIn, FsyncIn, LseekIn, ReadIn, WriteIn,
};
use super::super::cursor::Cursor;
use super::super::{HandleId, NodeId, WireError};
use super::{offset, range};

/// Read bytes.
#[derive(Debug)]
pub struct Read {
    /// Of this inode.
    pub node: NodeId,
    /// Through this open file.
    pub handle: HandleId,
    /// From this byte on.
    pub offset: i64,
    /// At most this many bytes.
    pub size: u32,
    /// `open(2)` flags as the guest's open file has them now.
    pub flags: u32,
}

impl Read {
    pub(super) fn decode(node: NodeId, mut body: Cursor<'_>) -> Result<Self, WireError> {
        let args: ReadIn = body.take()?;
        let offset = range(args.offset, args.size.into())?;
        Ok(Self {
            node,
            handle: HandleId(args.fh),
            offset,
            size: args.size,
            flags: args.flags,
        })
    }
}

/// Write the bytes that follow the request.
#[derive(Debug)]
pub struct Write {
    /// Of this inode.
    pub node: NodeId,
    /// Through this open file.
    pub handle: HandleId,
    /// To this byte on.
    pub offset: i64,
    /// This many bytes.
    pub size: u32,
    /// `open(2)` flags as the guest's open file has them now.
    pub flags: u32,
    /// The guest's page cache writes back: nobody waits who could be told of a part.
    pub from_cache: bool,
    /// By somebody who may not keep the file's set-id bits.
    pub kill_priv: bool,
}

impl Write {
    pub(super) fn decode(node: NodeId, mut body: Cursor<'_>) -> Result<Self, WireError> {
        /// `FUSE_WRITE_CACHE`.
        const FROM_CACHE: u32 = 1;
        /// `FUSE_WRITE_KILL_SUIDGID`: sent, negotiated or not, with every write past the page cache.
        const KILL_SUIDGID: u32 = 1 << 2;
        let args: WriteIn = body.take()?;
        let offset = range(args.offset, args.size.into())?;
        Ok(Self {
            node,
            handle: HandleId(args.fh),
            offset,
            size: args.size,
            flags: args.flags,
            from_cache: args.fuse_flags & FROM_CACHE != 0,
            kill_priv: args.fuse_flags & KILL_SUIDGID != 0,
        })
    }
}

/// One of the guest's descriptors of an open file was closed.
#[derive(Debug)]
pub struct Flush {
    /// Of this inode.
    pub node: NodeId,
    /// The open file.
    pub handle: HandleId,
}

impl Flush {
    pub(super) fn decode(node: NodeId, mut body: Cursor<'_>) -> Result<Self, WireError> {
        let args: FlushIn = body.take()?;
        Ok(Self {
            node,
            handle: HandleId(args.fh),
        })
    }
}

/// Bring a file or directory to stable storage.
#[derive(Debug)]
pub struct Fsync {
    /// Of this inode.
    pub node: NodeId,
    /// The open file or directory.
    pub handle: HandleId,
    /// Without attributes that are not needed to read the data back.
    pub data_only: bool,
}

impl Fsync {
    pub(super) fn decode(node: NodeId, mut body: Cursor<'_>) -> Result<Self, WireError> {
        let args: FsyncIn = body.take()?;
        let data_only = args.fsync_flags & FSYNC_FDATASYNC != 0;
        Ok(Self {
            node,
            handle: HandleId(args.fh),
            data_only,
        })
    }
}

/// Reserve, release or zero a range.
#[derive(Debug)]
pub struct Fallocate {
    /// Of this inode.
    pub node: NodeId,
    /// Through this open file.
    pub handle: HandleId,
    /// From this byte on.
    pub offset: i64,
    /// This many bytes.
    pub length: i64,
    /// `FALLOC_FL_*` of `fallocate(2)`.
    pub mode: u32,
}

impl Fallocate {
    pub(super) fn decode(node: NodeId, mut body: Cursor<'_>) -> Result<Self, WireError> {
        let args: FallocateIn = body.take()?;
        Ok(Self {
            node,
            handle: HandleId(args.fh),
            offset: range(args.offset, args.length)?,
            length: offset(args.length)?,
            mode: args.mode,
        })
    }
}

/// Find the next data or hole.
#[derive(Debug)]
pub struct Lseek {
    /// Of this inode.
    pub node: NodeId,
    /// Through this open file.
    pub handle: HandleId,
    /// From this byte on.
    pub offset: i64,
    /// `SEEK_DATA` or `SEEK_HOLE`.
    pub whence: i32,
}

impl Lseek {
    pub(super) fn decode(node: NodeId, mut body: Cursor<'_>) -> Result<Self, WireError> {
        let args: LseekIn = body.take()?;
        // The kernel keeps file positions itself and sends only these two (fs/fuse/file.c).
        match args.whence as i32 {
            whence @ (libc::SEEK_DATA | libc::SEEK_HOLE) => Ok(Self {
                node,
                handle: HandleId(args.fh),
                offset: offset(args.offset)?,
                whence,
            }),
            _ => Err(WireError::OutOfRange),
        }
    }
}

/// Copy bytes between two open files.
#[derive(Debug)]
pub struct CopyFileRange {
    /// The inode read from.
    pub node_in: NodeId,
    /// The open file read from.
    pub handle_in: HandleId,
    /// From this byte on.
    pub offset_in: i64,
    /// The inode written to.
    pub node_out: NodeId,
    /// The open file written to.
    pub handle_out: HandleId,
    /// To this byte on.
    pub offset_out: i64,
    /// At most this many bytes.
    pub length: u64,
    /// Flags of `copy_file_range(2)`.
    pub flags: u32,
    /// The reply counts in 64 bits (7.45).
    pub wide: bool,
}

impl CopyFileRange {
    pub(super) fn decode(
        node_in: NodeId,
        mut body: Cursor<'_>,
        wide: bool,
    ) -> Result<Self, WireError> {
        let args: CopyFileRangeIn = body.take()?;
        Ok(Self {
            node_in,
            handle_in: HandleId(args.fh_in),
            offset_in: range(args.offset_in, args.len)?,
            node_out: NodeId(args.nodeid_out),
            handle_out: HandleId(args.fh_out),
            offset_out: range(args.offset_out, args.len)?,
            length: args.len,
            flags: u32::try_from(args.flags).map_err(|_| WireError::OutOfRange)?,
            wide,
        })
    }
}
