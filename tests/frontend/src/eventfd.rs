//! Event file descriptors: the kick, call and err signals of a queue.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd as NixEventFd};

/// An eventfd(2), non-blocking as a VMM's are; clones share it.
#[derive(Clone, Debug)]
pub struct EventFd(Arc<NixEventFd>);

impl EventFd {
    /// A fresh event with counter 0.
    pub fn new() -> io::Result<EventFd> {
        Self::with_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
    }

    /// A fresh event whose writers and readers block, which no VMM makes but a hostile one could.
    pub fn blocking() -> io::Result<EventFd> {
        Self::with_flags(EfdFlags::EFD_CLOEXEC)
    }

    fn with_flags(flags: EfdFlags) -> io::Result<EventFd> {
        Ok(EventFd(Arc::new(NixEventFd::from_value_and_flags(
            0, flags,
        )?)))
    }

    /// Adds `count` to the counter. A full counter (`EAGAIN`) is an error: nobody reads it.
    pub fn add(&self, count: u64) -> io::Result<()> {
        self.0.write(count)?;
        Ok(())
    }

    /// Adds one to the counter: wakes whoever waits. A counter that is full has been signalled already.
    pub fn signal(&self) {
        // The only error of a non-blocking eventfd write is a full counter.
        let _ = self.0.write(1);
    }

    /// Takes the counter: the number of signals since the last time, 0 when there were none.
    pub fn take(&self) -> u64 {
        self.0.read().unwrap_or(0)
    }

    /// Waits until the counter is not 0, or the time is over; does not take it. `None` waits for ever.
    pub fn wait(&self, timeout: Option<Duration>) -> bool {
        wait_readable(self.0.as_fd(), timeout)
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Waits until `fd` is readable or has hung up, or the time is over (`None`: never); true when it is.
pub fn wait_readable(fd: BorrowedFd<'_>, timeout: Option<Duration>) -> bool {
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    loop {
        let limit = deadline.map_or(PollTimeout::NONE, poll_timeout);
        match poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], limit) {
            Ok(ready) => return ready > 0,
            Err(Errno::EINTR) => continue,
            Err(_) => return false,
        }
    }
}

/// The milliseconds left until `deadline`, rounded up so that poll does not wake early and spin.
fn poll_timeout(deadline: Instant) -> PollTimeout {
    let left = deadline.saturating_duration_since(Instant::now());
    PollTimeout::try_from(left.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_add_up_until_taken() {
        let event = EventFd::new().unwrap();
        assert!(!event.wait(Some(Duration::from_millis(1))));

        event.signal();
        event.add(2).unwrap();

        assert!(event.wait(None));
        assert_eq!(event.take(), 3);
        assert_eq!(event.take(), 0);
    }
}
