//! Calls on names: each looks up exactly one component below a directory descriptor.

use std::ffi::CStr;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::errno::retry;
use super::fd::{ProcName, owned};
use super::{Errno, ProcFds};

/// How a name may be resolved: within the directory, through no symlink of either kind.
const RESOLVE: u64 =
    libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_MAGICLINKS;

/// Whether `openat2(2)` is known to be missing (before Linux 5.6, or filtered by a container).
static NO_OPENAT2: AtomicBool = AtomicBool::new(false);

/// `openat2(2)` with [`RESOLVE`]. Where the call is missing `openat(2)` with `O_NOFOLLOW` is as
/// safe for what we ask: callers pass one checked component, so nothing but its last symlink could
/// lead elsewhere.
fn open_beneath(dir: RawFd, name: &CStr, flags: i32, mode: u32) -> Result<OwnedFd, Errno> {
    let flags = flags | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    if !NO_OPENAT2.load(Ordering::Relaxed) {
        match openat2(dir, name, flags, mode) {
            Err(errno) if matches!(errno.raw(), libc::ENOSYS | libc::EPERM) => {
                // EPERM may also be the object's own answer: only the fallback can tell.
                let opened = openat(dir, name, flags, mode)?;
                NO_OPENAT2.store(true, Ordering::Relaxed);
                return Ok(opened);
            }
            result => return result,
        }
    }
    openat(dir, name, flags, mode)
}

fn openat2(dir: RawFd, name: &CStr, flags: i32, mode: u32) -> Result<OwnedFd, Errno> {
    // SAFETY: open_how is plain integers, for which all-zero is valid.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = flags as u64;
    how.mode = mode.into();
    how.resolve = RESOLVE;
    let raw = retry(|| {
        // SAFETY: `name` is NUL-terminated, `how` a live open_how of the size passed.
        unsafe {
            libc::syscall(
                libc::SYS_openat2,
                dir,
                name.as_ptr(),
                &raw const how,
                size_of::<libc::open_how>(),
            )
        }
    })?;
    owned(raw as RawFd)
}

fn openat(dir: RawFd, name: &CStr, flags: i32, mode: u32) -> Result<OwnedFd, Errno> {
    // SAFETY: `name` is NUL-terminated and outlives the call.
    let raw = retry(|| unsafe { libc::openat(dir, name.as_ptr(), flags, mode) })?;
    owned(raw)
}

/// Opens the shared directory itself as a path descriptor. The administrator's path may be a
/// symlink.
pub fn open_root(path: &Path) -> Result<OwnedFd, Errno> {
    use nix::fcntl::{OFlag, open};
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(open(path, flags, nix::sys::stat::Mode::empty())?)
}

/// A path descriptor of the entry `name`, whatever its type; a symlink is opened itself.
pub fn open_child(dir: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    open_beneath(dir.as_raw_fd(), name, libc::O_PATH, 0)
}

/// Creates the regular file `name` and opens it with `flags`; fails with `EEXIST` on any existing
/// entry, so it never opens a FIFO or a device.
pub fn create_exclusive(
    dir: BorrowedFd<'_>,
    name: &CStr,
    flags: i32,
    mode: u32,
) -> Result<OwnedFd, Errno> {
    open_beneath(
        dir.as_raw_fd(),
        name,
        flags | libc::O_CREAT | libc::O_EXCL,
        mode,
    )
}

/// Opens a new file without a name in `dir` (`O_TMPFILE`).
pub fn open_temporary(dir: BorrowedFd<'_>, flags: i32, mode: u32) -> Result<OwnedFd, Errno> {
    let flags = flags | libc::O_TMPFILE | libc::O_CLOEXEC;
    openat(dir.as_raw_fd(), c".", flags, mode)
}

/// `mkdirat(2)`.
pub fn make_directory(dir: BorrowedFd<'_>, name: &CStr, mode: u32) -> Result<(), Errno> {
    // SAFETY: `name` is NUL-terminated and outlives the call.
    retry(|| unsafe { libc::mkdirat(dir.as_raw_fd(), name.as_ptr(), mode) }).map(drop)
}

/// `mknodat(2)`; `device` as `makedev(3)` packs it.
pub fn make_node(dir: BorrowedFd<'_>, name: &CStr, mode: u32, device: u64) -> Result<(), Errno> {
    // SAFETY: `name` is NUL-terminated and outlives the call.
    retry(|| unsafe { libc::mknodat(dir.as_raw_fd(), name.as_ptr(), mode, device) }).map(drop)
}

/// `symlinkat(2)`.
pub fn symlink(target: &CStr, dir: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    // SAFETY: both strings are NUL-terminated and outlive the call.
    retry(|| unsafe { libc::symlinkat(target.as_ptr(), dir.as_raw_fd(), name.as_ptr()) }).map(drop)
}

