//! What the whole process has one of: limits, umask, signal dispositions.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::stat::{Mode, fstat, umask};

use super::Errno;
use super::errno::check;

/// From here on the modes that guests ask for land unmodified.
pub fn clear_umask() {
    umask(Mode::empty());
}

/// Ignores the signals by which the kernel would end the process for what a guest or a peer does:
/// a write past `RLIMIT_FSIZE` must be `EFBIG`, a closed socket `EPIPE`.
pub fn ignore_induced_signals() -> Result<(), Errno> {
    for ignored in [Signal::SIGPIPE, Signal::SIGXFSZ] {
        // SAFETY: SIG_IGN runs no code of ours.
        unsafe { signal(ignored, SigHandler::SigIgn) }?;
    }
    Ok(())
}

/// What the limit of open files shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NofileWish {
    /// As it is.
    Unchanged,
    /// As high as it goes, but no higher than a million.
    Default,
    /// This, or nothing.
    Exactly(u64),
}

/// Raises the limit of open files and returns what it is now.
pub fn raise_nofile_limit(wish: NofileWish) -> Result<u64, Errno> {
    const DEFAULT: u64 = 1_000_000;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let set = |limit: u64| {
        // Only root may go beyond the hard limit.
        let raised = setrlimit(Resource::RLIMIT_NOFILE, limit, hard.max(limit));
        raised.map(|()| limit).map_err(Errno::from)
    };
    match wish {
        NofileWish::Unchanged => Ok(soft),
        NofileWish::Exactly(limit) => set(limit),
        NofileWish::Default => Ok(set(DEFAULT)
            .or_else(|_| set(hard.min(DEFAULT)))
            .unwrap_or(soft)),
    }
}

/// Takes ownership of a descriptor that the parent process passed by number; `EBADF` when it is
/// not open.
pub fn inherit_fd(number: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: F_SETFD takes integers only.
    check(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: the number is open, and the command line gives it to us and to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Whether `fd` is of a kind that has no name and no file type, as eventfds are (`anon_inode_getattr`,
/// `fs/anon_inodes.c`): no file, device, pipe or socket.
pub fn is_anonymous(fd: BorrowedFd<'_>) -> bool {
    fstat(fd).is_ok_and(|stat| stat.st_mode & libc::S_IFMT == 0)
}

/// Makes reads and writes on `fd` return `EAGAIN` rather than wait.
pub fn set_nonblocking(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    debug_assert!(fd.as_raw_fd() >= 0);
    Ok(())
}

/// Looks at the first bytes that come on `stream` without taking them; waits until `buffer` is
/// full or the peer is gone.
pub fn peek(stream: &std::os::unix::net::UnixStream, buffer: &mut [u8]) -> Result<usize, Errno> {
    use nix::sys::socket::{MsgFlags, recv};
    Ok(recv(
        stream.as_raw_fd(),
        buffer,
        MsgFlags::MSG_PEEK | MsgFlags::MSG_WAITALL,
    )?)
}
