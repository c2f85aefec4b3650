//! The process that serves the guest.

use libc as c;

use super::Argument::{Bits, Is};
use super::{Row, always, missing, when};

/// A new thread, and nothing but a thread: what pthread_create(3) asks for.
const THREAD: u64 = (c::CLONE_VM | c::CLONE_FS | c::CLONE_FILES | c::CLONE_SIGHAND | c::CLONE_THREAD)
    as u64;
/// Flags of which none may be set: namespaces.
const NAMESPACES: u64 = (c::CLONE_NEWNS
    | c::CLONE_NEWUSER
    | c::CLONE_NEWPID
    | c::CLONE_NEWNET
    | c::CLONE_NEWIPC
    | c::CLONE_NEWUTS
    | c::CLONE_NEWCGROUP) as u64;
const EXECUTABLE: u64 = c::PROT_EXEC as u64;

/// Its calls, by what needs them. `tests/sandbox` shows that each is used.
#[rustfmt::skip]
pub const DAEMON: &[Row] = &[
    // Waiting, kicks and interrupts: every request.
    #[cfg(target_arch = "x86_64")]
    always("epoll_wait", c::SYS_epoll_wait, "a queue's worker sleeps until a kick"),
    #[cfg(not(target_arch = "x86_64"))]
    always("epoll_pwait", c::SYS_epoll_pwait, "a queue's worker sleeps until a kick"),
    always("write", c::SYS_write, "an interrupt; a log line"),
    always("futex", c::SYS_futex, "locks, and waiting for a thread to end"),

    // Files: every request.
    always("statx", c::SYS_statx, "attributes"),
    always("openat", c::SYS_openat, "reopening a file through /proc/self/fd"),
    always("openat2", c::SYS_openat2, "looking a name up; creating a file"),
    always("close", c::SYS_close, "a file that is forgotten or released"),
    always("preadv", c::SYS_preadv, "READ"),
    always("pwritev2", c::SYS_pwritev2, "WRITE, which may append"),
    always("getdents64", c::SYS_getdents64, "READDIR"),
    always("lseek", c::SYS_lseek, "LSEEK; READDIR from another offset"),
    always("readlinkat", c::SYS_readlinkat, "READLINK"),
    always("mkdirat", c::SYS_mkdirat, "MKDIR"),
    always("mknodat", c::SYS_mknodat, "MKNOD"),
    always("symlinkat", c::SYS_symlinkat, "SYMLINK"),
    always("linkat", c::SYS_linkat, "LINK"),
    always("unlinkat", c::SYS_unlinkat, "UNLINK, RMDIR; the socket and the pid file in the end"),
    always("renameat2", c::SYS_renameat2, "RENAME, RENAME2"),
    always("fchmodat", c::SYS_fchmodat, "SETATTR: mode"),
    always("fchownat", c::SYS_fchownat, "SETATTR: owner"),
    always("ftruncate", c::SYS_ftruncate, "SETATTR: size"),
    always("utimensat", c::SYS_utimensat, "SETATTR: times"),
    always("fallocate", c::SYS_fallocate, "FALLOCATE"),
    always("copy_file_range", c::SYS_copy_file_range, "COPY_FILE_RANGE"),
    always("fsync", c::SYS_fsync, "FSYNC, FSYNCDIR"),
    always("fdatasync", c::SYS_fdatasync, "FSYNC of the data alone"),
    always("syncfs", c::SYS_syncfs, "SYNCFS"),
    always("fstatfs", c::SYS_fstatfs, "STATFS"),

    // Acting as the caller: every request that creates something.
    always("setresuid", c::SYS_setresuid, "becoming the caller and back"),
    always("setresgid", c::SYS_setresgid, "becoming the caller and back"),
    always("capset", c::SYS_capset, "a caller has no capability of the daemon's but one"),
];