/// Gives the object behind `fd` one more name. The magic link stands for the object itself, also
/// when that is a symlink.
pub fn link(
    proc: &ProcFds,
    fd: BorrowedFd<'_>,
    dir: BorrowedFd<'_>,
    name: &CStr,
) -> Result<(), Errno> {
    let source = ProcName::new(fd);
    retry(|| {
        // SAFETY: both strings are NUL-terminated and outlive the call.
        unsafe {
            libc::linkat(
                proc.as_raw(),
                source.as_c_str().as_ptr(),
                dir.as_raw_fd(),
                name.as_ptr(),
                libc::AT_SYMLINK_FOLLOW,
            )
        }
    })
    .map(drop)
}

/// `unlinkat(2)`, of a directory when `directory`.
pub fn unlink(dir: BorrowedFd<'_>, name: &CStr, directory: bool) -> Result<(), Errno> {
    let flags = if directory { libc::AT_REMOVEDIR } else { 0 };
    // SAFETY: `name` is NUL-terminated and outlives the call.
    retry(|| unsafe { libc::unlinkat(dir.as_raw_fd(), name.as_ptr(), flags) }).map(drop)
}

/// `renameat2(2)` with `RENAME_*` flags.
pub fn rename(
    from: (BorrowedFd<'_>, &CStr),
    to: (BorrowedFd<'_>, &CStr),
    flags: u32,
) -> Result<(), Errno> {
    retry(|| {
        // SAFETY: both names are NUL-terminated and outlive the call. The raw call, because musl
        // has no wrapper.
        unsafe {
            libc::syscall(
                libc::SYS_renameat2,
                from.0.as_raw_fd(),
                from.1.as_ptr(),
                to.0.as_raw_fd(),
                to.1.as_ptr(),
                flags,
            )
        }
    })
    .map(drop)
}

/// The target of the symlink behind `fd`, into `buffer`. A path has at most `PATH_MAX` bytes, so a
/// buffer of that size never truncates.
pub fn read_link<'b>(fd: BorrowedFd<'_>, buffer: &'b mut [u8]) -> Result<&'b [u8], Errno> {
    let len = retry(|| {
        // SAFETY: the path is an empty literal, `buffer` is writable for its length.
        unsafe {
            libc::readlinkat(
                fd.as_raw_fd(),
                c"".as_ptr(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
            )
        }
    })?;
    Ok(&buffer[..len as usize])
}

/// Changes the permission bits of the object behind `fd`, which may be a path descriptor.
/// Symlinks have none: `EOPNOTSUPP` (`chmod(2)`).
pub fn chmod(proc: &ProcFds, fd: BorrowedFd<'_>, mode: u32) -> Result<(), Errno> {
    let name = ProcName::new(fd);
    // SAFETY: `name` is NUL-terminated and outlives the call.
    retry(|| unsafe { libc::fchmodat(proc.as_raw(), name.as_c_str().as_ptr(), mode, 0) }).map(drop)
}

/// Changes owner and group of the object behind `fd`, a symlink itself; `None` leaves one as is.
pub fn chown(fd: BorrowedFd<'_>, uid: Option<u32>, gid: Option<u32>) -> Result<(), Errno> {
    const KEEP: u32 = u32::MAX;
    retry(|| {
        // SAFETY: the path is an empty literal.
        unsafe {
            libc::fchownat(
                fd.as_raw_fd(),
                c"".as_ptr(),
                uid.unwrap_or(KEEP),
                gid.unwrap_or(KEEP),
                libc::AT_EMPTY_PATH,
            )
        }
    })
    .map(drop)
}

/// Sets access and modification time of the object behind `fd`, a symlink itself; `UTIME_NOW` and
/// `UTIME_OMIT` as in `utimensat(2)`.
pub fn set_times(
    proc: &ProcFds,
    fd: BorrowedFd<'_>,
    times: &[libc::timespec; 2],
) -> Result<(), Errno> {
    let set = |dir: RawFd, path: &CStr, flags: i32| {
        // SAFETY: `path` is NUL-terminated and `times` holds the two elements the call reads.
        retry(|| unsafe { libc::utimensat(dir, path.as_ptr(), times.as_ptr(), flags) }).map(drop)
    };
    match set(fd.as_raw_fd(), c"", libc::AT_EMPTY_PATH) {
        // Before Linux 5.8 the call does not know AT_EMPTY_PATH.
        Err(Errno::EINVAL) => set(proc.as_raw(), ProcName::new(fd).as_c_str(), 0),
        result => result,
    }
}
