//! Leaving the host behind.
//!
//! [`Sandbox::separate`] comes first: it forks, in mode `namespace` into the namespaces that a
//! process can only be born into. [`Sandbox::enter`] then does the rest, in the process that will
//! serve the guest, before it has any thread. Both read as the list of steps; each step and
//! what the kernel demands of its place in the order is explained where it is implemented.
//! `docs/sandbox.md` says the same for administrators.
//!
//! Nothing here knows guests, FUSE or virtio.

mod capabilities;
mod chroot;
mod groups;
mod landlock;
mod mounts;
mod namespace;
pub mod seccomp;
mod supervisor;
mod userns;

use std::io::PipeReader;
use std::os::fd::OwnedFd;

use crate::cli::{SandboxConfig, SandboxMode, SeccompAction};
use crate::error::DaemonError;
use crate::sys::{self, Fork, ProcFds};
use groups::Groups;
use userns::{IdScope, UserNamespace};

pub use supervisor::Supervisor;

/// What sandbox to make.
#[derive(Clone, Copy, Debug)]
pub struct Sandbox<'a> {
    /// What the command line says.
    pub config: &'a SandboxConfig,
    /// Nothing in the share will be changed.
    pub readonly: bool,
    /// Extended attributes are offered, file capabilities among them.
    pub xattr: bool,
    /// Log lines go to syslog.
    pub syslog: bool,
}

/// Which process this is after [`Sandbox::separate`].
#[derive(Debug)]
pub enum Side {
    /// The one that was started; it only waits for the other.
    Supervisor(Supervisor),
    /// The one that will serve the guest. Its end of the lifeline is readable (at its end) once
    /// the supervisor wants it to stop, or is gone.
    Child(PipeReader),
}

/// The way to the shared directory from within the sandbox.
#[derive(Debug)]
pub struct Place {
    /// The shared directory, as a path descriptor.
    pub root: OwnedFd,
    /// `/proc/self/fd`.
    pub proc: ProcFds,
    /// The process still has supplementary groups that its callers must not profit from.
    pub groups_retained: bool,
}

impl Sandbox<'_> {
    /// The mode in force.
    pub fn mode(&self) -> SandboxMode {
        self.config.mode.unwrap_or(SandboxMode::Namespace)
    }

    /// Forks the process that will serve, in every mode: what the launcher left open stays with the
    /// one that was started, and from within the sandbox there will be no way to what is to be
    /// removed in the end. Mode `namespace` first makes the user namespace (unless root) and the
    /// pid namespace that the new process lives in.
    pub fn separate(&self) -> Result<Side, DaemonError> {
        let namespaces = self.mode() == SandboxMode::Namespace;
        let user_namespace = match namespaces {
            true => UserNamespace::wanted(self.config)?,
            false => None,
        };
        match &user_namespace {
            Some(wanted) => wanted.unshare_with_pids()?,
            None if namespaces => namespace::unshare_pids()?,
            None => {}
        }
        let (lifeline, supervisor_end) = supervisor::lifeline()?;
        match namespace::fork()? {
            Fork::Parent(child) => {
                let action = self.seccomp_action();
                let supervisor = Supervisor::of(child, supervisor_end, action);
                Ok(Side::Supervisor(supervisor))
            }
            Fork::Child => {
                drop(supervisor_end);
                if let Some(namespace) = &user_namespace {
                    namespace.become_inside_id()?;
                }
                // After the last change of ids, which would undo it.
                namespace::die_with_supervisor()?;
                Ok(Side::Child(lifeline))
            }
        }
    }

    /// Locks this process into `share` (a path descriptor) and gives up what serving it does not
    /// need.
    pub fn enter(&self, share: OwnedFd) -> Result<Place, DaemonError> {
        let ids = IdScope::of_this_process();
        let groups = groups::leave(ids, self.config.fail_setgroups)?;
        let (root, proc) = match self.mode() {
            SandboxMode::Namespace => self.enter_namespaces(&share)?,
            SandboxMode::PivotRoot => self.enter_pivot_root(&share)?,
            SandboxMode::Chroot => self.enter_chroot(&share)?,
            SandboxMode::None => self.enter_nothing(share)?,
        };
        sys::clear_umask();
        capabilities::keep_only(&self.needed_capabilities(ids))?;
        capabilities::forgo_the_rest()?;
        landlock::confine_to(&root, &proc);
        seccomp::install(self.seccomp_action(), &self.allowed_calls())?;
        Ok(Place {
            root,
            proc,
            groups_retained: groups == Groups::Retained,
        })
    }

    fn enter_namespaces(&self, share: &OwnedFd) -> Result<(OwnedFd, ProcFds), DaemonError> {
        mounts::stand_in(share)?;
        namespace::unshare_mounts_and_network()?;
        namespace::unshare_the_small_ones();
        self.pivot_into_share()
    }

    /// The caller made the other namespaces; only the mounts are not to be changed under its
    /// other processes.
    fn enter_pivot_root(&self, share: &OwnedFd) -> Result<(OwnedFd, ProcFds), DaemonError> {
        mounts::stand_in(share)?;
        namespace::unshare_mounts()?;
        self.pivot_into_share()
    }

    fn pivot_into_share(&self) -> Result<(OwnedFd, ProcFds), DaemonError> {
        let proc = self.stand_in_private_mounts()?;
        mounts::pivot_root()?;
        Ok((mounts::open_root()?, proc))
    }

    fn stand_in_private_mounts(&self) -> Result<ProcFds, DaemonError> {
        mounts::stop_propagating()?;
        let proc = mounts::jailed_proc()?;
        mounts::stand_in_private_tree(self.readonly)?;
        Ok(proc)
    }

    /// As far as `pivot_root` where the process has the right to; else the root changes and
    /// nothing more.
    fn enter_chroot(&self, share: &OwnedFd) -> Result<(OwnedFd, ProcFds), DaemonError> {
        mounts::stand_in(share)?;
        // Before anything can be mounted over it.
        let plain = mounts::plain_proc();
        let private = namespace::unshare_mounts().and_then(|()| self.stand_in_private_mounts());
        let proc = match private {
            Ok(proc) => proc,
            Err(error) => {
                log::warn!(
                    "no mounts of our own: {}: {}: the share is only the root directory",
                    error.what(),
                    error.cause()
                );
                plain?
            }
        };
        chroot::change_root()?;
        Ok((mounts::open_root()?, proc))
    }

    fn enter_nothing(&self, share: OwnedFd) -> Result<(OwnedFd, ProcFds), DaemonError> {
        if sys::effective_ids().0 == 0 {
            log::warn!("running as root without a sandbox: a flaw here is a flaw of the host");
        }
        Ok((share, mounts::plain_proc()?))
    }

    fn needed_capabilities(&self, ids: IdScope) -> capabilities::Needed<'_> {
        capabilities::Needed {
            ids,
            readonly: self.readonly,
            xattr: self.xattr,
            changes: &self.config.modcaps,
        }
    }

    fn allowed_calls(&self) -> Vec<seccomp::Row> {
        match self.syslog {
            true => [seccomp::DAEMON, seccomp::SYSLOG].concat(),
            false => seccomp::DAEMON.to_vec(),
        }
    }

    fn seccomp_action(&self) -> SeccompAction {
        self.config.seccomp.unwrap_or(SeccompAction::Kill)
    }
}
