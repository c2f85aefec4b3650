//! What the whole process has one of: limits, umask, signal dispositions.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, chown};

use super::Errno;
use super::errno::check;

/// From here on the modes that guests ask for land unmodified.
pub fn clear_umask() {
    umask(Mode::empty());
}

/// Ignores the signals by which the kernel would end the process for what a guest or a peer does:
/// a write past `RLIMIT_FSIZE` must be `EFBIG`, a closed socket `EPIPE`.
pub fn take_over_core_signals() -> Result<(), Errno> {
    for ignored in [Signal::SIGPIPE, Signal::SIGXFSZ] {
        // SAFETY: SIG_IGN runs no code of ours.
        unsafe { signal(ignored, SigHandler::SigIgn) }?;
    }
    Ok(())
}

/// Raises the limit of open files towards `wanted` (`None`: as far as it goes, to at most a
/// million) and returns what it is now.
pub fn raise_nofile_limit(wanted: Option<u64>) -> Result<u64, Errno> {
    const DEFAULT: u64 = 1_000_000;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let target = wanted.unwrap_or(DEFAULT);
    if target > hard && setrlimit(Resource::RLIMIT_NOFILE, target, target).is_ok() {
        return Ok(target);
    }
    let reachable = target.min(hard);
    if wanted.is_some() || reachable > soft {
        setrlimit(Resource::RLIMIT_NOFILE, reachable, hard)?;
        return Ok(reachable);
    }
    Ok(soft)
}

/// Takes ownership of a descriptor that the parent process passed by number; `EBADF` when it is
/// not open.
pub fn inherit_fd(number: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: F_SETFD takes integers only.
    check(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: the number is open, and the command line gives it to us and to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Makes reads and writes on `fd` return `EAGAIN` rather than wait.
pub fn set_nonblocking(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    debug_assert!(fd.as_raw_fd() >= 0);
    Ok(())
}

/// Gives the socket at `path` to `group`.
pub fn set_group_of_path(path: &Path, group: u32) -> Result<(), Errno> {
    Ok(chown(path, None, Some(Gid::from_raw(group)))?)
}

/// Looks at the first bytes that come on `stream` without taking them; waits until `buffer` is
/// full or the peer is gone.
pub fn peek(stream: &std::os::unix::net::UnixStream, buffer: &mut [u8]) -> Result<usize, Errno> {
    use nix::sys::socket::{MsgFlags, recv};
    Ok(recv(stream.as_raw_fd(), buffer, MsgFlags::MSG_PEEK | MsgFlags::MSG_WAITALL)?)
}
