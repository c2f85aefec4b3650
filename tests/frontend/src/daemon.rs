//! A daemon under test: the built binary as a process of its own.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::connection::Connection;
use crate::process::Process;

/// Held while a listening socket can be inherited, so that no other daemon of this process inherits it too.
static STARTING: Mutex<()> = Mutex::new(());

/// How a daemon gets its socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SocketMode {
    /// `--socket-path`
    Path,
    /// `--fd`, a listening socket
    Fd,
}

/// How to start a daemon.
#[derive(Debug)]
pub struct DaemonBuilder {
    binary: PathBuf,
    args: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
    socket: SocketMode,
    show_stderr: bool,
    patience: Duration,
}

impl DaemonBuilder {
    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.envs
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Adds `--shared-dir`.
    pub fn share(self, directory: impl AsRef<Path>) -> Self {
        self.arg("--shared-dir").arg(directory.as_ref())
    }

    /// Hands over a listening socket (`--fd`) instead of a path.
    pub fn socket_by_fd(mut self) -> Self {
        self.socket = SocketMode::Fd;
        self
    }

    /// Repeats what the daemon writes to stderr on this process's own.
    pub fn show_stderr(mut self) -> Self {
        self.show_stderr = true;
        self
    }

    /// How long the socket is awaited: 10 s unless said otherwise.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Starts the daemon and waits until its socket accepts connections.
    ///
    /// # Errors
    /// When it cannot be started, ends early, or does not listen in time; the message includes its stderr.
    pub fn start(self) -> io::Result<Daemon> {
        let directory = TempDir::with_prefix("virtiofsd-")?;
        let socket_path = directory.path().join("socket");
        let mut command = Command::new(&self.binary);
        let starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        let listener = match self.socket {
            SocketMode::Path => {
                // In one word, as the C daemon wants it.
                let mut option = OsString::from("--socket-path=");
                option.push(&socket_path);
                command.arg(option);
                None
            }
            SocketMode::Fd => Some(pass_listener(&mut command, &socket_path)?),
        };
        command
            .args(&self.args)
            .envs(self.envs)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command.stderr(Stdio::piped()).process_group(0);
        let begin = Instant::now();
        let mut child = command.spawn().map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("start {}: {error}", self.binary.display()),
            )
        })?;
        drop((listener, starting));
        let stderr = Capture::start(&mut child, self.show_stderr);
        let mut daemon = Daemon {
            child,
            status: None,
            stderr,
            socket_path,
            started_in: Duration::ZERO,
            _directory: directory,
        };
        daemon.await_socket(begin, self.patience)?;
        Ok(daemon)
    }
}

/// Binds a listening socket and lets the command inherit it.
fn pass_listener(command: &mut Command, path: &Path) -> io::Result<OwnedFd> {
    let listener = OwnedFd::from(UnixListener::bind(path)?);
    // Inherited by whatever is started until it is dropped, right after the start.
    fcntl(&listener, FcntlArg::F_SETFD(FdFlag::empty()))?;
    command.arg(format!("--fd={}", listener.as_raw_fd()));
    Ok(listener)
}

/// A running (or ended) daemon on a socket in a temporary directory. Dropping it ends it.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    status: Option<ExitStatus>,
    stderr: Capture,
    socket_path: PathBuf,
    started_in: Duration,
    _directory: TempDir,
}

impl Daemon {
    /// How to start `binary`; tests give `env!("CARGO_BIN_EXE_virtiofsd")`.
    pub fn builder(binary: impl AsRef<Path>) -> DaemonBuilder {
        DaemonBuilder {
            binary: binary.as_ref().to_owned(),
            args: Vec::new(),
            envs: Vec::new(),
            socket: SocketMode::Path,
            show_stderr: false,
            patience: Duration::from_secs(10),
        }
    }

    fn await_socket(&mut self, begin: Instant, patience: Duration) -> io::Result<()> {
        while !is_listening(&self.socket_path) {
            if let Some(status) = self.try_wait() {
                return Err(io::Error::other(self.early_end(status)));
            }
            if begin.elapsed() > patience {
                return Err(io::Error::new(io::ErrorKind::TimedOut, self.stderr()));
            }
            thread::sleep(Duration::from_micros(100));
        }
        self.started_in = begin.elapsed();
        Ok(())
    }

    /// What to say about a daemon that never listened: its stderr tells why, unless it has been shown already.
    fn early_end(&mut self, status: ExitStatus) -> String {
        let stderr = self.stderr.finish();
        match self.stderr.shown {
            true => format!("the daemon ended early ({status})"),
            false => format!("the daemon ended early ({status}): {}", stderr.trim_end()),
        }
    }

