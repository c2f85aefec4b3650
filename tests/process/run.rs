//! A run of the binary in a directory of its own.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// How long what should happen at once may take on a busy machine.
pub const SOON: Duration = Duration::from_secs(10);

/// What launchers wait for.
pub const READY: &str = "Waiting for vhost-user socket connection";

/// A directory with a share, and room for a socket.
pub struct Place(TempDir);

impl Place {
    pub fn new() -> Place {
        let directory = TempDir::new().expect("a temporary directory");
        fs::create_dir(directory.path().join("share")).expect("a share");
        // Others than root must be able to get here.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        Place(directory)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn socket(&self) -> PathBuf {
        self.path("socket")
    }

    pub fn pid_file(&self) -> PathBuf {
        self.path("socket.pid")
    }

    /// A daemon on this place's socket.
    pub fn command(&self) -> Command {
        let mut command = virtiofsd(&self.path("share"));
        command.arg("--socket-path").arg(self.socket());
        command
    }

    /// Starts a daemon on this place's socket and waits until it is ready.
    pub fn serve(&self) -> Running {
        Running::ready(&mut self.command())
    }

    /// Nothing but the share is left.
    #[track_caller]
    pub fn assert_clean(&self) {
        let names: Vec<_> = fs::read_dir(self.0.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["share"]);
    }
}

/// The binary with a share and without a sandbox.
pub fn virtiofsd(share: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_virtiofsd"));
    command.arg("--shared-dir").arg(share).arg("--sandbox=none");
    command
}

/// A started process and what it writes to stderr.
pub struct Running {
    child: Child,
    lines: Receiver<String>,
    stderr: String,
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    /// `None` when a signal ended it.
    pub code: Option<i32>,
    pub stderr: String,
}

impl Running {
    pub fn start(command: &mut Command) -> Running {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.process_group(0).spawn().expect("the binary starts");
        let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Running {
            child,
            lines,
            stderr: String::new(),
        }
    }

    pub fn ready(command: &mut Command) -> Running {
        let mut running = Self::start(command);
        running.await_line(READY);
        running
    }

    /// Waits for a line with this text.
    #[track_caller]
    pub fn await_line(&mut self, text: &str) {
        assert!(self.has_line(text), "no {text:?} in time:\n{}", self.stderr);
    }

    /// Whether a line with this text comes before the end.
    pub fn has_line(&mut self, text: &str) -> bool {
        let deadline = Instant::now() + SOON;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                return false;
            };
            self.stderr.push_str(&line);
            self.stderr.push('\n');
            if line.contains(text) {
                return true;
            }
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("it has not been waited for");
    }

    /// Waits for the end.
    #[track_caller]
    pub fn end(mut self) -> Ended {
        assert!(!self.has_line("\0"), "lines have no NUL");
        let deadline = Instant::now() + SOON;
        let status = loop {
            match self.child.try_wait().expect("our own child") {
                Some(status) => break status,
                None => assert!(Instant::now() < deadline, "no end:\n{}", self.stderr),
            }
            thread::sleep(Duration::from_millis(1));
        };
        let stderr = std::mem::take(&mut self.stderr);
        Ended {
            code: status.code(),
            stderr,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// Exit status 1, one `error: what: cause` with these words in it, and what to do below.
    #[track_caller]
    pub fn assert_failed(&self, words: &[&str]) {
        assert_eq!(self.code, Some(1), "{self:?}");
        let lines: Vec<_> = self.stderr.lines().collect();
        let errors: Vec<_> = (0..lines.len())
            .filter(|n| lines[*n].starts_with("error: "))
            .collect();
        let [error] = errors[..] else {
            panic!("one error, not {}: {}", errors.len(), self.stderr)
        };
        let hint = lines.get(error + 1).unwrap_or(&"");
        assert!(!hint.trim().is_empty(), "what to do: {}", self.stderr);
        for word in words {
            assert!(lines[error].contains(word), "{word}: {}", self.stderr);
        }
    }
}
