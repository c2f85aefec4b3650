//! `statx(2)`.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use super::Errno;
use super::errno::retry;

/// Asks for the mount's unique id, which is never reused (Linux 6.8; `include/uapi/linux/stat.h`).
/// Older kernels ignore the bit and answer `STATX_MNT_ID`.
const STATX_MNT_ID_UNIQUE: u32 = 0x4000;

/// What the daemon needs of every object: all a FUSE attribute holds, and the mount.
const MASK: u32 = libc::STATX_BASIC_STATS | libc::STATX_MNT_ID | STATX_MNT_ID_UNIQUE;

/// The kernel's view of one object.
#[derive(Clone, Copy)]
pub struct Stat(libc::statx);

/// The type bits of a mode (`inode(7)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileType {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A FIFO, a socket or a device node: never opened.
    Special,
}

impl FileType {
    /// The type in the `S_IFMT` bits of `mode`.
    pub fn of_mode(mode: u32) -> Self {
        match mode & libc::S_IFMT {
            libc::S_IFREG => Self::Regular,
            libc::S_IFDIR => Self::Directory,
            libc::S_IFLNK => Self::Symlink,
            _ => Self::Special,
        }
    }
}

impl Stat {
    /// The whole answer.
    pub fn raw(&self) -> &libc::statx {
        &self.0
    }

    /// Type and permission bits.
    pub fn mode(&self) -> u32 {
        self.0.stx_mode.into()
    }

    /// The type.
    pub fn file_type(&self) -> FileType {
        FileType::of_mode(self.mode())
    }

    /// The device the object is on, as `makedev(3)` packs it.
    pub fn dev(&self) -> u64 {
        libc::makedev(self.0.stx_dev_major, self.0.stx_dev_minor)
    }

    /// The mount it was reached through; zero where the kernel does not say (before 5.8).
    pub fn mount_id(&self) -> u64 {
        self.0.stx_mnt_id
    }
}

impl std::fmt::Debug for Stat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Stat(ino {}, mode {:o})",
            self.0.stx_ino, self.0.stx_mode
        )
    }
}

/// Looks at the object behind `fd`. `extra` adds `STATX_*` bits to the usual ones and may hold
/// `AT_STATX_*` synchronisation flags in `sync`.
pub fn stat(fd: BorrowedFd<'_>, extra: u32, sync: i32) -> Result<Stat, Errno> {
    statx(
        fd.as_raw_fd(),
        c"",
        libc::AT_EMPTY_PATH | sync,
        MASK | extra,
    )
}

/// Looks at the entry `name` of directory `dir`, following neither a symlink nor an automount.
pub fn stat_child(dir: BorrowedFd<'_>, name: &CStr) -> Result<Stat, Errno> {
    statx(
        dir.as_raw_fd(),
        name,
        libc::AT_SYMLINK_NOFOLLOW | libc::AT_NO_AUTOMOUNT,
        MASK,
    )
}

fn statx(dir: RawFd, name: &CStr, flags: i32, mask: u32) -> Result<Stat, Errno> {
    let mut answer = MaybeUninit::<libc::statx>::uninit();
    retry(|| {
        // SAFETY: `name` is NUL-terminated and `answer` is a writable statx; both outlive the call.
        unsafe { libc::statx(dir, name.as_ptr(), flags, mask, answer.as_mut_ptr()) }
    })?;
    // SAFETY: the call succeeded, so the kernel wrote the whole structure.
    Ok(Stat(unsafe { answer.assume_init() }))
}
