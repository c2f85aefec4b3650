//! What the whole process has one of: limits, umask, signal dispositions, inherited descriptors.

use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction, signal};
use nix::sys::stat::{Mode, fstat, umask};
use nix::unistd::{ForkResult, Pid};

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

/// Has the kernel tell us when a child ends, also where whoever started us ignores that, and
/// ignores it for us (`sigaction(2)`, `SIGCHLD`).
pub fn hear_of_children() -> Result<(), Errno> {
    // SAFETY: SIG_DFL runs no code of ours.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }?;
    Ok(())
}

/// No core dumps, whatever happens: guest memory is mapped and must not reach a disk. A limit of 1
/// also keeps them from a program that `core_pattern` names, which 0 does not (`core(5)`).
pub fn forbid_core_files() -> Result<(), Errno> {
    // One who may not raise a hard limit of 0 keeps that.
    let forbidden = setrlimit(Resource::RLIMIT_CORE, 1, 1);
    Ok(forbidden.or_else(|_| setrlimit(Resource::RLIMIT_CORE, 0, 0))?)
}

/// Leaves the mapping of `len` bytes at `address` out of core dumps (`MADV_DONTDUMP`).
pub fn leave_out_of_dumps(address: NonNull<u8>, len: usize) -> Result<(), Errno> {
    // SAFETY: this advice changes neither what is mapped nor what it holds.
    check(unsafe { libc::madvise(address.as_ptr().cast(), len, libc::MADV_DONTDUMP) }).map(drop)
}

/// The exit status that shells give a process ended by SIGABRT.
const ABORTED: i32 = 128 + libc::SIGABRT;

/// Ends the whole process with the status of an abort, running nothing more. `abort(3)` itself
/// does not do as init of a pid namespace, which signals of its own cannot end.
pub fn end_at_once() -> ! {
    // SAFETY: takes an integer only.
    unsafe { libc::_exit(ABORTED) }
}

/// Which of the two processes goes on after [`fork`].
#[derive(Debug)]
pub enum Fork {
    /// The one that called, with the pid of the new one.
    Parent(Pid),
    /// The new one.
    Child,
}

/// `fork(2)`. Fails with `EBUSY` while the process has other threads: the child would inherit the
/// locks that they hold.
pub fn fork() -> Result<Fork, Errno> {
    if !is_single_threaded() {
        return Err(Errno::from_raw(libc::EBUSY));
    }
    // SAFETY: there is one thread only, so the child may go on like any other process.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(Fork::Parent(child)),
        ForkResult::Child => Ok(Fork::Child),
    }
}

fn is_single_threaded() -> bool {
    std::fs::read_dir("/proc/self/task").map_or(true, |tasks| tasks.count() == 1)
}

/// Closes every descriptor from 3 on but those in `keep`: what whoever started us left open.
/// No [`OwnedFd`] of a closed one may be dropped later.
pub fn close_all_but(mut keep: Vec<RawFd>) -> Result<(), Errno> {
    keep.sort_unstable();
    let mut first = 3;
    for kept in keep.into_iter().map(|kept| kept as u32) {
        if first < kept {
            close_range(first, kept - 1)?;
        }
        first = first.max(kept + 1);
    }
    close_range(first, u32::MAX)
}

/// `close_range(2)`, or one by one before Linux 5.9.
fn close_range(first: u32, last: u32) -> Result<(), Errno> {
    // SAFETY: takes integers only; who owns the descriptors is up to the caller of the module.
    let result = check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) });
    match result {
        Err(errno) if matches!(errno.raw(), libc::ENOSYS | libc::EPERM) => {
            let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
            for number in first..=last.min(soft.min(u64::from(u32::MAX)) as u32) {
                // SAFETY: as above.
                unsafe { libc::close(number as RawFd) };
            }
            Ok(())
        }
        result => result.map(drop),
    }
}

/// Closes what whoever started us left open of directories and path descriptors, which would lead
/// out of any sandbox. Everything else stays: launchers leave descriptors to us on purpose, such
/// as one that holds a lock for as long as we live.
pub fn close_inherited_directories() {
    for number in open_descriptors() {
        if number > 2 && is_directory_or_path(number) {
            // SAFETY: called first of all, while nothing in this process owns a descriptor.
            unsafe { libc::close(number) };
        }
    }
}

/// Puts `/dev/null` in place of standard input, and of standard output and error where they are
/// directories or path descriptors: anything else there may be a log.
pub fn replace_standard_streams() -> Result<(), Errno> {
    let null = File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))?;
    for number in 0..=2 {
        if number == 0 || is_directory_or_path(number) {
            // SAFETY: takes integers only; nothing in this process owns a standard stream.
            check(unsafe { libc::dup2(null.as_raw_fd(), number) })?;
        }
    }
    Ok(())
}