    /// From the start of the process until its socket listened, to about 0.2 ms. With `socket_by_fd` the socket listens from
    /// the beginning, and this is the time of the start alone.
    pub fn started_in(&self) -> Duration {
        self.started_in
    }

    /// Where the socket is.
    pub fn socket_path(&self) -> &Path {
        &self.socket_path
    }

    /// Connects to the socket.
    pub fn connect(&self) -> io::Result<Connection> {
        Connection::connect(&self.socket_path)
    }

    /// The process that was started.
    pub fn process(&self) -> Process {
        Process(self.child.id())
    }

    /// The process that serves the guest: the last descendant, as sandboxes fork.
    pub fn worker(&self) -> Process {
        *self.process().tree().last().expect("a tree has its root")
    }

    /// What the daemon has written to stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// All that the daemon has written to stderr, once it has ended.
    ///
    /// # Panics
    /// When it has not: there would be no end to wait for.
    pub fn last_stderr(&mut self) -> String {
        assert!(self.try_wait().is_some(), "the daemon still runs");
        self.stderr.finish()
    }

    /// Waits until stderr holds `text`, or the time is over; true when it does.
    pub fn wait_for_stderr(&self, text: &str, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        while !self.stderr.text().contains(text) {
            if Instant::now() > deadline {
                return false;
            }
            thread::sleep(Duration::from_millis(1));
        }
        true
    }

    /// Sends a signal to the started process.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill(Pid::from_raw(self.child.id() as i32), signal)?)
    }

    /// The exit status, if the process has ended.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().expect("wait for our own child");
        }
        self.status
    }

    /// Waits for the process to end; `None` when the time is over.
    pub fn wait(&mut self, timeout: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.try_wait() {
                None if Instant::now() < deadline => thread::sleep(Duration::from_millis(1)),
                status => return status,
            }
        }
    }

    /// SIGTERM, then SIGKILL to the whole process group after 5 s; the exit status.
    pub fn stop(&mut self) -> ExitStatus {
        if let Some(status) = self.try_wait() {
            return status;
        }
        let _ = self.signal(Signal::SIGTERM);
        self.wait(Duration::from_secs(5)).unwrap_or_else(|| {
            let _ =
                nix::sys::signal::killpg(Pid::from_raw(self.child.id() as i32), Signal::SIGKILL);
            self.child.wait().expect("wait for our own child")
        })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Whether a UNIX socket listens at `path`. Connecting would tell as well, but daemons serve one connection only.
fn is_listening(path: &Path) -> bool {
    const LISTENS: &str = "00010000";
    let table = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    // Some daemons bind under another name in the same directory and rename it.
    let directory = path
        .parent()
        .map(|parent| format!("{}/", parent.display()))
        .unwrap_or_default();
    let listens = |line: &str| {
        let mut words = line.split_whitespace();
        words.nth(3) == Some(LISTENS)
            && words
                .nth(3)
                .is_some_and(|bound| bound.starts_with(&directory))
    };
    path.exists() && table.lines().any(listens)
}

/// Collects a child's stderr on a thread.
#[derive(Debug)]
struct Capture {
    text: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    shown: bool,
}

impl Capture {
    fn start(child: &mut Child, show: bool) -> Capture {
        let text = Arc::new(Mutex::new(String::new()));
        let reader = child.stderr.take().map(|stderr| {
            let text = Arc::clone(&text);
            thread::spawn(move || collect(BufReader::new(stderr), &text, show))
        });
        Capture {
            text,
            reader,
            shown: show,
        }
    }

    fn text(&self) -> String {
        self.text
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Everything, once the child has closed its end.
    fn finish(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        self.text()
    }
}

fn collect(mut source: impl BufRead, text: &Mutex<String>, show: bool) {
    let mut line = Vec::new();
    while source
        .read_until(b'\n', &mut line)
        .is_ok_and(|count| count > 0)
    {
        let part = String::from_utf8_lossy(&line);
        if show {
            eprint!("{part}");
        }
        text.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_str(&part);
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_that_ends_is_reported_with_its_stderr() {
        let outcome = Daemon::builder("/bin/sh").arg("-c").arg("unused").start();

        // `sh --socket-path ...` complains about its option and ends.
        let message = outcome.expect_err("sh is no daemon").to_string();
        assert!(message.starts_with("the daemon ended early"), "{message}");
        assert!(message.contains("/bin/sh: "), "{message}");
    }

    #[test]
    fn a_listening_socket_is_seen() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("socket");
        assert!(!is_listening(&path));

        let _listener = UnixListener::bind(&path).unwrap();

        assert!(is_listening(&path));
    }
}
