//! The signals that end the daemon in an orderly way.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::DaemonError;
use crate::sys;

/// SIGTERM, SIGINT and SIGHUP, as a descriptor to wait for.
#[derive(Debug)]
pub struct Signals(SignalFd);

impl Signals {
    /// Blocks them in this thread, and so in every thread started later, and ignores those that
    /// guests and peers can cause.
    pub fn take_over() -> Result<Self, DaemonError> {
        Self::try_take_over()
            .map_err(|errno| DaemonError::new("signals", errno, "this is a bug: please report it"))
    }

    fn try_take_over() -> Result<Self, sys::Errno> {
        sys::ignore_induced_signals()?;
        let set = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]);
        set.thread_block()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Self(SignalFd::with_flags(&set, flags)?))
    }

    /// Says in the log which signal came.
    pub fn log_stop(&self) {
        let number = self
            .0
            .read_signal()
            .ok()
            .flatten()
            .map(|info| info.ssi_signo as i32);
        match number.and_then(|number| Signal::try_from(number).ok()) {
            Some(signal) => log::info!("{signal}: stopping"),
            None => log::info!("stopping"),
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
