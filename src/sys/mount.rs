//! Mounts by descriptor: `open_tree(2)`, `mount_setattr(2)`, `move_mount(2)`.
//!
//! libc has no wrappers. A tree cloned here belongs to no mount namespace until it is attached:
//! nobody can reach it but through its descriptor.

use std::ffi::CStr;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use super::Errno;
use super::errno::check;
use super::fd::owned;

/// Restrictions of a mount (`mount(2)`, "Additional mount flags"): one `MOUNT_ATTR_*` bit each
/// (`include/uapi/linux/mount.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MountAttributes(u64);

impl MountAttributes {
    /// Nothing on it can be changed.
    pub const READ_ONLY: Self = Self(0x1);
    /// Set-user-id bits and file capabilities count for nothing.
    pub const NO_SUID: Self = Self(0x2);
    /// Device nodes cannot be opened.
    pub const NO_DEVICES: Self = Self(0x4);
    /// Nothing on it can be executed.
    pub const NO_EXEC: Self = Self(0x8);
    /// Symlinks are not followed (Linux 5.14).
    pub const NO_SYMLINK_FOLLOW: Self = Self(0x20_0000);

    /// These and those.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These but not those.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// Makes a private copy of the mount tree at `path`, with all mounts below it when `recursive`.
/// `path` is relative to the working directory and must be in this mount namespace.
pub fn clone_tree(path: &CStr, recursive: bool) -> Result<OwnedFd, Errno> {
    const OPEN_TREE_CLONE: u32 = 1;
    let recursive = if recursive { libc::AT_RECURSIVE } else { 0 };
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC as u32 | recursive as u32;
    // SAFETY: `path` is NUL-terminated and outlives the call.
    let raw = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) };
    owned(raw as RawFd)
}

/// Adds `attributes` to every mount of the tree behind `tree`.
pub fn restrict_tree(tree: BorrowedFd<'_>, attributes: MountAttributes) -> Result<(), Errno> {
    #[repr(C)]
    struct MountAttr {
        set: u64,
        clear: u64,
        propagation: u64,
        userns_fd: u64,
    }
    let attr = MountAttr {
        set: attributes.0,
        clear: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the path is an empty literal; `attr` is a live mount_attr of the size passed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    check(result).map(drop)
}

/// Attaches the cloned `tree` on top of the directory `onto`.
pub fn attach_tree(tree: BorrowedFd<'_>, onto: BorrowedFd<'_>) -> Result<(), Errno> {
    const MOVE_MOUNT_F_EMPTY_PATH: u32 = 0x4;
    const MOVE_MOUNT_T_EMPTY_PATH: u32 = 0x40;
    // SAFETY: both paths are empty literals.
    let result = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            c"".as_ptr(),
            onto.as_raw_fd(),
            c"".as_ptr(),
            MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH,
        )
    };
    check(result).map(drop)
}
