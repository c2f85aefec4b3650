//! A mount tree that holds the shared directory and nothing else.
//!
//! The way in is the working directory: it is the only thing (besides the root) that the kernel
//! carries over into a new mount namespace, so the directory that was opened at the start is the
//! one that is locked into, whatever happens to its path meanwhile.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode;
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{chdir, chroot, fchdir};

use crate::error::DaemonError;
use crate::sys::{self, MountAttributes, ProcFds};

const BUG: &str = "this is a bug: please report it";
const NO_MOUNTS: &str = "mounts cannot be made here: in a container use --sandbox=chroot";
const NOTHING: Option<&str> = None;

/// Where the tree goes on kernels that can only mount by path.
const MOUNT_POINT: &str = "/proc";

/// Makes the shared directory the working directory.
pub(super) fn stand_in(share: &OwnedFd) -> Result<(), DaemonError> {
    fchdir(share).map_err(|errno| {
        let hint = "the daemon's user must be allowed to enter it";
        DaemonError::new("the shared directory", errno, hint)
    })
}

/// What is mounted here stays here; what the host mounts later still appears. (With private
/// propagation a disk that the host mounts below the share would never be seen.)
pub(super) fn stop_propagating() -> Result<(), DaemonError> {
    let flags = MsFlags::MS_SLAVE | MsFlags::MS_REC;
    mount(NOTHING, "/", NOTHING, flags, NOTHING).map_err(|errno| {
        let hint = match errno {
            Errno::EINVAL => "/ is no mount point, as in a chroot: use --sandbox=chroot",
            Errno::EPERM | Errno::EACCES => NO_MOUNTS,
            _ => BUG,
        };
        DaemonError::new("making / a slave mount", errno, hint)
    })
}

/// `/proc/self/fd` as a mount of its own, from which no name leads anywhere else. The `/proc` of
/// the parent's pid namespace does: it knows this process too.
pub(super) fn jailed_proc() -> Result<ProcFds, DaemonError> {
    match try_jailed_proc() {
        Err(errno) if errno.raw() == libc::ENOENT => mount_proc().and_then(|()| try_jailed_proc()),
        result => result,
    }
    .map_err(|errno| match errno.raw() {
        libc::ENOENT => no_proc(errno),
        _ => DaemonError::new("a private mount of /proc/self/fd", errno, NO_MOUNTS),
    })
}

fn try_jailed_proc() -> Result<ProcFds, sys::Errno> {
    match sys::clone_tree(c"/proc/self/fd", false) {
        Ok(tree) => ProcFds::jailed(tree),
        Err(errno) if is_missing(errno) => jailed_proc_by_path(),
        Err(errno) => Err(errno),
    }
}

/// The same with `mount(2)` alone: mounted over `/proc` for a moment.
fn jailed_proc_by_path() -> Result<ProcFds, sys::Errno> {
    mount(
        Some("/proc/self/fd"),
        MOUNT_POINT,
        NOTHING,
        MsFlags::MS_BIND,
        NOTHING,
    )?;
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mounted = open(MOUNT_POINT, flags, Mode::empty());
    umount2(MOUNT_POINT, MntFlags::MNT_DETACH)?;
    ProcFds::jailed(mounted?)
}

/// `/proc/self/fd`, where no mounts can be made.
pub(super) fn plain_proc() -> Result<ProcFds, DaemonError> {
    ProcFds::open().map_err(no_proc)
}

/// For where `/proc` is empty: mounts one, which the pivot leaves behind.
fn mount_proc() -> Result<(), sys::Errno> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    Ok(mount(Some("proc"), "/proc", Some("proc"), flags, NOTHING)?)
}

fn no_proc(errno: sys::Errno) -> DaemonError {
    let hint = "the daemon needs /proc: mount it where the daemon starts";
    DaemonError::new("/proc/self/fd", errno, hint)
}

/// Puts a private copy of the mounts at and below the working directory on top of it, and makes
/// that the working directory. Its restrictions are set before anything can reach it; a
/// read-only one cannot be made once a file is open for writing.
pub(super) fn stand_in_private_tree(readonly: bool) -> Result<(), DaemonError> {
    let tree = match sys::clone_tree(c".", true) {
        Err(errno) if is_missing(errno) => return bind_by_path(readonly),
        tree => tree.map_err(no_tree)?,
    };
    match restrict(&tree, restrictions(readonly)) {
        Err(errno) if is_missing(errno) => attach(&tree).and_then(|()| restrict_here(readonly)),
        Err(errno) => Err(DaemonError::new("mount_setattr", errno, BUG)),
        Ok(()) => attach(&tree),
    }
}

