//! Operations on directory entries.

use std::ffi::CStr;

use super::super::abi::{CreateIn, LinkIn, MkdirIn, MknodIn, Rename2In, RenameIn};
use super::super::cursor::Cursor;
use super::super::{Name, NodeId, WireError};
use super::PERMISSIONS;

/// Find an entry.
#[derive(Debug)]
pub struct Lookup<'a> {
    /// In this directory.
    pub parent: NodeId,
    /// Under this name.
    pub name: Name<'a>,
}

impl<'a> Lookup<'a> {
    pub(super) fn decode(parent: NodeId, mut body: Cursor<'a>) -> Result<Self, WireError> {
        Ok(Self {
            parent,
            name: body.last_name()?,
        })
    }
}

/// Make a symlink.
#[derive(Debug)]
pub struct Symlink<'a> {
    /// In this directory.
    pub parent: NodeId,
    /// Under this name.
    pub name: Name<'a>,
    /// What it says; never interpreted here.
    pub target: &'a CStr,
}

impl<'a> Symlink<'a> {
    pub(super) fn decode(parent: NodeId, mut body: Cursor<'a>) -> Result<Self, WireError> {
        Ok(Self {
            parent,
            name: body.name()?,
            target: body.last_target()?,
        })
    }
}

/// Make a regular file, FIFO, socket or device node.
#[derive(Debug)]
pub struct Mknod<'a> {
    /// In this directory.
    pub parent: NodeId,
    /// Under this name.
    pub name: Name<'a>,
    /// Type and permissions, the umask applied.
    pub mode: u32,
    /// Of a device node: its number, as the kernel's `new_encode_dev` packs it.
    pub device: u32,
}

impl<'a> Mknod<'a> {
    pub(super) fn decode(parent: NodeId, mut body: Cursor<'a>) -> Result<Self, WireError> {
        let args: MknodIn = body.take()?;
        let mode = args.mode & libc::S_IFMT | masked(args.mode, args.umask);
        Ok(Self {
            parent,
            name: body.last_name()?,
            mode,
            device: args.rdev,
        })
    }
}

/// Make a directory.
#[derive(Debug)]
pub struct Mkdir<'a> {
    /// In this directory.
    pub parent: NodeId,
    /// Under this name.
    pub name: Name<'a>,
    /// Permissions, the umask applied.
    pub mode: u32,
}

impl<'a> Mkdir<'a> {
    pub(super) fn decode(parent: NodeId, mut body: Cursor<'a>) -> Result<Self, WireError> {
        let args: MkdirIn = body.take()?;
        Ok(Self {
            parent,
            name: body.last_name()?,
            mode: masked(args.mode, args.umask),
        })
    }
}

/// Remove an entry (UNLINK and RMDIR).
#[derive(Debug)]
pub struct Unlink<'a> {
    /// From this directory.
    pub parent: NodeId,
    /// The name to remove.
    pub name: Name<'a>,
}

impl<'a> Unlink<'a> {
    pub(super) fn decode(parent: NodeId, mut body: Cursor<'a>) -> Result<Self, WireError> {
        Ok(Self {
            parent,
            name: body.last_name()?,
        })
    }
}

/// Move an entry (RENAME and RENAME2).
#[derive(Debug)]
pub struct Rename<'a> {
    /// From this directory.
    pub parent: NodeId,
    /// The name it has.
    pub name: Name<'a>,
    /// To this directory.
    pub new_parent: NodeId,
    /// The name it gets.
    pub new_name: Name<'a>,
    /// `RENAME_*` of `rename(2)`.
    pub flags: u32,
}

impl<'a> Rename<'a> {
    pub(super) fn decode(parent: NodeId, mut body: Cursor<'a>) -> Result<Self, WireError> {
        let args: RenameIn = body.take()?;
        Self::names(parent, NodeId(args.newdir), 0, body)
    }

    pub(super) fn decode_with_flags(
        parent: NodeId,
        mut body: Cursor<'a>,
    ) -> Result<Self, WireError> {
        let args: Rename2In = body.take()?;
        let known = libc::RENAME_NOREPLACE | libc::RENAME_EXCHANGE | libc::RENAME_WHITEOUT;
        if args.flags & !known != 0 {
            return Err(WireError::OutOfRange);
        }
        Self::names(parent, NodeId(args.newdir), args.flags, body)
    }

    fn names(
        parent: NodeId,
        new_parent: NodeId,
        flags: u32,
        mut body: Cursor<'a>,
    ) -> Result<Self, WireError> {
        Ok(Self {
            parent,
            name: body.name()?,
            new_parent,
            new_name: body.last_name()?,
            flags,
        })
    }
}

/// Give an inode one more name.
#[derive(Debug)]
pub struct Link<'a> {
    /// The inode.
    pub node: NodeId,
    /// The directory of the new name.
    pub new_parent: NodeId,
    /// The new name.
    pub new_name: Name<'a>,
}

impl<'a> Link<'a> {
    pub(super) fn decode(new_parent: NodeId, mut body: Cursor<'a>) -> Result<Self, WireError> {
        let args: LinkIn = body.take()?;
        Ok(Self {
            node: NodeId(args.oldnodeid),
            new_parent,
            new_name: body.last_name()?,
        })
    }
}

/// Make a regular file, or take the one that is there, and open it.
#[derive(Debug)]
pub struct Create<'a> {
    /// In this directory.
    pub parent: NodeId,
    /// Under this name.
    pub name: Name<'a>,
    /// `open(2)` flags as the guest's program gave them.
    pub flags: u32,
    /// Permissions, the umask applied.
    pub mode: u32,
}

impl<'a> Create<'a> {
    pub(super) fn decode(parent: NodeId, mut body: Cursor<'a>) -> Result<Self, WireError> {
        let args: CreateIn = body.take()?;
        let mode = masked(args.mode, args.umask);
        Ok(Self {
            parent,
            name: body.last_name()?,
            flags: args.flags,
            mode,
        })
    }
}

/// Make a file without a name and open it.
#[derive(Debug)]
pub struct Tmpfile {
    /// On this directory's file system.
    pub parent: NodeId,
    /// `open(2)` flags as the guest's program gave them.
    pub flags: u32,
    /// Permissions, the umask applied.
    pub mode: u32,
}

impl Tmpfile {
    pub(super) fn decode(parent: NodeId, mut body: Cursor<'_>) -> Result<Self, WireError> {
        // The kernel appends the name of its nameless dentry, which means nothing.
        let args: CreateIn = body.take()?;
        Ok(Self {
            parent,
            flags: args.flags,
            mode: masked(args.mode, args.umask),
        })
    }
}

fn masked(mode: u32, umask: u32) -> u32 {
    mode & PERMISSIONS & !umask
}
