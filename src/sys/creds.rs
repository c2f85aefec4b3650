//! The calling thread's identity.
//!
//! All calls are raw: glibc and musl wrap them to change every thread of the process, while here
//! each worker acts as its own request's caller (`setresuid(2)`, "C library/kernel differences").

use super::Errno;
use super::errno::check;

const KEEP: libc::c_long = -1;

/// The thread's effective uid and gid.
pub fn effective_ids() -> (u32, u32) {
    // SAFETY: takes nothing and cannot fail.
    let uid = unsafe { libc::geteuid() };
    // SAFETY: takes nothing and cannot fail.
    let gid = unsafe { libc::getegid() };
    (uid, gid)
}

/// Changes the calling thread's effective (and file system) uid only; real and saved stay, so it
/// can change back.
pub fn set_effective_uid(uid: u32) -> Result<(), Errno> {
    // SAFETY: takes integers only.
    check(unsafe { libc::syscall(libc::SYS_setresuid, KEEP, libc::c_long::from(uid), KEEP) })
        .map(drop)
}

/// As [`set_effective_uid`], for the gid.
pub fn set_effective_gid(gid: u32) -> Result<(), Errno> {
    // SAFETY: takes integers only.
    check(unsafe { libc::syscall(libc::SYS_setresgid, KEEP, libc::c_long::from(gid), KEEP) })
        .map(drop)
}

/// A thread's capability sets, one bit a capability (`capabilities(7)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// What counts in permission checks.
    pub effective: u64,
    /// What may be made effective.
    pub permitted: u64,
    inheritable: u64,
}

/// `_LINUX_CAPABILITY_VERSION_3` (`include/uapi/linux/capability.h`).
const VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Half {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

impl Capabilities {
    /// May override every permission check of files.
    pub const DAC_OVERRIDE: u64 = 1 << 1;
    /// May keep set-id bits when changing a file.
    pub const FSETID: u64 = 1 << 4;
    /// May take any gid.
    pub const SETGID: u64 = 1 << 6;
    /// May take any uid.
    pub const SETUID: u64 = 1 << 7;
    /// May make and change namespaces and mounts.
    pub const SYS_ADMIN: u64 = 1 << 21;

    /// The calling thread's sets.
    pub fn current() -> Result<Self, Errno> {
        let mut header = Header {
            version: VERSION_3,
            pid: 0,
        };
        let mut halves = [Half::default(); 2];
        // SAFETY: header and the two halves of version 3 are live and writable.
        let result =
            unsafe { libc::syscall(libc::SYS_capget, &raw mut header, halves.as_mut_ptr()) };
        check(result)?;
        let join = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        Ok(Self {
            effective: join(halves[0].effective, halves[1].effective),
            permitted: join(halves[0].permitted, halves[1].permitted),
            inheritable: join(halves[0].inheritable, halves[1].inheritable),
        })
    }

    /// Nothing but `set`, permitted and effective.
    pub fn only(set: u64) -> Self {
        Self {
            effective: set,
            permitted: set,
            inheritable: 0,
        }
    }

    /// The same sets, but only `effective` counts.
    pub fn with_effective(self, effective: u64) -> Self {
        Self { effective, ..self }
    }

    /// Gives the calling thread these sets.
    pub fn apply(&self) -> Result<(), Errno> {
        let mut header = Header {
            version: VERSION_3,
            pid: 0,
        };
        let half = |shift: u32| Half {
            effective: (self.effective >> shift) as u32,
            permitted: (self.permitted >> shift) as u32,
            inheritable: (self.inheritable >> shift) as u32,
        };
        let halves = [half(0), half(32)];
        // SAFETY: header and the two halves of version 3 are live.
        let result = unsafe { libc::syscall(libc::SYS_capset, &raw mut header, halves.as_ptr()) };
        check(result).map(drop)
    }
}
