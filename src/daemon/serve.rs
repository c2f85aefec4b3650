//! Waiting for a front-end, serving it, and stopping.

use std::io::{self, PipeReader};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::DaemonError;
use super::signals::StopRequests;
use super::socket::{Socket, cannot_listen};
use crate::device::{Backend, ConnectionEnd, SHARE_MEMORY_HINT, serve_connection};

const REPORT: &str = "this is a bug: please report it";

/// How long each step of an orderly stop waits for requests that hang, on a dead network file
/// system say.
const PATIENCE_MS: u16 = 2000;

/// How long to leave the socket alone when there is no descriptor left to accept with.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the first front-end that connects, until it or a signal ends that.
pub fn one_front_end(
    socket: &Socket,
    stop: &StopRequests,
    backend: Backend,
) -> Result<(), DaemonError> {
    match accept(socket, stop)? {
        Some(stream) => {
            log::info!("Client connected, servicing requests");
            serve(stream, socket, stop, backend)
        }
        None => Ok(()),
    }
}

/// The front-end's connection, or nothing when a signal came first.
fn accept(socket: &Socket, stop: &StopRequests) -> Result<Option<UnixStream>, DaemonError> {
    loop {
        let ready = first_ready(&[stop.as_fd(), socket.as_fd()], PollTimeout::NONE);
        if ready == Some(0) {
            stop.log();
            return Ok(None);
        }
        match socket.accept() {
            Ok(stream) => return Ok(Some(stream)),
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(cannot_listen(error)),
        }
    }
}

/// Whether the next `accept` may do better.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, Interrupted, WouldBlock};
    matches!(error.kind(), ConnectionAborted | Interrupted | WouldBlock)
}

/// Serves the front-end on `stream`; others are turned away meanwhile.
fn serve(
    stream: UnixStream,
    socket: &Socket,
    stop: &StopRequests,
    backend: Backend,
) -> Result<(), DaemonError> {
    let control = stream.try_clone().map_err(no_thread)?;
    let connection = Task::start("vhost-user", move || serve_connection(stream, backend))?;
    let asked_to_stop = loop {
        let sources = [connection.ended.as_fd(), stop.as_fd(), socket.as_fd()];
        match first_ready(&sources, PollTimeout::NONE) {
            Some(0) => break false,
            Some(1) => break true,
            Some(_) => turn_away(socket),
            None => {}
        }
    };
    if asked_to_stop {
        stop.log();
        // Whatever the thread waits for on its socket ends now.
        let _ = control.shutdown(std::net::Shutdown::Both);
    }
    let Some((end, backend)) = connection.result_in_time()? else {
        return Ok(());
    };
    // Requests on their way end before the daemon does.
    Task::start("stop", move || drop(backend))?.result_in_time()?;
    if asked_to_stop { Ok(()) } else { report(end) }
}

/// A thread whose end can be waited for beside other things.
struct Task<T> {
    thread: JoinHandle<T>,
    /// Closes with the thread.
    ended: PipeReader,
}

impl<T: Send + 'static> Task<T> {
    fn start(name: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<Self, DaemonError> {
        let (ended, alive) = io::pipe().map_err(no_thread)?;
        let named = thread::Builder::new().name(name.to_owned());
        let spawned = named.spawn(move || {
            let _alive = alive;
            work()
        });
        let thread = spawned.map_err(no_thread)?;
        Ok(Self { thread, ended })
    }

    /// The thread's result, unless requests hang that it waits for.
    fn result_in_time(self) -> Result<Option<T>, DaemonError> {
        let timeout = PATIENCE_MS.into();
        if first_ready(&[self.ended.as_fd()], timeout).is_none() {
            log::warn!("some requests hang: stopping without their replies");
            return Ok(None);
        }
        let bug = |_| DaemonError::new("the daemon", "a thread panicked", REPORT);
        self.thread.join().map(Some).map_err(bug)
    }
}

fn no_thread(error: io::Error) -> DaemonError {
    DaemonError::new("the connection", error, "is the system out of memory?")
}

/// Closes the connection of another front-end at once.
fn turn_away(socket: &Socket) {
    match socket.accept() {
        Err(error) if !is_passing(&error) => {
            crate::limited!(
                Warn,
                "a front-end waits that cannot be turned away: {error}"
            );
            // It stays in the queue of the socket, which is ready again at once.
            thread::sleep(ACCEPT_PAUSE);
        }
        _ => {}
    }
}

/// The index of the first of `sources` that is ready; none after `timeout` or an interruption.
fn first_ready(sources: &[BorrowedFd<'_>], timeout: PollTimeout) -> Option<usize> {
    let mut fds: Vec<_> = sources
        .iter()
        .map(|source| PollFd::new(*source, PollFlags::POLLIN))
        .collect();
    poll(&mut fds, timeout).ok()?;
    fds.iter().position(|fd| fd.any().unwrap_or(true))
}

fn report(end: ConnectionEnd) -> Result<(), DaemonError> {
    let (what, cause) = match &end {
        ConnectionEnd::Closed => {
            log::info!("Client disconnected, shutting down");
            return Ok(());
        }
        ConnectionEnd::NoSharedMemory => (
            "guest memory",
            "the front-end shared none with virtiofsd".to_owned(),
        ),
        ConnectionEnd::Broken(message, error) => {
            let message = message.map_or("half a message".to_owned(), |known| known.to_string());
            ("vhost-user protocol", format!("{message}: {error}"))
        }
    };
    let hint = match end.concerns_memory() {
        true => SHARE_MEMORY_HINT,
        false => "the front-end sent what the protocol does not allow; is it compatible?",
    };
    Err(DaemonError::new(what, cause, hint))
}
