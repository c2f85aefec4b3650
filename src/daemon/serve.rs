//! Waiting for a front-end, serving it, and stopping.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::DaemonError;
use super::signals::StopRequests;
use super::socket::{Socket, cannot_listen};
use crate::device::{Backend, ConnectionEnd, SHARE_MEMORY_HINT, serve_connection};

const REPORT: &str = "this is a bug: please report it";

/// How long an orderly stop waits for requests that hang, on a dead network file system say.
const STOP_PATIENCE_MS: u16 = 4000;

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

/// Serves the front-end on `stream` in a thread of its own; other front-ends are turned away.
fn serve(
    stream: UnixStream,
    socket: &Socket,
    stop: &StopRequests,
    backend: Backend,
) -> Result<(), DaemonError> {
    let system = |error| DaemonError::new("the connection", error, "is the system out of memory?");
    let control = stream.try_clone().map_err(system)?;
    // The thread's end of the pipe closes with the thread.
    let (ended, alive) = io::pipe().map_err(system)?;
    let connection = thread::Builder::new()
        .name("vhost-user".to_owned())
        .spawn(move || {
            let _alive = alive;
            serve_connection(stream, backend)
        })
        .map_err(system)?;
    loop {
        let sources = [ended.as_fd(), stop.as_fd(), socket.as_fd()];
        match first_ready(&sources, PollTimeout::NONE) {
            Some(0) => {
                let bug = |_| DaemonError::new("the connection", "its thread panicked", REPORT);
                return report(connection.join().map_err(bug)?);
            }
            Some(1) => break,
            Some(_) => turn_away(socket),
            None => {}
        }
    }
    stop.log();
    // Whatever the thread waits for on its socket ends now; requests on their way end first.
    let _ = control.shutdown(std::net::Shutdown::Both);
    if first_ready(&[ended.as_fd()], STOP_PATIENCE_MS.into()).is_none() {
        log::warn!("some requests hang: stopping without their replies");
    }
    Ok(())
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
