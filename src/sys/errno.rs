//! The outcome of a failed system call.

use std::fmt;
use std::io;

/// An errno of `errno(3)` as the guest may see it: always within 1..=511.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(i32);

impl Errno {
    /// No such object: the number given to it was never ours or is no longer.
    pub const EBADF: Self = Self(libc::EBADF);
    /// The name exists already.
    pub const EEXIST: Self = Self(libc::EEXIST);
    /// Malformed or contradictory arguments.
    pub const EINVAL: Self = Self(libc::EINVAL);
    /// Something failed that the guest cannot know more about.
    pub const EIO: Self = Self(libc::EIO);
    /// The daemon's descriptors are used up.
    pub const ENFILE: Self = Self(libc::ENFILE);
    /// Not on this file system or mount.
    pub const EXDEV: Self = Self(libc::EXDEV);
    /// Nothing there that could be opened.
    pub const ENXIO: Self = Self(libc::ENXIO);
    /// No such name.
    pub const ENOENT: Self = Self(libc::ENOENT);
    /// The operation is not there at all.
    pub const ENOSYS: Self = Self(libc::ENOSYS);
    /// Not a directory.
    pub const ENOTDIR: Self = Self(libc::ENOTDIR);
    /// Not on this kind of object.
    pub const EOPNOTSUPP: Self = Self(libc::EOPNOTSUPP);
    /// Not for this caller.
    pub const EPERM: Self = Self(libc::EPERM);
    /// The peer's protocol is not ours.
    pub const EPROTO: Self = Self(libc::EPROTO);
    /// No access.
    pub const EACCES: Self = Self(libc::EACCES);
    /// It is not what it was.
    pub const ESTALE: Self = Self(libc::ESTALE);
    /// The share is read-only.
    pub const EROFS: Self = Self(libc::EROFS);
    /// A symbolic link where none may be.
    pub const ELOOP: Self = Self(libc::ELOOP);
    /// A directory where none may be.
    pub const EISDIR: Self = Self(libc::EISDIR);

    /// The errno with this number. Numbers that are no errno of user space (the kernel's internal
    /// ones such as 524, `include/linux/errno.h`) become `EIO`.
    pub const fn from_raw(raw: i32) -> Self {
        match raw {
            1..=511 => Self(raw),
            _ => Self(libc::EIO),
        }
    }

    /// The calling thread's last error.
    pub fn last() -> Self {
        Self::from_raw(
            io::Error::last_os_error()
                .raw_os_error()
                .unwrap_or(libc::EIO),
        )
    }

    /// The number, as in `errno.h`.
    pub const fn raw(self) -> i32 {
        self.0
    }
}

impl From<io::Error> for Errno {
    fn from(error: io::Error) -> Self {
        Self::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

impl From<nix::errno::Errno> for Errno {
    fn from(errno: nix::errno::Errno) -> Self {
        Self::from_raw(errno as i32)
    }
}

impl From<Errno> for io::Error {
    fn from(errno: Errno) -> Self {
        io::Error::from_raw_os_error(errno.0)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", nix::errno::Errno::from_raw(self.0).desc())
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", nix::errno::Errno::from_raw(self.0))
    }
}

/// Turns a system call's `-1` into its errno; any other value passes.
pub(super) fn check<T: Copy + Ord + From<i8>>(result: T) -> Result<T, Errno> {
    if result < T::from(0) {
        Err(Errno::last())
    } else {
        Ok(result)
    }
}

/// Calls again for as long as a signal interrupts the call.
pub(super) fn retry<T: Copy + Ord + From<i8>>(mut call: impl FnMut() -> T) -> Result<T, Errno> {
    loop {
        match check(call()) {
            Err(errno) if errno.raw() == libc::EINTR => continue,
            result => return result,
        }
    }
}
