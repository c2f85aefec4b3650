//! The process that was started, while its child serves the guest.
//!
//! It keeps what belongs to the launcher: the pid it was given, its process group, the
//! descriptors it left open, and the names of the socket and the pid file, which are removed when
//! this process ends. It reads nothing that comes from the guest or the front-end.
//!
//! It asks its child to stop by closing the lifeline, a pipe: with other ids in its user namespace
//! (`--uid-map`) and no capabilities it could not send it a signal. The pipe closes as well when
//! the supervisor is killed.

use std::io::{PipeReader, PipeWriter, pipe};
use std::process::ExitCode;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, Uid, setfsuid, setgroups};

use super::{capabilities, seccomp};
use crate::cli::SeccompAction;
use crate::error::DaemonError;
use crate::sys;

/// The signals that ask the daemon to stop.
const STOP: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];

/// The supervisor of one child.
#[derive(Debug)]
pub struct Supervisor {
    child: Pid,
    /// Closed to ask the child to stop.
    lifeline: Option<PipeWriter>,
    seccomp: SeccompAction,
}

/// The child's and the supervisor's end.
pub(super) fn lifeline() -> Result<(PipeReader, PipeWriter), DaemonError> {
    pipe().map_err(|error| DaemonError::new("a pipe", error, "is the system out of memory?"))
}

impl Supervisor {
    pub(super) fn of(child: Pid, lifeline: PipeWriter, seccomp: SeccompAction) -> Self {
        Self {
            child,
            lifeline: Some(lifeline),
            seccomp,
        }
    }

    /// Waits for the child to end, and has it stop when this process is asked to. Returns what
    /// this process's exit status should be: the child's, or 128 and the number of the signal
    /// that ended it.
    ///
    /// `files_of` is the owner of the directories from which something is to be removed later:
    /// without capabilities not even root may do so in a directory of somebody else's.
    pub fn supervise(mut self, files_of: Option<u32>) -> Result<ExitCode, DaemonError> {
        let signals = signals()?;
        let confined = give_up_privileges(files_of)
            .and_then(|()| seccomp::install(self.seccomp, seccomp::SUPERVISOR));
        if let Err(error) = confined {
            return self.end_with(error);
        }
        loop {
            if let Some(status) = self.status()? {
                return Ok(status);
            }
            if let Some(signal) = next(&signals)?.filter(|signal| STOP.contains(signal)) {
                log::info!("{signal}: stopping");
                self.lifeline = None;
            }
        }
    }

    /// Has the child stop for an error that it most likely had as well: then it has told so.
    fn end_with(mut self, error: DaemonError) -> Result<ExitCode, DaemonError> {
        self.lifeline = None;
        match waitpid(self.child, None).map_err(failed)? {
            WaitStatus::Exited(_, status) if status != 0 => Ok(ExitCode::from(status as u8)),
            _ => Err(error),
        }
    }

    fn status(&self) -> Result<Option<ExitCode>, DaemonError> {
        Ok(
            match waitpid(self.child, Some(WaitPidFlag::WNOHANG)).map_err(failed)? {
                WaitStatus::Exited(_, status) => Some(ExitCode::from(status as u8)),
                WaitStatus::Signaled(_, signal, _) => {
                    tell_why(signal);
                    Some(ExitCode::from(128 + signal as u8))
                }
                _ => None,
            },
        )
    }
}

fn failed(errno: nix::errno::Errno) -> DaemonError {
    DaemonError::new("supervising", errno, "this is a bug: please report it")
}

fn signals() -> Result<SignalFd, DaemonError> {
    let set = SigSet::from_iter(STOP.into_iter().chain([Signal::SIGCHLD]));
    set.thread_block().map_err(failed)?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC).map_err(failed)
}

fn next(signals: &SignalFd) -> Result<Option<Signal>, DaemonError> {
    let info = signals.read_signal().map_err(failed)?;
    Ok(info.and_then(|info| Signal::try_from(info.ssi_signo as i32).ok()))
}

fn give_up_privileges(files_of: Option<u32>) -> Result<(), DaemonError> {
    // Where that is not permitted there is nothing to gain by them either.
    let _ = setgroups(&[]);
    if let Some(owner) = files_of {
        setfsuid(Uid::from_raw(owner));
    }
    sys::forbid_core_files().map_err(|errno| failed(nix::errno::Errno::from_raw(errno.raw())))?;
    capabilities::keep_none()?;
    capabilities::forgo_the_rest()
}

fn tell_why(signal: Signal) {
    match signal {
        Signal::SIGSYS => log::error!(
            "the daemon made a system call that its seccomp filter does not allow\n\
             please report it; --seccomp=trap names the call, --seccomp=none starts without"
        ),
        Signal::SIGKILL => log::error!("the daemon was killed: is the system out of memory?"),
        signal => log::error!("the daemon was ended by {signal}"),
    }
}
