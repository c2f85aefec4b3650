//! Namespaces, and the process that is born into them.
//!
//! `unshare(2)` puts the calling process into every new namespace but the pid namespace, whose
//! first member is the next child. So only that (and the user namespace that owns it) is made
//! before the fork, and the rest by the child: the supervisor keeps the host's mounts and network,
//! and what it removes in the end is what it created.

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};

use crate::error::DaemonError;
use crate::sys::{self, Fork};

const ROOT_HAS_NO_RIGHT: &str = "CAP_SYS_ADMIN is missing: in a container use --sandbox=chroot \
                                 (or none), or start the daemon as an ordinary user";
const USER_HAS_NO_RIGHT: &str = "CAP_SYS_ADMIN is missing: as an ordinary user use \
                                 --sandbox=namespace, which makes a user namespace first";

/// Mode `namespace` of a privileged process: the pid namespace of the next child.
pub(super) fn unshare_pids() -> Result<(), DaemonError> {
    unshare(CloneFlags::CLONE_NEWPID)
        .map_err(|errno| DaemonError::new("a pid namespace", errno, hint(errno)))
}

/// Forks the process that will serve. It is init of its pid namespace: when it ends, so does all
/// it could have started.
pub(super) fn fork() -> Result<Fork, DaemonError> {
    sys::fork().map_err(|errno| {
        let hint = "raise the limit of processes (ulimit -u; TasksMax= of systemd)";
        DaemonError::new("fork", errno, hint)
    })
}

/// Should the supervisor be killed, the kernel kills this process; the lifeline tells it too,
/// also when the supervisor was gone before this call.
pub(super) fn die_with_supervisor() -> Result<(), DaemonError> {
    sys::die_with_parent().map_err(|errno| {
        DaemonError::new("PR_SET_PDEATHSIG", errno, "this is a bug: please report it")
    })
}

/// Own mounts, and a network namespace without any interface.
pub(super) fn unshare_mounts_and_network() -> Result<(), DaemonError> {
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)
        .map_err(|errno| DaemonError::new("mount and network namespaces", errno, hint(errno)))
}

/// Own mounts.
pub(super) fn unshare_mounts() -> Result<(), DaemonError> {
    unshare(CloneFlags::CLONE_NEWNS)
        .map_err(|errno| DaemonError::new("a mount namespace", errno, hint(errno)))
}

/// What kernels may lack and nothing here depends on: System V IPC and the host name.
pub(super) fn unshare_the_small_ones() {
    for (flag, name) in [
        (CloneFlags::CLONE_NEWIPC, "ipc"),
        (CloneFlags::CLONE_NEWUTS, "uts"),
    ] {
        if let Err(errno) = unshare(flag) {
            log::debug!("no {name} namespace: {errno}");
        }
    }
}

fn hint(errno: Errno) -> &'static str {
    match errno {
        Errno::EPERM if sys::effective_ids().0 == 0 => ROOT_HAS_NO_RIGHT,
        Errno::EPERM => USER_HAS_NO_RIGHT,
        Errno::ENOSPC => {
            "a limit of namespaces is reached: see the sysctls user.max_pid_namespaces, \
             user.max_mnt_namespaces and user.max_net_namespaces"
        }
        _ => "the kernel may lack namespaces: use --sandbox=chroot",
    }
}
