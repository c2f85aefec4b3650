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
use nix::unistd::{chdir, chroot, fchdir};

use crate::error::DaemonError;
use crate::sys::{self, MountAttributes, ProcFds};

const BUG: &str = "this is a bug: please report it";
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
    mount(NOTHING, "/", NOTHING, flags, NOTHING)
        .map_err(|errno| DaemonError::new("making / a slave mount", errno, BUG))
}

/// `/proc/self/fd` as a mount of its own, from which no name leads anywhere else. The `/proc` of
/// the parent's pid namespace does: it knows this process too.
pub(super) fn jailed_proc() -> Result<ProcFds, DaemonError> {
    match ProcFds::open_jailed() {
        Ok(proc) => Ok(proc),
        Err(errno) if errno.raw() == libc::ENOENT => fresh_proc(),
        Err(errno) if is_missing(errno) => {
            log::warn!("/proc/self/fd stays part of /proc: {errno}");
            plain_proc()
        }
        Err(errno) => Err(no_proc(errno)),
    }
}

/// `/proc/self/fd`, where no mounts can be made.
pub(super) fn plain_proc() -> Result<ProcFds, DaemonError> {
    ProcFds::open().map_err(no_proc)
}

/// For where `/proc` is empty: mounts one, which the pivot leaves behind.
fn fresh_proc() -> Result<ProcFds, DaemonError> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, NOTHING)
        .map_err(|errno| no_proc(errno.into()))?;
    ProcFds::open_jailed().map_err(no_proc)
}

fn no_proc(errno: sys::Errno) -> DaemonError {
    let hint = "the daemon needs /proc: mount it where the daemon starts";
    DaemonError::new("/proc/self/fd", errno, hint)
}

/// Puts a private copy of the mounts at and below the working directory on top of it, and makes
/// that the working directory. Its restrictions are set before anything can reach it; a
/// read-only one cannot be made once a file is open for writing.
pub(super) fn stand_in_private_tree(readonly: bool) -> Result<(), DaemonError> {
    let restrictions = restrictions(readonly);
    match sys::clone_tree(c".", true) {
        Ok(tree) => {
            restrict(&tree, restrictions)?;
            attach(&tree)
        }
        Err(errno) if is_missing(errno) => bind_by_path(readonly),
        Err(errno) => Err(no_tree(errno)),
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

fn restrict(tree: &OwnedFd, restrictions: MountAttributes) -> Result<(), DaemonError> {
    let older = restrictions.without(MountAttributes::NO_SYMLINK_FOLLOW);
    let result = match sys::restrict_tree(tree.as_fd(), restrictions) {
        Err(sys::Errno::EINVAL) => {
            log::warn!("the kernel cannot forbid following symlinks on a mount (Linux 5.14 can)");
            sys::restrict_tree(tree.as_fd(), older)
        }
        result => result,
    };
    match result {
        Err(errno) if is_missing(errno) => {
            log::warn!("the private mount has no restrictions of its own: mount_setattr: {errno}");
            Ok(())
        }
        result => result.map_err(|errno| DaemonError::new("mount_setattr", errno, BUG)),
    }
}

fn attach(tree: &OwnedFd) -> Result<(), DaemonError> {
    let here = open_root()?;
    sys::attach_tree(tree.as_fd(), here.as_fd())
        .and_then(|()| Ok(fchdir(tree)?))
        .map_err(no_tree)
}

/// The same with `mount(2)` alone, for kernels before 5.2 and filters that know no other call.
fn bind_by_path(readonly: bool) -> Result<(), DaemonError> {
    let mut flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    flags.set(MsFlags::MS_RDONLY, readonly);
    let remount = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | flags;
    let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
    log::warn!("the kernel cannot clone mounts: those below the share get no restrictions");
    mount(Some("."), MOUNT_POINT, NOTHING, bind, NOTHING)
        .and_then(|()| chdir(MOUNT_POINT))
        .and_then(|()| mount(NOTHING, MOUNT_POINT, NOTHING, remount, NOTHING))
        .map_err(|errno| no_tree(errno.into()))
}

fn no_tree(errno: sys::Errno) -> DaemonError {
    let hint = "mounts cannot be made here: in a container use --sandbox=chroot";
    DaemonError::new("a private mount of the shared directory", errno, hint)
}

/// Makes the working directory, a mount of its own, the root, and unmounts all the rest.
pub(super) fn pivot_root() -> Result<(), DaemonError> {
    let failed = |errno| DaemonError::new("pivot_root", errno, BUG);
    match nix::unistd::pivot_root(".", ".") {
        // The old root is now mounted on top of the new one (pivot_root(2), "Notes").
        Ok(()) => umount2(".", MntFlags::MNT_DETACH).map_err(failed)?,
        // The initial ramfs cannot be moved away, only be covered.
        Err(Errno::EINVAL) => {
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