fn open_descriptors() -> Vec<RawFd> {
    let listed = std::fs::read_dir("/proc/self/fd").map(|entries| {
        let names = entries.flatten().map(|entry| entry.file_name());
        // The last one may be the listing's own, closed by now: closing it again does no harm.
        names
            .filter_map(|name| name.to_str()?.parse().ok())
            .collect()
    });
    listed.unwrap_or_else(|_| (3..1024).collect())
}

fn is_directory_or_path(number: RawFd) -> bool {
    // SAFETY: F_GETFL takes integers only.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFL) };
    if flags < 0 {
        return false;
    }
    // SAFETY: the number is open and nothing closes it while it is borrowed.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    let directory =
        super::stat(fd, 0, 0).is_ok_and(|stat| stat.file_type() == super::FileType::Directory);
    flags & libc::O_PATH != 0 || directory
}

/// Has a system call that the seccomp filter traps named on standard error before it ends the
/// process, with the status of a process that SIGSYS ended.
pub fn report_trapped_calls() -> Result<(), Errno> {
    let action = SigAction::new(
        SigHandler::SigAction(report_trapped_call),
        SaFlags::SA_SIGINFO,
        SigSet::all(),
    );
    // SAFETY: the handler calls nothing that is not async-signal-safe.
    unsafe { sigaction(Signal::SIGSYS, &action) }?;
    Ok(())
}

/// `siginfo_t` of SIGSYS on 64-bit (`include/uapi/asm-generic/siginfo.h`).
#[repr(C)]
struct SigsysInfo {
    _signo_errno_code: [i32; 4],
    _call_address: *const libc::c_void,
    number: i32,
    _arch: u32,
}

extern "C" fn report_trapped_call(
    _signal: i32,
    info: *mut libc::siginfo_t,
    _context: *mut libc::c_void,
) {
    use std::io::Write;
    // SAFETY: the kernel passes a siginfo_t of SIGSYS, which starts with these fields.
    let number = unsafe { (*info.cast::<SigsysInfo>()).number };
    let mut line = [0; 160];
    let mut rest = &mut line[..];
    let _ = write!(
        rest,
        "error: system call {number}: not in the seccomp filter\n\
         please report it; --seccomp=none starts without the filter\n"
    );
    let left = rest.len();
    let text = &line[..line.len() - left];
    // SAFETY: `text` is readable for its length; both calls are async-signal-safe.
    unsafe {
        libc::write(2, text.as_ptr().cast(), text.len());
        libc::_exit(128 + libc::SIGSYS)
    }
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

/// The limit of open files after [`raise_nofile_limit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NofileLimit {
    /// How many files may be open.
    pub files: u64,
    /// How many were wanted.
    pub wanted: u64,
}

/// Raises the limit of open files.
pub fn raise_nofile_limit(wish: NofileWish) -> Result<NofileLimit, Errno> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let set = |limit: u64| {
        // Only root may go beyond the hard limit.
        let raised = setrlimit(Resource::RLIMIT_NOFILE, limit, hard.max(limit));
        raised.map(|()| limit).map_err(Errno::from)
    };
    let (files, wanted) = match wish {
        NofileWish::Unchanged => (soft, soft),
        NofileWish::Exactly(limit) => (set(limit)?, limit),
        NofileWish::Default => {
            let wanted = default_nofile_limit();
            let raised = set(wanted).or_else(|_| set(hard.min(wanted)));
            (raised.unwrap_or(soft), wanted)
        }
    };
    Ok(NofileLimit { files, wanted })
}

/// A million, or what the kernel allows any process to have (`proc_sys_fs(5)`).
fn default_nofile_limit() -> u64 {
    const MILLION: u64 = 1_000_000;
    let allowed = std::fs::read_to_string("/proc/sys/fs/nr_open").ok();
    let allowed = allowed.and_then(|number| number.trim().parse().ok());
    MILLION.min(allowed.unwrap_or(MILLION))
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
    change_status(fd, |flags| flags | OFlag::O_NONBLOCK)
}

/// Turns `O_DIRECT` off for an open file.
pub fn clear_direct(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    change_status(fd, |flags| flags - OFlag::O_DIRECT)
}

/// Changes the status flags of an open file (`F_SETFL`, `fcntl(2)`).
fn change_status(fd: BorrowedFd<'_>, change: impl FnOnce(OFlag) -> OFlag) -> Result<(), Errno> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(change(flags)))?;
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