fn restrictions(readonly: bool) -> MountAttributes {
    let always = MountAttributes::NO_SUID
        .and(MountAttributes::NO_DEVICES)
        .and(MountAttributes::NO_EXEC)
        .and(MountAttributes::NO_SYMLINK_FOLLOW);
    match readonly {
        true => always.and(MountAttributes::READ_ONLY),
        false => always,
    }
}

fn restrict(tree: &OwnedFd, restrictions: MountAttributes) -> Result<(), sys::Errno> {
    match sys::restrict_tree(tree.as_fd(), restrictions) {
        Err(sys::Errno::EINVAL) => {
            warn_of_symlinks();
            let older = restrictions.without(MountAttributes::NO_SYMLINK_FOLLOW);
            sys::restrict_tree(tree.as_fd(), older)
        }
        result => result,
    }
}

fn warn_of_symlinks() {
    log::warn!("the kernel cannot forbid following symlinks on a mount (Linux 5.14 can)");
}

fn attach(tree: &OwnedFd) -> Result<(), DaemonError> {
    let here = open_root()?;
    sys::attach_tree(tree.as_fd(), here.as_fd())
        .and_then(|()| Ok(fchdir(tree)?))
        .map_err(no_tree)
}

/// The same with `mount(2)` alone, for kernels before 5.2 and filters that know no other call.
fn bind_by_path(readonly: bool) -> Result<(), DaemonError> {
    let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some("."), MOUNT_POINT, NOTHING, bind, NOTHING)
        .and_then(|()| chdir(MOUNT_POINT))
        .map_err(|errno| no_tree(errno.into()))?;
    restrict_here(readonly)
}

/// Restricts the one mount whose root is the working directory.
fn restrict_here(readonly: bool) -> Result<(), DaemonError> {
    /// Symlinks are not followed (`include/uapi/linux/mount.h`, Linux 5.10).
    const MS_NOSYMFOLLOW: MsFlags = MsFlags::from_bits_retain(256);
    log::warn!("the kernel has no mount_setattr: mounts below the share get no restrictions");
    let remount = |flags| mount(NOTHING, ".", NOTHING, flags, NOTHING);
    let flags = remount_flags(readonly).map_err(|errno| no_tree(errno.into()))?;
    match remount(flags | MS_NOSYMFOLLOW) {
        Err(Errno::EINVAL) => {
            warn_of_symlinks();
            remount(flags)
        }
        result => result,
    }
    .map_err(|errno| no_tree(errno.into()))
}

/// A remount takes away what it does not name, which may be locked: a mount that is read-only
/// already stays so. Access times stay as they are (`mount(2)`, `MS_REMOUNT`).
fn remount_flags(readonly: bool) -> Result<MsFlags, Errno> {
    let is_readonly = statvfs(".")?.flags().contains(FsFlags::ST_RDONLY);
    let mut flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND;
    flags |= MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    flags.set(MsFlags::MS_RDONLY, readonly || is_readonly);
    Ok(flags)
}

fn no_tree(errno: sys::Errno) -> DaemonError {
    DaemonError::new("a private mount of the shared directory", errno, NO_MOUNTS)
}

/// Makes the working directory, a mount of its own, the root, and unmounts all the rest.
pub(super) fn pivot_root() -> Result<(), DaemonError> {
    let failed = |errno| DaemonError::new("pivot_root", errno, BUG);
    match nix::unistd::pivot_root(".", ".") {
        // The old root is now mounted on top of the new one (pivot_root(2), "Notes").
        Ok(()) => umount2(".", MntFlags::MNT_DETACH).map_err(failed)?,
        // The initial ramfs cannot be moved away, only be covered.
        Err(Errno::EINVAL) => {
            log::warn!("/ cannot be unmounted: the share covers it, with the host's mounts below");
            mount(Some("."), "/", NOTHING, MsFlags::MS_MOVE, NOTHING).map_err(failed)?;
            chroot(".").map_err(failed)?;
        }
        Err(errno) => return Err(failed(errno)),
    }
    chdir("/").map_err(failed)
}

/// The working directory, which is the root by now, as a path descriptor.
pub(super) fn open_root() -> Result<OwnedFd, DaemonError> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    open(".", flags, Mode::empty())
        .map_err(|errno| DaemonError::new("the shared directory", errno, BUG))
}

/// Whether a call is not there: the kernel is older, or a container's filter does not know it.
fn is_missing(errno: sys::Errno) -> bool {
    matches!(errno.raw(), libc::ENOSYS | libc::EPERM)
}
