//! What ends the daemon in an orderly way.

use std::io::PipeReader;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::DaemonError;
use crate::sys;

/// SIGTERM, SIGINT and SIGHUP, and the supervisor's wish, as a descriptor to wait for.
#[derive(Debug)]
pub struct StopRequests {
    signals: SignalFd,
    _lifeline: PipeReader,
    either: Epoll,
}

/// Blocks the signals in this thread, and so in every thread and process started later, and
/// ignores those that guests and peers can cause.
pub fn block() -> Result<(), DaemonError> {
    sys::ignore_induced_signals()
        .and_then(|()| sys::hear_of_children())
        .and_then(|()| Ok(stop_signals().thread_block()?))
        .map_err(failed)
}

fn stop_signals() -> SigSet {
    SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP])
}

fn failed(errno: impl ToString) -> DaemonError {
    DaemonError::new("signals", errno, "this is a bug: please report it")
}

impl StopRequests {
    /// Those of the calling process: what is opened here tells another process nothing.
    pub fn listen(lifeline: PipeReader) -> Result<Self, DaemonError> {
        Self::try_listen(lifeline).map_err(failed)
    }

    fn try_listen(lifeline: PipeReader) -> nix::Result<Self> {
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&stop_signals(), flags)?;
        let either = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        either.add(&signals, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        // Nothing is ever written to it: it is ready when its other end is closed.
        either.add(&lifeline, EpollEvent::new(EpollFlags::EPOLLIN, 1))?;
        Ok(Self {
            signals,
            _lifeline: lifeline,
            either,
        })
    }

    /// Says in the log that the daemon stops; the supervisor says why.
    pub fn log(&self) {
        match self.signals.read_signal() {
            Ok(Some(info)) => log::debug!("signal {}: stopping", info.ssi_signo),
            _ => log::debug!("stopping"),
        }
    }
}

impl AsFd for StopRequests {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.either.0.as_fd()
    }
}
