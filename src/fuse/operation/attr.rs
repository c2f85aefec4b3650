//! Attributes.

use super::super::abi::{
    AccessIn, GETATTR_FH, GetattrIn, STATX_IN_LEN, SetattrIn, setattr_valid as valid,
};
use super::super::cursor::Cursor;
use super::super::{HandleId, NodeId, WireError};
use super::{PERMISSIONS, offset};

/// Get an inode's attributes.
#[derive(Debug)]
pub struct Getattr {
    /// Of this inode.
    pub node: NodeId,
    /// Through this open file, if any.
    pub handle: Option<HandleId>,
}

impl Getattr {
    pub(super) fn decode(node: NodeId, mut body: Cursor<'_>) -> Result<Self, WireError> {
        let args: GetattrIn = body.take()?;
        let handle = (args.flags & GETATTR_FH != 0).then_some(HandleId(args.fh));
        Ok(Self { node, handle })
    }
}

/// Get an inode's attributes as `statx(2)` has them.
#[derive(Debug)]
pub struct Statx {
    /// Of this inode.
    pub node: NodeId,
    /// Through this open file, if any.
    pub handle: Option<HandleId>,
    /// `AT_STATX_*` synchronisation flags.
    pub sync: u32,
    /// The wanted `STATX_*` fields.
    pub mask: u32,
}

impl Statx {
    pub(super) fn decode(node: NodeId, mut body: Cursor<'_>) -> Result<Self, WireError> {
        let args = body.bytes(STATX_IN_LEN)?;
        let word = |at: usize| u32::from_ne_bytes(args[at..at + 4].try_into().expect("4 bytes"));
        let handle = u64::from_ne_bytes(args[8..16].try_into().expect("8 bytes"));
        Ok(Self {
            node,
            handle: (word(0) & GETATTR_FH != 0).then_some(HandleId(handle)),
            sync: word(16),
            mask: word(20),
        })
    }
}

/// What to set a time to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    /// The host's clock.
    Now,
    /// Seconds since 1970 and nanoseconds.
    At(i64, u32),
}

/// Change an inode's attributes; `None` leaves one as it is.
#[derive(Debug)]
pub struct Setattr {
    /// Of this inode.
    pub node: NodeId,
    /// Through this open file, if any.
    pub handle: Option<HandleId>,
    /// Permissions.
    pub mode: Option<u32>,
    /// Owner, a guest number.
    pub uid: Option<u32>,
    /// Group, a guest number.
    pub gid: Option<u32>,
    /// Size in bytes.
    pub size: Option<i64>,
    /// Access time.
    pub atime: Option<SetTime>,
    /// Modification time.
    pub mtime: Option<SetTime>,
}

impl Setattr {
    pub(super) fn decode(node: NodeId, mut body: Cursor<'_>) -> Result<Self, WireError> {
        let args: SetattrIn = body.take()?;
        let has = |bit: u32| args.valid & bit != 0;
        let time = |bit: u32, now: u32, secs: u64, nanos: u32| match (has(bit), has(now)) {
            (false, _) => Ok(None),
            (true, true) => Ok(Some(SetTime::Now)),
            (true, false) if nanos < 1_000_000_000 => Ok(Some(SetTime::At(secs as i64, nanos))),
            (true, false) => Err(WireError::OutOfRange),
        };
        Ok(Self {
            node,
            handle: has(valid::FH).then_some(HandleId(args.fh)),
            mode: has(valid::MODE).then_some(args.mode & PERMISSIONS),
            uid: owner(has(valid::UID), args.uid)?,
            gid: owner(has(valid::GID), args.gid)?,
            size: if has(valid::SIZE) {
                Some(offset(args.size)?)
            } else {
                None
            },
            atime: time(valid::ATIME, valid::ATIME_NOW, args.atime, args.atimensec)?,
            mtime: time(valid::MTIME, valid::MTIME_NOW, args.mtime, args.mtimensec)?,
        })
    }
}

/// An id to set; all ones would mean "leave it" to `chown(2)`.
fn owner(wanted: bool, id: u32) -> Result<Option<u32>, WireError> {
    match (wanted, id) {
        (false, _) => Ok(None),
        (true, u32::MAX) => Err(WireError::OutOfRange),
        (true, id) => Ok(Some(id)),
    }
}

/// May the caller do this?
#[derive(Debug)]
pub struct Access {
    /// To this inode.
    pub node: NodeId,
    /// `R_OK`, `W_OK`, `X_OK` of `access(2)`.
    pub mask: u32,
}

impl Access {
    pub(super) fn decode(node: NodeId, mut body: Cursor<'_>) -> Result<Self, WireError> {
        let args: AccessIn = body.take()?;
        if args.mask > (libc::R_OK | libc::W_OK | libc::X_OK) as u32 {
            return Err(WireError::OutOfRange);
        }
        Ok(Self {
            node,
            mask: args.mask,
        })
    }
}
